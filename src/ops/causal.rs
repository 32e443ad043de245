//! Softmax of scores under a causal mask.
//!
//! Paddle: `phi/kernels/fusion/gpu/fused_softmax_mask_upper_triangle_kernel.cu`.

use super::def::{FLOATS, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::unary::{of_x, plain};
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, normalize, with_real};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[of_x(
    "fused_softmax_mask_upper_triangle",
    &[plain(&["fused_softmax_mask_upper_triangle"])],
    CausalSoftmax::parse,
)
.taking(FLOATS)];

/// `softmax(x)` over the last axis of square matrices, as if there were nothing above the diagonal.
struct CausalSoftmax {
    x: ValueId,
    /// Whether matrices that may not be square are refused. Paddle itself refuses them only when
    /// it runs this op, and other kinds of attention align them in several ways.
    is_square: bool,
}

impl CausalSoftmax {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            is_square: op.attr_or("is_square", false)?,
        }))
    }

    fn masked<T: Real>(x: &Array<T>) -> Array<T> {
        let mut scores = x.as_standard_layout().into_owned();
        let last = x.ndim().saturating_sub(1);
        let columns = x.shape().get(last).copied().unwrap_or(1);
        let rows = x.shape().get(last.saturating_sub(1)).copied().unwrap_or(1);
        for (position, score) in scores.iter_mut().enumerate() {
            let (row, column) = (position / columns % rows, position % columns);
            if column > row {
                *score = T::neg_infinity();
            }
        }
        scores.into()
    }
}

impl Function for CausalSoftmax {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let [.., rows, columns] = shape else {
            return Err(Error::malformed("a causal mask of no matrices"));
        };
        if let (Dim::Known(rows), Dim::Known(columns)) = (rows, columns)
            && rows != columns
        {
            return Err(Error::unsupported(format!(
                "a causal mask for {rows} queries and {columns} keys"
            )));
        }
        if self.is_square && (rows != columns || *rows == Dim::Unknown) {
            return Err(Error::unsupported(
                "a causal mask for queries and keys that may not be as many",
            ));
        }
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, dtype, rank) = (g.value(self.x)?, g.dtype(self.x), g.rank(self.x));
        let extents = g.shape_slice(x, rank as i64 - 2, rank as i64);
        let infinity = Tensor::scalar_of(dtype, f64::NEG_INFINITY);
        let infinity = g.constant(infinity);
        let mask = g.node("Expand", &[infinity, extents], []);
        let mask = g.triangle(mask, (dtype, 2), 1, false);
        let masked = g.node("Add", &[x, mask], []);
        Ok(g.softmax("Softmax", masked, rank - 1, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let last = x.shape().len().saturating_sub(1);
        with_real!(x, x => normalize::softmax(&Self::masked(x), last)?)
    }
}
