//! `zoo`: many models at once, each converted and verified in a process of its own.

mod table;

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::zoo::{self, Expectation, Manifest, Options, Progress, Report};

use super::interrupt;
use super::outcome::{Failure, Outcome, Result};
use super::output::Pending;
use super::progress::Line;
use super::stdout::{print, print_json};

/// Converts and verifies many models, as a manifest lists them.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Run(Run),
}

/// Converts and verifies the models of a manifest, each in a process of its own.
///
/// MANIFEST is a TOML file that tells where models are, on what to run them, and what must come of
/// it; README.md explains its keys. A model that crashes or takes too long fails alone.
///
/// The exit code is 0 if everything is as the manifest expects, 1 if a model has no parity, exceeds
/// a limit, crashes, passes unexpectedly or is worse than in the baseline, and 2 if the models could
/// not be run at all.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
struct Run {
    /// The manifest
    manifest: PathBuf,

    /// Only models of these names, in which * stands for anything
    #[arg(value_name = "NAME")]
    names: Vec<String>,

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

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Write the results as JUnit's XML, too
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,

    /// Write the results as a page for people, too
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,

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
      paddle2onnx-rs zoo run zoo.toml --junit zoo.xml --html zoo.html";

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

/// Runs the subcommand of `zoo`. `program` is the command that starts this program.
pub(super) fn run(args: &Args, program: &[OsString]) -> Result<Outcome> {
    match &args.command {
        Command::Run(args) => run_models(args, program),
    }
}

fn run_models(args: &Run, program: &[OsString]) -> Result<Outcome> {
    interrupt::install()?;
    let mut manifest = Manifest::read(&args.manifest)?;
    manifest.select(&args.names)?;
    let baseline = args.baseline.as_deref().map(read_baseline).transpose()?;
    let ort_lib = library(&manifest, args.ort_lib.as_deref())?;
    if let Some(folder) = &args.keep {
        fs::create_dir_all(folder)
            .map_err(|e| Failure::new(format!("{}: could not create it: {e}", folder.display())))?;
    }
    let report = interrupt::with_scratch_in(args.keep.as_deref(), |scratch| {
        interrupt::while_writing(|| {
            // Opened before the work, so that a wrong path is known at once.
            let junit = args.junit.as_deref().map(Pending::create).transpose()?;
            let html = args.html.as_deref().map(Pending::create).transpose()?;
            let ort_lib = ort_lib.as_deref();
            let mut report = work(args, program, &manifest, ort_lib, scratch)?;
            if let Some(baseline) = &baseline {
                report.compare(baseline, &manifest);
            }
            if let Some(file) = junit {
                file.finish(&zoo::junit(&report)?)?;
            }
            if let Some(file) = html {
                file.finish(&zoo::html(&report, SystemTime::now()))?;
            }
            Ok(report)
        })
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&table::text(&report))?;
    }
    Ok(if report.passed {
        Outcome::Success
    } else {
        Outcome::NotAsExpected
    })
}

fn work(
    args: &Run,
    program: &[OsString],
    manifest: &Manifest,
    ort_lib: Option<&Path>,
    scratch: &Path,
) -> Result<Report> {
    let memory = zoo::available_memory();
    let options = Options {
        program,
        jobs: args
            .jobs
            .map_or_else(|| default_jobs(memory), NonZeroUsize::get),
        memory,
        per_op: args.per_op,
        timeout: args.timeout,
        ort_lib,
        scratch,
        keep: args.keep.as_deref(),
    };
    let line = Line::stages();
    let observe = |progress: &Progress<'_>| {
        let Progress {
            done,
            total,
            running,
        } = progress;
        line.say(format!("{done} of {total} done; {}", running.join(", ")));
        interrupt::flow()
    };
    zoo::run(&manifest.tasks, &options, &observe).map_err(|e| match e.kind() {
        paddle2onnx::ErrorKind::Interrupted => Failure::interrupted(),
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

fn read_baseline(path: &Path) -> Result<Report> {
    let text = fs::read_to_string(path).map_err(|e| {
        Failure::new(format!(
            "{}: could not read the baseline: {e}",
            path.display()
        ))
    })?;
    Report::from_json(&text).map_err(|e| Failure::from(e).after(&path.display().to_string()))
}
