//! Models in half precision: whether the program that ONNX is written of computes what the original does, if nothing is
//! rounded to half precision.
//!
//! The outputs of the ONNX model are compared with the exact ones of the original, with the noise of half precision, which
//! hides more than that of float32. So two things are shown in turn: here, that the program in half precision computes what
//! the original does, within the noise of float32; and op by op, that the ONNX model computes what that program does.

use std::borrow::Cow;
use std::path::Path;

use super::inputs::Set;
use super::noise::Noise;
use super::onnx_file::OnnxFile;
use super::sides::Results;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::simplify::HalfPrecision;
use crate::tensor::{DType, Tensor};

/// What both programs give, by run.
pub(super) struct Halved {
    /// The original in float32.
    pub original: Vec<Results>,
    /// The program of half precision in float64.
    pub unrounded: Vec<Results>,
}

impl Halved {
    /// The noise of float32 in the output at `position`.
    pub fn noise(&self, position: usize, exact: &[Results]) -> Option<Noise> {
        let exact = exact.iter().map(|run| &run.outputs[position]);
        let rounded = self.original.iter().map(|run| &run.outputs[position]);
        Noise::of(rounded.zip(exact))
    }
}

/// The model with the half precision that an ONNX file has, if the model itself says nothing of it.
///
/// # Errors
/// When the file is no ONNX model, or nothing in it is of the half precision that the model is to have.
pub(super) fn as_written<'m>(model: &'m Model, onnx: &Path) -> Result<Cow<'m, Model>> {
    let found = found_in(&OnnxFile::read(onnx)?, model);
    match (model.half_precision(), found) {
        (Some(half), None) => Err(Error::invalid(format!(
            "nothing in the model is {}: leave out --dtype",
            half.dtype
        ))
        .in_file(onnx)),
        (None, Some(half)) => {
            let model = model.clone().in_half_precision(half);
            model.map(Cow::Owned).map_err(|e| e.in_file(onnx))
        }
        _ => Ok(Cow::Borrowed(model)),
    }
}

/// How an ONNX file is in half precision where the program is not: what its metadata say, or else what its weights show.
fn found_in(file: &OnnxFile, model: &Model) -> Option<HalfPrecision> {
    let described = HalfPrecision::from_description(|key| file.metadata(key));
    let is_own = |dtype: DType| {
        let mut values = model.program().values();
        values.any(|(_, value)| value.dtype == dtype)
    };
    let shown = || {
        let halves = [DType::F16, DType::BF16].into_iter();
        let dtype = halves
            .filter(|dtype| !is_own(*dtype))
            .find(|dtype| file.has_weights_of(*dtype))?;
        let io_dtype = if file.takes(dtype) { dtype } else { DType::F32 };
        Some(HalfPrecision {
            io_dtype,
            ..HalfPrecision::new(dtype)
        })
    };
    described.or_else(shown)
}

/// The sets of inputs with numbers that the inputs of the ONNX model hold: otherwise all sides but ONNX Runtime would have
/// others.
pub(super) fn rounded(model: &Model, sets: Vec<Set>) -> Vec<Set> {
    let sets = sets.into_iter().map(|set| {
        let taken = model.as_taken(&set.tensors);
        let pairs = set.tensors.iter().zip(taken);
        let tensors = pairs.map(|((name, tensor), (_, taken))| {
            let tensor: Tensor = taken.cast(tensor.dtype());
            (name.clone(), tensor)
        });
        Set {
            tensors: tensors.collect(),
            ..set
        }
    });
    sets.collect()
}

/// The sets of inputs in the types in which the ONNX model takes them.
pub(super) fn as_taken(model: &Model, sets: &[Set]) -> Vec<Set> {
    let sets = sets.iter().map(|set| Set {
        label: set.label.clone(),
        tensors: model.as_taken(&set.tensors),
        notes: set.notes.clone(),
    });
    sets.collect()
}
