//! The reports of several runs → one report, as of one run of all their models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::report::{Machine, Report};
use super::shard::Shard;
use crate::error::{Error, Result};

/// Puts reports together, each of which is named by its file in messages. The results are sorted by name, since the order
/// of the manifest is not known. Of shards, all must be there for the report to pass.
///
/// # Errors
/// When there is no report, two have the same result or the same shard, or they were made with other numbers of shards or
/// by other versions of this program or of ONNX Runtime.
pub fn merge(reports: Vec<(PathBuf, Report)>) -> Result<Report> {
    let mut reports = reports.into_iter();
    let (first, mut merged) = reports
        .next()
        .ok_or_else(|| Error::invalid("there is no report to merge"))?;
    let mut origins = Origins::default();
    origins.add(&first, &merged)?;
    for (path, report) in reports {
        origins.add(&path, &report)?;
        append(&mut merged, report, &first, &path)?;
    }
    merged
        .results
        .sort_by(|a, b| (&a.name, a.opset).cmp(&(&b.name, b.opset)));
    merged.missing.sort();
    merged.missing_shards = origins.missing();
    merged.shards = match merged.missing_shards.as_slice() {
        [] => Vec::new(),
        _ => origins.shards.into_keys().collect(),
    };
    merged.passed = merged.results.iter().all(|result| result.status.is_good())
        && merged.regressions.is_empty()
        && merged.missing_shards.is_empty();
    Ok(merged)
}

/// Which file each result and each shard comes from.
#[derive(Default)]
struct Origins {
    results: BTreeMap<(String, u32), PathBuf>,
    shards: BTreeMap<Shard, PathBuf>,
}

impl Origins {
    fn add(&mut self, path: &Path, report: &Report) -> Result<()> {
        for shard in &report.shards {
            let other = self.shards.keys().find(|o| o.count() != shard.count());
            if let Some(other) = other {
                return Err(clash(
                    path,
                    &format!("shard {shard}"),
                    &format!("shard {other}"),
                ));
            }
            if let Some(other) = self.shards.insert(*shard, path.to_path_buf()) {
                return Err(twice(path, &other, &format!("shard {shard}")));
            }
        }
        for result in &report.results {
            let key = (result.name.clone(), result.opset);
            if let Some(other) = self.results.insert(key, path.to_path_buf()) {
                return Err(twice(path, &other, &result.title()));
            }
        }
        Ok(())
    }

    /// The shards that no report is of, if there are reports of shards.
    fn missing(&self) -> Vec<Shard> {
        let Some(shard) = self.shards.keys().next() else {
            return Vec::new();
        };
        let all = shard.siblings();
        all.filter(|shard| !self.shards.contains_key(shard))
            .collect()
    }
}

fn twice(path: &Path, other: &Path, what: &str) -> Error {
    Error::invalid(format!("{} has {what}, too", other.display())).in_file(path)
}

fn clash(path: &Path, here: &str, there: &str) -> Error {
    Error::invalid(format!(
        "this is a report of {here}, and another one is of {there}, which do not belong together"
    ))
    .in_file(path)
}

/// Adds what a report has to `merged`, whose first part is that of the file `first`.
fn append(merged: &mut Report, report: Report, first: &Path, path: &Path) -> Result<()> {
    if report.program != merged.program {
        return Err(versions(
            path,
            "paddle2onnx-rs",
            &report.program,
            first,
            &merged.program,
        ));
    }
    match (&merged.onnx_runtime, report.onnx_runtime) {
        (Some(ours), Some(theirs)) if *ours != theirs => {
            return Err(versions(path, "ONNX Runtime", &theirs, first, ours));
        }
        (None, theirs) => merged.onnx_runtime = theirs,
        _ => {}
    }
    let machines: Vec<Machine> = std::iter::once(report.machine)
        .chain(report.other_machines)
        .collect();
    for machine in machines {
        if machine != merged.machine && !merged.other_machines.contains(&machine) {
            merged.other_machines.push(machine);
        }
    }
    merged.seconds = merged.seconds.max(report.seconds);
    merged.results.extend(report.results);
    merged.regressions.extend(report.regressions);
    merged.missing.extend(report.missing);
    Ok(())
}

fn versions(path: &Path, what: &str, theirs: &str, first: &Path, ours: &str) -> Error {
    Error::invalid(format!(
        "this report was made with {what} {theirs}, and {} with {ours}; run both with one version",
        first.display()
    ))
    .in_file(path)
}
