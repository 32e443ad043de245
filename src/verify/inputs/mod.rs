//! Inputs for a verification: drawn at random, read from NumPy files, or made of pictures.
//!
//! In go a program and [`Inputs`], which say where its inputs come from; out come named tensors, one
//! set per run. What the program can't take is refused.

mod image;
mod indices;
mod random;
mod resize;

use std::path::{Path, PathBuf};

pub use image::ImageInputs;
pub use random::{Distribution, RandomInputs, Range};

use super::npz;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::program::{Program, Value};
use crate::tensor::Tensor;

/// Where inputs come from.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// Drawn at random.
    Random(RandomInputs),
    /// Read from files, one run per file: `.npz` with one array per input, or, for a model with
    /// one input, `.npy`.
    Files(Vec<PathBuf>),
    /// Made of pictures, one run per picture.
    Images(ImageInputs),
}

/// The inputs of one run.
#[derive(Debug, Clone)]
pub struct Set {
    /// What the inputs are: a batch size, shapes, or a file.
    pub label: String,
    /// The tensors, with the names of the inputs.
    pub tensors: Vec<(String, Tensor)>,
}

/// The sets of inputs, one per run.
///
/// # Errors
/// When files can't be read, or the program does not take what was asked for: an unknown input, a
/// shape that does not fit, a range that the element type does not hold, a picture that is too
/// narrow.
pub fn sets(model: &Model, inputs: &Inputs) -> Result<Vec<Set>> {
    let program = model.program();
    match inputs {
        Inputs::Random(wish) => random::sets(program, model.registry(), wish),
        Inputs::Files(paths) => paths.iter().map(|path| from_file(program, path)).collect(),
        Inputs::Images(images) => image::sets(program, images),
    }
}

/// The inputs that the program declares, in its order.
fn declared(program: &Program) -> Vec<&Value> {
    program.inputs().iter().map(|id| &program[*id]).collect()
}

/// Reads the inputs from a `.npz` or `.npy` file.
fn from_file(program: &Program, path: &Path) -> Result<Set> {
    let inputs = declared(program);
    let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
    let tensors = if path.extension().is_some_and(|e| e == "npy") {
        if names.len() != 1 {
            return Err(Error::invalid(format!(
                "a .npy file holds one array, but the model has {} inputs; give a .npz archive \
                 with the arrays {}",
                names.len(),
                names.join(", ")
            ))
            .in_file(path));
        }
        vec![npz::read_npy(path)?]
    } else {
        npz::read(path, &names)?
    };
    Ok(Set {
        label: path.display().to_string(),
        tensors: names.iter().map(|n| (*n).to_owned()).zip(tensors).collect(),
    })
}
