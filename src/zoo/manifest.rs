//! A manifest → the tasks that it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use glob::Pattern;

use super::settings::{BaselineLimits, File, Limits, Table};
use super::shard::Shard;
use crate::alike::hint;
use crate::error::{Error, Result};
use crate::graph::{DEFAULT_OPSET, OPSETS};
use crate::read::MEANINGLESS_NAMES;

/// The tasks of a run, and what counts as a regression.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// One per model and opset, in the order of the file.
    pub tasks: Vec<Task>,
    /// When a result is worse than that of an earlier run.
    pub baseline: BaselineLimits,
    /// The patterns of the names that were selected; empty if all are.
    selection: Vec<Pattern>,
    /// The part that was selected; None for the whole.
    pub(super) shard: Option<Shard>,
}

/// One conversion, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Task {
    /// The model's name, unique in the manifest; a relative path without `..`.
    pub name: String,
    /// The opset to convert to.
    pub opset: u32,
    /// The program, or the folder with it.
    pub model: PathBuf,
    /// The weights, where they are not beside the program.
    pub params: Option<PathBuf>,
    /// What must come of it.
    pub expectation: Expectation,
    /// How long it may take, if the manifest says that.
    pub timeout: Option<Duration>,
}

/// What must come of a task.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// The model converts, the ONNX model computes the same, and the result keeps to the limits.
    Parity {
        /// The inputs to run both models on, and recorded outputs.
        source: Source,
        /// The absolute part of the tolerance. If neither part is given, the rounding noise decides.
        atol: Option<f64>,
        /// The relative part of the tolerance.
        rtol: Option<f64>,
        /// The limits that the result must keep to.
        limits: Limits,
    },
    /// The model is refused with a message.
    Failure {
        /// Why it is refused, in the words of the manifest.
        reason: String,
        /// What the message must contain, if that matters.
        message: Option<String>,
    },
}

/// Where the inputs of the runs come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Random inputs, described as in the arguments of `verify`, whose defaults stand for what is not
    /// given.
    Random {
        /// The batch sizes, one run for each, where shapes leave the batch open.
        batches: Vec<usize>,
        /// Shapes of inputs, as in `x=1x3x224x224`.
        shapes: Vec<String>,
        /// Ranges of inputs, as in `ids=0..1000`.
        ranges: Vec<String>,
        /// The distribution of inputs without a range.
        distribution: Option<String>,
        /// The seed.
        seed: Option<u64>,
    },
    /// Recorded inputs, one run per file, and recorded outputs, if there are any.
    Files {
        /// The files with the inputs.
        inputs: Vec<PathBuf>,
        /// The files with the outputs: as many as those with inputs, or none.
        expected: Vec<PathBuf>,
    },
}

impl Manifest {
    /// Reads a manifest and looks for the files that it names.
    ///
    /// # Errors
    /// When the file can't be read, is no manifest, contradicts itself, or names what does not exist.
    /// The message names the line, where it concerns one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, "read the manifest", e))?;
        let place = |span: Option<Range<usize>>, message: &str| at_line(&text, span, message);
        let manifest = toml::from_str::<File>(&text)
            .map_err(|e| place(e.span(), e.message()))
            .and_then(|file| {
                let folder = path.parent().filter(|folder| *folder != Path::new(""));
                expand(&file, folder.unwrap_or(Path::new(".")), &place)
            });
        manifest.map_err(|e| e.in_file(path))
    }

    /// Keeps the tasks whose names match one of these patterns.
    ///
    /// # Errors
    /// When a pattern is malformed, or matches no model.
    pub fn select(&mut self, patterns: &[String]) -> Result<()> {
        for pattern in patterns {
            let glob = Pattern::new(pattern).map_err(|e| {
                Error::invalid(format!("`{pattern}` is not a pattern of names: {e}"))
            })?;
            if !self.tasks.iter().any(|task| glob.matches(&task.name)) {
                let hint = hint(pattern, self.tasks.iter().map(|task| task.name.as_str()));
                return Err(Error::invalid(format!(
                    "no model of the manifest is called `{pattern}`{hint}"
                )));
            }
            self.selection.push(glob);
        }
        self.keep_selected();
        Ok(())
    }

    /// Keeps the tasks of the models that belong to a part of all, which may be none.
    pub fn select_shard(&mut self, shard: Shard) {
        self.shard = Some(shard);
        self.keep_selected();
    }

    fn keep_selected(&mut self) {
        let mut tasks = std::mem::take(&mut self.tasks);
        tasks.retain(|task| self.is_selected(&task.name));
        self.tasks = tasks;
    }

    /// Whether a model of this name is selected, or would be if the manifest had it.
    pub(super) fn is_selected(&self, name: &str) -> bool {
        let is_named =
            self.selection.is_empty() || self.selection.iter().any(|glob| glob.matches(name));
        is_named && self.shard.is_none_or(|shard| shard.has(name))
    }
}

/// An error with the line that it concerns.
fn at_line(text: &str, span: Option<Range<usize>>, message: &str) -> Error {
    let message = message.replace('\n', "; ");
    let before = span.and_then(|span| text.get(..span.start));
    match before {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            Error::invalid(format!("line {line}: {message}"))
        }
        None => Error::invalid(message),
    }
}

type Placed<'a> = dyn Fn(Option<Range<usize>>, &str) -> Error + 'a;

fn expand(file: &File, folder: &Path, place: &Placed<'_>) -> Result<Manifest> {
    let none = Table::default();
    let defaults = match &file.defaults {
        Some(defaults) => {
            let table = defaults.get_ref();
            let own = table.own_key();
            let own = own.map(|key| format!("`{key}` belongs to a [[model]], not to [defaults]"));
            if let Some(problem) = own.or_else(|| table.problem()) {
                return Err(place(Some(defaults.span()), &problem));
            }
            table
        }
        None => &none,
    };
    let mut tasks = Vec::new();
    let mut seen: BTreeMap<(String, u32), PathBuf> = BTreeMap::new();
    for model in &file.models {
        let entry = Entry {
            table: model.get_ref(),
            defaults,
            folder,
        };
        let found = entry
            .tasks()
            .map_err(|problem| place(Some(model.span()), &problem))?;
        for task in &found {
            let key = (task.name.clone(), task.opset);
            if let Some(other) = seen.insert(key, task.model.clone()) {
                let problem = format!(
                    "{} and {} are both called `{}` at opset {}; give them a `name`, which may \
                     contain {{folder}} and {{stem}}",
                    other.display(),
                    task.model.display(),
                    task.name,
                    task.opset
                );
                return Err(place(Some(model.span()), &problem));
            }
        }
        tasks.extend(found);
    }
    if tasks.is_empty() {
        return Err(Error::invalid("the manifest names no model"));
    }
    Ok(Manifest {
        tasks,
        baseline: file.baseline.clone(),
        selection: Vec::new(),
        shard: None,
    })
}

/// A `[[model]]`, with the `[defaults]` and the folder of its manifest.
struct Entry<'a> {
    table: &'a Table,
    defaults: &'a Table,
    folder: &'a Path,
}

/// The error is a sentence, to which the caller adds the line.
type Expanded<T> = Result<T, String>;

impl Entry<'_> {
    fn tasks(&self) -> Expanded<Vec<Task>> {
        if let Some(problem) = self.table.problem() {
            return Err(problem);
        }
        if self.table.fails_with.is_some() && self.table.fails.is_none() {
            return Err("`fails_with` needs `fails`, the reason".into());
        }
        let path = self
            .table
            .path
            .as_deref()
            .ok_or("the model has no `path`")?;
        let models = matches(self.folder, path)?;
        if models.is_empty() && !self.table.optional {
            return Err(format!("nothing matches `{path}`"));
        }
        let opsets = self.opsets()?;
        let mut tasks = Vec::with_capacity(models.len() * opsets.len());
        for model in models {
            let task = self.task(model)?;
            tasks.extend(opsets.iter().map(|opset| Task {
                opset: *opset,
                ..task.clone()
            }));
        }
        Ok(tasks)
    }

    fn opsets(&self) -> Expanded<Vec<u32>> {
        let given = self.table.opsets.as_ref().or(self.defaults.opsets.as_ref());
        let opsets = given.cloned().unwrap_or_else(|| vec![DEFAULT_OPSET]);
        let known = |opset: &&u32| !OPSETS.contains(*opset);
        match opsets.iter().find(known) {
            Some(opset) => Err(format!(
                "opset {opset} can't be written, only {} to {}",
                OPSETS.start(),
                OPSETS.end()
            )),
            None => Ok(opsets),
        }
    }

    /// The task of one model, with an opset that the caller replaces.
    fn task(&self, model: PathBuf) -> Expanded<Task> {
        let words = Words::of(&model);
        let params = self.table.params.as_deref();
        let params = params.map(|params| self.folder.join(words.fill(params)));
        let timeout = self.table.timeout.or(self.defaults.timeout);
        let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
        Ok(Task {
            name: self.name(&words)?,
            opset: DEFAULT_OPSET,
            expectation: self.expectation(&model, &words)?,
            model,
            params,
            timeout: timeout.map_err(|e| format!("`timeout`: {e}"))?,
        })
    }

    fn name(&self, words: &Words) -> Expanded<String> {
        let name = self.table.name.as_deref();
        let name = name.map_or_else(|| words.own_name().to_owned(), |name| words.fill(name));
        // ONNX files are named after it, and must not leave the folder that they belong in.
        let is_plain = |part| matches!(part, Component::Normal(_));
        if name.is_empty() || name.ends_with('/') || !Path::new(&name).components().all(is_plain) {
            return Err(format!(
                "`{name}` is no name; files could not be named after it"
            ));
        }
        Ok(name)
    }

    fn expectation(&self, model: &Path, words: &Words) -> Expanded<Expectation> {
        if let Some(reason) = &self.table.fails {
            return Ok(Expectation::Failure {
                reason: reason.clone(),
                message: self.table.fails_with.clone(),
            });
        }
        Ok(Expectation::Parity {
            source: self.source(model, words)?,
            atol: self.table.atol.or(self.defaults.atol),
            rtol: self.table.rtol.or(self.defaults.rtol),
            limits: self.table.limits.or(&self.defaults.limits),
        })
    }

    /// The inputs that the `[[model]]` states, else those of `[defaults]`.
    fn source(&self, model: &Path, words: &Words) -> Expanded<Source> {
        let table = if self.table.has_files() || self.table.has_random() {
            self.table
        } else {
            self.defaults
        };
        if !table.has_files() {
            let batches = table.batches.as_ref().or(self.defaults.batches.as_ref());
            let batches = batches.map(|given| given.iter().map(|batch| batch.get()).collect());
            let list = |own: &Option<Vec<String>>, default: &Option<Vec<String>>| {
                own.clone().or_else(|| default.clone()).unwrap_or_default()
            };
            let distribution = table.distribution.as_ref();
            return Ok(Source::Random {
                batches: batches.unwrap_or_default(),
                shapes: list(&table.shapes, &self.defaults.shapes),
                ranges: list(&table.ranges, &self.defaults.ranges),
                distribution: distribution
                    .or(self.defaults.distribution.as_ref())
                    .cloned(),
                seed: table.seed.or(self.defaults.seed),
            });
        }
        let folder = if model.is_dir() {
            model
        } else {
            model.parent().unwrap_or(Path::new("."))
        };
        let files = |patterns: Option<&Vec<String>>| -> Expanded<Vec<PathBuf>> {
            let mut files = Vec::new();
            for pattern in patterns.into_iter().flatten() {
                let found = matches(folder, &words.fill_pattern(pattern))?;
                if found.is_empty() {
                    let folder = folder.display();
                    return Err(format!("nothing matches `{pattern}` in {folder}"));
                }
                files.extend(found);
            }
            Ok(files)
        };
        let expected = files(table.expected.as_ref())?;
        let inputs = match &table.inputs {
            Some(inputs) => files(Some(inputs))?,
            // Files with recorded outputs hold the inputs, too.
            None => expected.clone(),
        };
        if !expected.is_empty() && inputs.len() != expected.len() {
            return Err(format!(
                "{} files of `inputs` for {} of `expected`",
                inputs.len(),
                expected.len()
            ));
        }
        Ok(Source::Files { inputs, expected })
    }
}

/// The paths that match a pattern, which is relative to `folder` unless it is absolute, in alphabetical order.
fn matches(folder: &Path, pattern: &str) -> Expanded<Vec<PathBuf>> {
    let pattern = if Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        let folder = folder.to_str().ok_or("the folder's name is not UTF-8")?;
        format!("{}/{pattern}", Pattern::escape(folder))
    };
    let paths = glob::glob(&pattern).map_err(|e| format!("`{pattern}` is no path: {e}"))?;
    paths.collect::<Result<_, _>>().map_err(|e| e.to_string())
}

/// What `{folder}` and `{stem}` stand for, for one model.
struct Words {
    folder: String,
    stem: String,
}

impl Words {
    fn of(model: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        if model.is_dir() {
            let name = text(model.file_name());
            return Self {
                folder: name.clone(),
                stem: name,
            };
        }
        Self {
            folder: text(model.parent().and_then(Path::file_name)),
            stem: text(model.file_stem()),
        }
    }

    fn own_name(&self) -> &str {
        if MEANINGLESS_NAMES.contains(&self.stem.as_str()) && !self.folder.is_empty() {
            &self.folder
        } else {
            &self.stem
        }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{folder}", &self.folder)
            .replace("{stem}", &self.stem)
    }

    /// The same for a glob pattern, in which special characters of the folder and stem stand for
    /// themselves.
    fn fill_pattern(&self, pattern: &str) -> String {
        let escaped = Self {
            folder: Pattern::escape(&self.folder),
            stem: Pattern::escape(&self.stem),
        };
        escaped.fill(pattern)
    }
}
