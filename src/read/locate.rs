//! Finding the files of a model.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The extension of a program and of the weights beside it.
const PROGRAM_EXTENSION: &str = "pdmodel";
const WEIGHTS_EXTENSION: &str = "pdiparams";
/// What Paddle 1.x called the program, and the combined weights beside it.
const OLD_PROGRAM: &str = "__model__";
const OLD_WEIGHTS: [&str; 2] = ["__params__", "params"];

/// The files that make up one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The program.
    pub program: PathBuf,
    /// Where its weights are.
    pub weights: WeightFiles,
}

/// Where a model's weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightFiles {
    /// All tensors in one file, one after the other.
    Combined(PathBuf),
    /// One file per variable, named after it, in this folder.
    Separate(PathBuf),
    /// The conventional file, which does not exist: right for a model without parameters.
    Missing(PathBuf),
}

/// Finds the files of the model at `path`: a program, or a folder with one program in it.
/// `weights` names the weights where they are not at their conventional place.
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
    let mut pir = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "list the folder", e))?;
    for entry in entries {
        let path = entry
            .map_err(|e| Error::io(folder, "list the folder", e))?
            .path();
        let is_program = path.extension().is_some_and(|e| e == PROGRAM_EXTENSION)
            || path.file_name().is_some_and(|name| name == OLD_PROGRAM);
        if is_program && path.is_file() {
            candidates.push(path);
        } else if path.extension().is_some_and(|e| e == "json") {
            pir.push(path);
        }
    }
    candidates.sort();
    match (candidates.as_slice(), pir.as_slice()) {
        ([program], _) => Ok(program.clone()),
        ([], [json, ..]) => Err(pir_program(json)),
        ([], []) => Err(Error::invalid(format!(
            "the folder holds no Paddle model: no *.{PROGRAM_EXTENSION} and no {OLD_PROGRAM}"
        ))
        .in_file(folder)),
        (several, _) => {
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

fn refuse_other_files(path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|e| e.to_str());
    match extension {
        Some("json") => Err(pir_program(path)),
        Some(WEIGHTS_EXTENSION) => Err(Error::invalid(format!(
            "these are the weights; name the program instead: {}",
            path.with_extension(PROGRAM_EXTENSION).display()
        ))
        .in_file(path)),
        Some("pdparams") => Err(Error::invalid(
            "this is a training checkpoint, which holds no program; \
             export an inference model with paddle.jit.save first",
        )
        .in_file(path)),
        Some("onnx") => Err(Error::invalid("this is an ONNX model already").in_file(path)),
        _ => Ok(()),
    }
}

/// The answer to a program in Paddle 3's format.
pub(super) fn pir_program(path: &Path) -> Error {
    Error::unsupported(
        "this is a program in Paddle 3's JSON format (PIR), which is not read yet; \
         export with FLAGS_enable_pir_api=0 to get a .pdmodel",
    )
    .in_file(path)
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
