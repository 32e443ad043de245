//! The command line: arguments → the library's work → text or JSON.
//!
//! There is one file per subcommand, and one for each thing that several of them need. Data goes to
//! stdout, messages and progress to stderr. The exit code is 0 for done or yes, 1 for no parity, not
//! as expected or not convertible, 2 for what could not be done, and 130 for an interruption.

mod accuracy;
mod bar;
mod bench;
mod check;
mod color;
mod comparing;
pub mod compat;
mod completions;
mod conversion;
mod convert;
mod counts;
mod fields;
mod half;
mod inspect;
mod interrupt;
mod loudness;
mod man;
mod memory;
mod model_and_onnx;
mod notes;
mod open;
mod ops;
mod opset;
mod outcome;
mod output;
mod paragraph;
mod per_op;
pub mod printed;
mod progress;
mod shortened;
mod stderr;
mod stdout;
mod style;
mod top5;
mod verification;
mod verify;
mod zoo;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use color::When;
use outcome::Outcome;
use stderr::complain;

/// Converts PaddlePaddle inference models to ONNX, and proves the result.
///
/// Neither Paddle nor Python is needed. Verifying needs ONNX Runtime's library.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// When to colour text: auto, always or never [default: auto, which means on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true
    )]
    color: Option<When>,
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
       model can't be converted; with --recursive: a model could not be
  2    could not be done; the message on stderr says why
  3    verified as far as possible: what can be judged agrees, but not all outputs can be
  130  interrupted";

#[derive(Subcommand)]
enum Command {
    Convert(convert::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Accuracy(accuracy::Args),
    Inspect(inspect::Args),
    Ops(ops::Args),
    Zoo(zoo::Args),
    #[command(infer_long_args = true, args_override_self = true)]
    Compat(compat::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the subcommand that the arguments name, of which the first is the program's own name. Returns the exit code, with
/// which the process should end: signals are handled from here on.
///
/// `program` is the command that starts this program again, with which `zoo` starts its workers: the path of the
/// executable, or an interpreter and its arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>, program: Vec<OsString>) -> u8 {
    memory::keep_freed();
    let arguments = compat::spelled_out(arguments);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(e) => {
            When::asked(arguments.iter()).apply();
            // When the stream is closed, there is nobody to tell.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    cli.color.unwrap_or(When::Auto).apply();
    if let Command::Verify(_) | Command::Bench(_) | Command::Accuracy(_) | Command::Zoo(_) =
        cli.command
    {
        memory::use_huge_pages();
    }
    let result = match cli.command {
        Command::Convert(args) => convert::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Accuracy(args) => accuracy::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Ops(args) => ops::run(&args),
        Command::Zoo(args) => zoo::run(&args, &program),
        Command::Compat(args) => compat::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    exit_code(result)
}

fn exit_code(result: outcome::Result<Outcome>) -> u8 {
    match result {
        Ok(Outcome::Success) => 0,
        Ok(
            Outcome::NoParity
            | Outcome::NotAsExpected
            | Outcome::NotConvertible
            | Outcome::SomeFailed,
        ) => 1,
        Ok(Outcome::Undecided) => 3,
        Err(failure) => {
            complain(&failure.message);
            if failure.interrupted {
                interrupt::EXIT_CODE
            } else {
                2
            }
        }
    }
}
