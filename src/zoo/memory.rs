//! How much memory is available, and how much a model needs.

use std::fs;
use std::path::Path;

use crate::read::{WeightFiles, locate};

/// The peak memory of a worker, as a multiple of its model's weights. ViT_large_patch32_384 takes 3.1
/// times its 1.2 GB when the rounding noise decides: the mapped file, and the weights in float64.
const PER_WEIGHT_BYTE: u64 = 4;

/// The memory in bytes that a worker needs whatever its model.
const PER_WORKER: u64 = 1 << 30;

/// The memory in bytes that new processes can have; None where the system doesn't tell that.
pub fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    in_meminfo(&text)
}

fn in_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// An estimate of the memory in bytes that the conversion and verification of a model need.
pub(super) fn needed(model: &Path, params: Option<&Path>) -> u64 {
    // A model that can't be found counts as one without weights: its worker fails and says why.
    let weights = locate(model, params).map_or(0, |files| match files.weights {
        WeightFiles::Combined(path) => size(&path),
        WeightFiles::Separate(folder) => sizes(&folder),
        WeightFiles::Missing(_) => 0,
    });
    weights
        .saturating_mul(PER_WEIGHT_BYTE)
        .saturating_add(PER_WORKER)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The size of all files of a folder.
fn sizes(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24614220 kB\nMemFree:  1 kB\nMemAvailable:   23000 kB\n";
        assert_eq!(in_meminfo(text), Some(23_552_000));
        assert_eq!(in_meminfo("MemTotal: 1 kB\n"), None);
        assert_eq!(in_meminfo("MemAvailable: many\n"), None);
    }
}
