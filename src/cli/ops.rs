//! `ops`: the list of the ops that can be converted.

use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::{Table, TableStyle, presets};
use paddle2onnx::tensor::DType;
use paddle2onnx::{Registry, SupportedOp};
use serde::Serialize;

use super::outcome::{Outcome, Result};
use super::stdout::{print, print_json};

/// Lists every op that can be converted.
///
/// Ops have their PHI names, as in programs of Paddle 3; those in older programs stand beside them. The
/// element types are those of the first operand. Some attributes and types need a higher opset than the
/// lowest: converting says so then. The last column says what is not supported: an extent is open if the inputs set it,
/// and a number computed if it depends on them.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Print a JSON array instead of text
    #[arg(long)]
    json: bool,

    /// Print a page in Markdown instead of text
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  See whether an op is supported, by whatever name:
      paddle2onnx-rs ops | grep -w elementwise_add

  List the ops that can be converted to opset 11:
      paddle2onnx-rs ops --json | jq -r '.[] | select(.opset <= 11).name'";

/// What `--json` prints for each op.
#[derive(Serialize)]
pub(super) struct Listed {
    name: &'static str,
    legacy: Vec<&'static str>,
    pir: Vec<&'static str>,
    opset: u32,
    dtypes: Vec<&'static str>,
    limits: &'static [&'static str],
}

/// Lists the ops, sorted by name.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let ops = sorted();
    if args.json {
        print_json(&listed(&ops))?;
    } else if args.markdown {
        print(&page(&ops))?;
    } else {
        print(&text(&ops))?;
    }
    Ok(Outcome::Success)
}

/// All ops, sorted by name.
pub(super) fn sorted() -> Vec<SupportedOp> {
    let mut ops = Registry::standard().supported_ops();
    ops.sort_by_key(|op| op.name);
    ops
}

pub(super) fn listed(ops: &[SupportedOp]) -> Vec<Listed> {
    let listed = ops.iter().map(|op| Listed {
        name: op.name,
        legacy: op.legacy.clone(),
        pir: op.pir.clone(),
        opset: op.opset,
        dtypes: op.dtypes.iter().map(|dtype| dtype.name()).collect(),
        limits: op.limits,
    });
    listed.collect()
}

pub(super) fn text(ops: &[SupportedOp]) -> String {
    let mut text = table(ops, presets::NOTHING);
    let _ = writeln!(text, "\n{} ops", ops.len());
    text
}

/// The list as a page in Markdown, which is kept as `docs/ops.md`.
fn page(ops: &[SupportedOp]) -> String {
    let table = table(ops, presets::ASCII_MARKDOWN);
    format!(
        "# Supported ops\n\n\
         Made by `paddle2onnx-rs ops --markdown`, whose `--help` says what the columns mean.\n\n\
         {} ops:\n\n{table}",
        ops.len()
    )
}

fn table(ops: &[SupportedOp], style: TableStyle) -> String {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(["op", "opset", "element types", "other names", "but not"]);
    for op in ops {
        let names: BTreeSet<&str> = op.legacy.iter().chain(&op.pir).copied().collect();
        let others: Vec<&str> = names.into_iter().filter(|name| *name != op.name).collect();
        let opset = op.opset.to_string();
        let limits = op.limits.join("; ");
        let row = [
            op.name,
            &opset,
            &types(op.dtypes),
            &others.join(", "),
            &limits,
        ];
        table.add_row(row);
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// The names of the element types, with one word for each of the usual sets.
fn types(dtypes: &[DType]) -> String {
    let missing: Vec<DType> = DType::ALL
        .into_iter()
        .filter(|dtype| !dtypes.contains(dtype))
        .collect();
    match missing.as_slice() {
        [] => return "all".into(),
        [DType::Bool] => return "all but bool".into(),
        _ => {}
    }
    let is_other = |dtype: &&DType| !dtype.is_float();
    let others: Vec<&str> = dtypes
        .iter()
        .filter(is_other)
        .map(|dtype| dtype.name())
        .collect();
    let floats: Vec<&str> = match dtypes.len() - others.len() {
        4 => vec!["float"],
        _ => dtypes
            .iter()
            .filter(|dtype| dtype.is_float())
            .map(|dtype| dtype.name())
            .collect(),
    };
    [floats, others].concat().join(", ")
}
