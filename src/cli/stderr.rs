//! What is said to the user beside the output: errors, warnings and notes, on stderr.

use std::io::Write;

use anstyle::Style;

use super::loudness::{is_quiet, is_verbose};
use super::style::{BAD, HEADING, NOTE, WARNING};

/// Says what went wrong.
pub(super) fn complain(message: &str) {
    say(BAD, "error", message);
}

/// Says what is uncertain.
pub(super) fn warn(message: &str) {
    if !is_quiet() {
        say(WARNING, "warning", message);
    }
}

/// Says what is good to know.
pub(super) fn note(message: &str) {
    if !is_quiet() {
        say(NOTE, "note", message);
    }
}

/// Says what is being done, if that is to be told.
pub(super) fn tell(step: &str) {
    if is_verbose() {
        say(HEADING, "step", step);
    }
}

fn say(style: Style, label: &str, message: &str) {
    let style = style.bold();
    // When stderr is closed, there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {message}");
}
