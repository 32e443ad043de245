//! The report of a verification as an HTML page.

mod charts;

use std::fmt::Write;
use std::time::SystemTime;

use super::noise::{NOISE_MULTIPLE, Noise};
use super::per_op::{Culprit, OpReport, OwnError, PerOp, Statistics};
use super::{Comparison, OutputReport, Report, Run, Side, Verdict};
use crate::html::{escape, page, put};
use crate::tensor::display_shape;

/// What a page says of the models that were compared, beside the report.
#[derive(Debug, Clone)]
pub struct About {
    /// The path of the Paddle program.
    pub model: String,
    /// The format of the program.
    pub format: String,
    /// The path of the ONNX model; None if it was converted for the comparison alone.
    pub onnx: Option<String>,
    /// When the comparison was made.
    pub made: SystemTime,
}

/// The report as a single HTML page, which loads nothing from elsewhere.
pub fn html(report: &Report, about: &About) -> String {
    let mut body = String::new();
    verdict(&mut body, report);
    environment(&mut body, report, about);
    if let Some(culprit) = report
        .per_op
        .as_ref()
        .and_then(|found| found.culprit.as_ref())
    {
        accuse(&mut body, culprit);
    } else if let Some(failure) = &report.per_op_failure {
        put!(
            body,
            "<p>The ops could not be compared one by one: {}</p>",
            escape(failure)
        );
    }
    for run in &report.runs {
        for output in &run.outputs {
            output_section(&mut body, run, output);
        }
    }
    if let Some(found) = report.per_op.as_ref().filter(|found| !found.ops.is_empty()) {
        by_op(&mut body, found);
    }
    page("Paddle and ONNX, compared", &body)
}

fn verdict(body: &mut String, report: &Report) {
    let word = report.verdict.label();
    let class = match report.verdict {
        Verdict::Parity | Verdict::ParityByOp => "good",
        Verdict::PartialParity | Verdict::Undecided => "neutral",
        Verdict::NoParity => "bad",
    };
    let criterion = match report.tolerance {
        Some(tolerance) => format!(
            "Two numbers agree if they differ by no more than {:e} + {:e} of the second.",
            tolerance.atol, tolerance.rtol
        ),
        None => format!(
            "A side agrees if it is no further than {NOISE_MULTIPLE} times the rounding noise of \
             the original program from the exact result."
        ),
    };
    put!(
        body,
        "<p><span class=\"badge {class}\">{word}</span></p>\n<p>{criterion}</p>"
    );
    for remark in &report.remarks {
        put!(body, "<p>{}</p>", escape(remark));
    }
}

fn environment(body: &mut String, report: &Report, about: &About) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = format!(
        "{} {}, {cores} cores",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let versions = format!(
        "paddle2onnx-rs {}, ONNX Runtime {}",
        env!("CARGO_PKG_VERSION"),
        report.onnx_runtime
    );
    let onnx = about.onnx.as_deref().unwrap_or("converted for this alone");
    put!(body, "<dl>");
    for (term, text) in [
        ("Model", about.model.as_str()),
        ("Format", &about.format),
        ("ONNX", onnx),
        ("Versions", &versions),
        ("Machine", &machine),
        (
            "Made",
            &humantime::format_rfc3339_seconds(about.made).to_string(),
        ),
    ] {
        put!(body, "<dt>{term}</dt><dd>{}</dd>", escape(text));
    }
    put!(body, "</dl>");
}

fn output_section(body: &mut String, run: &Run, output: &OutputReport) {
    put!(
        body,
        "<h2>{}: {} {}</h2>",
        escape(&run.inputs),
        escape(&output.name),
        display_shape(&output.shape)
    );
    put!(
        body,
        "<table class=\"numbers cards\"><thead><tr><th>sides</th><th>max abs</th><th>max rel</th>\
         <th>mean abs</th><th>cosine</th><th>argmax</th><th>verdict</th></tr></thead><tbody>"
    );
    for comparison in &output.comparisons {
        comparison_row(body, comparison);
    }
    put!(body, "</tbody></table>");
    let runtime = output
        .comparisons
        .iter()
        .find(|c| c.side == Side::OnnxRuntime);
    let Some((comparison, metrics)) = runtime.and_then(|c| Some((c, c.metrics.as_ref()?))) else {
        return;
    };
    if let Some(Noise {
        floor, multiple, ..
    }) = output.noise
    {
        put!(
            body,
            "<p>Rounding takes the original {floor:.2e} from the exact result, and the ONNX model \
             {:.2e}: {:.1} times as far, of {multiple} that are allowed.</p>",
            metrics.max_abs,
            metrics.max_abs / floor.max(f64::MIN_POSITIVE)
        );
    }
    let inexact: usize = metrics.decades.values().sum();
    put!(
        body,
        "<p class=\"faint\">Errors of the {} elements of {} against {}, by powers of ten</p>",
        metrics.elements,
        comparison.side.label(),
        comparison.against.label()
    );
    body.push_str(&charts::histogram(
        &metrics.decades,
        metrics.elements.saturating_sub(inexact),
    ));
}

fn comparison_row(body: &mut String, comparison: &Comparison) {
    let Comparison { side, against, .. } = comparison;
    let class = if comparison.agrees { "good" } else { "bad" };
    let word = comparison.label();
    put!(
        body,
        "<tr><td class=\"name\">{} / {}</td>",
        side.label(),
        against.label()
    );
    if let Some(metrics) = &comparison.metrics {
        let argmax = metrics.argmax;
        let argmax = argmax.map_or_else(|| "-".into(), |a| format!("{}/{}", a.same, a.rows));
        put!(
            body,
            "<td data-label=\"max abs\">{:.2e}</td><td data-label=\"max rel\">{:.2e}</td>\
             <td data-label=\"mean abs\">{:.2e}</td><td data-label=\"cosine\">{:.7}</td>\
             <td data-label=\"argmax\">{argmax}</td>",
            metrics.max_abs,
            metrics.max_rel,
            metrics.mean_abs,
            metrics.cosine
        );
    } else {
        put!(body, "<td colspan=\"5\"></td>");
    }
    put!(body, "<td class=\"status {class}\">{word}</td></tr>");
}

fn by_op(body: &mut String, found: &PerOp) {
    put!(
        body,
        "<h2>Error by layer</h2>\n<p>{}: {} ops have become nodes, {} none. Dots are the errors that \
         ops make themselves, on the operands of the reference; the line is the difference from the \
         reference after all ops so far.</p>",
        escape(&found.inputs),
        found.compared,
        found.without_nodes
    );
    body.push_str(&charts::growth(&found.ops));
    put!(
        body,
        "<details><summary>All {} ops</summary><div class=\"scroll\"><table class=\"numbers\">\
         <thead><tr><th>op</th><th>layer</th><th>own error</th><th>× noise</th><th>so far</th></tr>\
         </thead><tbody>",
        found.ops.len()
    );
    for op in &found.ops {
        op_row(body, op);
    }
    put!(body, "</tbody></table></div></details>");
}

fn op_row(body: &mut String, op: &OpReport) {
    let class = if op.own.agrees { "" } else { " class=\"bad\"" };
    let number = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.1e}"));
    let own = op.own.metrics.as_ref().map(|metrics| metrics.max_abs);
    let ratio = multiple(&op.own).map_or("-".into(), |ratio| format!("{ratio:.1}"));
    let all = op.accumulated.as_ref().map(|metrics| metrics.max_abs);
    put!(
        body,
        "<tr{class}><td>{} {}</td><td>{}</td><td>{}</td><td>{ratio}</td><td>{}</td></tr>",
        op.index,
        escape(&op.op),
        escape(&op.whole_place()),
        number(own),
        number(all)
    );
}

/// The largest error of an op in multiples of its rounding noise; None if it has none.
fn multiple(own: &OwnError) -> Option<f64> {
    let (metrics, noise) = (own.metrics.as_ref()?, own.noise?);
    (noise.floor > 0.0).then(|| metrics.max_abs / noise.floor)
}

fn accuse(body: &mut String, culprit: &Culprit) {
    let Culprit { report, .. } = culprit;
    put!(
        body,
        "<h2 class=\"bad\">The op to blame: op {} {}</h2>\n<dl><dt>Layer</dt><dd>{}</dd>\
         <dt>Tensor</dt><dd>{}</dd>",
        report.index,
        escape(&report.op),
        escape(&report.whole_place()),
        escape(&report.tensor)
    );
    let own = &report.own;
    let error = match (&own.metrics, multiple(own), &own.failure) {
        (_, _, Some(failure)) => escape(failure),
        (None, ..) => "another shape or element type".to_owned(),
        (Some(metrics), ratio, _) => format!(
            "{:.2e} at most{}; {} of {} elements are out of tolerance",
            metrics.max_abs,
            ratio.map_or_else(String::new, |ratio| format!(
                ", {ratio:.0} × the rounding noise of the op"
            )),
            metrics.disagreeing,
            metrics.elements
        ),
    };
    put!(body, "<dt>Error</dt><dd>{error}</dd>");
    if let Some(worst) = &culprit.worst {
        put!(
            body,
            "<dt>Worst element</dt><dd>at {}: {:e} where {:e} is right</dd>",
            display_shape(&worst.index),
            worst.found as f32,
            worst.exact as f32
        );
    }
    for (name, value) in &culprit.attributes {
        put!(body, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    put!(body, "</dl>");
    put!(
        body,
        "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th></th><th>value</th><th>type</th>\
         <th>min</th><th>max</th><th>mean</th></tr></thead><tbody>"
    );
    for operand in &culprit.operands {
        statistics_row(body, "operand", operand);
    }
    statistics_row(body, "right", &culprit.expected);
    if let Some(found) = &culprit.found {
        statistics_row(body, "found", found);
    }
    put!(body, "</tbody></table></div>");
}

fn statistics_row(body: &mut String, role: &str, of: &Statistics) {
    put!(
        body,
        "<tr><td>{role}</td><td>{}</td><td>{} {}</td><td>{:.3e}</td><td>{:.3e}</td><td>{:.3e}</td></tr>",
        escape(&of.name),
        of.dtype,
        display_shape(&of.shape),
        of.min,
        of.max,
        of.mean
    );
}
