//! Tensors ↔ what NumPy's arrays are made of: the name of the element type, the shape, and the bytes.

use paddle2onnx::tensor::{DType, Tensor};
use paddle2onnx::{Error, Result};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

/// An array by its name, its element type, its shape, and its elements in row-major order, little-endian.
pub type Given = (String, String, Vec<usize>, PyBackedBytes);

/// An array that is returned, as [`Given`] says.
pub type Returned<'py> = (String, &'static str, Vec<usize>, Bound<'py, PyBytes>);

/// The tensors of one run.
///
/// # Errors
/// When an element type is not one that tensors have.
pub fn given(arrays: &[Given]) -> Result<Vec<(String, Tensor)>> {
    let tensors = arrays.iter().map(|(name, dtype, shape, bytes)| {
        let known = DType::ALL.into_iter().find(|known| known.name() == dtype);
        let dtype = known.ok_or_else(|| {
            let known = DType::ALL.map(DType::name).join(", ");
            Error::invalid(format!(
                "the array for `{name}` is of {dtype}, which models don't take; the element types are: {known}"
            ))
        })?;
        Ok((name.clone(), Tensor::from_le_bytes(dtype, shape, bytes)?))
    });
    tensors.collect()
}

/// A tensor, with a name, for Python.
pub fn returned<'py>(py: Python<'py>, name: &str, tensor: &Tensor) -> Returned<'py> {
    (
        name.to_owned(),
        tensor.dtype().name(),
        tensor.shape().to_vec(),
        PyBytes::new(py, &tensor.to_le_bytes()),
    )
}
