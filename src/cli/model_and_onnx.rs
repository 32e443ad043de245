//! What `verify` and `bench` work on: a Paddle model, and its ONNX model or a conversion.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use paddle2onnx::{DEFAULT_OPSET, Model, OPSETS, Weights};
use serde::Serialize;

use super::{Result, convert, interrupt, open};

/// A Paddle model, and the ONNX model of it.
#[derive(clap::Args)]
pub struct ModelAndOnnx {
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
}

/// What `--json` prints: the report, and what it is about.
#[derive(Serialize)]
pub struct Titled<'a, R> {
    model: &'a Path,
    /// None if it was converted for this alone.
    onnx: Option<&'a Path>,
    version: &'static str,
    #[serde(flatten)]
    report: &'a R,
}

impl ModelAndOnnx {
    /// Reads the Paddle model.
    pub fn open(&self) -> Result<Model> {
        open(&self.model, self.params.as_deref())
    }

    /// Has `work` done with the given ONNX model, or one that is converted for the purpose.
    pub fn with_onnx<T>(&self, model: &Model, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        match &self.onnx {
            Some(onnx) => work(onnx),
            None => interrupt::with_scratch(|folder| {
                let onnx = folder.join("model.onnx");
                convert::write(model, &onnx, self.opset.number(), Weights::Auto)?;
                work(&onnx)
            }),
        }
    }

    /// A report with its title.
    pub fn titled<'a, R>(&'a self, report: &'a R) -> Titled<'a, R> {
        Titled {
            model: &self.model,
            onnx: self.onnx.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
            report,
        }
    }
}

/// The version of ONNX's operator set.
#[derive(clap::Args)]
pub struct Opset {
    /// ONNX's operator set to convert to
    #[arg(
        long = "opset",
        value_name = "N",
        help = OPSET_HELP.as_str(),
        value_parser = clap::value_parser!(u32).range(i64::from(*OPSETS.start())..=i64::from(*OPSETS.end())),
    )]
    number: Option<u32>,
}

static OPSET_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "The version of ONNX's operator set to convert to, {} to {} [default: {DEFAULT_OPSET}]",
        OPSETS.start(),
        OPSETS.end()
    )
});

impl Opset {
    /// The version.
    pub fn number(&self) -> u32 {
        self.number.unwrap_or(DEFAULT_OPSET)
    }
}
