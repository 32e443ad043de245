//! The Kronecker product: `kron`.
//!
//! Paddle: `phi/kernels/kron_kernel.h`. ONNX: Unsqueeze, Mul and Reshape.

use super::numbers::{Number, with_numbers};
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{Function, OpDef, Values};
use crate::ops::shared::binary::{binary, form};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F16, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[binary("kron", &[form(&["kron"])], |op| {
    Ok(Box::new(Kron {
        x: op.operand("x")?,
        y: op.operand("y")?,
    }))
})
.with_dtypes(&[I32, I64, F16, F32, F64])];

/// The Kronecker product: each element of `x` is replaced by a block, the product of this element and all of `y`. The
/// operand of lower rank gets axes of extent 1 in front.
struct Kron {
    x: ValueId,
    y: ValueId,
}

/// A shape with extents of 1 in front, up to `rank`.
fn padded<T: Clone>(shape: &[T], rank: usize, one: &T) -> Vec<T> {
    let missing = vec![one.clone(); rank.saturating_sub(shape.len())];
    [missing.as_slice(), shape].concat()
}

/// Emits an operand with `rank` axes, and an axis of extent 1 before (`first` = 0) or behind (`first` = 1) each of
/// them.
fn lower_apart(g: &mut Lowering<'_>, id: ValueId, rank: usize, first: i64) -> Result<TensorId> {
    let x = g.value(id)?;
    let missing = rank.saturating_sub(g.rank(id)) as i64;
    let kept = |axis: &i64| axis % 2 != first && axis / 2 >= missing;
    let added: Vec<i64> = (0..2 * rank as i64).filter(|axis| !kept(axis)).collect();
    Ok(g.unsqueeze(x, &added))
}

/// Emits the shape of an operand with extents of 1 in front, up to `rank`.
fn lower_extents(g: &mut Lowering<'_>, id: ValueId, rank: usize) -> Result<TensorId> {
    let x = g.value(id)?;
    let own = g.rank(id);
    let extents = g.shape_slice(x, 0, own as i64);
    if own == rank {
        return Ok(extents);
    }
    let front = g.vector(&vec![1; rank - own]);
    Ok(g.concat(&[front, extents], 0))
}

impl Function for Kron {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x).max(facts.rank(self.y));
        let one = Dim::Known(1);
        let x = padded(facts.shape(self.x), rank, &one);
        let y = padded(facts.shape(self.y), rank, &one);
        let product = |(x, y): (Dim, Dim)| match (x, y) {
            (Dim::Known(1), dim) | (dim, Dim::Known(1)) => dim,
            (Dim::Known(x), Dim::Known(y)) => x.checked_mul(y).map_or(Dim::Unknown, Dim::Known),
            _ => Dim::Unknown,
        };
        let shape = x.into_iter().zip(y).map(product).collect();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x).max(g.rank(self.y));
        let shape = self.infer(g)?.shape;
        let x = lower_apart(g, self.x, rank, 1)?;
        let y = lower_apart(g, self.y, rank, 0)?;
        let product = g.node("Mul", &[x, y], []);
        if let Some(result) = g.reshape(product, &shape) {
            return Ok(result);
        }
        let (x, y) = (
            lower_extents(g, self.x, rank)?,
            lower_extents(g, self.y, rank)?,
        );
        let shape = g.node("Mul", &[x, y], []);
        Ok(g.node("Reshape", &[product, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_numbers!(x, y, (x, y) => kron(x, y)?)
    }
}

fn kron<T: Number>(x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
    let rank = x.ndim().max(y.ndim());
    let (x_shape, y_shape) = (padded(x.shape(), rank, &1), padded(y.shape(), rank, &1));
    let outer: Vec<usize> = x_shape.iter().flat_map(|extent| [*extent, 1]).collect();
    let inner: Vec<usize> = y_shape.iter().flat_map(|extent| [1, *extent]).collect();
    let product = map::zip(
        &map::reshape(x, &outer)?,
        &map::reshape(y, &inner)?,
        T::times,
    )?;
    let shape: Vec<usize> = x_shape.iter().zip(&y_shape).map(|(x, y)| x * y).collect();
    map::reshape(&product.into(), &shape)
}
