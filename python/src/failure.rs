//! Errors of the library → exceptions.

use paddle2onnx::ErrorKind;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    paddle2onnx_rs,
    Error,
    PyException,
    "Why something could not be done: a sentence or two for people, and for programs the attributes `kind`, `path`, \
     `op` and `needed_opset`."
);

/// The exception for an error. Its attributes say what programs may want to know.
pub fn exception(py: Python<'_>, error: &paddle2onnx::Error) -> PyErr {
    let kind = match error.kind() {
        ErrorKind::Malformed => "malformed",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Io => "io",
        ErrorKind::Interrupted => "interrupted",
        _ => "internal",
    };
    let exception = Error::new_err(error.to_string());
    let value = exception.value(py);
    let place = error.place();
    let set = value
        .setattr("kind", kind)
        .and_then(|()| value.setattr("path", place.path.as_ref().map(|p| p.as_os_str())))
        .and_then(|()| value.setattr("op", place.op.as_deref()))
        .and_then(|()| value.setattr("needed_opset", error.needed_opset()));
    set.err().unwrap_or(exception)
}
