//! The scheduler, which runs as many workers at once as jobs and memory allow.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::judge::{Judged, judge, not_started};
use super::manifest::{Expectation, Manifest, Source, Task};
use super::memory;
use super::report::{Machine, ModelResult, Report, Status};
use super::worker::{Ended, Worker};
use crate::error::{Error, Result};

/// The time between two looks at the workers: a delay that nobody notices.
const PERIOD: Duration = Duration::from_millis(20);

/// The time that a model may take if neither the options nor the manifest say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// How to run the tasks of a manifest.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The command that workers run, without their arguments: the path of this program, or that of an interpreter and
    /// arguments of its own.
    pub program: &'a [OsString],
    /// How many workers run at once at most.
    pub jobs: usize,
    /// The memory in bytes that all workers together may need by estimate; None for no limit. A model
    /// that needs more runs alone.
    pub memory: Option<u64>,
    /// Whether to compare every op of every model as well.
    pub per_op: bool,
    /// How long each worker may take, whatever the manifest says; None to leave it to that.
    pub timeout: Option<Duration>,
    /// ONNX Runtime's library; None to have the workers look for it.
    pub ort_lib: Option<&'a Path>,
    /// An empty folder for the ONNX models that are written.
    pub scratch: &'a Path,
    /// The folder that the ONNX models are moved to, as `NAME-opsetN.onnx`, which must be on the same
    /// disk as `scratch`; None to remove them.
    pub keep: Option<&'a Path>,
}

/// How far a run is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How many tasks are done.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// The names of the models that are being worked on.
    pub running: Vec<&'a str>,
    /// What has come of the tasks that were done since the last time, in the order in which they were.
    pub finished: Vec<&'a ModelResult>,
}

/// Runs the tasks of a manifest. `observe` is told many times a second how far the run is, and can stop it.
///
/// # Errors
/// When `observe` stops the run, which ends all workers, or an ONNX model can't be moved to
/// [`Options::keep`]. What happens to a worker is never an error but a result.
pub fn run(
    manifest: &Manifest,
    options: &Options<'_>,
    observe: &dyn Fn(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Report> {
    let start = Instant::now();
    let tasks = manifest.tasks.as_slice();
    let mut runner = Runner {
        tasks,
        options,
        waiting: (0..tasks.len()).collect(),
        running: Vec::new(),
        results: tasks.iter().map(|_| None).collect(),
        finished: Vec::new(),
        onnx_runtime: None,
    };
    while !runner.is_done() {
        runner.fill();
        runner.tell(observe)?;
        runner.collect()?;
        if !runner.is_done() {
            thread::sleep(PERIOD);
        }
    }
    runner.tell(observe)?;
    let results: Vec<ModelResult> = runner.results.into_iter().flatten().collect();
    Ok(Report {
        version: Report::VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        onnx_runtime: runner.onnx_runtime,
        machine: Machine {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory: options.memory,
        },
        other_machines: Vec::new(),
        shards: manifest.shard.into_iter().collect(),
        seconds: start.elapsed().as_secs_f64(),
        passed: results.iter().all(|result| result.status.is_good()),
        results,
        regressions: Vec::new(),
        missing: Vec::new(),
        missing_shards: Vec::new(),
    })
}

struct Runner<'a> {
    tasks: &'a [Task],
    options: &'a Options<'a>,
    /// The positions of the tasks that have no worker yet.
    waiting: VecDeque<usize>,
    running: Vec<Running>,
    results: Vec<Option<ModelResult>>,
    /// The positions of the tasks that are done, but of which `observe` does not know yet.
    finished: Vec<usize>,
    onnx_runtime: Option<String>,
}

struct Running {
    /// The task's position.
    position: usize,
    worker: Worker,
    /// An estimate of the memory that it needs, in bytes.
    memory: u64,
    /// The folder that it writes to.
    folder: PathBuf,
}

impl<'a> Runner<'a> {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Tells `observe` how far the run is.
    fn tell(&mut self, observe: &dyn Fn(&Progress<'_>) -> ControlFlow<()>) -> Result<()> {
        let flow = observe(&self.progress());
        self.finished.clear();
        match flow {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::interrupted()),
        }
    }

    fn progress(&self) -> Progress<'_> {
        let names = self
            .running
            .iter()
            .filter_map(|running| self.tasks.get(running.position));
        let finished = self.finished.iter();
        Progress {
            done: self.tasks.len() - self.waiting.len() - self.running.len(),
            total: self.tasks.len(),
            running: names.map(|task| task.name.as_str()).collect(),
            finished: finished
                .filter_map(|position| self.results.get(*position)?.as_ref())
                .collect(),
        }
    }

    /// Starts workers in the order of the tasks while there is room for them.
    fn fill(&mut self) {
        while self.running.len() < self.options.jobs.max(1) {
            let Some(position) = self.waiting.pop_front() else {
                return;
            };
            let Some(task) = self.tasks.get(position) else {
                continue;
            };
            let memory = memory::needed(&task.model, task.params.as_deref());
            let taken: u64 = self.running.iter().map(|running| running.memory).sum();
            let fits = self
                .options
                .memory
                .is_none_or(|all| taken.saturating_add(memory) <= all);
            if !fits && !self.running.is_empty() {
                self.waiting.push_front(position);
                return;
            }
            let folder = self.options.scratch.join(position.to_string());
            match self.start(task, &folder) {
                Ok(worker) => self.running.push(Running {
                    position,
                    worker,
                    memory,
                    folder,
                }),
                Err(e) => {
                    let why = format!("the worker could not be started: {e}");
                    self.finish(position, not_started(task, &why));
                }
            }
        }
    }

    fn start(&self, task: &Task, folder: &Path) -> io::Result<Worker> {
        fs::create_dir(folder)?;
        let timeout = self.options.timeout.or(task.timeout);
        let command = command(task, self.options, &folder.join(file_name(task)));
        Worker::start(command, timeout.unwrap_or(DEFAULT_TIMEOUT))
    }

    /// Looks at every worker, and takes the results of those that have ended.
    fn collect(&mut self) -> Result<()> {
        for running in std::mem::take(&mut self.running) {
            self.look_after(running)?;
        }
        Ok(())
    }

    fn look_after(&mut self, mut running: Running) -> Result<()> {
        let Some(task) = self.tasks.get(running.position) else {
            return Ok(());
        };
        let position = running.position;
        match running.worker.poll() {
            Ok(None) => self.running.push(running),
            Ok(Some(ended)) => {
                let Judged {
                    result,
                    onnx_runtime,
                } = self.keep(task, &ended, &running.folder)?;
                self.onnx_runtime = self.onnx_runtime.take().or(onnx_runtime);
                self.finish(position, result);
            }
            Err(e) => {
                let why = format!("the worker could not be waited for: {e}");
                self.finish(position, not_started(task, &why));
            }
        }
        Ok(())
    }

    /// Judges a task, and removes the files that its worker wrote, or moves them to where they are kept.
    fn keep(&self, task: &Task, ended: &Ended, folder: &Path) -> Result<Judged> {
        let judged = judge(task, ended);
        let was_written = !matches!(judged.result.status, Status::Crashed | Status::TimedOut);
        if let Some(keep) = self.options.keep.filter(|_| was_written) {
            move_files(folder, &keep.join(&task.name))
                .map_err(|e| Error::io(keep, "keep the ONNX model", e))?;
        }
        // What can't be removed here is removed with the scratch folder.
        let _ = fs::remove_dir_all(folder);
        Ok(judged)
    }

    fn finish(&mut self, position: usize, result: ModelResult) {
        if let Some(place) = self.results.get_mut(position) {
            *place = Some(result);
            self.finished.push(position);
        }
    }
}

/// The name of a task's ONNX file, `NAME-opsetN.onnx`, without the folders that the task's name has.
fn file_name(task: &Task) -> String {
    let name = Path::new(&task.name).file_name().unwrap_or_default();
    format!("{}-opset{}.onnx", name.to_string_lossy(), task.opset)
}

/// Moves all files of `folder` into the folder of the path `name`, which is created if necessary.
fn move_files(folder: &Path, name: &Path) -> io::Result<()> {
    let target = name.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(target)?;
    for entry in folder.read_dir()? {
        let entry = entry?;
        fs::rename(entry.path(), target.join(entry.file_name()))?;
    }
    Ok(())
}

/// The command of a worker. It is an ordinary `convert`, so that a failure can be reproduced by hand.
fn command(task: &Task, options: &Options<'_>, output: &Path) -> Command {
    let mut words = options.program.iter();
    // Without a program, the worker can't be started, which is its result.
    let mut command = Command::new(words.next().cloned().unwrap_or_default());
    command.args(words);
    // Messages on stderr are parsed, so they must have no colours.
    command.env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
    command
        .arg("convert")
        .arg("--json")
        .arg("--output")
        .arg(output);
    command.arg("--opset").arg(task.opset.to_string());
    if let Some(params) = &task.params {
        command.arg("--params").arg(params);
    }
    if let Expectation::Parity {
        source, atol, rtol, ..
    } = &task.expectation
    {
        command.arg("--verify");
        if options.per_op {
            command.arg("--per-op");
        }
        for (argument, value) in [("--atol", atol), ("--rtol", rtol)] {
            if let Some(value) = value {
                command.arg(argument).arg(value.to_string());
            }
        }
        if let Some(library) = options.ort_lib {
            command.arg("--ort-lib").arg(library);
        }
        runs(&mut command, source);
    }
    // The lists of files before it would otherwise take the model as one more file.
    command.arg("--").arg(&task.model);
    command
}

/// Adds the arguments that say what the models are run on.
fn runs(command: &mut Command, source: &Source) {
    match source {
        Source::Random {
            batches,
            shapes,
            ranges,
            distribution,
            seed,
        } => {
            if !batches.is_empty() {
                let batches: Vec<String> = batches.iter().map(usize::to_string).collect();
                command.arg("--batch").arg(batches.join(","));
            }
            for shape in shapes {
                command.arg("--shape").arg(shape);
            }
            for range in ranges {
                command.arg("--range").arg(range);
            }
            if let Some(distribution) = distribution {
                command.arg("--distribution").arg(distribution);
            }
            if let Some(seed) = seed {
                command.arg("--seed").arg(seed.to_string());
            }
        }
        Source::Files { inputs, expected } => {
            command.arg("--inputs").args(inputs);
            if !expected.is_empty() {
                command.arg("--expected").args(expected);
            }
        }
    }
}
