//! What `verify` and `bench` work on: a Paddle model, and an ONNX model of it, which is given or
//! converted for the purpose.

use std::path::{Path, PathBuf};

use paddle2onnx::Model;
use serde::Serialize;

use super::conversion::How;
use super::half::Types;
use super::open::Reading;
use super::opset::Opset;
use super::outcome::Result;
use super::{conversion, interrupt};

/// A Paddle model, and the ONNX model of it.
#[derive(clap::Args)]
pub(super) struct ModelAndOnnx {
    /// The program (inference.json, inference.pdmodel, __model__), or the folder with it
    pub model: PathBuf,

    /// The ONNX model [default: convert into a temporary folder]
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    pub onnx: Option<PathBuf>,

    /// The weights: a .pdiparams file or a folder with one file per variable
    /// [default: beside the program]
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,

    #[command(flatten)]
    opset: Opset,

    #[command(flatten)]
    reading: Reading,

    #[command(flatten)]
    types: Types,
}

/// What `--json` prints: the report, and what it is about.
#[derive(Serialize)]
pub(super) struct Titled<'a, R> {
    model: &'a Path,
    /// None if the ONNX model was converted for this run alone.
    onnx: Option<&'a Path>,
    version: &'static str,
    #[serde(flatten)]
    report: &'a R,
}

impl ModelAndOnnx {
    /// Opens the Paddle model.
    pub fn open(&self) -> Result<Model> {
        let model = self.reading.open(&self.model, self.params.as_deref())?;
        self.types.applied(model)
    }

    /// Runs `work` on the given ONNX model, or on one that is converted into a temporary folder.
    pub fn with_onnx<T>(&self, model: &Model, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        match &self.onnx {
            Some(onnx) => work(onnx),
            None => interrupt::with_scratch(|folder| {
                let onnx = folder.join("model.onnx");
                let how = How::default().in_opset(&self.opset, model)?;
                conversion::write(model, &onnx, &how)?;
                work(&onnx)
            }),
        }
    }

    /// The report with the names of the models that it is about.
    pub fn titled<'a, R>(&'a self, report: &'a R) -> Titled<'a, R> {
        Titled {
            model: &self.model,
            onnx: self.onnx.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
            report,
        }
    }
}
