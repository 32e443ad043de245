//! NumPy's files: inputs and recorded outputs by name (`.npz`), and single arrays (`.npy`).
//!
//! Booleans, signed integers, uint8, float32 and float64 are read and written; other element types are
//! refused.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{
    NpzReader, NpzWriter, ReadNpyError, ReadNpyExt, ReadNpzError, ReadableElement, WritableElement,
};

use crate::error::{Error, Result};
use crate::tensor::{Array, Element, Tensor};

/// The arrays of a `.npz` archive with these names, in this order.
///
/// # Errors
/// When the archive can't be read or lacks one of them, or an element type is not read.
pub fn read(path: &Path, names: &[&str]) -> Result<Vec<Tensor>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the arrays", e))?;
    let archive = open(file).and_then(|mut archive| arrays(&mut archive, names));
    archive.map_err(|e| e.in_file(path))
}

/// Opens an archive, and reads the list of its arrays.
pub(super) fn open<R: Read + Seek>(reader: R) -> Result<NpzReader<R>> {
    NpzReader::new(reader).map_err(|e| damaged(&e))
}

/// The arrays with these names, in this order.
pub(super) fn arrays<R: Read + Seek>(
    archive: &mut NpzReader<R>,
    names: &[&str],
) -> Result<Vec<Tensor>> {
    let entries = archive.names().map_err(|e| damaged(&e))?;
    // NumPy appends `.npy` to the names of entries, which the reader may or may not show.
    let available: Vec<&str> = entries
        .iter()
        .map(|entry| entry.strip_suffix(".npy").unwrap_or(entry))
        .collect();
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let Some(position) = available.iter().position(|other| other == name) else {
            return Err(Error::invalid(format!(
                "the archive has no array `{name}`, only: {}",
                available.join(", ")
            )));
        };
        tensors.push(array(archive, &entries[position])?);
    }
    Ok(tensors)
}

fn damaged(error: &dyn std::fmt::Display) -> Error {
    Error::malformed(format!("not a NumPy archive, or a damaged one: {error}"))
}

/// The array of a `.npy` file.
///
/// # Errors
/// When the file can't be read, or its element type is not read.
pub(super) fn read_npy(path: &Path) -> Result<Tensor> {
    let readers = [
        typed_npy::<f32>,
        typed_npy::<i64>,
        typed_npy::<i32>,
        typed_npy::<f64>,
        typed_npy::<bool>,
        typed_npy::<u8>,
        typed_npy::<i8>,
        typed_npy::<i16>,
    ];
    for reader in readers {
        if let Some(tensor) = reader(path)? {
            return Ok(tensor);
        }
    }
    Err(Error::unsupported("the array has an element type that is not read").in_file(path))
}

/// The array of a `.npy` file; None if its elements are not of this type.
fn typed_npy<T: Element + ReadableElement>(path: &Path) -> Result<Option<Tensor>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the array", e))?;
    match ArrayD::<T>::read_npy(BufReader::new(file)) {
        Ok(array) => Ok(Some(T::tensor(array.into()))),
        Err(ReadNpyError::WrongDescriptor(_)) => Ok(None),
        Err(e) => {
            Err(Error::malformed(format!("not a NumPy array, or a damaged one: {e}")).in_file(path))
        }
    }
}

/// Writes an archive with these arrays.
///
/// # Errors
/// When it can't be written, or an array is of float16 or bfloat16.
pub(super) fn write<W: Write + Seek>(writer: W, arrays: &[(String, Tensor)]) -> Result<()> {
    let mut archive = NpzWriter::new(writer);
    for (name, tensor) in arrays {
        match tensor {
            Tensor::Bool(array) => add(&mut archive, name, array),
            Tensor::U8(array) => add(&mut archive, name, array),
            Tensor::I8(array) => add(&mut archive, name, array),
            Tensor::I16(array) => add(&mut archive, name, array),
            Tensor::I32(array) => add(&mut archive, name, array),
            Tensor::I64(array) => add(&mut archive, name, array),
            Tensor::F32(array) => add(&mut archive, name, array),
            Tensor::F64(array) => add(&mut archive, name, array),
            Tensor::F16(_) | Tensor::BF16(_) => Err(Error::unsupported(format!(
                "`{name}` is {}, which is not written to NumPy's files",
                tensor.dtype()
            ))),
        }?;
    }
    let finished = archive.finish();
    finished.map_err(|e| Error::io_somewhere("write the arrays", io::Error::other(e)))?;
    Ok(())
}

fn add<W: Write + Seek, T: Element + WritableElement>(
    archive: &mut NpzWriter<W>,
    name: &str,
    array: &Array<T>,
) -> Result<()> {
    let added = archive.add_array(name, array);
    added.map_err(|e| Error::io_somewhere(&format!("write `{name}`"), io::Error::other(e)))
}

/// Reads an array of an archive, whatever its element type.
///
/// # Errors
/// When it is damaged, or its element type is not read.
fn array<R: Read + Seek>(archive: &mut NpzReader<R>, entry: &str) -> Result<Tensor> {
    let readers = [
        typed::<R, f32>,
        typed::<R, i64>,
        typed::<R, i32>,
        typed::<R, f64>,
        typed::<R, bool>,
        typed::<R, u8>,
        typed::<R, i8>,
        typed::<R, i16>,
    ];
    for reader in readers {
        if let Some(tensor) = reader(archive, entry)? {
            return Ok(tensor);
        }
    }
    Err(Error::unsupported(format!(
        "the array `{entry}` has an element type that is not read"
    )))
}

/// The array of an archive; None if its elements are not of this type.
fn typed<R: Read + Seek, T: Element + ReadableElement>(
    archive: &mut NpzReader<R>,
    entry: &str,
) -> Result<Option<Tensor>> {
    let array: Result<ArrayD<T>, _> = archive.by_name::<OwnedRepr<T>, IxDyn>(entry);
    match array {
        Ok(array) => Ok(Some(T::tensor(array.into()))),
        Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => Ok(None),
        Err(e) => Err(Error::malformed(format!(
            "the array `{entry}` is damaged: {e}"
        ))),
    }
}
