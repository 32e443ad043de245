//! Sums and products with an activation or dropout: `fused_gemm_epilogue`, `fused_bias_act`, `fused_dropout_add`,
//! `swiglu`, `fused_scale_bias_add_relu`, `fused_elementwise_add`, `fused_elementwise_sub`, `fused_elementwise_mul`,
//! `fused_elementwise_div`, `fused_elemwise_activation`, `fused_elemwise_add_activation`.
//!
//! Paddle: `phi/kernels/fusion/gpu/{fused_bias_act,fused_gemm_epilogue,fused_dropout_add}_kernel.cu`,
//! `phi/kernels/fusion/gpu/fused_scale_bias_add_relu_kernel.cu`, `phi/kernels/swiglu_kernel.h`,
//! `phi/kernels/fusion/onednn/fused_elementwise_kernel.cc`, `phi/kernels/funcs/fused_elemwise_activation_functor.h`.
//! ONNX: MatMul, Add, Sub, Mul, Div, Slice, and the operators of the activations.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef, Rewrite};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, OpKind, ValueId};

const EPILOGUE: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Y"),
    Binding::Slot("Bias"),
];

const BIAS_ACT: &[Binding] = &[
    Binding::Slot("x"),
    Binding::Optional("bias"),
    Binding::Optional("dequant_scales"),
    Binding::Optional("shift"),
    Binding::Optional("smooth"),
];

/// Attributes of the quantisation to int8, which is refused.
pub(super) const QUANTISATION: &[&str] =
    &["quant_round_type", "quant_max_bound", "quant_min_bound"];

const DROPPED: &[Binding] = &[
    Binding::Slot("x"),
    Binding::Slot("y"),
    Binding::Optional("seed_tensor"),
    Binding::Scalar {
        attr: "p",
        slots: &["PTensor", "p"],
    },
];

const SCALED: &[Binding] = &[
    Binding::Slot("x1"),
    Binding::Slot("scale1"),
    Binding::Slot("bias1"),
    Binding::Slot("x2"),
    Binding::Optional("scale2"),
    Binding::Optional("bias2"),
];

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

/// Whether the inner function's result is a result too, which training alone needs.
const INTERMEDIATE: &[&str] = &["save_intermediate_out"];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "fused_gemm_epilogue",
        &[Arg::Tensor("x"), Arg::Tensor("y"), Arg::Tensor("bias")],
        &[Form::legacy(&["fused_gemm_epilogue"], EPILOGUE, &["Out"])],
        FLOATS,
        epilogue,
    ),
    decomposed(
        "fused_bias_act",
        &[
            Arg::Tensor("x"),
            Arg::Optional("bias"),
            Arg::Optional("dequant_scales"),
            Arg::Optional("shift"),
            Arg::Optional("smooth"),
        ],
        &[Form::legacy(&["fused_bias_act"], BIAS_ACT, &["out"])],
        FLOATS,
        biased_activation,
    )
    .ignoring(QUANTISATION),
    decomposed(
        "fused_dropout_add",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("y"),
            Arg::Optional("seed_tensor"),
            Arg::Scalar("p"),
        ],
        &[Form::legacy(&["fused_dropout_add"], DROPPED, &["out"])],
        FLOATS,
        dropped_sum,
    )
    .ignoring(&["seed", "fix_seed"]),
    decomposed(
        "swiglu",
        &[Arg::Tensor("x"), Arg::Optional("y")],
        &[],
        FLOATS,
        swish_gate,
    ),
    decomposed(
        "fused_scale_bias_add_relu",
        &[
            Arg::Tensor("x1"),
            Arg::Tensor("scale1"),
            Arg::Tensor("bias1"),
            Arg::Tensor("x2"),
            Arg::Optional("scale2"),
            Arg::Optional("bias2"),
        ],
        &[Form::legacy(
            &["fused_scale_bias_add_relu"],
            SCALED,
            &["out"],
        )],
        FLOATS,
        scaled_sum,
    )
    .ignoring(&["exhaustive_search"]),
    // In Paddle 3, these four belong to a dialect that it does not write to files.
    binary(
        "fused_elementwise_add",
        &[of_x_and_y(&["fused_elementwise_add"])],
        fused_binary,
    ),
    binary(
        "fused_elementwise_sub",
        &[of_x_and_y(&["fused_elementwise_sub"])],
        fused_binary,
    ),
    binary(
        "fused_elementwise_mul",
        &[of_x_and_y(&["fused_elementwise_mul"])],
        fused_binary,
    ),
    binary(
        "fused_elementwise_div",
        &[of_x_and_y(&["fused_elementwise_div"])],
        fused_binary,
    ),
    binary(
        "fused_elemwise_activation",
        &[of_x_and_y(&["fused_elemwise_activation"])],
        two_functors,
    )
    .ignoring(INTERMEDIATE),
    binary(
        "fused_elemwise_add_activation",
        &[of_x_and_y(&["fused_elemwise_add_activation"])],
        two_functors,
    )
    .ignoring(INTERMEDIATE),
];

const fn of_x_and_y(names: &'static [&'static str]) -> Form {
    Form::legacy(names, X_AND_Y, &["Out"])
}

const fn binary(name: &'static str, legacy: &'static [Form], apart: Rewrite) -> OpDef {
    let operands = &[Arg::Tensor("x"), Arg::Tensor("y")];
    decomposed(name, operands, legacy, FLOATS, apart)
}

/// Emits an activation by the name that it has in attributes. `tanh_gelu` says whether gelu is approximated by tanh.
pub(super) fn activated(
    parts: &mut Decomposition<'_>,
    x: ValueId,
    name: &str,
    tanh_gelu: bool,
) -> Result<ValueId> {
    let gelu = [("approximate", Attr::Bool(tanh_gelu))];
    let (kind, attrs): (&'static str, &[(&str, Attr)]) = match name {
        "" | "none" | "identity" => return Ok(x),
        "relu" => ("relu", &[]),
        "gelu" => ("gelu", &gelu),
        "sigmoid" => ("sigmoid", &[]),
        "tanh" => ("tanh", &[]),
        "silu" => ("silu", &[]),
        other => return Err(Error::unsupported(format!("the activation `{other}`"))),
    };
    Ok(parts.op(kind, &[x], attrs, parts.rank(x)))
}

/// `activation(x · y + bias)`, a matrix product. The kernel of cuBLAS approximates gelu by tanh.
fn epilogue(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (trans_x, trans_y) = (parts.attr("trans_x", false)?, parts.attr("trans_y", false)?);
    let activation: String = parts.attr("activation", "none".to_owned())?;
    let (x, y, bias) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    if trans_x && parts.rank(x) != 2 {
        return Err(Error::unsupported("a transposed operand that is no matrix"));
    }
    let attrs = [
        ("transpose_x", Attr::Bool(trans_x)),
        ("transpose_y", Attr::Bool(trans_y)),
    ];
    let product = parts.op("matmul", &[x, y], &attrs, parts.rank(x));
    let sum = parts.plus(product, Some(bias));
    let result = activated(&mut parts, sum, &activation, true)?;
    parts.finish(&[result])
}

/// `activation(x + bias)`. With `swiglu` and `geglu`, the activation of the first half of the last axis is multiplied
/// by the second half.
fn biased_activation(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    refuse_quantisation(&mut parts, 2..5)?;
    // The type that Paddle computes in, which changes the rounding alone.
    parts.attr("compute_dtype", String::new())?;
    let method: String = parts.attr("act_method", "gelu".to_owned())?;
    let x = parts.operand(0)?;
    let (function, is_gated) = match method.as_str() {
        "swiglu" => ("silu", true),
        "geglu" => ("gelu", true),
        plain => (plain, false),
    };
    let extent = is_gated.then(|| last_extent(&parts, x)).transpose()?;
    let x = parts.plus(x, parts.optional(1));
    let Some(extent) = extent else {
        let result = activated(&mut parts, x, function, false)?;
        return parts.finish(&[result]);
    };
    let [first, second] = halves(&mut parts, x, extent);
    let result = gated(&mut parts, function, first, second)?;
    parts.finish(&[result])
}

/// `silu(x) · y`. Without `y`, these are the first and the second half of the last axis of `x`.
fn swish_gate(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    let [first, second] = match parts.optional(1) {
        Some(y) => [x, y],
        None => {
            let extent = last_extent(&parts, x)?;
            halves(&mut parts, x, extent)
        }
    };
    let result = gated(&mut parts, "silu", first, second)?;
    parts.finish(&[result])
}

/// The extent of the last axis.
fn last_extent(parts: &Decomposition<'_>, x: ValueId) -> Result<i64> {
    let last = parts.rank(x).checked_sub(1);
    parts.extent(
        x,
        last.ok_or_else(|| Error::malformed("a number to be halved"))?,
    )
}

/// Both halves of the last axis, which has this extent.
fn halves(parts: &mut Decomposition<'_>, x: ValueId, extent: i64) -> [ValueId; 2] {
    [[0, extent / 2], [extent / 2, extent]].map(|[start, end]| {
        let (start, end) = (parts.integers(&[start]), parts.integers(&[end]));
        let axis = Attr::Ints(vec![i64::try_from(parts.rank(x)).unwrap_or(1) - 1]);
        parts.op("slice", &[x, start, end], &[("axes", axis)], parts.rank(x))
    })
}

/// `function(x) · y`
fn gated(parts: &mut Decomposition<'_>, function: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
    let gate = activated(parts, x, function, false)?;
    Ok(parts.op("multiply", &[gate, y], &[], parts.rank(x)))
}

/// `activation(x ∘ y)`, where `∘` is `+`, `-`, `·` or `/`.
fn fused_binary(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let kind = match draft.kind {
        OpKind::Known("fused_elementwise_add") => "add",
        OpKind::Known("fused_elementwise_sub") => "subtract",
        OpKind::Known("fused_elementwise_mul") => "multiply",
        _ => "divide",
    };
    let mut parts = Decomposition::new(builder, draft);
    let axis = parts.attr("axis", -1)?;
    let activation: String = parts.attr("fuse_activation", String::new())?;
    for name in ["fused_output_scale", "scale_x", "scale_y", "scale_out"] {
        if parts.attr(name, 1.0)? != 1.0 {
            return Err(Error::unsupported("a sum or a product on int8"));
        }
    }
    if parts.attr("fused_unsqueeze2_axes", Attr::Ints(Vec::new()))? != Attr::Ints(Vec::new()) {
        return Err(Error::unsupported("axes that are added to the result"));
    }
    let (alpha, beta): (f64, f64) = (
        parts.attr("fuse_alpha", 0.0)?,
        parts.attr("fuse_beta", 0.0)?,
    );
    // The activations that are known take no parameters.
    if (alpha, beta) != (0.0, 0.0) && !activation.is_empty() {
        return Err(Error::unsupported("an activation with parameters"));
    }
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let combined = combine(&mut parts, kind, [x, y], axis);
    let result = activated(&mut parts, combined, &activation, false)?;
    parts.finish(&[result])
}

/// `relu(x1 · scale1 + bias1 + x2)`, where `x2` has a scale and a bias, too, if `fuse_dual` is set. Scales and biases
/// are vectors over the channels, the last axis.
fn scaled_sum(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let is_dual = parts.attr("fuse_dual", false)?;
    let x = parts.operand(0)?;
    let (scale, bias) = (parts.operand(1)?, parts.operand(2)?);
    let first = affine(&mut parts, x, scale, bias);
    let mut second = parts.operand(3)?;
    if is_dual {
        let (scale, bias) = (parts.operand(4)?, parts.operand(5)?);
        second = affine(&mut parts, second, scale, bias);
    }
    let sum = parts.plus(first, Some(second));
    parts.last("relu", &[sum], &[])
}

/// `x · scale + bias`
fn affine(parts: &mut Decomposition<'_>, x: ValueId, scale: ValueId, bias: ValueId) -> ValueId {
    let product = parts.op("multiply", &[x, scale], &[], parts.rank(x));
    parts.plus(product, Some(bias))
}

/// Refuses a `quant_scale`, and the operands at these positions, which are for int8 alone.
pub(super) fn refuse_quantisation(
    parts: &mut Decomposition<'_>,
    operands: std::ops::Range<usize>,
) -> Result<()> {
    let scale: f64 = parts.attr("quant_scale", -1.0)?;
    let mut operands = operands;
    if scale > 0.0 || operands.any(|position| parts.optional(position).is_some()) {
        return Err(Error::unsupported("a fused op on int8"));
    }
    Ok(())
}

/// `dropout(x) + y`, with dropout as at inference.
fn dropped_sum(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let rate = parts.operand(3)?;
    let rate = parts.constant(rate)?;
    let mode: String = parts.attr("mode", "upscale_in_train".to_owned())?;
    if !parts.attr("is_test", false)? && rate != 0.0 {
        return Err(Error::unsupported(
            "dropout as in training (`is_test`=False): call eval() on the model before it is exported",
        ));
    }
    let kept = if mode == "upscale_in_train" {
        1.0
    } else {
        1.0 - rate
    };
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let x = parts.scaled(x, kept);
    let result = parts.plus(x, Some(y));
    parts.finish(&[result])
}

/// `unary(x ∘ y)` or `x ∘ unary(y)`, where `functor_list` names the outer function first.
fn two_functors(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let functors = parts.attr("functor_list", Attr::Strings(Vec::new()))?;
    let axis = parts.attr("axis", -1)?;
    let scale = parts.attr("scale", 0.0)?;
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let names = match &functors {
        Attr::Strings(names) => names.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let [outer, inner] = *names.as_slice() else {
        return Err(Error::malformed("a `functor_list` without two functors"));
    };
    let result = match (binary_functor(outer), binary_functor(inner)) {
        (None, Some(binary)) => {
            let combined = combine(&mut parts, binary, [x, y], axis);
            unary_functor(&mut parts, outer, combined, scale)?
        }
        (Some(binary), None) => {
            let y = unary_functor(&mut parts, inner, y, scale)?;
            combine(&mut parts, binary, [x, y], axis)
        }
        _ => {
            return Err(Error::unsupported(format!(
                "the functors `{outer}` and `{inner}` together"
            )));
        }
    };
    parts.finish(&[result])
}

/// The op of a binary function that is named in `functor_list`.
fn binary_functor(name: &str) -> Option<&'static str> {
    match name {
        "elementwise_add" => Some("add"),
        "elementwise_mul" => Some("multiply"),
        _ => None,
    }
}

/// Emits a binary op, with operands that are broadcast at `axis` as in Paddle 1 and 2.
fn combine(
    parts: &mut Decomposition<'_>,
    kind: &'static str,
    operands: [ValueId; 2],
    axis: i64,
) -> ValueId {
    let rank = operands.map(|x| parts.rank(x)).into_iter().max();
    parts.op(
        kind,
        &operands,
        &[("axis", Attr::Int(axis))],
        rank.unwrap_or(0),
    )
}

/// Emits the unary function of this name in `functor_list`. `scale` is the factor of the one that is called so.
fn unary_functor(
    parts: &mut Decomposition<'_>,
    name: &str,
    x: ValueId,
    scale: f64,
) -> Result<ValueId> {
    match name {
        "scale" => Ok(parts.scaled(x, scale)),
        // Its gelu is approximated by tanh as well.
        name => activated(parts, x, name, true),
    }
}
