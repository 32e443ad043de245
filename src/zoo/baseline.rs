//! The comparison of a report with the baseline, the report of an earlier run.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::manifest::Manifest;
use super::regression::{Regression, RegressionKind};
use super::report::{ModelResult, Pair, Report};
use super::settings::BaselineLimits;
use crate::error::{Error, Result};

/// The part of a report that is the same in every version of the format.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Report {
    /// Reads a report that was written as JSON.
    ///
    /// # Errors
    /// When the text is no such report, or one in another version of the format.
    pub fn from_json(text: &str) -> Result<Self> {
        let not_a_report = |e| Error::malformed(format!("not a report of `zoo run --json`: {e}"));
        let Versioned { version } = serde_json::from_str(text).map_err(not_a_report)?;
        if version != Self::VERSION {
            return Err(Error::unsupported(format!(
                "a report of version {version}, while this program reads version {}; make it anew",
                Self::VERSION
            )));
        }
        serde_json::from_str(text).map_err(not_a_report)
    }

    /// Compares this run of a manifest with an earlier one, `baseline`. Adds what is worse, and the
    /// results that only the baseline has, except those of models that were not selected this time.
    pub fn compare(&mut self, baseline: &Report, manifest: &Manifest) {
        let mut earlier: BTreeMap<(&str, u32), &ModelResult> = BTreeMap::new();
        for result in &baseline.results {
            earlier.insert((&result.name, result.opset), result);
        }
        for result in &self.results {
            if let Some(then) = earlier.remove(&(result.name.as_str(), result.opset)) {
                self.regressions
                    .extend(regressions(then, result, &manifest.baseline));
            }
        }
        let missing = earlier
            .into_values()
            .filter(|result| manifest.is_selected(&result.name));
        self.missing.extend(missing.map(ModelResult::title));
        self.passed &= self.regressions.is_empty();
    }
}

/// What is worse `now` than `then`. A model that did not pass then can't be worse.
fn regressions(then: &ModelResult, now: &ModelResult, limits: &BaselineLimits) -> Vec<Regression> {
    if !then.status.is_pass() {
        return Vec::new();
    }
    let mut regressions = Vec::new();
    let mut add = |kind, message| {
        regressions.push(Regression {
            name: now.name.clone(),
            opset: now.opset,
            kind,
            message,
        });
    };
    if !now.status.is_pass() {
        add(
            RegressionKind::Parity,
            format!("passed before, {} now", now.status.label()),
        );
        return regressions;
    }
    if let Some(message) = grown_error(then, now, limits) {
        add(RegressionKind::Error, message);
    }
    if let (Some(before), Some(nodes)) = (then.nodes, now.nodes)
        && nodes > before
    {
        add(
            RegressionKind::Nodes,
            format!("{before} nodes before, {nodes} now"),
        );
    }
    let (before, seconds) = (then.seconds, now.seconds);
    if seconds > before * limits.time_factor && seconds - before > limits.time_floor {
        add(
            RegressionKind::Time,
            format!("{before:.1} s before, {seconds:.1} s now"),
        );
    }
    regressions
}

/// Of the pairs of sides whose largest absolute error has grown too much, the one with the largest
/// error, in words.
fn grown_error(then: &ModelResult, now: &ModelResult, limits: &BaselineLimits) -> Option<String> {
    let same_pair =
        |pair: &&Pair, other: &Pair| pair.side == other.side && pair.against == other.against;
    let grown = now.pairs.iter().filter_map(|pair| {
        let before = then.pairs.iter().find(|other| same_pair(other, pair))?;
        let (before, error) = (before.agreement.max_abs?, pair.agreement.max_abs?);
        let is_worse = error > limits.error_floor && error > before * limits.error_factor;
        is_worse.then_some((pair, before, error))
    });
    let (pair, before, error) = grown.max_by(|a, b| a.2.total_cmp(&b.2))?;
    Some(format!(
        "{}: max abs {before:.1e} before, {error:.1e} now",
        pair.title()
    ))
}
