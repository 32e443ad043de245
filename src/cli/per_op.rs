//! A comparison op by op, as text for people.

use std::fmt::Write;

use paddle2onnx::tensor::display_shape;
use paddle2onnx::verify::{Culprit, OpReport, OwnError, PerOp, Statistics, Within, in_words};

use super::style::{BAD, HEADING};
use super::{fields, shortened};

/// The width of the column of layers. A line stays within 80 columns.
const PLACE: usize = 31;

/// A table of all ops, if they were compared and not only the culprit looked for, and the op to blame.
pub(super) fn text(found: &PerOp) -> String {
    let mut text = String::new();
    if !found.ops.is_empty() {
        table(&mut text, found);
        text.push('\n');
    }
    if let Some(culprit) = &found.culprit {
        accuse(&mut text, culprit);
    }
    text
}

fn table(text: &mut String, found: &PerOp) {
    let _ = writeln!(
        text,
        "{HEADING}{}: op by op{HEADING:#} ({} ops have become nodes, {} none)",
        found.inputs, found.compared, found.without_nodes
    );
    let _ = writeln!(
        text,
        "{:>5}  {:<14}  {:<PLACE$}  {:>8}  {:>8}",
        "op", "", "layer", "own", "all"
    );
    let mut around: &[Within] = &[];
    for op in &found.ops {
        if op.within != around {
            around = &op.within;
            if !around.is_empty() {
                let _ = writeln!(text, "{:>5}  In {}:", "", in_words(around));
            }
        }
        let place = shortened::to_end(&op.place, PLACE);
        let name = format!("{:width$}{}", "", op.op, width = 2 * around.len());
        let own = own(&op.own);
        let all = op.accumulated.as_ref();
        let all = all.map_or_else(
            || "-".to_owned(),
            |metrics| format!("{:.1e}", metrics.max_abs),
        );
        let line = format!(
            "{:>5}  {:<14}  {place:<PLACE$}  {own:>8}  {all:>8}",
            op.index,
            shortened::to_end(&name, 14)
        );
        if op.own.agrees {
            let _ = writeln!(text, "{line}");
        } else {
            let _ = writeln!(text, "{BAD}{line}{BAD:#}");
        }
    }
    text.push_str(
        "own: the error that the op makes itself, in multiples of its rounding noise\n\
         all: the largest difference from the reference after all ops so far\n",
    );
}

/// The error that an op makes itself: in multiples of its rounding noise where it has one, else the
/// largest absolute error.
fn own(own: &OwnError) -> String {
    match (&own.metrics, own.noise) {
        (None, _) => "fails".to_owned(),
        (Some(metrics), Some(noise)) if noise.floor > 0.0 => {
            format!("{:.1}", metrics.max_abs / noise.floor)
        }
        (Some(metrics), _) if metrics.max_abs == 0.0 => "0.0".to_owned(),
        (Some(metrics), _) => format!("{:.1e}", metrics.max_abs),
    }
}

/// The op to blame, with its error, attributes, operands and results.
fn accuse(text: &mut String, culprit: &Culprit) {
    let Culprit { report, .. } = culprit;
    let OpReport { index, op, .. } = report;
    let bold = BAD.bold();
    let _ = writeln!(
        text,
        "{bold}The op to blame: op {index} `{op}`{bold:#} in {}",
        report.whole_place()
    );
    let attributes = culprit.attributes.iter();
    let attributes: Vec<String> = attributes
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut fields = vec![("Error", error(&report.own))];
    if let Some(worst) = &culprit.worst {
        let index = display_shape(&worst.index);
        fields.push((
            "Worst",
            format!(
                "at {index}: {:e} where {:e} is right",
                worst.found as f32, worst.exact as f32
            ),
        ));
    }
    fields.push(("Tensor", report.tensor.clone()));
    if !attributes.is_empty() {
        fields.push(("Attributes", attributes.join(" ")));
    }
    let operands = culprit.operands.iter();
    fields.extend(operands.map(|operand| ("Operand", statistics(operand))));
    let results = [Some(&culprit.expected), culprit.found.as_ref()];
    for (label, result) in ["Right", "Found"].into_iter().zip(results) {
        if let Some(result) = result {
            let nameless = Statistics {
                name: String::new(),
                ..result.clone()
            };
            fields.push((label, statistics(&nameless)));
        }
    }
    text.push_str(&fields::text(&fields));
}

fn error(own: &OwnError) -> String {
    match (&own.metrics, own.noise, &own.failure) {
        (_, _, Some(failure)) => failure.clone(),
        (None, ..) => "another shape or element type".to_owned(),
        (Some(metrics), Some(noise), _) => format!(
            "{:.2e} at most, {:.0} × the op's rounding noise; {} of {} elements",
            metrics.max_abs,
            metrics.max_abs / noise.floor.max(f64::MIN_POSITIVE),
            metrics.disagreeing,
            metrics.elements
        ),
        (Some(metrics), None, _) => format!(
            "{:e} at most; {} of {} elements",
            metrics.max_abs, metrics.disagreeing, metrics.elements
        ),
    }
}

fn statistics(of: &Statistics) -> String {
    let Statistics {
        name,
        dtype,
        shape,
        min,
        max,
        mean,
        not_finite,
    } = of;
    let mut text = format!(
        "{dtype} {}, {min:.3e} to {max:.3e}, mean {mean:.3e}",
        display_shape(shape)
    );
    if *not_finite > 0 {
        let _ = write!(text, ", {not_finite} not finite");
    }
    if !name.is_empty() {
        // The name has a line of its own, since names of layers are long.
        let _ = write!(text, "\n{:width$} {name}", "", width = fields::LABEL);
    }
    text
}
