//! `inspect`: what a model consists of, whether or not it can be converted.

use std::path::{Path, PathBuf};

use paddle2onnx::tensor::{Dim, display_shape};
use paddle2onnx::{Format, MacCount, Model, Port, Summary, WeightFiles};
use serde::{Serialize, Serializer};

use super::open::Reading;
use super::outcome::{Outcome, Result};
use super::stdout::{print, print_json};
use super::style::BAD;
use super::{counts, fields};

/// Shows what a Paddle model consists of: files, inputs, outputs, ops and size.
///
/// The weights may be missing, since the program says what they are.
///
/// Multiply-accumulates are those of one run at batch 1. Published tables count layers only, that
/// is products with trained weights; products of two activations, as in attention, come on top.
/// Likewise they count the parameters of layers, without embeddings that are merely added.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The program (inference.json, inference.pdmodel, __model__), or the folder with it
    model: PathBuf,

    /// The weights: a .pdiparams file or a folder with one file per variable
    /// [default: beside the program]
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,

    #[command(flatten)]
    reading: Reading,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Show a model:
      paddle2onnx-rs inspect model/inference.json

  List the ops that can't be converted:
      paddle2onnx-rs inspect model --json | jq '.ops[] | select(.supported | not)'";

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Inspected<'a> {
    format: &'static str,
    /// The version of the format, if it is PIR.
    pir_version: Option<u64>,
    program: &'a Path,
    weights: Weights<'a>,
    /// What is missing of the weights, and what to do.
    missing_weights: Option<&'a str>,
    inputs: Vec<JsonPort<'a>>,
    outputs: Vec<JsonPort<'a>>,
    ops: Vec<OpCount<'a>>,
    /// What keeps the model from being converted although its ops are all supported.
    problem: Option<&'a str>,
    parameters: u64,
    layer_parameters: Option<u64>,
    macs: Option<Macs>,
}

#[derive(Serialize)]
#[serde(tag = "kind", content = "path", rename_all = "snake_case")]
enum Weights<'a> {
    Combined(&'a Path),
    Separate(&'a Path),
    None,
}

#[derive(Serialize)]
struct JsonPort<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: Vec<Extent<'a>>,
}

/// An extent: a number, the name of a dynamic extent, or null where it is computed or not known.
struct Extent<'a>(&'a Dim);

impl Serialize for Extent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Dim::Known(extent) => serializer.serialize_i64(*extent),
            Dim::Symbol(symbol) => serializer.serialize_str(symbol),
            Dim::Computed { .. } | Dim::Unknown => serializer.serialize_none(),
        }
    }
}

#[derive(Serialize)]
struct OpCount<'a> {
    name: &'a str,
    count: usize,
    supported: bool,
}

#[derive(Serialize)]
struct Macs {
    layers: u64,
    with_attention_products: u64,
}

/// Prints what the model consists of.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let model = args.reading.open(&args.model, args.params.as_deref())?;
    let summary = model.summary();
    if args.json {
        print_json(&inspected(&model, &summary))?;
    } else {
        print(&text(&model, &summary))?;
    }
    Ok(Outcome::Success)
}

pub(super) fn inspected<'a>(model: &'a Model, summary: &'a Summary) -> Inspected<'a> {
    Inspected {
        format: match model.format() {
            Format::Pir { .. } => "PIR",
            _ => "ProgramDesc",
        },
        pir_version: match model.format() {
            Format::Pir { version } => Some(version),
            _ => None,
        },
        program: &model.files().program,
        weights: match &model.files().weights {
            WeightFiles::Combined(path) => Weights::Combined(path),
            WeightFiles::Separate(path) => Weights::Separate(path),
            WeightFiles::Missing(_) => Weights::None,
        },
        missing_weights: model.missing_weights(),
        inputs: summary.inputs.iter().map(json_port).collect(),
        outputs: summary.outputs.iter().map(json_port).collect(),
        ops: op_counts(summary),
        problem: summary.problem.as_deref(),
        parameters: summary.parameters,
        layer_parameters: summary.layer_parameters,
        macs: summary.macs.as_ref().map(|macs| Macs {
            layers: macs.layers,
            with_attention_products: macs.layers + macs.activations,
        }),
    }
}

fn json_port(port: &Port) -> JsonPort<'_> {
    JsonPort {
        name: &port.name,
        dtype: port.dtype.name(),
        shape: port.shape.iter().map(Extent).collect(),
    }
}

/// How often each op occurs, the most frequent op first.
fn op_counts(summary: &Summary) -> Vec<OpCount<'_>> {
    let counts = summary.ops.iter().map(|(name, count)| OpCount {
        name,
        count: *count,
        supported: !summary.unsupported.contains(name),
    });
    let mut counts: Vec<OpCount<'_>> = counts.collect();
    // The sort is stable: ops of equal count stay sorted by name.
    counts.sort_by_key(|op| std::cmp::Reverse(op.count));
    counts
}

pub(super) fn text(model: &Model, summary: &Summary) -> String {
    let files = model.files();
    let weights = match (model.missing_weights(), &files.weights) {
        (Some(what), _) => format!("missing: {what}"),
        (None, WeightFiles::Combined(path)) => path.display().to_string(),
        (None, WeightFiles::Separate(folder)) => {
            format!("one file per variable in {}", folder.display())
        }
        (None, WeightFiles::Missing(_)) => "-".into(),
    };
    let mut fields = vec![
        ("Format", model.format().to_string()),
        ("Program", files.program.display().to_string()),
        ("Weights", weights),
    ];
    fields.extend(ports("Input", &summary.inputs));
    fields.extend(ports("Output", &summary.outputs));
    let macs = |count: fn(&MacCount) -> u64| {
        let macs = summary.macs.as_ref().map(count);
        macs.map_or_else(|| "-".to_owned(), counts::giga)
    };
    let layers = summary.layer_parameters;
    let layers = layers.map_or_else(|| "-".to_owned(), counts::mega);
    fields.extend([
        ("Parameters", format!("{layers} in layers")),
        ("", format!("{} in all", counts::mega(summary.parameters))),
        ("MACs", format!("{} in layers", macs(|macs| macs.layers))),
        (
            "",
            format!(
                "{} with attention products",
                macs(|macs| macs.layers + macs.activations)
            ),
        ),
    ]);
    let ops = op_counts(summary);
    let total: usize = ops.iter().map(|op| op.count).sum();
    fields.push(("Ops", format!("{total} of {} kinds", ops.len())));
    let mut text = fields::text(&fields);
    for op in &ops {
        text.push_str(&op_line(op));
    }
    let unsupported = ops.iter().filter(|op| !op.supported).count();
    let reason = match (&summary.problem, unsupported) {
        (Some(problem), _) => problem.clone(),
        (None, 0) => return text,
        (None, kinds) => format!("{kinds} of its kinds of ops are not supported"),
    };
    text.push_str(&format!(
        "\n{BAD}This model can't be converted:{BAD:#} {reason}\n"
    ));
    text
}

fn ports<'a>(label: &'a str, ports: &'a [Port]) -> impl Iterator<Item = (&'a str, String)> {
    ports.iter().map(move |port| {
        let Port { name, dtype, shape } = port;
        (label, format!("{name}: {dtype} {}", display_shape(shape)))
    })
}

fn op_line(op: &OpCount<'_>) -> String {
    let OpCount { name, count, .. } = op;
    if op.supported {
        format!("{count:>8}  {name}\n")
    } else {
        format!("{count:>8}  {BAD}{name}{BAD:#} (not supported)\n")
    }
}
