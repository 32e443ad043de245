//! What a comparison shows, in one word.

use serde::Serialize;

use super::{PerOp, Report, Run};

/// What a comparison shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All sides agree in all runs on all outputs. Where rounding has decided single elements, so does each op.
    Parity,
    /// The outputs show nothing, since rounding takes them as far as a fault would, but each op alone computes the
    /// same.
    ParityByOp,
    /// All sides agree on those outputs that can be judged. Others are random, or depend on an op that is passed
    /// through.
    PartialParity,
    /// The outputs show nothing, or not enough, and not every op could be compared alone.
    Undecided,
    /// Sides disagree on an output, or an op computes something else.
    NoParity,
}

impl Verdict {
    /// What the runs and the comparison op by op in a report show together.
    pub(super) fn of(report: &Report) -> Self {
        let per_op = report.per_op.as_ref();
        if !report.runs.iter().all(Run::agrees) || per_op.is_some_and(|o| o.culprit.is_some()) {
            return Self::NoParity;
        }
        let judges_all = |found: &PerOp| found.compared > 0 && found.not_compared.is_empty();
        let is_proved_by_ops = per_op.is_some_and(judges_all);
        if report.runs.iter().any(Run::is_borderline) && !is_proved_by_ops {
            return Self::Undecided;
        }
        let outputs = report.runs.iter().flat_map(|run| &run.outputs);
        if outputs.clone().any(|output| output.unproved.is_some()) {
            return Self::Undecided;
        }
        let random = outputs.clone().filter(|output| output.random).count();
        if random == outputs.clone().count() && random > 0 {
            Self::Undecided
        } else if random > 0 || !report.not_judged.is_empty() {
            Self::PartialParity
        } else if outputs.clone().any(|output| output.undecided.is_some()) {
            Self::ParityByOp
        } else {
            Self::Parity
        }
    }

    /// Whether the ONNX model is shown to compute what the program computes.
    pub fn is_pass(self) -> bool {
        matches!(self, Self::Parity | Self::ParityByOp)
    }

    /// The verdict in reports for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Parity => "Parity",
            Self::ParityByOp => "Parity, op by op",
            Self::PartialParity => "Parity of what can be judged",
            Self::Undecided => "Undecided",
            Self::NoParity => "No parity",
        }
    }
}
