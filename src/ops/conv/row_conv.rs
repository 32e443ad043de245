//! `row_conv`: each step of a sequence from itself and those that follow it, channel by channel.
//!
//! Paddle: `phi/kernels/cpu/row_conv_kernel.cc`; in Paddle 2 `fluid/operators/row_conv_op.cc`. ONNX: Conv with a group for
//! each channel.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

pub(super) const OPS: &[OpDef] = &[decomposed(
    "row_conv",
    &[Arg::Tensor("x"), Arg::Tensor("filter")],
    &[Form::legacy(
        &["row_conv"],
        &[Binding::Slot("X"), Binding::Slot("Filter")],
        &["Out"],
    )],
    &[DType::F32],
    row_conv,
)
.with_limits(&["sequences by level of detail"])];

/// `outₜ = Σₖ filterₖ · xₜ₊ₖ` of `x` (`[batch, steps, channels]`) and `filter` (`[context, channels]`), where nothing is
/// behind the last step.
fn row_conv(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (x, filter) = (parts.operand(0)?, parts.operand(1)?);
    if parts.rank(x) != 3 {
        return Err(Error::unsupported(
            "sequences that only their level of detail tells apart, which ONNX does not have",
        ));
    }
    let (context, channels) = (parts.extent(filter, 0)?, parts.extent(filter, 1)?);
    let behind = context
        .checked_sub(1)
        .filter(|behind| *behind >= 0)
        .ok_or_else(|| Error::malformed(format!("a context of {context} steps")))?;
    let filter = parts.transposed(filter, &[1, 0]);
    let filter = parts.reshaped(filter, &[channels, 1, context, 1]);
    let x = parts.transposed(x, &[0, 2, 1]);
    let x = parts.reshaped(x, &[0, channels, -1, 1]);
    let attrs = [
        ("strides", Attr::Ints(vec![1, 1])),
        ("dilations", Attr::Ints(vec![1, 1])),
        ("paddings", Attr::Ints(vec![0, behind, 0, 0])),
        ("groups", Attr::Int(channels)),
    ];
    let x = parts.op("conv2d", &[x, filter], &attrs, 4);
    let x = parts.reshaped(x, &[0, channels, -1]);
    let x = parts.transposed(x, &[0, 2, 1]);
    parts.finish(&[x])
}
