//! `paddle2onnx_rs._native`: what the files of the Python package `paddle2onnx_rs` call.
//!
//! Here Python's values become those of the library, its errors become exceptions, and long work runs without Python's
//! lock and ends with Ctrl-C. What Python programs see is defined in `paddle2onnx_rs/*.py`.

mod convert;
mod failure;
mod reading;
mod tensors;
mod verify;
mod work;

use std::ffi::OsString;

use paddle2onnx::cli::{self, compat, printed};
use pyo3::prelude::*;

use crate::reading::Reading;

/// Runs the command line, of which the first argument is the program's name. `program` is the command that starts it
/// again. Returns the exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>, program: Vec<OsString>) -> u8 {
    py.detach(|| cli::main(arguments, program))
}

/// The text and the JSON that `inspect` prints.
#[pyfunction]
fn inspect(py: Python<'_>, reading: Reading) -> PyResult<(String, String)> {
    let printed = work::run(py, None, |_: &work::Reporter<()>| {
        Ok(printed::inspection(&reading.open()?))
    })?;
    Ok((printed.text, printed.json))
}

/// The text and the JSON that `convert --check` prints.
#[pyfunction]
fn check(py: Python<'_>, reading: Reading, opset: u32) -> PyResult<(String, String)> {
    let printed = work::run(py, None, |_: &work::Reporter<()>| {
        printed::obstacles(&reading.open()?, opset)
    })?;
    Ok((printed.text, printed.json))
}

/// Refuses a model that Paddle2ONNX would write in another way for this backend than for ONNX Runtime.
#[pyfunction]
fn refuse_backend(py: Python<'_>, reading: Reading, backend: String) -> PyResult<()> {
    work::run(py, None, |_: &work::Reporter<()>| {
        compat::refuse_backend(&reading.open()?, &backend)
    })
}

/// The text and the JSON that `ops` prints.
#[pyfunction]
fn ops() -> (String, String) {
    let printed = printed::ops();
    (printed.text, printed.json)
}

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Error", module.py().get_type::<failure::Error>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DEFAULT_OPSET", paddle2onnx::DEFAULT_OPSET)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(inspect, module)?)?;
    module.add_function(wrap_pyfunction!(check, module)?)?;
    module.add_function(wrap_pyfunction!(ops, module)?)?;
    module.add_function(wrap_pyfunction!(refuse_backend, module)?)?;
    module.add_function(wrap_pyfunction!(convert::lowest_opset, module)?)?;
    module.add_function(wrap_pyfunction!(convert::convert, module)?)?;
    module.add_function(wrap_pyfunction!(verify::verify, module)?)
}
