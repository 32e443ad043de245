//! Folders that tests read and change.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies a folder of `fixtures/` into `parent`, where it can be changed. Returns the path of the copy.
pub fn copy_of(fixture: &str, parent: &Path) -> PathBuf {
    let source = super::fixture(fixture);
    let copy = parent.join(source.file_name().unwrap());
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// The names in a folder, hidden ones too, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
