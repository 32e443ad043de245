//! `paddle2onnx-rs`: the command line. The library does the work; [`cli`] reads the arguments
//! and shows the results.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
