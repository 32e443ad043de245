//! `zoo`: many models at once, each converted and verified in a process of its own.

mod forms;
mod merge;
mod run;
mod table;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use paddle2onnx::zoo::Report;

use super::outcome::{Failure, Outcome, Result};

/// Converts and verifies many models, as a manifest lists them.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Run(run::Run),
    Merge(merge::Merge),
}

/// Runs the subcommand of `zoo`. `program` is the command that starts this program.
pub(super) fn run(args: &Args, program: &[OsString]) -> Result<Outcome> {
    match &args.command {
        Command::Run(args) => run::run(args, program),
        Command::Merge(args) => merge::run(args),
    }
}

/// Reads the `--json` output of an earlier run.
fn read_report(path: &Path) -> Result<Report> {
    let text = fs::read_to_string(path).map_err(|e| {
        Failure::new(format!(
            "{}: could not read the report: {e}",
            path.display()
        ))
    })?;
    Report::from_json(&text).map_err(|e| Failure::from(e).after(&path.display().to_string()))
}
