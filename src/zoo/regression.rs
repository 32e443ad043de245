//! What has become worse since an earlier run, as values that serialise.

use serde::{Deserialize, Serialize};

/// Something that is worse than it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// The model's name in the manifest.
    pub name: String,
    /// The opset to which it was converted.
    pub opset: u32,
    /// What has become worse.
    pub kind: RegressionKind,
    /// What it was before and is in this run, for people.
    pub message: String,
}

/// What can become worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionKind {
    /// The model passed before, and does not in this run.
    Parity,
    /// The largest absolute error between two sides.
    Error,
    /// The number of ONNX nodes.
    Nodes,
    /// The time that the worker took.
    Time,
}
