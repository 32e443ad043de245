//! NumPy's files: inputs and recorded outputs by name (`.npz`), and single arrays (`.npy`).
//!
//! Booleans, signed integers, uint8, float16, float32 and float64 are read and written. NumPy has no bfloat16: its bits
//! are read from uint16, as Paddle gives them, and from two bytes of no type, as the package ml_dtypes does. Other
//! element types are refused.

mod half_floats;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use half_floats::{Bits16, Half};
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{
    NpzReader, NpzWriter, ReadNpyError, ReadNpyExt, ReadNpzError, ReadableElement, WritableElement,
};

use crate::error::{Error, Result};
use crate::tensor::{Array, DType, Dim, Element, Tensor, allows_shape, display_shape};

/// The arrays of a `.npz` archive with these names, in this order.
///
/// # Errors
/// When the archive can't be read or lacks one of them, or an element type is not read.
pub fn read(path: &Path, names: &[&str]) -> Result<Vec<Tensor>> {
    let archive = open_file(path).and_then(|mut archive| arrays(&mut archive, names));
    archive.map_err(|e| e.in_file(path))
}

/// A tensor that an archive is to hold.
pub(super) struct Wanted {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Dim>,
}

impl Wanted {
    /// Why an array can't be this tensor: its element type or shape is another one.
    pub fn misfit(&self, tensor: &Tensor) -> Option<String> {
        let extents = tensor.shape();
        let is_fitting = tensor.dtype() == self.dtype && allows_shape(&self.shape, extents);
        (!is_fitting).then(|| {
            format!(
                "{} {} where `{}` is {} {}",
                tensor.dtype(),
                display_shape(extents),
                self.name,
                self.dtype,
                display_shape(&self.shape)
            )
        })
    }
}

/// The tensors of a `.npz` archive by their names, or, where it has as many arrays of other names, such as the `arr_0`,
/// `arr_1` of `np.savez(file, *arrays)`, in its order, if all of them fit. In the second case there is a note that says
/// so.
///
/// # Errors
/// When the archive can't be read or has neither, or an element type is not read.
pub(super) fn read_fitting(
    path: &Path,
    wanted: &[Wanted],
) -> Result<(Vec<Tensor>, Option<String>)> {
    let read = || {
        let mut archive = open_file(path)?;
        let found = archive.names().map_err(|e| damaged(&e))?;
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        if names
            .iter()
            .all(|name| found.iter().any(|other| other == name))
        {
            return Ok((arrays(&mut archive, &names)?, None));
        }
        let in_order = in_order(&mut archive, &found, wanted)?;
        let tensors = in_order.map_err(|why| missing(&names, &found, &why))?;
        let pairs = wanted.iter().zip(&found);
        let pairs: Vec<String> = pairs
            .map(|(to, from)| format!("{from} as {}", to.name))
            .collect();
        let note = format!(
            "{}: the arrays are taken in their order: {}",
            path.display(),
            pairs.join(", ")
        );
        Ok((tensors, Some(note)))
    };
    read().map_err(|e: Error| e.in_file(path))
}

/// The arrays of an archive in its order; or why they can't be taken so.
fn in_order<R: Read + Seek>(
    archive: &mut NpzReader<R>,
    found: &[String],
    wanted: &[Wanted],
) -> Result<Result<Vec<Tensor>, String>> {
    if found.len() != wanted.len() {
        return Ok(Err(format!(
            "there are {} where {} are needed",
            found.len(),
            wanted.len()
        )));
    }
    let is_moved = |(place, name): (usize, &String)| {
        wanted
            .iter()
            .position(|wanted| wanted.name == *name)
            .is_some_and(|other| other != place)
    };
    if let Some((_, name)) = found
        .iter()
        .enumerate()
        .find(|(place, name)| is_moved((*place, name)))
    {
        return Ok(Err(format!("`{name}` is at another place")));
    }
    let mut tensors = Vec::with_capacity(wanted.len());
    for (name, wanted) in found.iter().zip(wanted) {
        let tensor = array(archive, name)?;
        if let Some(why) = wanted.misfit(&tensor) {
            return Ok(Err(format!("`{name}` is {why}")));
        }
        tensors.push(tensor);
    }
    Ok(Ok(tensors))
}

/// The error for an archive that has arrays of other names, which can't be taken in their order for the reason `why`.
fn missing(names: &[&str], found: &[String], why: &str) -> Error {
    let missing = names
        .iter()
        .find(|name| !found.iter().any(|other| other == *name));
    Error::invalid(format!(
        "the archive has no array `{}`, only: {}; and its arrays can't be taken in their order, since {why}",
        missing.unwrap_or(&""),
        found.join(", ")
    ))
}

fn open_file(path: &Path) -> Result<NpzReader<File>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the arrays", e))?;
    open(file)
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
    let available = archive.names().map_err(|e| damaged(&e))?;
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        if !available.iter().any(|other| other == name) {
            return Err(Error::invalid(format!(
                "the archive has no array `{name}`, only: {}",
                available.join(", ")
            )));
        }
        tensors.push(array(archive, name)?);
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
    any_type(&mut NpyFile(path)).map_err(|e| e.in_file(path))
}

/// Where one array is read from, as one of a given type.
trait Source {
    /// The array; or an element type that is not `T`, as the file spells it.
    fn typed<T: ReadableElement>(&mut self) -> Result<Result<ArrayD<T>, String>>;
}

struct NpyFile<'a>(&'a Path);

impl Source for NpyFile<'_> {
    fn typed<T: ReadableElement>(&mut self) -> Result<Result<ArrayD<T>, String>> {
        let file = File::open(self.0).map_err(|e| Error::io(self.0, "open the array", e))?;
        match ArrayD::<T>::read_npy(BufReader::new(file)) {
            Ok(array) => Ok(Ok(array)),
            Err(ReadNpyError::WrongDescriptor(other)) => Ok(Err(other.to_string())),
            Err(e) => Err(Error::malformed(format!(
                "not a NumPy array, or a damaged one: {e}"
            ))),
        }
    }
}

/// An array of an archive, by its name.
struct Entry<'a, R: Read + Seek>(&'a mut NpzReader<R>, &'a str);

impl<R: Read + Seek> Source for Entry<'_, R> {
    fn typed<T: ReadableElement>(&mut self) -> Result<Result<ArrayD<T>, String>> {
        match self.0.by_name::<OwnedRepr<T>, IxDyn>(self.1) {
            Ok(array) => Ok(Ok(array)),
            Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(other))) => {
                Ok(Err(other.to_string()))
            }
            Err(e) => Err(Error::malformed(format!(
                "the array `{}` is damaged: {e}",
                self.1
            ))),
        }
    }
}

/// Reads an array of an archive, whatever its element type.
///
/// # Errors
/// When it is damaged, or its element type is not read.
fn array<R: Read + Seek>(archive: &mut NpzReader<R>, name: &str) -> Result<Tensor> {
    any_type(&mut Entry(archive, name))
}

/// Reads an array as one of a given type; or says which other type it has, as the file spells it.
type Reader<S> = fn(&mut S) -> Result<Result<Tensor, String>>;

/// Reads an array, whatever its element type.
fn any_type<S: Source>(source: &mut S) -> Result<Tensor> {
    fn plain<S: Source, T: Element + ReadableElement>(
        source: &mut S,
    ) -> Result<Result<Tensor, String>> {
        Ok(source.typed::<T>()?.map(|array| T::tensor(array.into())))
    }
    let readers: [Reader<S>; 10] = [
        plain::<S, f32>,
        plain::<S, i64>,
        plain::<S, i32>,
        plain::<S, f64>,
        plain::<S, bool>,
        plain::<S, u8>,
        plain::<S, i8>,
        plain::<S, i16>,
        |source| {
            Ok(source
                .typed::<Half>()?
                .map(|array| Tensor::F16(array.mapv(|x| x.0).into())))
        },
        |source| {
            Ok(source
                .typed::<Bits16>()?
                .map(|array| Tensor::BF16(array.mapv(|x| x.0).into())))
        },
    ];
    let mut other = String::new();
    for reader in readers {
        match reader(source)? {
            Ok(tensor) => return Ok(tensor),
            Err(found) => other = found,
        }
    }
    Err(Error::unsupported(format!(
        "an array has the element type {other}, which is not read"
    )))
}

/// Writes an archive with these arrays.
///
/// # Errors
/// When it can't be written, or an array is of bfloat16.
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
            Tensor::F16(array) => add(&mut archive, name, &array.mapv(Half).into_shared()),
            Tensor::BF16(_) => Err(Error::unsupported(format!(
                "`{name}` is {}, which is not written to NumPy's files",
                tensor.dtype()
            ))),
        }?;
    }
    let finished = archive.finish();
    finished.map_err(|e| Error::io_somewhere("write the arrays", io::Error::other(e)))?;
    Ok(())
}

fn add<W: Write + Seek, T: WritableElement>(
    archive: &mut NpzWriter<W>,
    name: &str,
    array: &Array<T>,
) -> Result<()> {
    let added = archive.add_array(name, array);
    added.map_err(|e| Error::io_somewhere(&format!("write `{name}`"), io::Error::other(e)))
}
