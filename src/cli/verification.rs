//! The report of a verification as text.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use paddle2onnx::tensor::display_shape;
use paddle2onnx::verify::{
    Comparison, NOISE_MULTIPLE, Noise, OutputReport, Report, Run, Side, Tolerance, Verdict,
};

use super::paragraph::wrapped;
use super::style::{BAD, GOOD, HEADING, WARNING};
use super::{per_op, top5};

/// The whole report: for each run a table per output, and of the top classes where there are such; the
/// ops; and the verdict.
pub(super) fn text(report: &Report) -> String {
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
        let _ = writeln!(
            text,
            "The ops could not be compared one by one: {failure}\n"
        );
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
        let style = if comparison.agrees { GOOD } else { BAD };
        let _ = writeln!(text, "{line}{style}{}{style:#}", comparison.label());
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

/// What the numbers of a table don't say: the rounding noise, how many elements are out of tolerance, and where the
/// argmax is a tie.
fn remarks(text: &mut String, output: &OutputReport) {
    if let Some(Noise {
        floor, multiple, ..
    }) = output.noise
    {
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
    for remark in &report.remarks {
        text.push_str(&wrapped(remark));
    }
    let style = match report.verdict {
        Verdict::Parity | Verdict::ParityByOp => GOOD,
        Verdict::PartialParity | Verdict::Undecided => WARNING,
        Verdict::NoParity => BAD,
    };
    let (style, word) = (style.bold(), report.verdict.label());
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
