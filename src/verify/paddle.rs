//! Runs the original program in Paddle Inference, with a Python that has Paddle.
//!
//! Python runs a small script, `paddle_runner.py`, in a process of its own. Inputs go to its stdin
//! and outputs come from its stdout, as NumPy archives, so that no temporary files are needed.
//! Refused are a Python without Paddle, and weights in one file per variable.

use std::io::{Cursor, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use super::inputs::Set;
use super::npz;
use crate::error::{Error, Result};
use crate::read::{ModelFiles, WeightFiles};
use crate::tensor::Tensor;

const SCRIPT: &str = include_str!("paddle_runner.py");

/// The script's exit code if Paddle or NumPy is missing.
const MODULE_MISSING: i32 = 3;

/// How many of the last lines that a failed script wrote to stderr are shown. Before them come stack
/// traces.
const LINES: usize = 3;

/// The outputs that Paddle computed.
pub(super) struct Computed {
    /// Paddle's version.
    pub version: String,
    /// The outputs of each run, in the program's order.
    pub runs: Vec<Vec<Tensor>>,
}

/// Computes the outputs with these names for all sets of inputs, in one process.
///
/// # Errors
/// When Python can't be started or has no Paddle, Paddle can't run the program, or an output is
/// missing.
pub(super) fn run(
    python: &Path,
    files: &ModelFiles,
    sets: &[Set],
    names: &[&str],
) -> Result<Computed> {
    let mut arrays = Vec::new();
    for (run, set) in sets.iter().enumerate() {
        let named = set.tensors.iter();
        arrays.extend(named.map(|(name, tensor)| (format!("{run}/{name}"), tensor.clone())));
    }
    let mut archive = Cursor::new(Vec::new());
    npz::write(&mut archive, &arrays)?;
    let mut command = command(python, files)?;
    let child = command.spawn().map_err(|e| not_started(python, &e))?;
    let output = exchange(child, archive.get_ref())
        .map_err(|e| Error::io(python, "run the program in Paddle", e))?;
    if !output.status.success() {
        return Err(failed(python, &output));
    }
    outputs(python, &output.stdout, sets.len(), names)
}

fn command(python: &Path, files: &ModelFiles) -> Result<Command> {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]);
    match &files.weights {
        WeightFiles::Combined(weights) => command.arg(&files.program).arg(weights),
        WeightFiles::Missing(_) => command.arg(&files.program),
        WeightFiles::Separate(_) => {
            return Err(Error::unsupported(
                "--reference paddle needs the weights in one file; those of this model are in one \
                 file per variable",
            )
            .in_file(&files.program));
        }
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Writes all input while it reads all output: done in turn, both processes could wait for each other
/// at a full pipe.
fn exchange(mut child: Child, input: &[u8]) -> std::io::Result<Output> {
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        let writing = scope.spawn(|| match stdin {
            Some(mut stdin) => stdin.write_all(input),
            None => Ok(()),
        });
        let output = child.wait_with_output()?;
        match writing.join() {
            // A script that fails early does not read all input; its stderr tells more than the
            // broken pipe.
            Ok(Err(e)) if e.kind() != ErrorKind::BrokenPipe => Err(e),
            _ => Ok(output),
        }
    })
}

fn not_started(python: &Path, error: &std::io::Error) -> Error {
    let python = python.display();
    Error::invalid(format!(
        "could not start `{python}` for --reference paddle: {error}; name a Python that has \
         Paddle with --python"
    ))
}

fn failed(python: &Path, output: &Output) -> Error {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let said = lines[lines.len().saturating_sub(LINES)..].join(" ");
    let python = python.display();
    if output.status.code() == Some(MODULE_MISSING) {
        return Error::invalid(format!(
            "`{python}` has no Paddle ({said}); install it with `{python} -m pip install \
             paddlepaddle`, or name another Python with --python"
        ));
    }
    Error::invalid(format!(
        "Paddle in `{python}` could not run the program ({}): {said}",
        output.status
    ))
}

fn outputs(python: &Path, archive: &[u8], runs: usize, names: &[&str]) -> Result<Computed> {
    let mut archive = npz::open(Cursor::new(archive)).map_err(|e| e.in_file(python))?;
    let mut read = |names: &[&str]| {
        npz::arrays(&mut archive, names).map_err(|e| {
            Error::invalid(format!("what Paddle computed can't be taken: {e}")).in_file(python)
        })
    };
    let version = read(&["version"])?.remove(0).to_le_bytes();
    let mut computed = Computed {
        version: String::from_utf8_lossy(&version).into_owned(),
        runs: Vec::with_capacity(runs),
    };
    for run in 0..runs {
        let names: Vec<String> = names.iter().map(|name| format!("{run}/{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        computed.runs.push(read(&names)?);
    }
    Ok(computed)
}
