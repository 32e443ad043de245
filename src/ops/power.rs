//! Powers with one exponent, and norms that are bounded: ops of other families in a row.
//!
//! Paddle: `phi/kernels/{activation,clip_by_norm}_kernel.h`.

use super::composite::{Parts, composite};
use super::def::{Arg, FLOATS, Form, From, OpDef, WIDE};
use super::unary::plain;
use crate::error::{Error, Result};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, ValueId};

pub(super) const OPS: &[OpDef] = &[
    composite(
        "pow",
        &[Arg::Tensor("x"), Arg::Scalar("y")],
        &[Form::legacy(
            &["pow"],
            &[
                From::Slot("X"),
                From::Scalar {
                    attr: "factor",
                    slots: &["FactorTensor"],
                },
            ],
            &["Out"],
        )],
        WIDE,
        power,
    ),
    composite(
        "clip_by_norm",
        &[Arg::Tensor("x")],
        &[plain(&["clip_by_norm"])],
        FLOATS,
        clip_by_norm,
    ),
];

/// `x^y`, with the exponent in the type of `x`.
fn power(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let dtype = parts.dtype(x);
    let exponent = match parts.constant_value(y) {
        Some(number) => {
            let number = number.cast(dtype);
            parts.tensor(number)
        }
        None if parts.dtype(y) == dtype => y,
        None => return Err(Error::unsupported("a computed exponent of another type")),
    };
    parts.last("elementwise_pow", &[x, exponent], &[])
}

/// `x · (max_norm / max(‖x‖, max_norm))`: the factor is 1 for what is short enough.
fn clip_by_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
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
