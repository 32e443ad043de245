//! `man`: the manual.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;

use super::Cli;
use super::outcome::{Failure, Outcome, Result};
use super::stdout::print;

/// Prints the manual page of this program, or writes those of all its subcommands.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Write a page for the program, and one for each of its subcommands, into this folder
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Read the page of the program:
      paddle2onnx-rs man | man -l -

  Install all pages for the current user:
      paddle2onnx-rs man ~/.local/share/man/man1";

/// Prints the page, or writes all of them.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let command = Cli::command().name(env!("CARGO_PKG_NAME"));
    match &args.folder {
        None => {
            let mut page = Vec::new();
            let written = Man::new(command).render(&mut page);
            written.map_err(|e| Failure::new(format!("could not make the page: {e}")))?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(folder) => {
            let fail = |e: io::Error| failure(folder, &e);
            fs::create_dir_all(folder).map_err(fail)?;
            clap_mangen::generate_to(command, folder).map_err(fail)?;
        }
    }
    Ok(Outcome::Success)
}

fn failure(folder: &Path, error: &io::Error) -> Failure {
    Failure::new(format!(
        "{}: could not write the pages: {error}",
        folder.display()
    ))
}
