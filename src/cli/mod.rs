//! Arguments → the library's work → text or JSON.
//!
//! One file per subcommand. Data goes to stdout, messages and progress to stderr. The exit code
//! answers: 0 done or yes, 1 no parity, not as expected or not convertible, 2 could not be done, 130 interrupted.

mod bench;
mod check;
mod comparing;
mod convert;
mod inspect;
mod interrupt;
mod model_and_onnx;
mod ops;
mod output;
mod per_op;
mod progress;
mod render;
mod top5;
mod verify;
mod zoo;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use paddle2onnx::{Error, ErrorKind, Model};
use serde::Serialize;

/// Converts PaddlePaddle inference models to ONNX, and proves the result.
///
/// Neither Paddle nor Python is needed. Verifying needs ONNX Runtime's library.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  Convert a model; the result is model/inference.onnx:
      paddle2onnx-rs convert model/inference.json

  Convert it, and prove that the result computes the same:
      paddle2onnx-rs convert model/inference.json --verify

  See what a model consists of:
      paddle2onnx-rs inspect model

Exit codes:
  0    done; with verify: both compute the same
  1    verified, and they do not compute the same; with zoo: not as expected; with --check: the
       model can't be converted
  2    could not be done; the message on stderr says why
  130  interrupted";

#[derive(Subcommand)]
enum Command {
    Convert(convert::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Ops(ops::Args),
    Zoo(zoo::Args),
}

/// What a subcommand that did its work has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    NoParity,
    NotAsExpected,
    NotConvertible,
}

/// Why a subcommand could not do its work, as a sentence.
struct Failure {
    message: String,
    interrupted: bool,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            interrupted: false,
        }
    }

    fn interrupted() -> Self {
        Self {
            message: "interrupted".into(),
            interrupted: true,
        }
    }

    /// Puts what was done, or being done, before the message.
    fn after(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            interrupted: error.kind() == ErrorKind::Interrupted,
            message: error.to_string(),
        }
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

/// Runs the subcommand that the arguments name.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Convert(args) => convert::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Ops(args) => ops::run(&args),
        Command::Zoo(args) => zoo::run(&args),
    };
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::NoParity | Outcome::NotAsExpected | Outcome::NotConvertible) => {
            ExitCode::from(1)
        }
        Err(failure) => {
            complain(&failure.message);
            ExitCode::from(if failure.interrupted {
                interrupt::EXIT_CODE
            } else {
                2
            })
        }
    }
}

/// Opens the model that the arguments name, and says what is uncertain about that.
fn open(model: &Path, params: Option<&Path>) -> Result<Model> {
    let model = Model::open(model, params)?;
    if let Some(warning) = model.format().warning() {
        let style = render::WARNING.bold();
        let program = model.files().program.display();
        // Nobody is left to be told when stderr is closed.
        let _ = writeln!(
            anstream::stderr(),
            "{style}warning:{style:#} {program}: {warning}"
        );
    }
    Ok(model)
}

/// Tells the person at the terminal what went wrong.
fn complain(message: &str) {
    let style = render::BAD.bold();
    // Nobody is left to be told when stderr is closed.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {message}");
}

/// Writes text to stdout, without its colours if that is no terminal.
fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout();
    finish_output(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// Writes a value to stdout as JSON.
fn print_json(value: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let result = serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from);
    finish_output(
        result
            .and_then(|()| writeln!(stdout))
            .and_then(|()| stdout.flush()),
    )
}

/// Who closes the pipe, as `head` does, has seen enough: that is no failure.
fn finish_output(result: io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("could not write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}
