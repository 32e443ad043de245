//! Inputs for a verification: drawn at random, read from NumPy files, or made of pictures.
//!
//! In go a program and [`Inputs`], which say where its inputs come from; out come named tensors, one
//! set per run. What the program can't take is refused.

mod advice;
mod file;
mod image;
mod meaning;
mod names;
mod random;
mod resize;
mod shapes;
mod sizes;
mod tensors;

use std::path::PathBuf;

pub(super) use advice::advise;

pub use image::ImageInputs;
pub(crate) use image::{Pictures, thumbnail};
pub use random::{Distribution, RandomInputs, Range};

use super::VerifyOptions;
use super::subject::Subject;
use crate::analyse;
use crate::error::Result;
use crate::model::Model;
use crate::program::{Program, Value};
use crate::tensor::{Dim, Tensor};

/// Where inputs come from.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// Drawn at random.
    Random(RandomInputs),
    /// Read from files, one run per file: `.npz` with one array per input, or, for a model with
    /// one input, `.npy`.
    Files(Vec<PathBuf>),
    /// Given in memory, one run per list.
    Tensors(Vec<NamedTensors>),
    /// Made of pictures, one run per picture.
    Images(ImageInputs),
}

/// Tensors with the names of inputs or outputs, in any order.
pub type NamedTensors = Vec<(String, Tensor)>;

/// The inputs of one run.
#[derive(Debug, Clone)]
pub struct Set {
    /// What the inputs are: a batch size, shapes, or a file.
    pub label: String,
    /// The tensors, with the names of the inputs.
    pub tensors: Vec<(String, Tensor)>,
    /// What people should know of how they were made: an option without effect, arrays of other names.
    pub notes: Vec<String>,
}

impl Set {
    /// The program with its inputs declared to have the shapes of the run.
    fn declared_in(&self, program: &Program) -> Program {
        let shapes = self.tensors.iter();
        let shapes: Vec<Vec<usize>> = shapes.map(|(_, t)| t.shape().to_vec()).collect();
        with_shapes(program, &shapes)
    }
}

/// The sets of inputs, one per run.
///
/// # Errors
/// When files can't be read, or the program does not take what was asked for: an unknown input, a
/// shape that does not fit or that an op refuses, a range that the element type does not hold, a picture that is too
/// narrow.
pub fn sets(model: &Model, inputs: &Inputs) -> Result<Vec<Set>> {
    let program = model.program();
    let sets = match inputs {
        Inputs::Random(wish) => random::sets(program, model.registry(), wish),
        Inputs::Files(paths) => paths.iter().map(|path| file::set(program, path)).collect(),
        Inputs::Tensors(runs) => tensors::sets(program, runs),
        Inputs::Images(images) => image::sets(program, images),
    };
    let sets = sets.map_err(|e| match inputs {
        Inputs::Random(_) => e.in_file(&model.files().program),
        _ => e,
    })?;
    // Ops that can't be read are what a run reports.
    if let Ok(ops) = analyse::resolve(program, model.registry()) {
        for set in &sets {
            let inferred = analyse::infer(&set.declared_in(program), &ops).map(drop);
            inferred.map_err(|e| advise(e, model, set, inputs).in_file(&model.files().program))?;
        }
    }
    Ok(sets)
}

/// The recorded outputs of all runs, and what people should know of how they were read; nothing if none are given.
///
/// # Errors
/// When a file can't be read, or an output is missing.
pub(super) fn expected(
    subject: &Subject<'_>,
    options: &VerifyOptions,
) -> Result<(Vec<Vec<Tensor>>, Vec<String>)> {
    if options.expected_tensors.is_empty() {
        return file::expected(subject, &options.expected);
    }
    let recorded = tensors::expected(subject, &options.expected_tensors)?;
    Ok((recorded, Vec::new()))
}

/// The inputs that the program declares, in its order.
fn declared(program: &Program) -> Vec<&Value> {
    program.inputs().iter().map(|id| &program[*id]).collect()
}

/// The program with its inputs declared to have these shapes, which are in their order.
fn with_shapes(program: &Program, shapes: &[Vec<usize>]) -> Program {
    program.with_input_shapes(|id, declared| {
        let position = program.inputs().iter().position(|input| *input == id);
        let shape = position.and_then(|position| shapes.get(position));
        shape.map_or_else(
            || declared.to_vec(),
            |shape| shape.iter().copied().map(Dim::from).collect(),
        )
    })
}
