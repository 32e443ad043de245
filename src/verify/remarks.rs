//! What people must know of a verdict beyond the numbers.

use super::{OutputReport, PerOp, Report, Side, whole_place};

/// The remarks on a report, each a sentence or two.
pub(super) fn of(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    for not_judged in &report.not_judged {
        remarks.push(format!(
            "Not judged: {} {}",
            not_judged.output, not_judged.reason
        ));
    }
    let outputs = report.runs.first().into_iter().flat_map(|run| &run.outputs);
    let random = outputs.clone().filter(|output| output.random);
    let random: Vec<&str> = random.map(|output| output.name.as_str()).collect();
    if !random.is_empty() {
        remarks.push(format!(
            "Not judged, since they are random: the values of {}. Their shapes and element types were compared.",
            random.join(", ")
        ));
    }
    for output in outputs {
        let mut sides = output.comparisons.iter().map(|comparison| comparison.side);
        let is_halved = sides.any(|side| side == Side::Unrounded);
        if let Some(noise) = output.noise.filter(|noise| is_halved && noise.is_coarse()) {
            remarks.push(format!(
                "Half precision takes {} far from the exact result: by {:.1e}, where its elements spread by {:.1e}. Whether that is \
                 good enough, data of your own can tell.",
                output.name, noise.floor, noise.spread
            ));
        }
        if let Some(reason) = &output.unproved {
            remarks.push(format!(
                "{}: whether the program in half precision computes what the original does can't be told either, since \
                 {reason}.",
                output.name
            ));
        }
        if let Some(reason) = &output.undecided {
            remarks.push(format!(
                "{} can't be judged by its values alone: {reason}.",
                output.name
            ));
        }
    }
    let all = report.runs.iter().flat_map(|run| &run.outputs);
    remarks.extend(all.filter_map(borderline));
    if report.blames_witness() {
        remarks.push(
            "ONNX Runtime and the reference agree with each other. Only the outputs that were recorded, or that \
             Paddle has computed now, differ: were they made by this model, and of these inputs?"
                .to_owned(),
        );
    }
    if let Some(found) = &report.per_op {
        remarks.extend(by_ops(found));
    }
    remarks
}

/// How many elements of an output rounding has decided, if any.
fn borderline(output: &OutputReport) -> Option<String> {
    let metrics = output.comparisons.iter().filter_map(|c| c.metrics.as_ref());
    let worst = metrics.max_by_key(|metrics| metrics.borderline)?;
    (worst.borderline > 0).then(|| {
        format!(
            "Rounding has decided {} of {} elements of {}: the exact run, moved by as much as rounding may move it, \
             gives either answer.",
            worst.borderline, worst.elements, output.name
        )
    })
}

/// What the comparison op by op adds.
fn by_ops(found: &PerOp) -> Vec<String> {
    let mut remarks = Vec::new();
    if found.culprit.is_none() && found.compared > 0 {
        remarks.push(format!(
            "No op is to blame: on the operands of the reference, the nodes of each of {} ops compute the same.",
            found.compared
        ));
    }
    if let Some(first) = found.not_compared.first() {
        remarks.push(format!(
            "{} of {} ops were not compared alone: op {} `{}` ({}), since {}",
            found.not_compared.len(),
            found.compared + found.not_compared.len(),
            first.index,
            first.op,
            whole_place(&first.place, &first.within),
            first.reason
        ));
    }
    remarks
}
