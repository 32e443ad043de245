//! What a subcommand prints: text or JSON, on stdout.

use std::io::{self, Write};

use serde::Serialize;

use super::outcome::{Failure, Result};

/// Writes text to stdout, without its colours if that is no terminal.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout();
    finish_output(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// Writes a value to stdout as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let result = serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from);
    finish_output(
        result
            .and_then(|()| writeln!(stdout))
            .and_then(|()| stdout.flush()),
    )
}

/// A closed pipe is no failure: its reader, such as `head`, has seen enough.
fn finish_output(result: io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("could not write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}
