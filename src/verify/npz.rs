//! NumPy archives: inputs and recorded outputs by name.

use std::fs::File;
use std::path::Path;

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};

use crate::error::{Error, Result};
use crate::tensor::{Element, Tensor};

type Archive = NpzReader<File>;

/// The arrays of a `.npz` archive with these names, in this order.
///
/// # Errors
/// When the archive can't be read or lacks one of them.
pub fn read(path: &Path, names: &[&str]) -> Result<Vec<Tensor>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the arrays", e))?;
    let mut archive = NpzReader::new(file).map_err(|e| damaged(path, &e))?;
    let entries = archive.names().map_err(|e| damaged(path, &e))?;
    // NumPy adds `.npy` to the names, which `names` may or may not show.
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
            ))
            .in_file(path));
        };
        let tensor = array(&mut archive, &entries[position]);
        tensors.push(tensor.map_err(|e| e.in_file(path))?);
    }
    Ok(tensors)
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::malformed(format!("not a NumPy archive, or a damaged one: {error}")).in_file(path)
}

/// Reads an array of whatever type it has.
fn array(archive: &mut Archive, entry: &str) -> Result<Tensor> {
    let readers = [
        typed::<f32>,
        typed::<i64>,
        typed::<i32>,
        typed::<f64>,
        typed::<bool>,
        typed::<u8>,
        typed::<i8>,
        typed::<i16>,
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

/// The array, if its elements are of this type.
fn typed<T: Element + ReadableElement>(
    archive: &mut Archive,
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
