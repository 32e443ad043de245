//! The report of a zoo as text, at most 80 columns wide except for messages.

use std::fmt::Write;

use anstyle::Style;
use paddle2onnx::zoo::{ModelResult, Report, Status};

use super::super::paragraph::wrapped;
use super::super::shortened;
use super::super::style::{BAD, GOOD, HEADING, WARNING};

/// The width of the column of names, which is what the others leave of 80 columns.
const NAME: usize = 29;

/// The table of results, whose first column is as wide as the names need, and whose rows can be had one by one.
pub(super) struct Table {
    width: usize,
}

impl Table {
    /// The table of the models of these names.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let widths = names.map(|name| name.chars().count());
        Self {
            width: widths.max().unwrap_or(0).clamp("model".len(), NAME),
        }
    }

    /// The line with the names of the columns.
    pub fn header(&self) -> String {
        let width = self.width;
        format!(
            "{HEADING}{:width$}  opset  nodes  max abs  max rel    time  result{HEADING:#}\n",
            "model"
        )
    }

    /// The line of a result.
    pub fn row(&self, result: &ModelResult) -> String {
        let width = self.width;
        let worst = result.worst();
        let (style, word) = word(result.status);
        format!(
            "{:width$}  {:>5}  {:>5}  {:>7}  {:>7}  {:>6}  {style}{word}{style:#}\n",
            shortened::to_end(&result.name, width),
            result.opset,
            result
                .nodes
                .map_or_else(|| "-".to_owned(), |nodes| nodes.to_string()),
            error(worst.map(|worst| worst.max_abs)),
            error(worst.map(|worst| worst.max_rel)),
            seconds(result.seconds),
        )
    }
}

/// What follows the table: what needs attention, and the verdict.
pub(super) fn summary(report: &Report) -> String {
    let mut text = String::new();
    problems(&mut text, report);
    baseline(&mut text, report);
    verdict(&mut text, report);
    text
}

/// An error as text. It is None if nothing was compared, and `Some(None)` if it is infinite or the
/// shapes or element types differ.
fn error(error: Option<Option<f64>>) -> String {
    match error {
        None => "-".into(),
        Some(None) => "inf".into(),
        Some(Some(error)) => format!("{error:.1e}"),
    }
}

/// A time, as exact as six columns allow.
fn seconds(seconds: f64) -> String {
    if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// The colour of a status, and a word for it that is short enough for a column.
fn word(status: Status) -> (Style, &'static str) {
    match status {
        Status::ExpectedFailure => (WARNING, "expected"),
        Status::UnexpectedPass => (BAD, "converts"),
        Status::Passed => (GOOD, status.label()),
        Status::PassedByOp => (GOOD, "by op"),
        Status::PassedInPart => (WARNING, "in part"),
        other => (BAD, other.label()),
    }
}

fn problems(text: &mut String, report: &Report) {
    for result in report
        .results
        .iter()
        .filter(|result| !result.status.is_good())
    {
        let ModelResult {
            status,
            message,
            stderr,
            ..
        } = result;
        let (title, label) = (result.title(), status.label());
        let _ = writeln!(text, "\n{BAD}{title} {label}:{BAD:#} {message}");
        for line in stderr.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
}

fn baseline(text: &mut String, report: &Report) {
    if !report.regressions.is_empty() {
        let _ = writeln!(text, "\n{BAD}Worse than the baseline:{BAD:#}");
        for regression in &report.regressions {
            let (name, opset) = (&regression.name, regression.opset);
            let _ = writeln!(text, "{name} at opset {opset}: {}", regression.message);
        }
    }
    if !report.missing.is_empty() {
        let _ = writeln!(text, "\n{WARNING}Only in the baseline:{WARNING:#}");
        for title in &report.missing {
            let _ = writeln!(text, "{title}");
        }
    }
}

fn verdict(text: &mut String, report: &Report) {
    let style = if report.passed { GOOD } else { BAD }.bold();
    let (word, summary) = (report.verdict(), report.summary());
    let summary = wrapped(&summary);
    if let Some(missing) = report.missing_shards() {
        let _ = writeln!(
            text,
            "\n{BAD}There is no report of these shards:{BAD:#} {missing}"
        );
    }
    let _ = writeln!(text, "\n{summary}{style}{word}{style:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_columns() {
        for (time, expected) in [(0.0, "0.0 s"), (99.94, "99.9 s"), (99.96, "100 s")] {
            assert_eq!(seconds(time), expected);
        }
    }
}
