//! `convert --recursive`: all models below a folder.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use paddle2onnx::programs_below;
use serde::Serialize;

use super::super::loudness::is_quiet;
use super::super::outcome::{Failure, Outcome, Result};
use super::super::stdout::{print, print_json};
use super::super::style::{BAD, GOOD, HEADING};
use super::super::{conversion, counts, interrupt, shortened};
use super::destination::{STDOUT, beside};
use super::{Args, Converted};

/// The width of the column of names, which is what the others leave of 80 columns.
const NAME: usize = 36;

/// A model that is to be converted.
struct Planned {
    program: PathBuf,
    output: PathBuf,
    /// Another program that would be written to the same file.
    rival: Option<PathBuf>,
}

/// What came of a model, as `--json` prints it.
#[derive(Serialize)]
struct Entry {
    program: PathBuf,
    /// Why it was not converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    converted: Option<Converted<'static>>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    converted: usize,
    failed: usize,
    models: Vec<Entry>,
}

/// Converts all models below the folder, each of which may fail alone.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let start = Instant::now();
    if args
        .output
        .as_deref()
        .is_some_and(|output| output.as_os_str() == STDOUT)
    {
        return Err(Failure::new(
            "--output - writes one model to standard output, and --recursive finds many; name a folder instead",
        ));
    }
    let (plan, unreadable) = planned(args)?;
    let width = plan.iter().map(|model| name(model, args).chars().count());
    let width = width.max().unwrap_or(0).clamp("model".len(), NAME);
    if !args.json && !is_quiet() {
        print(&header(width))?;
    }
    let mut models = unreadable;
    for entry in &models {
        show(entry, &entry.program.display().to_string(), width, args)?;
    }
    for model in &plan {
        let found = convert(model, args);
        if found.as_ref().is_err_and(|failure| failure.interrupted) {
            return Err(Failure::interrupted());
        }
        let (error, converted) = match found {
            Ok(converted) => (None, Some(converted)),
            Err(failure) => (Some(failure.message), None),
        };
        let entry = Entry {
            program: model.program.clone(),
            error,
            converted,
        };
        show(&entry, &name(model, args), width, args)?;
        models.push(entry);
    }
    let failed = models.iter().filter(|entry| entry.error.is_some()).count();
    let summary = Summary {
        converted: models.len() - failed,
        failed,
        models,
    };
    if args.json {
        print_json(&summary)?;
    } else if failed > 0 || !is_quiet() {
        print(&conclusion(&summary, start.elapsed()))?;
    }
    Ok(if failed == 0 {
        Outcome::Success
    } else {
        Outcome::SomeFailed
    })
}

/// Where each program below the folder goes, and the folders that can't be read.
fn planned(args: &Args) -> Result<(Vec<Planned>, Vec<Entry>)> {
    let tree = programs_below(&args.model)?;
    if tree.programs.is_empty() && tree.unreadable.is_empty() {
        let folder = args.model.display();
        return Err(Failure::new(format!(
            "{folder}: there is no Paddle model in the folder or below it"
        )));
    }
    if let Some(output) = &args.output {
        fs::create_dir_all(output).map_err(|e| {
            Failure::new(format!(
                "{}: could not create the folder: {e}",
                output.display()
            ))
        })?;
    }
    let mut plan: Vec<Planned> = Vec::with_capacity(tree.programs.len());
    let mut owners: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for program in tree.programs {
        let output = match (&args.output, program.strip_prefix(&args.model)) {
            (Some(output), Ok(relative)) => beside(&output.join(relative)),
            _ => beside(&program),
        };
        let mut rival = None;
        if let Some(owner) = owners.insert(output.clone(), plan.len()) {
            rival = Some(plan[owner].program.clone());
            plan[owner].rival = Some(program.clone());
        }
        plan.push(Planned {
            program,
            output,
            rival,
        });
    }
    let unreadable = tree.unreadable.into_iter().map(|error| Entry {
        program: error.place().path.clone().unwrap_or_default(),
        error: Some(error.to_string()),
        converted: None,
    });
    Ok((plan, unreadable.collect()))
}

/// What a model is called in the table: its program's path below the folder.
fn name(model: &Planned, args: &Args) -> String {
    let relative = model.program.strip_prefix(&args.model);
    relative.unwrap_or(&model.program).display().to_string()
}

fn convert(planned: &Planned, args: &Args) -> Result<Converted<'static>> {
    interrupt::check()?;
    let start = Instant::now();
    if let Some(rival) = &planned.rival {
        return Err(Failure::new(format!(
            "{} would be written to the same file, {}; convert one of them alone",
            rival.display(),
            planned.output.display()
        )));
    }
    let model = args.opened(&planned.program)?;
    let how = args.how(&model)?;
    let conversion = in_folder(&planned.output, || {
        conversion::write(&model, &planned.output, &how)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Converted::new(
        &planned.output,
        &conversion,
        &how,
        seconds,
        None,
    ))
}

/// Runs `work`, which writes into the folder of `output`. The folder is made for that; it is removed if nothing comes of it.
fn in_folder<T>(output: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let folder = output.parent().unwrap_or(Path::new(""));
    let missing = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<&Path> = missing.collect();
    if !missing.is_empty() {
        fs::create_dir_all(folder).map_err(|e| {
            Failure::new(format!(
                "{}: could not create the folder: {e}",
                folder.display()
            ))
        })?;
    }
    work().inspect_err(|_| {
        // A folder that is not empty stays, as it should.
        let _ = missing.into_iter().try_for_each(fs::remove_dir);
    })
}

fn header(width: usize) -> String {
    format!(
        "{HEADING}{:width$}  nodes       size    time  result{HEADING:#}\n",
        "model"
    )
}

/// Prints the line of a model, unless JSON is asked for, or silence and all is well.
fn show(entry: &Entry, name: &str, width: usize, args: &Args) -> Result<()> {
    if args.json || (is_quiet() && entry.error.is_none()) {
        return Ok(());
    }
    let name = shortened::to_end(name, width);
    let mut line = String::new();
    match (&entry.converted, &entry.error) {
        (
            Some(Converted {
                nodes,
                bytes,
                seconds,
                notes,
                ..
            }),
            _,
        ) => {
            let size = counts::bytes(*bytes);
            let notes = match notes.len() {
                0 => String::new(),
                1 => ", 1 note".to_owned(),
                count => format!(", {count} notes"),
            };
            let _ = write!(
                line,
                "{name:width$}  {nodes:>5}  {size:>9}  {seconds:>4.1} s  {GOOD}converted{GOOD:#}{notes}"
            );
        }
        (None, error) => {
            let reason = error.as_deref().unwrap_or_default().replace('\n', " ");
            let _ = write!(
                line,
                "{name:width$}  {:>5}  {:>9}  {:>6}  {BAD}failed:{BAD:#} {reason}",
                "-", "-", "-"
            );
        }
    }
    print(&(line + "\n"))
}

fn conclusion(summary: &Summary, time: Duration) -> String {
    let Summary {
        converted,
        failed,
        models,
    } = summary;
    let (count, seconds) = (models.len(), time.as_secs_f64());
    let style = if *failed == 0 { GOOD } else { BAD }.bold();
    format!(
        "\n{count} models in {seconds:.1} s: {style}{converted} converted, {failed} failed{style:#}\n"
    )
}
