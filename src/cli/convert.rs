//! `convert`: writes a model as ONNX, and on request verifies the result.

mod destination;
mod tree;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use paddle2onnx::verify::Report;
use paddle2onnx::{Conversion, ConvertOptions, Model, OPSETS, Snapshot, TARGETS, Target, Weights};
use serde::Serialize;

use super::comparing::Comparing;
use super::conversion::How;
use super::half::Types;
use super::loudness::{Loudness, is_quiet};
use super::notes::{self, Noted};
use super::open::Reading;
use super::opset::Opset;
use super::outcome::{Outcome, Result};
use super::stderr::{complain, note, warn};
use super::stdout::{print, print_json};
use super::{check, conversion, counts, fields, interrupt, verification, verify};
use destination::Destination;

/// Converts a Paddle model to ONNX.
///
/// MODEL is a program (inference.json of Paddle 3, inference.pdmodel, or __model__ of Paddle 1.x), or
/// a folder with one in it.
/// The output appears when it is complete: nothing is left of a conversion that fails.
#[derive(clap::Args)]
#[command(
    after_long_help = EXAMPLES,
    mut_group("Judging", |group| group.requires("verify")),
    mut_group("Random", |group| group.requires("verify")),
    mut_group("Given", |group| group.requires("verify")),
)]
pub(super) struct Args {
    /// The program, or the folder with it
    model: PathBuf,

    /// Where to write the ONNX model: a file, a folder, which gets NAME.onnx, or - for standard output [default: beside the
    /// program, as NAME.onnx]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Convert all models in the folder MODEL and below it. With --output, they go into that folder, in folders like those
    /// that they are in. A model that can't be converted fails alone
    #[arg(short, long, conflicts_with_all = ["params", "check", "verify"])]
    recursive: bool,

    /// The weights: a .pdiparams file or a folder with one file per variable
    /// [default: beside the program]
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,

    #[command(flatten)]
    opset: Opset,

    /// The runtime that the model is for: the opset is chosen by it if none is asked for, and what does not fit it is a warning
    #[arg(long, value_name = "NAME", default_value = "portable", value_parser = target_names())]
    target: &'static Target,

    /// The version of ONNX's format, for readers that insist on one [default: the lowest that the opset allows]
    #[arg(long, value_name = "N", conflicts_with = "check")]
    ir_version: Option<u32>,

    #[command(flatten)]
    reading: Reading,

    /// Where to put the weights [default: inline if protobuf's limit of 2 GiB allows it, else
    /// external]
    #[arg(long, value_enum)]
    weights: Option<Placement>,

    /// Leave out the choice of the best among boxes that overlap, for runtimes that do this themselves: the outputs are
    /// `boxes` [batch, boxes, 4] (left, top, right, bottom) and `scores` [batch, boxes, classes], as TensorRT's EfficientNMS
    /// takes them
    #[arg(long, conflicts_with_all = ["reference", "expected"])]
    drop_nms: bool,

    /// Have detectors find exactly N boxes in each image, of which rows of -1 stand for missing ones, for runtimes whose
    /// tensors have known extents alone; N boxes per class are looked at
    #[arg(long, value_name = "N", conflicts_with_all = ["drop_nms", "reference", "expected"])]
    nms_limit: Option<NonZeroUsize>,

    /// Write the float model behind a quantised one, for runtimes without integer kernels: nothing is
    /// quantised on the way, and weights that are stored as integers become floats
    #[arg(long, conflicts_with_all = ["check", "verify"])]
    dequantize: bool,

    #[command(flatten)]
    types: Types,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    loudness: Loudness,

    /// List everything that stands in the way of the conversion, and write nothing; exit with 1 if there
    /// is something
    #[arg(long, conflicts_with_all = ["output", "weights", "verify"])]
    check: bool,

    /// Run both models afterwards and compare what they compute; exit with 1 if they differ
    #[arg(long)]
    verify: bool,

    #[command(flatten, next_help_heading = "Options of --verify")]
    comparing: Comparing,
}

impl Args {
    /// How a model is to be written. Warns of what does not fit the runtime that it is for.
    fn how(&self, model: &Model) -> Result<How> {
        let how = How {
            opset: self.target.opset,
            ir_version: self.ir_version,
            weights: self.weights.map_or(Weights::Auto, Weights::from),
            dequantize: self.dequantize,
            ..How::default()
        };
        let how = how.in_opset(&self.opset, model)?;
        let remarks = self.target.remarks(model, how.opset);
        remarks.iter().for_each(|remark| warn(remark));
        Ok(how)
    }

    /// The opset whose obstacles are of interest: the highest, if the lowest is asked for and none will do.
    fn opset_to_check(&self, model: &Model) -> u32 {
        let options = ConvertOptions {
            opset: self.target.opset,
            ..ConvertOptions::default()
        };
        let chosen = self.opset.of(model, &options);
        chosen.map_or(*OPSETS.end(), |chosen| chosen.number)
    }

    /// The model of this program or folder, with what `--drop-nms`, `--nms-limit`, `--target` and `--dtype` make of it.
    fn opened(&self, model: &Path) -> Result<Model> {
        let model = self.reading.open(model, self.params.as_deref())?;
        let model = if self.drop_nms {
            model.without_nms()?
        } else if let Some(limit) = self.nms_limit {
            model.with_nms_limit(limit.get())?
        } else {
            model
        };
        self.types
            .applied(model.with_operators_of(self.target.domain))
    }
}

const EXAMPLES: &str = "\
Examples:
  Write model/inference.onnx:
      paddle2onnx-rs convert model/inference.json

  Write to another place, for ONNX's operator set 19:
      paddle2onnx-rs convert model -o vit.onnx --opset 19

  Leave the weights in Paddle's file, to which the ONNX model then points:
      paddle2onnx-rs convert model --weights link

  Write it for another runtime, in the lowest opset that will do:
      paddle2onnx-rs convert model --target openvino --opset auto

  Convert all models below a folder, into another one:
      paddle2onnx-rs convert models --recursive -o onnx

  Hand the model on to another program:
      paddle2onnx-rs convert model -o - | ssh host 'cat > model.onnx'

  See whether a model can be converted at all:
      paddle2onnx-rs convert model --check

  Pass an op that is not supported through to an operator that your runtime has:
      paddle2onnx-rs convert model --custom-op my_relu=com.example::MyRelu

  Convert the model up to a value inside of it:
      paddle2onnx-rs convert model --outputs conv2d_57.tmp_1

  Let TensorRT choose among the boxes of a detector:
      paddle2onnx-rs convert model --drop-nms

  Convert to half precision, but for gelu, and prove it:
      paddle2onnx-rs convert model --dtype float16 --keep-f32 gelu --verify

  Write a quantised model in floats:
      paddle2onnx-rs convert model --dequantize

  Prove the result against ONNX Runtime at batch sizes 1 and 8:
      paddle2onnx-rs convert model --verify --batch 1,8";

/// The names of the targets, with what these are.
fn target_names() -> impl TypedValueParser<Value = &'static Target> {
    let names = TARGETS.iter();
    let names = PossibleValuesParser::new(
        names.map(|target| PossibleValue::new(target.name).help(target.what)),
    );
    names.try_map(|name| Target::named(&name))
}

/// Where the weights go, as the user names it.
#[derive(Clone, Copy, ValueEnum)]
enum Placement {
    /// In the ONNX file
    Inline,
    /// In a second file beside it, NAME.onnx.data
    External,
    /// In Paddle's own file, which must be in or below the output's folder
    Link,
}

impl From<Placement> for Weights {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Inline => Weights::Inline,
            Placement::External => Weights::External,
            Placement::Link => Weights::Link,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Converted<'a> {
    output: PathBuf,
    /// The file with the weights, if they are in one of their own.
    data: Option<PathBuf>,
    /// The size of both files together.
    bytes: u64,
    nodes: usize,
    opset: u32,
    /// Why in this opset, if it is the lowest that will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    opset_reason: Option<String>,
    /// `inline`, `external` or `link`.
    weights: &'static str,
    /// How long it took to open and convert the model.
    seconds: f64,
    notes: Vec<Noted>,
    /// What the ONNX model says of itself.
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<&'a Report>,
}

/// Converts, and verifies if that was asked for.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    args.loudness.apply();
    interrupt::install()?;
    if args.recursive {
        return tree::run(args);
    }
    let start = Instant::now();
    let model = args.opened(&args.model)?;
    if args.check {
        return check::run(&model, args.opset_to_check(&model), args.json);
    }
    let output = match Destination::of(args, &model.files().program)? {
        Destination::File(output) => output,
        Destination::Stdout => {
            let how = args.how(&model)?;
            let streamed = conversion::write_to_stdout(&model, &how)?;
            if let Some(reason) = &how.opset_reason {
                note(&format!("the model is of opset {}, {reason}", how.opset));
            }
            notes::print(&streamed.notes);
            return Ok(Outcome::Success);
        }
    };
    if args.verify {
        // Loaded here so that a missing library is reported before the work.
        args.comparing.require_runtime()?;
    }
    let how = args.how(&model)?;
    let mut conversion = conversion::write(&model, &output, &how)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = if args.verify {
        let unverified = Snapshot::of(&output)?;
        let report = prove(&model, &output, args)?;
        stamp(&mut conversion, &unverified, &report);
        Some(report)
    } else {
        None
    };
    let outcome = report.as_ref().map_or(Outcome::Success, verify::outcome);
    let converted = Converted::new(&output, &conversion, &how, seconds, report.as_ref());
    if args.json {
        print_json(&converted)?;
    } else {
        notes::print(&conversion.notes);
        if !is_quiet() || outcome != Outcome::Success {
            print(&converted.text())?;
        }
    }
    if outcome == Outcome::NoParity {
        complain(&format!(
            "{} was written, but it does not compute what {} computes",
            output.display(),
            model.files().program.display()
        ));
    }
    Ok(outcome)
}

fn prove(model: &Model, output: &Path, args: &Args) -> Result<Report> {
    let report = verify::compare(model, output, &args.comparing, false);
    report.map_err(|e| {
        e.after(&format!(
            "{} was written but not verified",
            output.display()
        ))
    })
}

/// Notes in the model's metadata that it was verified, if it passed.
fn stamp(conversion: &mut Conversion, unverified: &Snapshot, report: &Report) {
    let Some(entries) = report.stamp() else {
        return;
    };
    match unverified.add_metadata(&entries) {
        Ok(grown) => {
            conversion.written.bytes += grown;
            conversion.metadata.extend(entries);
        }
        Err(e) => warn(&format!("{e}; the model does not say that it was verified")),
    }
}

/// Where the weights are, in a word: [`Weights::Auto`] leaves that to the writer.
fn placement(conversion: &Conversion, asked: Weights) -> &'static str {
    match (asked, &conversion.written.data) {
        (_, Some(_)) => "external",
        (Weights::Link, None) => "link",
        (_, None) => "inline",
    }
}

impl<'a> Converted<'a> {
    pub fn new(
        output: &Path,
        conversion: &Conversion,
        how: &How,
        seconds: f64,
        verification: Option<&'a Report>,
    ) -> Self {
        Self {
            output: output.to_path_buf(),
            data: conversion.written.data.clone(),
            bytes: conversion.written.bytes,
            nodes: conversion.nodes,
            opset: how.opset,
            opset_reason: how.opset_reason.clone(),
            weights: placement(conversion, how.weights),
            seconds,
            notes: conversion.notes.iter().map(Noted::from).collect(),
            metadata: conversion.metadata.iter().cloned().collect(),
            verification,
        }
    }

    /// What is printed without `--json`.
    pub fn text(&self) -> String {
        let weights = match (self.weights, &self.data) {
            (_, Some(data)) => format!("in {}", data.display()),
            ("link", None) => "in Paddle's own file, which must stay where it is".into(),
            _ => "in the same file".into(),
        };
        let opset = match &self.opset_reason {
            Some(reason) => format!("{}, {reason}", self.opset),
            None => self.opset.to_string(),
        };
        let mut text = fields::text(&[
            ("Output", self.output.display().to_string()),
            ("Weights", weights),
            ("Size", counts::bytes(self.bytes)),
            ("Nodes", self.nodes.to_string()),
            ("Opset", opset),
            ("Time", format!("{:.2} s", self.seconds)),
        ]);
        if let Some(report) = self.verification {
            text.push('\n');
            text.push_str(&verification::text(report));
        }
        text
    }
}
