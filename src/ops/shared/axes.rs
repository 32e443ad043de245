//! Calculations with axes and shapes that several families need.

use crate::error::{Error, Result};
use crate::operator::Macs;
use crate::program::{Facts, ValueId};
use crate::tensor::{Dim, display_shape, normalize_axis};

/// Adds to a shape what another operand says of it, where all operands have the same extents, except along the axis
/// that is `joined`.
///
/// # Errors
/// When ranks or known extents differ.
pub(crate) fn merge(shape: &mut [Dim], other: &[Dim], joined: Option<usize>) -> Result<()> {
    let differ = |(axis, (a, b)): (usize, (&Dim, &Dim))| {
        Some(axis) != joined && a.known().zip(b.known()).is_some_and(|(a, b)| a != b)
    };
    if shape.len() != other.len() || shape.iter().zip(other).enumerate().any(differ) {
        let (shape, other) = (display_shape(shape), display_shape(other));
        return Err(Error::malformed(format!(
            "operands of shapes {shape} and {other}"
        )));
    }
    for (dim, other) in shape.iter_mut().zip(other) {
        *dim = dim.or(other);
    }
    Ok(())
}

/// The axes that are listed, in ascending order and each once; an empty list names all.
pub(crate) fn listed_axes(listed: &[i64], rank: usize) -> Result<Vec<usize>> {
    if listed.is_empty() || rank == 0 {
        return Ok((0..rank).collect());
    }
    let mut axes: Vec<usize> = listed
        .iter()
        .map(|axis| normalize_axis(*axis, rank))
        .collect::<Result<_>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// The shape `x` after a reduction over `axes`: without them, or with `keepdim` with `one` in the place of each.
pub(crate) fn reduced_shape<T: Clone>(x: &[T], axes: &[usize], keepdim: bool, one: &T) -> Vec<T> {
    let dims = x.iter().enumerate();
    let kept = dims.filter_map(|(axis, dim)| match axes.contains(&axis) {
        true => keepdim.then(|| one.clone()),
        false => Some(dim.clone()),
    });
    kept.collect()
}

/// The highest rank of a result, which is NumPy's limit.
const LARGEST_RANK: usize = 64;

/// The number of elements of an operand that has one for each axis of a result.
///
/// # Errors
/// When it is not known, or no rank of a result.
pub(crate) fn length(facts: &Facts<'_>, id: ValueId) -> Result<usize> {
    let shape = facts.shape(id);
    let count = Macs::product(shape).ok_or_else(|| {
        Error::unsupported("the rank of the result depends on the inputs, which ONNX can't express")
    })?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= LARGEST_RANK)
        .ok_or_else(|| Error::malformed(format!("a result of rank {count}")))
}
