//! How the operands of a binary op are broadcast: by NumPy's rules, and by those of Paddle 1 and 2, where an attribute
//! says at which axis of the one operand the other begins.
//!
//! Paddle: `GetBroadcastDimsArrays` and `TrimTrailingSingularDims` in `phi/kernels/funcs/common_shape.h`.

use super::values::common_type;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{OpReader, Values};
use crate::program::{Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, broadcast_dims, with_array};

/// The two operands of a binary op.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub x: ValueId,
    pub y: ValueId,
    /// The axis of the operand of higher rank at which the other begins; -1 lines up the last axes. An attribute of
    /// the older format: PHI has no such argument, and programs of Paddle 3 reshape instead.
    axis: i64,
}

/// How the operand of lower rank is made to line up: trailing axes of extent 1 are removed while it reaches beyond the
/// other, then trailing axes of extent 1 are added until both end together.
#[derive(Debug, PartialEq, Eq)]
struct Alignment {
    removed: usize,
    added: usize,
}

/// The alignment of an operand of shape `low` that begins at `axis` of one of rank `high_rank`.
///
/// # Errors
/// When there is no such axis, or an extent other than 1 would reach beyond the other operand.
fn align(axis: i64, high_rank: usize, low: &[Dim]) -> Result<Alignment> {
    if axis == -1 || high_rank == low.len() {
        return Ok(Alignment {
            removed: 0,
            added: 0,
        });
    }
    let start = usize::try_from(axis).ok().filter(|axis| *axis <= high_rank);
    let start = start.ok_or_else(|| {
        Error::malformed(format!("axis {axis} is out of range for rank {high_rank}"))
    })?;
    let room = high_rank - start;
    let removed = low.len().saturating_sub(room);
    if low
        .iter()
        .rev()
        .take(removed)
        .any(|dim| *dim != Dim::Known(1))
    {
        return Err(Error::malformed(format!(
            "an operand of rank {} does not fit at axis {axis} of one of rank {high_rank}",
            low.len()
        )));
    }
    Ok(Alignment {
        removed,
        added: room - (low.len() - removed),
    })
}

impl Alignment {
    fn is_trivial(&self) -> bool {
        self.removed == 0 && self.added == 0
    }

    fn apply(&self, low: &[Dim]) -> Vec<Dim> {
        let mut dims = low[..low.len() - self.removed].to_vec();
        dims.resize(dims.len() + self.added, Dim::Known(1));
        dims
    }
}

impl Pair {
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        Ok(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            axis: op.attr_or("axis", -1)?,
        })
    }

    /// The shapes of both operands, lined up.
    fn shapes(&self, x: &[Dim], y: &[Dim]) -> Result<(Vec<Dim>, Vec<Dim>)> {
        Ok(if x.len() >= y.len() {
            (x.to_vec(), align(self.axis, x.len(), y)?.apply(y))
        } else {
            (align(self.axis, y.len(), x)?.apply(x), y.to_vec())
        })
    }

    /// The shape of both operands, broadcast to each other.
    pub fn shape(&self, facts: &Facts<'_>) -> Result<Vec<Dim>> {
        let (x, y) = self.shapes(facts.shape(self.x), facts.shape(self.y))?;
        broadcast_dims(&x, &y)
    }

    /// The element type that both operands have.
    pub fn dtype(&self, facts: &Facts<'_>) -> Result<DType> {
        common_type(facts.dtype(self.x), facts.dtype(self.y))
    }

    /// Emits the operands, lined up so that ONNX broadcasts them as Paddle does.
    pub fn lower(&self, g: &mut Lowering<'_>) -> Result<(TensorId, TensorId)> {
        let x = self.lower_operand(g, self.x, self.y)?;
        let y = self.lower_operand(g, self.y, self.x)?;
        Ok((x, y))
    }

    fn lower_operand(&self, g: &mut Lowering<'_>, id: ValueId, other: ValueId) -> Result<TensorId> {
        let tensor = g.value(id)?;
        let (rank, high_rank) = (g.rank(id), g.rank(other));
        if rank >= high_rank {
            return Ok(tensor);
        }
        let alignment = align(self.axis, high_rank, g.shape(id))?;
        if alignment.is_trivial() {
            return Ok(tensor);
        }
        let mut aligned = alignment.apply(g.shape(id));
        let leading = high_rank.saturating_sub(aligned.len());
        aligned.splice(..0, vec![Dim::Known(1); leading]);
        if let Some(reshaped) = g.reshape(tensor, &aligned) {
            return Ok(reshaped);
        }
        let kept = rank - alignment.removed;
        let removed: Vec<i64> = (kept..rank).map(|axis| axis as i64).collect();
        let added: Vec<i64> = (kept..kept + alignment.added)
            .map(|axis| axis as i64)
            .collect();
        let tensor = g.squeeze(tensor, &removed);
        Ok(g.unsqueeze(tensor, &added))
    }

    /// The operands in a run, lined up so that NumPy's rules broadcast them as Paddle does.
    pub fn values(&self, values: &Values<'_>) -> Result<(Tensor, Tensor)> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        common_type(x.dtype(), y.dtype())?;
        let dims = |tensor: &Tensor| -> Vec<Dim> {
            let extents = tensor.shape().iter();
            extents.map(|extent| Dim::from(*extent)).collect()
        };
        let (x_shape, y_shape) = self.shapes(&dims(x), &dims(y))?;
        Ok((lined_up(x, &x_shape)?, lined_up(y, &y_shape)?))
    }
}

fn lined_up(tensor: &Tensor, shape: &[Dim]) -> Result<Tensor> {
    fn reshaped<T: Element>(x: &Array<T>, shape: &[Dim]) -> Result<Tensor> {
        let extents = shape.iter().filter_map(Dim::extent);
        let array = map::reshape(x, &extents.collect::<Vec<_>>())?;
        Ok(T::tensor(array))
    }
    if tensor.shape().len() == shape.len() {
        return Ok(tensor.clone());
    }
    with_array!(tensor, x => reshaped(x, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_operands_line_up_at_their_axis() {
        let dims = |extents: &[i64]| extents.iter().map(|e| Dim::Known(*e)).collect::<Vec<_>>();
        let cases: [(i64, usize, &[i64], &[i64]); 6] = [
            (-1, 3, &[5], &[5]),
            (1, 4, &[3], &[3, 1, 1]),
            (1, 4, &[3, 4, 1], &[3, 4, 1]),
            (0, 3, &[2], &[2, 1, 1]),
            (2, 3, &[5, 1], &[5]),
            (3, 3, &[1], &[]),
        ];
        for (axis, rank, low, expected) in cases {
            let low = dims(low);
            assert_eq!(align(axis, rank, &low).unwrap().apply(&low), dims(expected));
        }
        assert!(align(2, 3, &dims(&[2, 5])).is_err());
        assert!(align(4, 3, &dims(&[2])).is_err());
    }
}
