//! Labelled values, one per line.

use std::fmt::Write;

use super::style::HEADING;

/// The width of the labels.
pub(super) const LABEL: usize = 11;

/// One line per field, with the values aligned below each other.
pub(super) fn text(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (label, value) in fields {
        let _ = writeln!(text, "{HEADING}{label:LABEL$}{HEADING:#} {value}");
    }
    text
}
