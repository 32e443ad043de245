//! Running the program, and its output as a text that is the same on every machine.

use std::fmt::{self, Write};
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

pub use super::files::{copy_of, names_in};

/// The program with these arguments, without the variables that would change the form of its output.
pub fn command<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"));
    command.args(arguments);
    for name in ["COLUMNS", "CLICOLOR_FORCE", "FORCE_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// [`command`] with an ONNX Runtime.
pub fn command_with_runtime<A: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = command(arguments);
    command.env("ORT_DYLIB_PATH", super::onnx_runtime());
    command
}

/// The exit code and output of a run of the program.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        write!(
            f,
            "exit code {code}\n--- stdout\n{}--- stderr\n{}",
            self.stdout, self.stderr
        )
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

/// Asserts one paragraph on stderr that has these words, nothing on stdout, and exit code 2.
pub fn is_refusal(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    let message = ran
        .stderr
        .strip_prefix("error: ")
        .unwrap_or_else(|| panic!("{ran}"));
    assert!(message.len() > 10, "{ran}");
    assert_eq!(
        message.find('\n'),
        Some(message.len() - 1),
        "not one paragraph: {ran}"
    );
    for word in words {
        assert!(message.contains(word), "`{word}` is missing: {ran}");
    }
}

/// A run as text, with names for `folders`, and placeholders for times, versions and distances.
pub fn stable(ran: &Ran, folders: &[(&Path, &str)]) -> String {
    let mut text = ran.to_string();
    for (folder, name) in folders {
        text = text.replace(folder.to_str().unwrap(), name);
    }
    let mut stable = String::new();
    for line in text.lines() {
        writeln!(stable, "{}", stable_line(line)).unwrap();
    }
    stable
}

fn stable_line(line: &str) -> String {
    if line.starts_with("Time ") {
        return "Time        [TIME]".into();
    }
    if line.starts_with("Rounding noise ") {
        return "Rounding noise [NOISE]".into();
    }
    let mut stable = String::new();
    let mut after = "";
    for word in line.split_inclusive(' ') {
        let (text, space) = word
            .strip_suffix(' ')
            .map_or((word, ""), |text| (text, " "));
        let mut shown = text.to_owned();
        if text.contains('e') && text.parse::<f64>().is_ok() {
            // The padding before a distance shrinks by as much as the placeholder is longer, so that
            // columns keep their widths.
            shown = "#.##e-#".into();
            let excess = shown.len() - text.len().min(shown.len());
            stable.truncate(stable.len() - excess);
        } else if matches!(after, "Runtime" | "paddle2onnx-rs")
            && text.starts_with(char::is_numeric)
        {
            let rest = text.trim_start_matches(|c: char| c.is_numeric() || c == '.');
            shown = format!("[VERSION]{rest}");
        }
        stable.push_str(&shown);
        stable.push_str(space);
        after = text;
    }
    stable
}
