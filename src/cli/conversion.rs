//! The writing of an ONNX model, with progress on the terminal.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use paddle2onnx::{
    Conversion, ConvertOptions, Error, ErrorKind, Model, OPSETS, Progress, Streamed, Weights,
};

use super::interrupt;
use super::opset::Opset;
use super::outcome::{Failure, Result};
use super::progress::Line;
use super::stderr::warn;

/// How a model is to be written.
pub(super) struct How {
    pub opset: u32,
    /// Why in this opset, if it is the lowest that will do.
    pub opset_reason: Option<String>,
    pub ir_version: Option<u32>,
    pub weights: Weights,
    /// Whether in floats, where the model is quantised.
    pub dequantize: bool,
}

impl Default for How {
    fn default() -> Self {
        let ConvertOptions {
            opset,
            ir_version,
            weights,
            dequantize,
            ..
        } = ConvertOptions::default();
        Self {
            opset,
            opset_reason: None,
            ir_version,
            weights,
            dequantize,
        }
    }
}

impl How {
    /// The same in the opset that was asked for, if one was.
    ///
    /// # Errors
    /// When the model can't be converted to any.
    pub fn in_opset(mut self, opset: &Opset, model: &Model) -> Result<Self> {
        let chosen = opset.of(model, &self.options(&|_, _| ControlFlow::Continue(())));
        // What stands in the way of each stands in the way of the last.
        let chosen = chosen.map_err(|e| with_others(e, model, *OPSETS.end()))?;
        (self.opset, self.opset_reason) = (chosen.number, chosen.reason);
        Ok(self)
    }

    /// The library's options for this, with somebody who is told how far the writing is.
    fn options<'a>(&self, progress: &'a dyn Progress) -> ConvertOptions<'a> {
        ConvertOptions {
            opset: self.opset,
            ir_version: self.ir_version,
            weights: self.weights,
            dequantize: self.dequantize,
            progress,
        }
    }
}

/// Writes the ONNX model, and shows how far that is. Ctrl-C and SIGTERM stop it, and no file is left.
pub(super) fn write(model: &Model, output: &Path, how: &How) -> Result<Conversion> {
    let line = Line::bytes();
    let converted = interrupt::while_writing(|| model.convert(output, &how.options(&line)));
    let conversion = converted.map_err(|e| with_others(e, model, how.opset))?;
    conversion.remarks.iter().for_each(|remark| warn(remark));
    Ok(conversion)
}

/// Writes the ONNX model to standard output, with nothing else, and shows on stderr how far that is.
pub(super) fn write_to_stdout(model: &Model, how: &How) -> Result<Streamed> {
    let line = Line::bytes();
    let mut stdout = io::stdout().lock();
    let streamed = model.convert_to(&mut stdout, &how.options(&line));
    let streamed = streamed.map_err(|e| with_others(e, model, how.opset))?;
    streamed.remarks.iter().for_each(|remark| warn(remark));
    Ok(streamed)
}

/// The error as it is shown, with a word on what else stands in the way: it names only the first reason, but for ops
/// without a definition, all of which it lists.
fn with_others(error: Error, model: &Model, opset: u32) -> Failure {
    let is_unsupported = error.kind() == ErrorKind::Unsupported;
    let mut failure = Failure::from(error);
    if is_unsupported && let Ok(obstacles) = model.obstacles(opset) {
        let (unknown, others): (Vec<_>, Vec<_>) = obstacles
            .iter()
            .partition(|obstacle| obstacle.reason.starts_with("not supported"));
        let left = others.len() - usize::from(unknown.is_empty() && !others.is_empty());
        if left > 0 {
            failure.message += "; more stands in the way: convert --check lists all of it";
        }
    }
    failure
}
