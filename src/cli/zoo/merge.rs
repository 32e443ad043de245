//! `zoo merge`: one report of several.

use std::path::PathBuf;

use paddle2onnx::zoo;

use super::super::outcome::{Outcome, Result};
use super::forms::Forms;
use super::read_report;

/// Makes one report of those of several runs, such as the shards of a manifest.
///
/// Each FILE is the --json output of `zoo run`. Results are sorted by name. If the runs were compared with a baseline, the
/// report says what is worse.
///
/// The exit code is that of a single run: 0 if everything is as expected, 1 if not or a shard is missing, and 2 if the
/// reports can't be read or do not belong together.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Merge {
    /// The reports
    #[arg(value_name = "FILE.json", required = true)]
    reports: Vec<PathBuf>,

    #[command(flatten)]
    forms: Forms,
}

const EXAMPLES: &str = "\
Examples:
  Show what eight machines have found:
      paddle2onnx-rs zoo merge shard-*.json

  Make a baseline and a page of it:
      paddle2onnx-rs zoo merge shard-*.json --json --html zoo.html > baseline.json";

/// Merges the reports, and shows the result.
pub(super) fn run(args: &Merge) -> Result<Outcome> {
    let files = args.forms.files()?;
    let reports = args.reports.iter();
    let reports: Result<Vec<_>> = reports
        .map(|path| Ok((path.clone(), read_report(path)?)))
        .collect();
    let report = zoo::merge(reports?)?;
    files.finish(&report)?;
    args.forms.print(&report, false)
}
