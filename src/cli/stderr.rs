//! What is said to the user beside the output: errors, warnings and notes, on stderr.

use std::io::Write;

use anstyle::Style;

use super::style::{BAD, NOTE, WARNING};

/// Says what went wrong.
pub(super) fn complain(message: &str) {
    say(BAD, "error", message);
}

/// Says what is uncertain.
pub(super) fn warn(message: &str) {
    say(WARNING, "warning", message);
}

/// Says what is good to know.
pub(super) fn note(message: &str) {
    say(NOTE, "note", message);
}

fn say(style: Style, label: &str, message: &str) {
    let style = style.bold();
    // When stderr is closed, there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {message}");
}
