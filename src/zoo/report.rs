//! What came of a run, as values that serialise.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::regression::Regression;
use super::shard::Shard;

/// The results of all tasks of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format.
    pub version: u32,
    /// The version of this program.
    pub program: String,
    /// The version of ONNX Runtime, if anything was verified.
    pub onnx_runtime: Option<String>,
    /// The machine that it ran on.
    pub machine: Machine,
    /// The other machines, if the reports of several runs were merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_machines: Vec<Machine>,
    /// The parts of the manifest that it is about; empty for the whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
    /// How long it took, in seconds; of several runs, the longest.
    pub seconds: f64,
    /// Whether all is as the manifest expects, nothing is worse than in the baseline, and no shard is missing from a merged
    /// report.
    pub passed: bool,
    /// One per model and opset, in the order of the manifest; by name, if the reports of several runs were merged.
    pub results: Vec<ModelResult>,
    /// What is worse than in the baseline; empty without one.
    #[serde(default)]
    pub regressions: Vec<Regression>,
    /// The titles of the results that only the baseline has.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The shards of which a merged report knows nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_shards: Vec<Shard>,
}

/// The machine of a run, on which its times depend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The system and the processor's architecture, as in `linux x86_64`.
    pub system: String,
    /// How many threads run at once.
    pub cores: usize,
    /// The bytes of memory that were available, where that is known.
    pub memory: Option<u64>,
}

/// What came of one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelResult {
    /// The model's name in the manifest.
    pub name: String,
    /// The opset to which it was converted.
    pub opset: u32,
    /// The path of the program, or of the folder with it.
    pub path: PathBuf,
    /// What happened.
    pub status: Status,
    /// Why the task ended so; empty if it passed.
    #[serde(default)]
    pub message: String,
    /// The worker's last lines on stderr, if it crashed or took too long.
    #[serde(default)]
    pub stderr: String,
    /// How long the worker took, in seconds.
    pub seconds: f64,
    /// How long the conversion took, in seconds, if it was done.
    pub conversion_seconds: Option<f64>,
    /// The number of ONNX nodes, if it was converted.
    pub nodes: Option<u64>,
    /// How far the sides are from each other, over all runs and outputs.
    #[serde(default)]
    pub pairs: Vec<Pair>,
}

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Converted, verified, and within all limits.
    Passed,
    /// Converted, and each op verified alone, since the outputs show nothing.
    PassedByOp,
    /// Converted, and verified as far as outputs can be judged.
    PassedInPart,
    /// Converted, but the outputs show nothing, and not every op could be compared alone.
    Undecided,
    /// Not converted, no parity, or out of limits.
    Failed,
    /// Refused, as the manifest expects.
    ExpectedFailure,
    /// Converted, which the manifest doesn't expect.
    UnexpectedPass,
    /// The worker could not be started, was killed, or ended without a result.
    Crashed,
    /// The worker took too long and was ended.
    TimedOut,
}

/// The worst of all comparisons between two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The side that is judged: `reference`, `onnx_runtime` or `expected`.
    pub side: String,
    /// The side that it is compared with: one of these, or `exact`.
    pub against: String,
    /// How far they are from each other.
    #[serde(flatten)]
    pub agreement: Agreement,
}

/// How far two sides are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The largest absolute error; None if it is infinite, or the shapes or element types differ.
    pub max_abs: Option<f64>,
    /// The largest relative error; None in the same cases.
    pub max_rel: Option<f64>,
    /// In how many rows the largest value is in the same place.
    pub argmax_same: u64,
    /// The number of rows that were compared.
    pub argmax_rows: u64,
}

impl Report {
    /// The version of the format that this version of the program reads and writes.
    pub const VERSION: u32 = 1;

    /// How many results there are of each status, and how long the run took, for people.
    pub fn summary(&self) -> String {
        let counts = Status::ALL
            .iter()
            .filter_map(|status| match self.count(*status) {
                0 => None,
                count => Some(format!("{count} {}", status.label())),
            });
        let counts: Vec<String> = counts.collect();
        let counts = match counts.as_slice() {
            [] => String::new(),
            counts => format!(": {}", counts.join(", ")),
        };
        let (count, seconds) = (self.results.len(), self.seconds);
        format!("{count} results in {seconds:.1} s{counts}")
    }

    /// The shards of which a merged report knows nothing, for people; None if there are none.
    pub fn missing_shards(&self) -> Option<String> {
        let shards: Vec<String> = self.missing_shards.iter().map(Shard::to_string).collect();
        (!shards.is_empty()).then(|| shards.join(", "))
    }

    /// Whether the run passed, for people.
    pub fn verdict(&self) -> &'static str {
        if self.passed {
            "All as expected"
        } else {
            "Not as expected"
        }
    }

    /// How many tasks ended with this status.
    pub fn count(&self, status: Status) -> usize {
        self.results
            .iter()
            .filter(|result| result.status == status)
            .count()
    }
}

impl ModelResult {
    /// The model and its opset, for people.
    pub fn title(&self) -> String {
        format!("{} at opset {}", self.name, self.opset)
    }

    /// All pairs of sides together, if any were compared: their largest errors, and the sums of their
    /// rows.
    pub fn worst(&self) -> Option<Agreement> {
        let agreements = self.pairs.iter().map(|pair| pair.agreement);
        agreements.reduce(Agreement::worse)
    }
}

impl Status {
    /// Every status, the good ones first.
    pub const ALL: [Status; 9] = [
        Status::Passed,
        Status::PassedByOp,
        Status::PassedInPart,
        Status::ExpectedFailure,
        Status::Undecided,
        Status::Failed,
        Status::UnexpectedPass,
        Status::Crashed,
        Status::TimedOut,
    ];

    /// Whether the model was converted and verified.
    pub fn is_pass(self) -> bool {
        matches!(
            self,
            Status::Passed | Status::PassedByOp | Status::PassedInPart
        )
    }

    /// Whether a task with this status ended as the manifest expects.
    pub fn is_good(self) -> bool {
        self.is_pass() || self == Status::ExpectedFailure
    }

    /// The name of the status for people.
    pub fn label(self) -> &'static str {
        match self {
            Status::Passed => "passed",
            Status::PassedByOp => "passed op by op",
            Status::PassedInPart => "passed in part",
            Status::Undecided => "undecided",
            Status::Failed => "failed",
            Status::ExpectedFailure => "failed as expected",
            Status::UnexpectedPass => "passed unexpectedly",
            Status::Crashed => "crashed",
            Status::TimedOut => "timed out",
        }
    }
}

impl Agreement {
    /// Both together: the larger of their errors, and the sums of their rows.
    pub(super) fn worse(self, other: Self) -> Self {
        let worse = |a: Option<f64>, b: Option<f64>| Some(a?.max(b?));
        Self {
            max_abs: worse(self.max_abs, other.max_abs),
            max_rel: worse(self.max_rel, other.max_rel),
            argmax_same: self.argmax_same.saturating_add(other.argmax_same),
            argmax_rows: self.argmax_rows.saturating_add(other.argmax_rows),
        }
    }
}

impl Pair {
    /// The names of both sides for people.
    pub fn title(&self) -> String {
        format!("{} / {}", side_label(&self.side), side_label(&self.against))
    }
}

fn side_label(side: &str) -> &str {
    match side {
        "onnx_runtime" => "ONNX Runtime",
        other => other,
    }
}
