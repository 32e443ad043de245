//! Finding the files of a model.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::pir;
use crate::error::{Error, Result};

/// The extension of a `ProgramDesc`.
const PROGRAM_EXTENSION: &str = "pdmodel";
/// The extension of a PIR program.
const PIR_EXTENSION: &str = "json";
/// The extension of the weights beside a program of either format.
const WEIGHTS_EXTENSION: &str = "pdiparams";
/// The file name of a program of Paddle 1.x.
const OLD_PROGRAM: &str = "__model__";
/// The usual file names of combined weights beside a program of Paddle 1.x.
const OLD_WEIGHTS: [&str; 2] = ["__params__", "params"];

/// The files that make up one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The program.
    pub program: PathBuf,
    /// Where the weights are.
    pub weights: WeightFiles,
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
    let mut candidates = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "list the folder", e))?;
    for entry in entries {
        let path = entry
            .map_err(|e| Error::io(folder, "list the folder", e))?
            .path();
        if is_program(&path) {
            candidates.push(path);
        }
    }
    candidates.sort();
    match candidates.as_slice() {
        [program] => Ok(program.clone()),
        [] => Err(Error::invalid(format!(
            "the folder holds no Paddle model: no *.{PROGRAM_EXTENSION}, no {OLD_PROGRAM} and no \
             program of Paddle 3 in *.{PIR_EXTENSION}"
        ))
        .in_file(folder)),
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

/// Whether a file is a program. A JSON file may hold anything, so its first bytes are looked at.
fn is_program(path: &Path) -> bool {
    let has_extension = |wanted| {
        path.extension()
            .is_some_and(|extension| extension == wanted)
    };
    let is_candidate = has_extension(PROGRAM_EXTENSION)
        || path.file_name().is_some_and(|name| name == OLD_PROGRAM)
        || (has_extension(PIR_EXTENSION) && pir::is_program(&start(path)));
    is_candidate && path.is_file()
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

/// Refuses files that are something else than a program by their extension, and says what to do.
fn refuse_other_files(path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|e| e.to_str());
    match extension {
        Some(WEIGHTS_EXTENSION) => {
            let json = path.with_extension(PIR_EXTENSION);
            let program = if json.is_file() {
                json
            } else {
                path.with_extension(PROGRAM_EXTENSION)
            };
            Err(Error::invalid(format!(
                "these are the weights; name the program instead: {}",
                program.display()
            ))
            .in_file(path))
        }
        Some("pdparams") => Err(Error::invalid(
            "this is a training checkpoint, which holds no program; \
             export an inference model with paddle.jit.save first",
        )
        .in_file(path)),
        Some("onnx") => Err(Error::invalid("this is an ONNX model already").in_file(path)),
        _ => Ok(()),
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

/// The weights beside a program: `NAME.pdiparams`; for a `__model__`, one of [`OLD_WEIGHTS`], or else one
/// file per variable.
fn conventional_weights(program: &Path) -> WeightFiles {
    let folder = program.parent().unwrap_or(Path::new(""));
    if program.file_name().is_some_and(|name| name == OLD_PROGRAM) {
        return OLD_WEIGHTS
            .iter()
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
            .map_or_else(
                || WeightFiles::Separate(folder.to_path_buf()),
                WeightFiles::Combined,
            );
    }
    let path = program.with_extension(WEIGHTS_EXTENSION);
    if path.is_file() {
        WeightFiles::Combined(path)
    } else {
        WeightFiles::Missing(path)
    }
}
