//! Finding the files of a model.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{kinds, params, pir, program_desc};
use crate::error::{Error, Result};

/// The extension of a `ProgramDesc`.
const PROGRAM_EXTENSION: &str = "pdmodel";
/// The extension of a PIR program.
const PIR_EXTENSION: &str = "json";
/// The extension of the weights beside a program of either format.
const WEIGHTS_EXTENSION: &str = "pdiparams";
/// The file names of programs of Paddle 1.x: its own, and what people chose with `params`.
const OLD_PROGRAMS: [&str; 2] = ["__model__", "model"];
/// The usual file names of combined weights beside a program of Paddle 1.x.
const OLD_WEIGHTS: [&str; 2] = ["__params__", "params"];

/// Names of programs that say nothing of the model.
pub(crate) const MEANINGLESS_NAMES: [&str; 3] = ["inference", "model", "__model__"];

/// The files that make up one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The program.
    pub program: PathBuf,
    /// Where the weights are.
    pub weights: WeightFiles,
}

impl ModelFiles {
    /// What people call the model: the program's name without its end, or the folder's, if the program has one of the usual
    /// names, which say nothing.
    pub fn name(&self) -> String {
        let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let stem = text(self.program.file_stem());
        let folder = text(self.program.parent().and_then(Path::file_name));
        if MEANINGLESS_NAMES.contains(&stem.as_str()) && !folder.is_empty() {
            folder
        } else {
            stem
        }
    }
}

/// Where a model's weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightFiles {
    /// All tensors in one file, one after the other.
    Combined(PathBuf),
    /// One file per variable, named after it, in this folder.
    Separate(PathBuf),
    /// The conventional path, at which there is no file. That is right for a model without parameters.
    Missing(PathBuf),
}

/// Finds the files of the model at `path`, which is a program or a folder with one program in it.
/// `weights` says where the weights are (a file, or a folder with one file per variable) if they are
/// not at their conventional place.
///
/// # Errors
/// When there is no model, a folder holds several, or `weights` does not exist.
pub fn locate(path: &Path, weights: Option<&Path>) -> Result<ModelFiles> {
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, "open the model", e))?;
    let program = if metadata.is_dir() {
        program_in_folder(path)?
    } else {
        refuse_other_files(path)?;
        path.to_path_buf()
    };
    let weights = match weights {
        Some(weights) => chosen_weights(weights)?,
        None => conventional_weights(&program),
    };
    Ok(ModelFiles { program, weights })
}

fn program_in_folder(folder: &Path) -> Result<PathBuf> {
    let files = files_in(folder)?;
    let programs: Vec<&PathBuf> = files.iter().filter(|path| is_program(path)).collect();
    match programs.as_slice() {
        [program] => Ok((*program).clone()),
        [] => Err(no_program(&files).in_file(folder)),
        several => {
            let names: Vec<String> = several.iter().map(|p| p.display().to_string()).collect();
            Err(Error::invalid(format!(
                "the folder holds {} models; name one of them: {}",
                several.len(),
                names.join(", ")
            ))
            .in_file(folder))
        }
    }
}

/// The files in a folder, sorted.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "list the folder", e))?;
    for entry in entries {
        let path = entry
            .map_err(|e| Error::io(folder, "list the folder", e))?
            .path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The error for a folder without a program, which says what is there instead.
fn no_program(files: &[PathBuf]) -> Error {
    let others = files.iter().find_map(|path| {
        let what = match kinds::by_name(path) {
            Some(what) => Some(what),
            None => kinds::by_start(&start(path)).filter(|_| has_extension(path, PIR_EXTENSION)),
        };
        Some(format!("; {}: {}", path.display(), what?))
    });
    let [old, other] = OLD_PROGRAMS;
    Error::invalid(format!(
        "the folder holds no Paddle model: no *.{PROGRAM_EXTENSION}, no {old} or {other} and no program of Paddle 3 \
         in *.{PIR_EXTENSION}{}",
        others.unwrap_or_default()
    ))
}

/// Whether a file is a program. A JSON file may hold anything, and so may a `model`: its first bytes are looked at.
pub(super) fn is_program(path: &Path) -> bool {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("__model__") => true,
        Some("model") => program_desc::may_be_program(&start(path)),
        _ if has_extension(path, PROGRAM_EXTENSION) => true,
        _ => has_extension(path, PIR_EXTENSION) && pir::is_program(&start(path)),
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == wanted)
}

/// The first 4096 bytes of a file, or all of a shorter one; none if it can't be read.
fn start(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    bytes
}

/// Refuses files that are something else than a program by their names, and says what to do.
fn refuse_other_files(path: &Path) -> Result<()> {
    if has_extension(path, WEIGHTS_EXTENSION) {
        let json = path.with_extension(PIR_EXTENSION);
        let program = if json.is_file() {
            json
        } else {
            path.with_extension(PROGRAM_EXTENSION)
        };
        return Err(Error::invalid(format!(
            "these are the weights; name the program instead: {}",
            program.display()
        ))
        .in_file(path));
    }
    match kinds::by_name(path) {
        Some(what) => Err(Error::invalid(what).in_file(path)),
        None => Ok(()),
    }
}

fn chosen_weights(weights: &Path) -> Result<WeightFiles> {
    let metadata = fs::metadata(weights).map_err(|e| Error::io(weights, "open the weights", e))?;
    let path = weights.to_path_buf();
    Ok(if metadata.is_dir() {
        WeightFiles::Separate(path)
    } else {
        WeightFiles::Combined(path)
    })
}

/// The weights beside a program: `NAME.pdiparams`; for a program of Paddle 1.x, one of [`OLD_WEIGHTS`], or else one
/// file per variable.
fn conventional_weights(program: &Path) -> WeightFiles {
    let path = program.with_extension(WEIGHTS_EXTENSION);
    if path.is_file() {
        return WeightFiles::Combined(path);
    }
    let is_old = OLD_PROGRAMS
        .iter()
        .any(|old| program.file_name().is_some_and(|name| name == *old));
    if !is_old {
        return WeightFiles::Missing(path);
    }
    let folder = program.parent().unwrap_or(Path::new(""));
    let mut combined = OLD_WEIGHTS.iter().map(|name| folder.join(name));
    match combined.find(|path| path.is_file()) {
        Some(path) => WeightFiles::Combined(path),
        None => WeightFiles::Separate(folder.to_path_buf()),
    }
}

/// A file in `folder` that holds weights, by its first bytes, if there is exactly one: those of a program may have any
/// name.
pub(crate) fn weights_in(folder: &Path) -> Option<PathBuf> {
    let files = files_in(folder).ok()?;
    let mut weights = files
        .into_iter()
        .filter(|path| params::starts_like_weights(&start(path)));
    weights.next().filter(|_| weights.next().is_none())
}
