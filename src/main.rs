//! `paddle2onnx-rs`: the command line. What it does is in the library, what it says in [`cli`].

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
