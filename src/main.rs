//! `paddle2onnx-rs`: the command line, which [`paddle2onnx::cli`] is.

use std::env;
use std::process::ExitCode;

use paddle2onnx::cli;

fn main() -> ExitCode {
    let program = env::current_exe().into_iter().map(Into::into).collect();
    ExitCode::from(cli::main(env::args_os(), program))
}
