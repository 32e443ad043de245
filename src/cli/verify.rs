//! `verify`: does the ONNX model compute what the Paddle program computes?

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::verify::{
    About, DEFAULT_BATCHES, DEFAULT_SEED, Inputs, Report, Tolerance, VerifyOptions, html,
};
use paddle2onnx::{DEFAULT_OPSET, Model, OPSETS, Weights};
use serde::Serialize;

use super::output::Pending;
use super::progress::Line;
use super::{Outcome, Result, convert, interrupt, open, print, print_json, render};

/// Runs a Paddle model and its ONNX model on the same inputs, and compares every output.
///
/// The Paddle program runs in a reference interpreter that knows nothing of the conversion, the
/// ONNX model in ONNX Runtime. Recorded outputs, where given, are a third side. The exit code is 0
/// if all agree, 1 if they don't, and 2 if they could not be compared.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The program (inference.json, inference.pdmodel, __model__), or the folder with it
    model: PathBuf,

    /// The ONNX model [default: convert into a temporary folder]
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    onnx: Option<PathBuf>,

    /// The weights: a .pdiparams file or a folder with one file per variable
    /// [default: beside the program]
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,

    #[command(flatten)]
    opset: Opset,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Write a report with charts as well, as a page that needs no network. Compares every op, as
    /// with --per-op
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    comparing: Comparing,
}

const EXAMPLES: &str = "\
Examples:
  Convert into a temporary folder, and compare at batch sizes 1 and 3:
      paddle2onnx-rs verify model/inference.json

  Judge a given ONNX model, at batch size 16:
      paddle2onnx-rs verify model --onnx vit.onnx --batch 16

  See where errors come from, op by op, and write a page about it:
      paddle2onnx-rs verify model --per-op --html report.html

  Compare with what Paddle computed (one .npz per run, arrays named as the model's inputs and
  outputs):
      paddle2onnx-rs verify model --inputs in.npz --expected out.npz";

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

/// What to compare, and how closely.
#[derive(clap::Args)]
pub struct Comparing {
    /// The batch sizes of runs on random inputs [default: 1,3]
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        conflicts_with = "inputs"
    )]
    batch: Vec<NonZeroUsize>,

    /// The seed of the random inputs [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "inputs")]
    seed: Option<u64>,

    /// Inputs instead of random ones: one .npz per run, with one array per input
    #[arg(long, value_name = "FILE.npz", num_args = 1..)]
    inputs: Vec<PathBuf>,

    /// Recorded outputs to compare with: one .npz per run, with one array per output
    #[arg(long, value_name = "FILE.npz", num_args = 1.., requires = "inputs")]
    expected: Vec<PathBuf>,

    /// Judge by a tolerance instead of the rounding noise: two numbers agree if
    /// |a - b| ≤ atol + rtol · |b| [default with --rtol: 1e-5]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    atol: Option<f64>,

    /// The relative part of the tolerance [default with --atol: 1e-3]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    rtol: Option<f64>,

    /// Compare every op as well, each on the operands that the reference has, and show where errors
    /// grow. Without it, the op to blame is looked for if an output disagrees
    #[arg(long)]
    per_op: bool,

    /// ONNX Runtime's library, or its folder [default: $ORT_DYLIB_PATH, else beside this program,
    /// in the system's folders and in Python's packages]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number of 0 or more is needed".into()),
    }
}

impl Comparing {
    /// Finds ONNX Runtime, without which there is nothing to compare.
    pub fn require_runtime(&self) -> Result<OnnxRuntime> {
        Ok(OnnxRuntime::load(self.ort_lib.as_deref())?)
    }

    fn options(&self) -> VerifyOptions {
        VerifyOptions {
            inputs: self.inputs(),
            expected: self.expected.clone(),
            tolerance: self.tolerance(),
            per_op: self.per_op,
            ort_lib: self.ort_lib.clone(),
        }
    }

    /// None if neither part is given.
    fn tolerance(&self) -> Option<Tolerance> {
        let default = Tolerance::default();
        (self.atol.is_some() || self.rtol.is_some()).then(|| Tolerance {
            atol: self.atol.unwrap_or(default.atol),
            rtol: self.rtol.unwrap_or(default.rtol),
        })
    }

    fn inputs(&self) -> Inputs {
        if !self.inputs.is_empty() {
            return Inputs::Files(self.inputs.clone());
        }
        let batches = match self.batch.as_slice() {
            [] => DEFAULT_BATCHES.to_vec(),
            given => given.iter().map(|batch| batch.get()).collect(),
        };
        Inputs::Random {
            batches,
            seed: self.seed.unwrap_or(DEFAULT_SEED),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Verified<'a> {
    model: &'a Path,
    /// None if it was converted for this alone.
    onnx: Option<&'a Path>,
    version: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

/// Verifies the given ONNX model, or one that is converted for the purpose.
pub fn run(args: &Args) -> Result<Outcome> {
    interrupt::install()?;
    let page = args.html.as_deref().map(Pending::create).transpose()?;
    let model = open(&args.model, args.params.as_deref())?;
    args.comparing.require_runtime()?;
    let report = match &args.onnx {
        Some(onnx) => compare(&model, onnx, &args.comparing, args.html.is_some())?,
        None => interrupt::with_scratch(|folder| {
            let onnx = folder.join("model.onnx");
            convert::write(&model, &onnx, args.opset.number(), Weights::Auto)?;
            compare(&model, &onnx, &args.comparing, args.html.is_some())
        })?,
    };
    if let Some(page) = page {
        let about = About {
            model: args.model.display().to_string(),
            format: model.format().to_string(),
            onnx: args.onnx.as_ref().map(|onnx| onnx.display().to_string()),
            made: SystemTime::now(),
        };
        page.finish(&html(&report, &about))?;
    }
    if args.json {
        print_json(&Verified {
            model: &args.model,
            onnx: args.onnx.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
            report: &report,
        })?;
    } else {
        print(&render::report(&report))?;
    }
    Ok(if report.parity {
        Outcome::Success
    } else {
        Outcome::NoParity
    })
}

/// Runs and compares both models, with progress; op by op if that is asked for here or there.
pub fn compare(model: &Model, onnx: &Path, comparing: &Comparing, per_op: bool) -> Result<Report> {
    interrupt::check()?;
    let line = Line::stages();
    let say = |stage: &str| line.say(stage.to_owned());
    Ok(paddle2onnx::verify::verify(
        model,
        onnx,
        &VerifyOptions {
            per_op: per_op || comparing.per_op,
            ..comparing.options()
        },
        &say,
    )?)
}
