//! `convert`.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use paddle2onnx::{ConvertOptions, Error, Target, Weights};
use pyo3::prelude::*;

use crate::reading::Reading;
use crate::work;

/// How to convert, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Conversion {
    output: PathBuf,
    /// The opset, or 0 for the lowest that will do; None for that of the target.
    opset: Option<u32>,
    ir_version: Option<u32>,
    /// The runtime that the model is for.
    target: String,
    /// `auto`, `inline`, `external` or `link`.
    weights: String,
    dequantize: bool,
    drop_nms: bool,
    nms_limit: Option<usize>,
}

impl Conversion {
    fn placement(&self) -> paddle2onnx::Result<Weights> {
        match self.weights.as_str() {
            "auto" => Ok(Weights::Auto),
            "inline" => Ok(Weights::Inline),
            "external" => Ok(Weights::External),
            "link" => Ok(Weights::Link),
            other => Err(Error::invalid(format!(
                "weights={other:?}: it is one of auto, inline, external and link"
            ))),
        }
    }
}

/// Converts a model. `progress` is called with the number of bytes that are written, and that of all. Returns the notes on
/// the conversion.
#[pyfunction]
pub fn convert(
    py: Python<'_>,
    reading: Reading,
    how: Conversion,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<String>> {
    work::run(py, progress, |reporter| {
        let mut model = reading.open()?;
        if how.drop_nms {
            model = model.without_nms()?;
        }
        if let Some(limit) = how.nms_limit {
            model = model.with_nms_limit(limit)?;
        }
        let step = |done: u64, total: u64| {
            reporter.tell((done, total));
            if reporter.stop().load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let target = Target::named(&how.target)?;
        model = model.with_operators_of(target.domain);
        let mut options = ConvertOptions {
            opset: target.opset,
            ir_version: how.ir_version,
            weights: how.placement()?,
            dequantize: how.dequantize,
            progress: &step,
        };
        match how.opset {
            Some(0) => options.opset = model.lowest_opset_with(&options)?.opset,
            Some(opset) => options.opset = opset,
            None => {}
        }
        let remarks = target.remarks(&model, options.opset);
        let conversion = model.convert(&how.output, &options)?;
        let notes = conversion.notes.iter().map(|note| {
            let place = note.places.first().map_or("", String::as_str);
            format!("{place}: {}", note.text)
        });
        let warning = model.format().warning();
        let remarks = remarks.into_iter().chain(conversion.remarks.clone());
        Ok(warning.into_iter().chain(remarks).chain(notes).collect())
    })
}

/// The lowest opset that a model can be converted to.
#[pyfunction]
pub fn lowest_opset(py: Python<'_>, reading: Reading) -> PyResult<u32> {
    work::run(py, None, |_: &work::Reporter<()>| {
        reading.open()?.lowest_opset()
    })
}
