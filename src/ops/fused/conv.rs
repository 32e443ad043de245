//! `fused_conv2d_add_act`, also written `conv2d_fusion`: a convolution with a bias, a residual and an activation.
//!
//! Paddle: `phi/kernels/fusion/gpu/fused_conv2d_add_act_kernel.cu`. ONNX: Conv, Add, and the operators of the
//! activations.

use super::activation::activated;
use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};

const OPERANDS: &[Binding] = &[
    Binding::Slot("Input"),
    Binding::Slot("Filter"),
    Binding::Optional("Bias"),
    Binding::Optional("ResidualData"),
];

/// Attributes of the search for a kernel, and one that says nothing here.
const SEARCH: &[&str] = &["exhaustive_search", "workspace_size_MB"];

pub(super) const OPS: &[OpDef] = &[decomposed(
    "fused_conv2d_add_act",
    &[
        Arg::Tensor("input"),
        Arg::Tensor("filter"),
        Arg::Optional("bias"),
        Arg::Optional("residual_data"),
    ],
    &[Form::legacy(
        &["fused_conv2d_add_act", "conv2d_fusion"],
        OPERANDS,
        &["Output"],
    )],
    FLOATS,
    activated_conv,
)
.ignoring(SEARCH)];

/// `activation(conv2d(input, filter) + bias + residual_data)`, with a bias for each channel.
fn activated_conv(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let activation: String = parts.attr("activation", "relu".to_owned())?;
    // The slope of a leaky relu, which is refused by its name.
    parts.attr("fuse_alpha", 0.0)?;
    if !parts.attr("split_channels", Vec::<i64>::new())?.is_empty() {
        return Err(Error::unsupported(
            "`split_channels`: a convolution with its channels apart",
        ));
    }
    let layout: String = parts.attr("data_format", "NCHW".to_owned())?;
    let bias_shape: &[i64] = match layout.as_str() {
        "NCHW" | "AnyLayout" => &[1, -1, 1, 1],
        "NHWC" => &[1, 1, 1, -1],
        other => return Err(Error::unsupported(format!("`data_format` {other:?}"))),
    };
    let ones = || Attr::Ints(vec![1, 1]);
    let attrs = [
        ("strides", parts.attr("strides", ones())?),
        ("dilations", parts.attr("dilations", ones())?),
        ("paddings", parts.attr("paddings", Attr::Ints(vec![0, 0]))?),
        (
            "padding_algorithm",
            parts.attr("padding_algorithm", Attr::String("EXPLICIT".to_owned()))?,
        ),
        ("groups", parts.attr("groups", Attr::Int(1))?),
        ("data_format", Attr::String(layout)),
    ];
    let (input, filter) = (parts.operand(0)?, parts.operand(1)?);
    let mut x = parts.op("conv2d", &[input, filter], &attrs, 4);
    if let Some(bias) = parts.optional(2) {
        let bias = parts.reshaped(bias, bias_shape);
        x = parts.plus(x, Some(bias));
    }
    x = parts.plus(x, parts.optional(3));
    let x = activated(&mut parts, x, &activation, false)?;
    parts.finish(&[x])
}
