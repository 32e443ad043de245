//! `zoo run`: converts and verifies the models of a manifest.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use paddle2onnx::ErrorKind;
use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::zoo::{self, Expectation, Manifest, Options, Progress, Report, Shard};

use super::super::interrupt;
use super::super::loudness::{Loudness, is_quiet};
use super::super::outcome::{Failure, Outcome, Result};
use super::super::progress::Line;
use super::super::stdout::print;
use super::forms::Forms;
use super::read_report;
use super::table::Table;

/// Converts and verifies the models of a manifest, each in a process of its own.
///
/// MANIFEST is a TOML file that tells where models are, on what to run them, and what must come of
/// it; docs/zoo.md explains its keys. A model that crashes or takes too long fails alone.
///
/// The exit code is 0 if everything is as the manifest expects, 1 if a model has no parity, exceeds
/// a limit, crashes, passes unexpectedly or is worse than in the baseline, and 2 if the models could
/// not be run at all.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Run {
    /// The manifest
    manifest: PathBuf,

    /// Only models of these names, in which * stands for anything
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Only a part of the models, as in 2/8 for the second of eight parts; which part a model belongs to depends
    /// on its name alone. `zoo merge` makes one report of all parts
    #[arg(long, value_name = "PART")]
    shard: Option<Shard>,

    /// How many models to work on at once, as long as there is memory for them [default: half the
    /// cores, since each uses several]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Compare every op of every model as well
    #[arg(long)]
    per_op: bool,

    /// How long a model may take [default: as the manifest says, else 600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Compare with an earlier run, of which this is the --json output, and fail if anything is
    /// worse
    #[arg(long, value_name = "FILE.json")]
    baseline: Option<PathBuf>,

    #[command(flatten)]
    forms: Forms,

    #[command(flatten)]
    loudness: Loudness,

    /// Keep the ONNX models in this folder, as NAME-opsetN.onnx [default: remove them]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// ONNX Runtime's library, or its folder [default: $ORT_DYLIB_PATH, else beside this program,
    /// in the system's folders and in Python's packages]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Run all models of a manifest:
      paddle2onnx-rs zoo run zoo.toml

  Run some of them, two at once:
      paddle2onnx-rs zoo run zoo.toml 'ViT_base*' --jobs 2

  Keep the results, and fail later if anything is worse:
      paddle2onnx-rs zoo run zoo.toml --json > baseline.json
      paddle2onnx-rs zoo run zoo.toml --baseline baseline.json

  Write what a CI system and a browser show:
      paddle2onnx-rs zoo run zoo.toml --junit zoo.xml --html zoo.html

  Run the second of eight parts, each of which another machine may run:
      paddle2onnx-rs zoo run zoo.toml --shard 2/8 --json > shard-2.json";

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds above 0 is needed".to_owned();
    let number: f64 = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number).map_err(|_| wrong())?;
    if duration.is_zero() {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

/// Runs the models, and prints each result as it comes, unless JSON is asked for.
pub(super) fn run(args: &Run, program: &[OsString]) -> Result<Outcome> {
    args.loudness.apply();
    interrupt::install()?;
    let mut manifest = Manifest::read(&args.manifest)?;
    manifest.select(&args.names)?;
    if let Some(shard) = args.shard {
        manifest.select_shard(shard);
    }
    let baseline = args.baseline.as_deref().map(read_report).transpose()?;
    let ort_lib = library(&manifest, args.ort_lib.as_deref())?;
    if let Some(folder) = &args.keep {
        fs::create_dir_all(folder)
            .map_err(|e| Failure::new(format!("{}: could not create it: {e}", folder.display())))?;
    }
    let names = manifest.tasks.iter().map(|task| task.name.as_str());
    let table = (!args.forms.json).then(|| Table::of(names));
    let report = interrupt::with_scratch_in(args.keep.as_deref(), |scratch| {
        interrupt::while_writing(|| {
            // Opened before the work, so that a wrong path is known at once.
            let files = args.forms.files()?;
            let memory = zoo::available_memory();
            let jobs = args.jobs.map(NonZeroUsize::get);
            let options = Options {
                program,
                jobs: jobs.unwrap_or_else(|| default_jobs(memory)),
                memory,
                per_op: args.per_op,
                timeout: args.timeout,
                ort_lib: ort_lib.as_deref(),
                scratch,
                keep: args.keep.as_deref(),
            };
            let mut report = work(&manifest, &options, table.as_ref())?;
            if let Some(baseline) = &baseline {
                report.compare(baseline, &manifest);
            }
            files.finish(&report)?;
            Ok(report)
        })
    })?;
    args.forms.print(&report, table.is_some())
}

fn work(manifest: &Manifest, options: &Options<'_>, table: Option<&Table>) -> Result<Report> {
    if let Some(table) = table.filter(|_| !is_quiet()) {
        print(&table.header())?;
    }
    let line = Line::stages();
    // The first failure to print a row, which ends the run.
    let failure = RefCell::new(None);
    let observe = |progress: &Progress<'_>| {
        let Progress {
            done,
            total,
            running,
            finished,
        } = progress;
        if let Some(table) = table.filter(|_| !finished.is_empty()) {
            let shown = finished
                .iter()
                .filter(|result| !is_quiet() || !result.status.is_good());
            let rows: String = shown.map(|result| table.row(result)).collect();
            if let Err(e) = line.aside(|| print(&rows)) {
                failure.replace(Some(e));
                return ControlFlow::Break(());
            }
        }
        line.say(format!("{done} of {total} done; {}", running.join(", ")));
        interrupt::flow()
    };
    let report = zoo::run(manifest, options, &observe);
    report.map_err(|e| match e.kind() {
        ErrorKind::Interrupted => failure.take().unwrap_or_else(Failure::interrupted),
        _ => e.into(),
    })
}

/// How many models to work on at once, by default. The reference interpreter and ONNX Runtime use all
/// cores, but leave them idle while files are read and written: so there are half as many models as
/// cores. Where the available memory is not known, one at a time is safe.
fn default_jobs(memory: Option<u64>) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if memory.is_some() {
        (cores / 2).max(1)
    } else {
        1
    }
}

/// ONNX Runtime's library, if anything is to be verified. That it is missing is then said once, not by
/// every model.
fn library(manifest: &Manifest, given: Option<&Path>) -> Result<Option<PathBuf>> {
    let mut tasks = manifest.tasks.iter();
    if !tasks.any(|task| matches!(task.expectation, Expectation::Parity { .. })) {
        return Ok(None);
    }
    Ok(Some(OnnxRuntime::load(given)?.library().to_path_buf()))
}
