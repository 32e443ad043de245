//! Inputs for a verification.

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Inputs, npz};
use crate::error::{Error, Result};
use crate::program::{Program, Value};
use crate::tensor::{DType, Dim, Tensor, display_shape, refuse_too_large};

/// Integers are drawn below this: small enough to be an index into most tables.
const LARGEST_INTEGER: u32 = 8;

/// The inputs of one run.
pub(super) struct Set {
    pub label: String,
    pub tensors: Vec<(String, Tensor)>,
}

/// One set per batch size or file.
pub(super) fn sets(program: &Program, inputs: &Inputs) -> Result<Vec<Set>> {
    match inputs {
        Inputs::Random { batches, seed } => batches
            .iter()
            .map(|batch| random(program, *batch, *seed))
            .collect(),
        Inputs::Files(paths) => paths.iter().map(|path| from_file(program, path)).collect(),
    }
}

fn from_file(program: &Program, path: &Path) -> Result<Set> {
    let names: Vec<&str> = program
        .inputs()
        .iter()
        .map(|id| program[*id].name.as_str())
        .collect();
    let tensors = npz::read(path, &names)?;
    Ok(Set {
        label: path.display().to_string(),
        tensors: names.iter().map(|n| (*n).to_owned()).zip(tensors).collect(),
    })
}

fn random(program: &Program, batch: usize, seed: u64) -> Result<Set> {
    // Each batch size draws from a stream of its own, whatever others are asked for.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(batch as u64);
    let tensors = program.inputs().iter().map(|id| {
        let value = &program[*id];
        let shape = concrete_shape(value, batch)?;
        Ok((value.name.clone(), draw(value.dtype, &shape, &mut rng)?))
    });
    Ok(Set {
        label: format!("batch {batch}"),
        tensors: tensors.collect::<Result<_>>()?,
    })
}

fn concrete_shape(value: &Value, batch: usize) -> Result<Vec<usize>> {
    let extents = value.shape.iter().enumerate().map(|(axis, dim)| match dim {
        Dim::Known(extent) => usize::try_from(*extent).ok(),
        Dim::Symbol(_) | Dim::Unknown => (axis == 0).then_some(batch),
    });
    extents.collect::<Option<_>>().ok_or_else(|| {
        Error::invalid(format!(
            "the input `{}` of shape {} is open in more than its batch; give it with --inputs",
            value.name,
            display_shape(&value.shape)
        ))
    })
}

/// Normally distributed numbers, small integers, or coin flips.
fn draw(dtype: DType, shape: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let count = element_count(shape)?;
    let tensor = if dtype.is_float() {
        let numbers = (0..count).map(|_| StandardNormal.sample(rng));
        Tensor::from_elements::<f32>(shape, numbers.collect())?
    } else {
        let bound = if dtype == DType::Bool {
            2
        } else {
            LARGEST_INTEGER
        };
        let numbers = (0..count).map(|_| i64::from(rng.next_u32() % bound));
        Tensor::from_elements::<i64>(shape, numbers.collect())?
    };
    Ok(tensor.cast(dtype))
}

/// The number of elements, if there is memory for as many.
fn element_count(shape: &[usize]) -> Result<usize> {
    refuse_too_large(shape).map_err(|_| {
        Error::invalid(format!(
            "there is not enough memory for an input of shape {}; choose a smaller --batch",
            display_shape(shape)
        ))
    })?;
    Ok(shape.iter().product())
}
