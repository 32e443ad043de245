//! The runtimes that Paddle2ONNX writes quantised models and detectors for, each in another way.

use clap::ValueEnum;
use paddle2onnx::{Error, Model, Result};

/// What a model is for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(super) enum Backend {
    OnnxRuntime,
    TensorRt,
    Rknn,
    Others,
}

impl Backend {
    /// Refuses a model that Paddle2ONNX would write in another way than for ONNX Runtime.
    pub fn refuse(self, model: &Model) -> Result<()> {
        if self == Self::OnnxRuntime {
            return Ok(());
        }
        let ops = model.summary().ops;
        let has = |part: &str| ops.keys().any(|name| name.contains(part));
        let what = if has("quantize") {
            "a quantised model is written with QuantizeLinear and DequantizeLinear, which ONNX Runtime and TensorRT take; \
             `convert --dequantize` writes it in floats"
        } else if has("nms") {
            "a detector is written with ONNX's NonMaxSuppression; `convert --drop-nms` leaves the choice of boxes to the \
             runtime"
        } else {
            return Ok(());
        };
        Err(Error::unsupported(format!(
            "the deploy backend is not onnxruntime: {what}"
        )))
    }
}

/// Refuses a model that Paddle2ONNX would write in another way for the backend of this name than for ONNX Runtime.
///
/// # Errors
/// When the model is such, or there is no such backend.
pub fn refuse_backend(model: &Model, name: &str) -> Result<()> {
    let backend = Backend::from_str(name, true).map_err(|_| {
        Error::invalid(format!(
            "the deploy backend is one of onnxruntime, tensorrt, rknn and others, not {name:?}"
        ))
    })?;
    backend.refuse(model)
}
