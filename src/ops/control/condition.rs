//! The condition of a branch or a loop: one bool, in a tensor of any rank.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::program::{Fact, ValueId};
use crate::tensor::{DType, Dim, Tensor, display_shape};

/// Refuses a condition that is no bool, or certainly not one element.
pub(super) fn refuse_other(fact: &Fact) -> Result<()> {
    let mut extents = fact.shape.iter().filter_map(Dim::known);
    if fact.dtype == DType::Bool && extents.all(|extent| extent == 1) {
        return Ok(());
    }
    Err(Error::malformed(format!(
        "the condition is {} {} where one bool was expected",
        fact.dtype,
        display_shape(&fact.shape)
    )))
}

/// The tensor of a condition as ONNX takes it, with rank 0.
pub(super) fn lower(g: &mut Lowering<'_>, id: ValueId) -> Result<TensorId> {
    let tensor = g.value(id)?;
    Ok(scalar(g, tensor, g.rank(id)))
}

/// A tensor of one element, which has this rank, with rank 0.
pub(super) fn scalar(g: &mut Lowering<'_>, tensor: TensorId, rank: usize) -> TensorId {
    let axes: Vec<i64> = (0..).take(rank).collect();
    g.squeeze(tensor, &axes)
}

/// What a condition says in a run.
pub(super) fn holds(tensor: &Tensor) -> Result<bool> {
    match tensor.to_i64_vec().as_slice() {
        [element] => Ok(*element != 0),
        elements => Err(Error::malformed(format!(
            "the condition has {} elements where 1 was expected",
            elements.len()
        ))),
    }
}
