//! Softmax of scores under a mask: one that is given (`fused_softmax_mask`), or a causal one
//! (`fused_softmax_mask_upper_triangle`).
//!
//! Paddle: `phi/kernels/fusion/gpu/fused_softmax_mask{,_upper_triangle}_kernel.cu`. ONNX: Add and Softmax; Expand and
//! Trilu for the causal mask.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, norm, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    of_x(
        "fused_softmax_mask_upper_triangle",
        &[plain(&["fused_softmax_mask_upper_triangle"])],
        CausalSoftmax::parse,
    )
    .with_opset(9)
    .with_accuracy(Accuracy::AlongAxis)
    .with_limits(&["other numbers of queries than of keys"])
    .with_dtypes(FLOATS),
    decomposed(
        "fused_softmax_mask",
        &[Arg::Tensor("x"), Arg::Tensor("mask")],
        &[Form::legacy(&["fused_softmax_mask"], MASKED, &["Out"])],
        FLOATS,
        masked_softmax,
    ),
];

/// `softmax(x)` over the last axis of square matrices, with minus infinity for all that is above the diagonal.
struct CausalSoftmax {
    x: ValueId,
    /// Whether matrices that are not known to be square are refused before a run. Paddle itself refuses others when it
    /// runs this op, but the kinds of attention that are taken apart into it align them in several ways.
    is_square: bool,
}

impl CausalSoftmax {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            is_square: op.attr_or("is_square", false)?,
        }))
    }

    /// The scores, with minus infinity above the diagonal.
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
            return Err(Error::needs_extents(
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
        with_real!(x, x => norm::softmax(&Self::masked(x), last)?)
    }
}

const MASKED: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Mask")];

/// `softmax(x + mask)` over the last axis.
fn masked_softmax(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (x, mask) = (parts.operand(0)?, parts.operand(1)?);
    let sum = parts.op("add", &[x, mask], &[], parts.rank(x));
    parts.last("softmax", &[sum], &[("axis", Attr::Int(-1))])
}
