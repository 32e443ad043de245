//! The TOML of a manifest: its keys and their types. What they mean is in `manifest.rs`.

use std::num::NonZeroUsize;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub defaults: Option<Spanned<Table>>,
    #[serde(default)]
    pub baseline: BaselineLimits,
    #[serde(default, rename = "model")]
    pub models: Vec<Spanned<Table>>,
}

/// A `[[model]]`, or the `[defaults]` of all of them, which must not have a model's own keys.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub name: Option<String>,
    pub path: Option<String>,
    pub params: Option<String>,
    pub fails: Option<String>,
    pub fails_with: Option<String>,
    #[serde(default)]
    pub optional: bool,
    pub opsets: Option<Vec<u32>>,
    pub inputs: Option<Vec<String>>,
    pub expected: Option<Vec<String>>,
    pub batches: Option<Vec<NonZeroUsize>>,
    pub shapes: Option<Vec<String>>,
    pub ranges: Option<Vec<String>>,
    pub distribution: Option<String>,
    pub seed: Option<u64>,
    pub atol: Option<f64>,
    pub rtol: Option<f64>,
    pub timeout: Option<f64>,
    #[serde(default)]
    pub limits: Limits,
}

impl Table {
    /// A key of this table that only a `[[model]]` may have.
    pub fn own_key(&self) -> Option<&'static str> {
        let own = [
            ("name", self.name.is_some()),
            ("path", self.path.is_some()),
            ("params", self.params.is_some()),
            ("fails", self.fails.is_some()),
            ("fails_with", self.fails_with.is_some()),
            ("optional", self.optional),
        ];
        own.into_iter()
            .find(|(_, given)| *given)
            .map(|(key, _)| key)
    }

    /// Whether inputs or outputs come from files.
    pub fn has_files(&self) -> bool {
        self.inputs.is_some() || self.expected.is_some()
    }

    /// Whether the table says anything about random inputs.
    pub fn has_random(&self) -> bool {
        self.batches.is_some()
            || self.shapes.is_some()
            || self.ranges.is_some()
            || self.distribution.is_some()
            || self.seed.is_some()
    }

    /// What is wrong with the values of its keys, other than their types.
    pub fn problem(&self) -> Option<String> {
        if self.has_files() && self.has_random() {
            return Some(
                "`inputs` and `expected` name the runs, so `batches`, `shapes`, `ranges`, \
                 `distribution` and `seed` have no meaning"
                    .into(),
            );
        }
        let numbers = [
            ("atol", self.atol),
            ("rtol", self.rtol),
            ("timeout", self.timeout),
            ("limits.max_abs", self.limits.max_abs),
            ("limits.max_rel", self.limits.max_rel),
        ];
        let wrong = numbers
            .into_iter()
            .find(|(_, number)| number.is_some_and(|n| !n.is_finite() || n < 0.0));
        if let Some((key, _)) = wrong {
            return Some(format!("`{key}` must be a number of 0 or more"));
        }
        let lists = [
            ("opsets", self.opsets.as_ref().map(Vec::len)),
            ("inputs", self.inputs.as_ref().map(Vec::len)),
            ("expected", self.expected.as_ref().map(Vec::len)),
            ("batches", self.batches.as_ref().map(Vec::len)),
            ("shapes", self.shapes.as_ref().map(Vec::len)),
            ("ranges", self.ranges.as_ref().map(Vec::len)),
        ];
        let (key, _) = lists.into_iter().find(|(_, length)| *length == Some(0))?;
        Some(format!("`{key}` is empty"))
    }
}

/// Limits that a result must keep to, beyond parity. A limit that is not given is not checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest absolute error between any two sides.
    pub max_abs: Option<f64>,
    /// The largest relative error between any two sides.
    pub max_rel: Option<f64>,
    /// The largest number of ONNX nodes.
    pub nodes: Option<u64>,
    /// Whether every row must have its largest value in the same place on all sides, ties within
    /// tolerance included.
    pub argmax: Option<bool>,
}

impl Limits {
    /// These limits, and those of `other` where these are not given.
    pub(super) fn or(&self, other: &Limits) -> Limits {
        Limits {
            max_abs: self.max_abs.or(other.max_abs),
            max_rel: self.max_rel.or(other.max_rel),
            nodes: self.nodes.or(other.nodes),
            argmax: self.argmax.or(other.argmax),
        }
    }
}

/// How far a number may be from that of an earlier run before it counts as worse. Both the factor and
/// the floor must be exceeded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineLimits {
    /// How many times as large the largest absolute error may be.
    pub error_factor: f64,
    /// The largest absolute error that is accepted whatever it was before.
    pub error_floor: f64,
    /// How many times as long the worker may take.
    pub time_factor: f64,
    /// How many seconds longer the worker may take, however long it took before.
    pub time_floor: f64,
}

impl Default for BaselineLimits {
    fn default() -> Self {
        Self {
            error_factor: 10.0,
            error_floor: 1e-7,
            time_factor: 2.0,
            time_floor: 1.0,
        }
    }
}
