//! The writing of an ONNX model, with progress on the terminal.

use std::path::Path;

use paddle2onnx::{Conversion, ConvertOptions, Model, Weights};

use super::interrupt;
use super::outcome::Result;
use super::progress::Line;

/// Writes the ONNX model, and shows how far that is. Ctrl-C and SIGTERM stop it, and no file is left.
pub(super) fn write(
    model: &Model,
    output: &Path,
    opset: u32,
    weights: Weights,
) -> Result<Conversion> {
    let line = Line::bytes();
    let options = ConvertOptions {
        opset,
        weights,
        progress: &line,
    };
    Ok(interrupt::while_writing(|| {
        model.convert(output, &options)
    })?)
}
