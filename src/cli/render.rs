//! Values as text for people. Styles are written out in full; `anstream` drops them where they
//! can't be shown.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::DecimalBytes;
use paddle2onnx::tensor::display_shape;
use paddle2onnx::verify::{
    Comparison, NOISE_MULTIPLE, Noise, OutputReport, RANDOM, Report, Run, Side, Tolerance,
};

use super::{per_op, top5};

/// Errors, and answers that are no.
pub const BAD: Style = AnsiColor::Red.on_default();
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// Answers that are yes.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Names of what follows.
pub const HEADING: Style = Style::new().bold();

/// The width of the labels of [`fields`].
pub const LABEL: usize = 11;

/// One line per field, the values below each other.
pub fn fields(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (label, value) in fields {
        let _ = writeln!(text, "{HEADING}{label:LABEL$}{HEADING:#} {value}");
    }
    text
}

/// A size, as in `344.21 MB`.
pub fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

/// A count in millions, as in `86.57 M`.
pub fn mega(count: u64) -> String {
    scaled(count, 1e6, "M")
}

/// A count in thousand millions, as in `16.85 G`.
pub fn giga(count: u64) -> String {
    scaled(count, 1e9, "G")
}

/// Two decimals. What those would hide is written out to the last unit.
fn scaled(count: u64, unit: f64, name: &str) -> String {
    let value = count as f64 / unit;
    if value < 0.1 {
        return count.to_string();
    }
    format!("{value:.2} {name}")
}

/// A report of a verification: a table per output, and the verdict.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.runs {
        for output in &run.outputs {
            output_table(&mut text, run, output);
            text.push('\n');
        }
        if !run.top.is_empty() {
            top5::tables(&mut text, &run.top);
            text.push('\n');
        }
    }
    if let Some(found) = &report.per_op {
        text.push_str(&per_op::text(found));
        text.push('\n');
    }
    if let Some(failure) = &report.per_op_failure {
        let _ = writeln!(text, "The op to blame could not be looked for: {failure}\n");
    }
    verdict(&mut text, report);
    text
}

const COLUMNS: [&str; 6] = ["", "max abs", "max rel", "mean abs", "cosine", "argmax"];

fn output_table(text: &mut String, run: &Run, output: &OutputReport) {
    let shape = display_shape(&output.shape);
    let _ = writeln!(
        text,
        "{HEADING}{}: {} {shape}{HEADING:#}",
        run.inputs, output.name
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for comparison in &output.comparisons {
        table.add_row(row(comparison));
    }
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if position > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // The verdicts stand outside of the table, which would count the bytes of their colours.
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let _ = writeln!(text, "{header}verdict");
    for (line, comparison) in lines.zip(&output.comparisons) {
        let (style, word) = match (comparison.agrees, &comparison.metrics) {
            (true, Some(_)) => (GOOD, "agrees"),
            (true, None) => (GOOD, "same shape and dtype"),
            (false, Some(_)) => (BAD, "differs"),
            (false, None) => (BAD, "shape or dtype differs"),
        };
        let _ = writeln!(text, "{line}{style}{word}{style:#}");
    }
    remarks(text, output);
}

fn row(comparison: &Comparison) -> [String; 6] {
    let Comparison { side, against, .. } = comparison;
    let sides = format!("{} / {}", short(*side), short(*against));
    let unknown = || "-".to_owned();
    let Some(metrics) = &comparison.metrics else {
        return [sides, unknown(), unknown(), unknown(), unknown(), unknown()];
    };
    [
        sides,
        format!("{:.2e}", metrics.max_abs),
        format!("{:.2e}", metrics.max_rel),
        format!("{:.2e}", metrics.mean_abs),
        format!("{:.7}", metrics.cosine),
        metrics
            .argmax
            .map_or_else(unknown, |argmax| format!("{}/{}", argmax.same, argmax.rows)),
    ]
}

/// A side's name where there is little room.
fn short(side: Side) -> &'static str {
    match side {
        Side::OnnxRuntime => "runtime",
        other => other.label(),
    }
}

/// What the numbers of a table leave open.
fn remarks(text: &mut String, output: &OutputReport) {
    if output.random {
        let _ = writeln!(text, "{RANDOM}");
    }
    if let Some(Noise { floor, multiple }) = output.noise {
        let largest = |side: Side| {
            let mut comparisons = output.comparisons.iter().filter(|c| c.side == side);
            comparisons.find_map(|c| Some(c.metrics.as_ref()?.max_abs))
        };
        if let Some(distance) = largest(Side::OnnxRuntime) {
            let ratio = distance / floor.max(f64::MIN_POSITIVE);
            let _ = writeln!(
                text,
                "Rounding noise {floor:.2e}: the runtime's error is {ratio:.1} × that (limit {multiple} ×)"
            );
        }
    }
    for comparison in &output.comparisons {
        let Some(metrics) = &comparison.metrics else {
            continue;
        };
        let sides = format!("{} / {}", short(comparison.side), short(comparison.against));
        if metrics.disagreeing > 0 {
            let (count, elements) = (metrics.disagreeing, metrics.elements);
            let _ = writeln!(
                text,
                "{sides}: {count} of {elements} elements out of tolerance"
            );
        }
        if let Some(argmax) = metrics.argmax.filter(|argmax| argmax.tied > 0) {
            let tied = argmax.tied;
            let _ = writeln!(
                text,
                "{sides}: the argmax of {tied} rows is a tie within tolerance"
            );
        }
    }
}

fn verdict(text: &mut String, report: &Report) {
    let outputs = report.runs.iter().flat_map(|run| &run.outputs);
    let comparisons: Vec<&Comparison> = outputs.flat_map(|o| &o.comparisons).collect();
    let differing = comparisons.iter().filter(|c| !c.agrees).count();
    if differing > 0 {
        let _ = writeln!(
            text,
            "{differing} of {} comparisons differ.",
            comparisons.len()
        );
    }
    let (style, word) = if report.parity {
        (GOOD, "Parity")
    } else {
        (BAD, "No parity")
    };
    let style = style.bold();
    let random = report.random_outputs();
    if !random.is_empty() {
        let outputs = random.join(", ");
        let _ = writeln!(
            text,
            "Not comparable, since they are random: the values of {outputs}"
        );
    }
    let criterion = match report.tolerance {
        Some(Tolerance { atol, rtol }) => format!("atol {atol:e}, rtol {rtol:e}"),
        None => format!("within {NOISE_MULTIPLE} × the rounding noise"),
    };
    let paddle = report.paddle.as_ref();
    let paddle = paddle.map_or_else(String::new, |version| format!(", Paddle {version}"));
    let _ = writeln!(
        text,
        "{style}{word}{style:#} ({criterion})\npaddle2onnx-rs {}, ONNX Runtime {}{paddle}",
        env!("CARGO_PKG_VERSION"),
        report.onnx_runtime
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_never_rounded_to_nothing() {
        for (count, expected) in [
            (0, "0"),
            (22_400, "22400"),
            (999_999, "1.00 M"),
            (86_567_656, "86.57 M"),
        ] {
            assert_eq!(mega(count), expected);
        }
        assert_eq!(giga(16_848_000_000), "16.85 G");
        assert_eq!(giga(96_200), "96200");
    }
}
