//! Tensors (`clip_by_norm`), or slices of them (`renorm`), whose norm is limited.
//!
//! Paddle: `phi/kernels/{renorm,clip_by_norm}_kernel.h`. ONNX: the operators of the ops that both are taken apart into
//! when they are read, such as `p_norm`, `frobenius_norm`, `divide` and `multiply`.

use crate::error::Result;
use crate::operator::{Arg, FLOATS, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::ops::shared::pointwise::plain;
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;
use crate::tensor::DType::{F32, F64};

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "renorm",
        &[Arg::Tensor("x")],
        &[plain(&["renorm"])],
        &[F32, F64],
        renorm,
    )
    .with_opset(9),
    decomposed(
        "clip_by_norm",
        &[Arg::Tensor("x")],
        &[plain(&["clip_by_norm"])],
        FLOATS,
        clip_by_norm,
    )
    .with_opset(8),
];

/// `x` with each of its slices along `axis` whose p-norm is larger than `max_norm` scaled down to that norm.
fn renorm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (p, largest): (f64, f64) = (parts.attr("p", 2.0)?, parts.attr("max_norm", 1.0)?);
    let axis: i64 = parts.attr("axis", 0)?;
    let x = parts.operand(0)?;
    let rank = parts.rank(x);
    let axis = crate::tensor::normalize_axis(axis, rank)?;
    // A matrix with one row for each slice.
    let others = (0..rank).filter(|other| *other != axis);
    let order: Vec<i64> = std::iter::once(axis)
        .chain(others)
        .map(|axis| axis as i64)
        .collect();
    let rows = parts.transposed(x, &order);
    let rows = parts.reshaped(rows, &[0, -1]);
    let attrs = [
        ("porder", Attr::Float(p)),
        ("axis", Attr::Int(1)),
        ("keepdim", Attr::Bool(true)),
    ];
    let norm = parts.op("p_norm", &[rows], &attrs, 2);
    let dtype = parts.dtype(x);
    let [limit, epsilon, one] = [largest, 1e-7, 1.0]
        .map(|number| parts.tensor(crate::tensor::Tensor::scalar_of(dtype, number)));
    let is_larger = parts.typed_op("greater_than", &[norm, limit], DType::Bool, 2);
    let divisor = parts.op("add", &[norm, epsilon], &[], 2);
    let factor = parts.op("divide", &[limit, divisor], &[], 2);
    let operands = [is_larger, factor, one];
    let factor = parts.typed_op("where", &operands, dtype, 2);
    let mut shape = vec![1; rank];
    if let Some(extent) = shape.get_mut(axis) {
        *extent = -1;
    }
    let factor = parts.reshaped(factor, &shape);
    parts.last("multiply", &[x, factor], &[])
}

/// `x · (max_norm / max(‖x‖, max_norm))`: the factor is 1 if the norm is small enough.
fn clip_by_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    let limit: f64 = parts.attr("max_norm", 1.0)?;
    let limit = crate::tensor::Tensor::scalar_of(parts.dtype(x), limit);
    let limit = parts.tensor(limit);
    let all = parts.integers(&[]);
    let norm = parts.op(
        "frobenius_norm",
        &[x, all],
        &[("keepdim", Attr::Bool(false))],
        0,
    );
    let bound = parts.op("maximum", &[norm, limit], &[], 0);
    let factor = parts.op("divide", &[limit, bound], &[], 0);
    parts.last("multiply", &[x, factor], &[])
}
