//! `verify`: does the ONNX model compute what the Paddle program computes?

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paddle2onnx::Model;
use paddle2onnx::verify::{About, Report, Verdict, html};

use super::comparing::Comparing;
use super::loudness::{Loudness, is_quiet};
use super::model_and_onnx::ModelAndOnnx;
use super::outcome::{Outcome, Result};
use super::output::Pending;
use super::progress::Line;
use super::stderr::note;
use super::stdout::{print, print_json};
use super::{interrupt, verification};

/// Runs a Paddle model and its ONNX model on the same inputs, and compares every output.
///
/// The Paddle program runs in a reference interpreter that knows nothing of the conversion, the
/// ONNX model in ONNX Runtime. Recorded outputs, where given, are a third side, and so is Paddle
/// itself on request. Where rounding alone takes an output as far as a fault would, the ops are
/// compared one by one.
///
/// The exit code is 0 if all agree, 1 if they don't, 2 if they could not be compared, and 3 if the
/// outputs that can be judged agree, but not all can.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    sides: ModelAndOnnx,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Write a report with charts as well, as a page that needs no network. Compares every op, as
    /// with --per-op
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    loudness: Loudness,

    #[command(flatten)]
    comparing: Comparing,
}

const EXAMPLES: &str = "\
Examples:
  Convert into a temporary folder, and compare at batch sizes 1 and 3, and at two sizes if the model
  takes several:
      paddle2onnx-rs verify model/inference.json

  Judge a given ONNX model, at batch size 16:
      paddle2onnx-rs verify model --onnx vit.onnx --batch 16

  See where errors come from, op by op, and write a page about it:
      paddle2onnx-rs verify model --per-op --html report.html

  Compare with what Paddle computed (one .npz per run, arrays named as the model's inputs and
  outputs):
      paddle2onnx-rs verify model --inputs in.npz --expected out.npz

  Show both models a photograph, and what they take it for:
      paddle2onnx-rs verify model --image cat.jpg --labels imagenet1k_label_list.txt

  Compare with Paddle, which is installed in a virtual environment:
      paddle2onnx-rs verify model --reference paddle --python venv/bin/python";

/// Verifies the given ONNX model, or one that is converted for the purpose.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    args.loudness.apply();
    interrupt::install()?;
    let page = args.html.as_deref().map(Pending::create).transpose()?;
    let model = args.sides.open()?;
    args.comparing.require_runtime()?;
    let report = args.sides.with_onnx(&model, |onnx| {
        compare(&model, onnx, &args.comparing, args.html.is_some())
    })?;
    if let Some(page) = page {
        let about = About {
            model: args.sides.model.display().to_string(),
            format: model.format().to_string(),
            onnx: args
                .sides
                .onnx
                .as_ref()
                .map(|onnx| onnx.display().to_string()),
            made: SystemTime::now(),
        };
        page.finish(&html(&report, &about))?;
    }
    if args.json {
        print_json(&args.sides.titled(&report))?;
    } else if !is_quiet() || outcome(&report) != Outcome::Success {
        print(&verification::text(&report))?;
    }
    Ok(outcome(&report))
}

/// What a verification has found.
pub(super) fn outcome(report: &Report) -> Outcome {
    match report.verdict {
        Verdict::Parity | Verdict::ParityByOp => Outcome::Success,
        Verdict::PartialParity | Verdict::Undecided => Outcome::Undecided,
        Verdict::NoParity => Outcome::NoParity,
    }
}

/// Runs and compares both models, and shows progress. Every op is compared as well if `per_op` or the
/// arguments ask for it.
pub(super) fn compare(
    model: &Model,
    onnx: &Path,
    comparing: &Comparing,
    per_op: bool,
) -> Result<Report> {
    interrupt::check()?;
    let line = Line::stages();
    let say = |stage: &str| line.say(stage.to_owned());
    let mut options = comparing.options();
    options.per_op |= per_op;
    let report = paddle2onnx::verify::verify(model, onnx, &options, &say)?;
    drop(line);
    report.notes.iter().for_each(|text| note(text));
    Ok(report)
}
