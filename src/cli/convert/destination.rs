//! Where an ONNX model goes.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::super::outcome::{Failure, Result};
use super::{Args, Placement};

/// The name that stands for standard output.
pub(super) const STDOUT: &str = "-";

/// Where an ONNX model goes.
pub(super) enum Destination {
    File(PathBuf),
    /// Standard output, on which nothing else may be then.
    Stdout,
}

impl Destination {
    /// What the arguments ask for, of a model whose program is this.
    pub fn of(args: &Args, program: &Path) -> Result<Self> {
        match &args.output {
            None => Ok(Self::File(beside(program))),
            Some(output) if output.as_os_str() == STDOUT => {
                refuse_what_stdout_can_not_have(args)?;
                Ok(Self::Stdout)
            }
            Some(output) if output.is_dir() => {
                let name = beside(program);
                Ok(Self::File(
                    output.join(name.file_name().unwrap_or_default()),
                ))
            }
            Some(output) if is_folder_by_name(output) => Err(Failure::new(format!(
                "{}: there is no such folder; make it, or name a file",
                output.display()
            ))),
            Some(output) => Ok(Self::File(output.clone())),
        }
    }
}

/// The ONNX file beside a program that is called like it, except that `__model__`, a name which says nothing, gives
/// `model.onnx`.
pub(super) fn beside(program: &Path) -> PathBuf {
    if program.file_name().is_some_and(|name| name == "__model__") {
        return program.with_file_name("model.onnx");
    }
    program.with_extension("onnx")
}

/// Whether a path ends with a separator, as that of a folder does.
fn is_folder_by_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .last()
        .is_some_and(|byte| std::path::is_separator(char::from(*byte)))
}

/// Refuses what does not go together with a model on standard output.
fn refuse_what_stdout_can_not_have(args: &Args) -> Result<()> {
    let other = match args.weights {
        Some(Placement::External) => Some("--weights external would need a second file"),
        Some(Placement::Link) => Some("--weights link would need a file beside the weights"),
        _ if args.json => Some("--json would be printed there, too"),
        _ if args.verify => Some("--verify would print its report there, too"),
        _ => None,
    };
    if let Some(other) = other {
        return Err(Failure::new(format!(
            "--output - writes the model to standard output, but {other}; name a file instead"
        )));
    }
    if io::stdout().is_terminal() {
        return Err(Failure::new(
            "--output - writes the model to standard output, which is a terminal; redirect it, as in `-o - > model.onnx`",
        ));
    }
    Ok(())
}
