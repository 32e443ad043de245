//! `completions`: what a shell needs to complete the arguments of this program.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::outcome::{Outcome, Result};
use super::stdout::print;

/// Prints a script that teaches a shell to complete the arguments of this program.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  In bash, for the current user:
      folder=~/.local/share/bash-completion/completions
      mkdir -p $folder
      paddle2onnx-rs completions bash > $folder/paddle2onnx-rs

  In zsh, in a folder that $fpath has:
      paddle2onnx-rs completions zsh > ~/.zfunc/_paddle2onnx-rs

  In fish:
      paddle2onnx-rs completions fish > ~/.config/fish/completions/paddle2onnx-rs.fish";

/// The script with one name for the state after this program's name. The generator for bash makes two of the hyphen in it,
/// so that nothing would be completed behind a subcommand.
fn with_one_name(script: &str) -> String {
    let name = env!("CARGO_PKG_NAME");
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// Prints the script.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(
        args.shell,
        &mut command,
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    print(&with_one_name(&String::from_utf8_lossy(&script)))?;
    Ok(Outcome::Success)
}
