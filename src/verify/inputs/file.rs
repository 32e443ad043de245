//! NumPy's files → the inputs of a run, or the outputs that were recorded of one.

use std::path::{Path, PathBuf};

use super::super::npz::{self, Wanted};
use super::super::subject::Subject;
use super::{Set, declared};
use crate::analyse::Analysis;
use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::Tensor;

/// Reads the inputs of a run from a `.npz` or `.npy` file.
///
/// # Errors
/// When the file can't be read, lacks an input, or has an array of another element type or shape than the input.
pub(super) fn set(program: &Program, path: &Path) -> Result<Set> {
    let wanted = wanted(program);
    let (tensors, note) = if path.extension().is_some_and(|e| e == "npy") {
        (vec![single(&wanted, path)?], None)
    } else {
        npz::read_fitting(path, &wanted)?
    };
    refuse_misfits(&wanted, &tensors).map_err(|e| e.in_file(path))?;
    let names = wanted.into_iter().map(|wanted| wanted.name);
    Ok(Set {
        label: path.display().to_string(),
        tensors: names.zip(tensors).collect(),
        notes: note.into_iter().collect(),
    })
}

/// The inputs of a program.
pub(super) fn wanted(program: &Program) -> Vec<Wanted> {
    let inputs = declared(program).into_iter();
    let wanted = inputs.map(|value| Wanted {
        name: value.name.clone(),
        dtype: value.dtype,
        shape: value.shape.clone(),
    });
    wanted.collect()
}

/// Refuses tensors, in the order of the inputs, that these don't take.
pub(super) fn refuse_misfits(wanted: &[Wanted], tensors: &[Tensor]) -> Result<()> {
    for (wanted, tensor) in wanted.iter().zip(tensors) {
        if let Some(why) = wanted.misfit(tensor) {
            return Err(wrong(wanted, tensor, &why));
        }
    }
    Ok(())
}

/// The error for an array that its input does not take.
fn wrong(wanted: &Wanted, tensor: &Tensor, why: &str) -> Error {
    let advice = if tensor.dtype() == wanted.dtype {
        String::new()
    } else {
        format!(
            "; save it as {dtype}, as `array.astype(\"{dtype}\")` is",
            dtype = wanted.dtype
        )
    };
    Error::invalid(format!(
        "the array for the input `{}` is {why}{advice}",
        wanted.name
    ))
}

/// The array of a `.npy` file, for the only input.
fn single(wanted: &[Wanted], path: &Path) -> Result<Tensor> {
    if wanted.len() != 1 {
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(Error::invalid(format!(
            "a .npy file holds one array, but the model has {} inputs; give a .npz archive \
             with the arrays {}",
            names.len(),
            names.join(", ")
        ))
        .in_file(path));
    }
    npz::read_npy(path)
}

/// Reads the recorded outputs of all runs, one file each, and what people should know of how they were read.
///
/// # Errors
/// When a file can't be read or lacks an output.
pub(super) fn expected(
    subject: &Subject<'_>,
    paths: &[PathBuf],
) -> Result<(Vec<Vec<Tensor>>, Vec<String>)> {
    if paths.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let program = &subject.program;
    let analysis = Analysis::of(program, subject.model.registry())?;
    let wanted = program.outputs().iter().map(|output| Wanted {
        name: output.name.clone(),
        dtype: analysis.facts.dtype(output.value),
        shape: analysis.facts.shape(output.value).to_vec(),
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let (mut runs, mut notes) = (Vec::with_capacity(paths.len()), Vec::new());
    for path in paths {
        let (tensors, note) = npz::read_fitting(path, &wanted)?;
        runs.push(tensors);
        notes.extend(note);
    }
    Ok((runs, notes))
}
