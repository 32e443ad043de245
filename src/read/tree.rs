//! Finding the programs below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::locate::is_program;
use crate::error::{Error, Result};

/// The programs below a folder.
#[derive(Debug, Default)]
pub struct Tree {
    /// Their paths, sorted, each of which begins with that of the folder.
    pub programs: Vec<PathBuf>,
    /// Why folders could not be looked into.
    pub unreadable: Vec<Error>,
}

/// Looks for programs of any format in `folder`, and in all folders below it. Links to folders are not followed, since they
/// may lead in circles.
///
/// # Errors
/// When `folder` itself can't be read. What is wrong below it is in [`Tree::unreadable`].
pub fn programs_below(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut folders = list(folder, &mut tree)?;
    while let Some(folder) = folders.pop() {
        match list(&folder, &mut tree) {
            Ok(inner) => folders.extend(inner),
            Err(e) => tree.unreadable.push(e),
        }
    }
    tree.programs.sort();
    Ok(tree)
}

/// Adds the programs in a folder, and returns the folders in it.
fn list(folder: &Path, tree: &mut Tree) -> Result<Vec<PathBuf>> {
    let fail = |e| Error::io(folder, "list the folder", e);
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_type().map_err(fail)?.is_dir() {
            folders.push(path);
        } else if path.is_file() && is_program(&path) {
            tree.programs.push(path);
        }
    }
    Ok(folders)
}
