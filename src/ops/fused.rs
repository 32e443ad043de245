//! Ops that fuse a matrix product or a sum with what follows it.
//!
//! Paddle: `phi/kernels/{dot,addmm,baddbmm}_kernel.h`, `phi/kernels/fusion/cpu/`, `phi/kernels/fc_kernel.h`.

use super::composite::{Parts, composite};
use super::def::{Arg, FLOATS, Form, From, OpDef};
use crate::error::{Error, Result};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, ValueId};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};

const X_AND_Y: &[From] = &[From::Slot("X"), From::Slot("Y")];
const X_AND_Y_ARGS: &[Arg] = &[Arg::Tensor("x"), Arg::Tensor("y")];
const ADDED: &[From] = &[From::Slot("Input"), From::Slot("X"), From::Slot("Y")];
const ADDED_ARGS: &[Arg] = &[Arg::Tensor("input"), Arg::Tensor("x"), Arg::Tensor("y")];

/// The sum of a tensor and a product, both times a number.
const fn added(names: &'static [&'static str]) -> Form {
    Form::legacy(names, ADDED, &["Out"]).renaming(&[("Alpha", "alpha"), ("Beta", "beta")])
}

const CONNECTED: &[From] = &[From::Slot("Input"), From::Slot("W"), From::Optional("Bias")];
const BILINEAR: &[From] = &[
    From::Slot("X"),
    From::Slot("Y"),
    From::Slot("Weight"),
    From::Optional("Bias"),
];
const MASKED: &[From] = &[From::Slot("X"), From::Slot("Mask")];

pub(super) const OPS: &[OpDef] = &[
    composite(
        "dot",
        X_AND_Y_ARGS,
        &[Form::legacy(&["dot"], X_AND_Y, &["Out"])],
        &[I32, I64, F16, BF16, F32, F64],
        dot,
    ),
    composite(
        "addmm",
        ADDED_ARGS,
        &[added(&["addmm"])],
        FLOATS,
        add_product,
    ),
    composite(
        "baddbmm",
        ADDED_ARGS,
        &[added(&["baddbmm"])],
        FLOATS,
        add_product,
    ),
    composite(
        "fc",
        &[
            Arg::Tensor("input"),
            Arg::Tensor("w"),
            Arg::Optional("bias"),
        ],
        &[Form::legacy(&["fc"], CONNECTED, &["Out"])],
        FLOATS,
        fully_connected,
    )
    .ignoring(&[
        // What runs it, and scales that mean nothing without a quantised kernel.
        "use_mkldnn",
        "use_quantizer",
        "mkldnn_data_type",
        "force_fp32_output",
        "Scale_in",
        "Scale_weights",
        "Scale_out",
    ]),
    composite(
        "bilinear",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("y"),
            Arg::Tensor("weight"),
            Arg::Optional("bias"),
        ],
        &[Form::legacy(
            &["bilinear_tensor_product"],
            BILINEAR,
            &["Out"],
        )],
        FLOATS,
        bilinear,
    ),
    composite(
        "fused_softmax_mask",
        &[Arg::Tensor("x"), Arg::Tensor("mask")],
        &[Form::legacy(&["fused_softmax_mask"], MASKED, &["Out"])],
        FLOATS,
        masked_softmax,
    ),
];

/// `Σ x · y` over the last axis.
fn dot(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    // A sum would widen int32.
    let dtype = Attr::Int(parts.dtype(x).paddle_code());
    let products = parts.op("multiply", &[x, y], &[], parts.rank(x));
    let last = parts.integers(&[-1]);
    parts.last(
        "sum",
        &[products, last],
        &[("dtype", dtype), ("keepdim", Attr::Bool(false))],
    )
}

/// `beta · input + alpha · x · y`, with matrices or batches of them.
fn add_product(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (alpha, beta) = (parts.attr("alpha", 1.0)?, parts.attr("beta", 1.0)?);
    let (input, x, y) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let rank = parts.rank(x);
    if beta == 0.0 {
        // Not read then, whatever it holds.
        let product = parts.op("matmul", &[x, y], &[], rank);
        let alpha = parts.number(alpha);
        return parts.last("scale", &[product, alpha], &[]);
    }
    let product = parts.op("matmul", &[x, y], &[], rank);
    let product = parts.scaled(product, alpha);
    let term = parts.scaled(input, beta);
    parts.last("add", &[product, term], &[])
}

/// `input · w + bias`, with the axes of the input from `in_num_col_dims` on as its columns, and an
/// activation.
fn fully_connected(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let columns: i64 = parts.attr("in_num_col_dims", 1)?;
    let activation: String = parts.attr("activation_type", String::new())?;
    if parts.attr("padding_weights", false)? {
        return Err(Error::unsupported("weights with padding in them"));
    }
    if !matches!(activation.as_str(), "" | "relu") {
        return Err(Error::unsupported(format!("the activation `{activation}`")));
    }
    let (input, weights, bias) = (parts.operand(0)?, parts.operand(1)?, parts.optional(2));
    let attrs = [
        ("x_num_col_dims", Attr::Int(columns)),
        ("y_num_col_dims", Attr::Int(1)),
    ];
    let rank = usize::try_from(columns).map_or(0, |columns| columns.saturating_add(1));
    let rank = rank.min(parts.rank(input));
    let product = "matmul_with_flatten";
    let Some(bias) = bias else {
        // Paddle has no activation without a bias either.
        if !activation.is_empty() {
            return Err(Error::malformed("an activation without a bias"));
        }
        return parts.last(product, &[input, weights], &attrs);
    };
    let product = parts.op(product, &[input, weights], &attrs, rank);
    if activation.is_empty() {
        return parts.last("add", &[product, bias], &[]);
    }
    let sum = parts.op("add", &[product, bias], &[], rank);
    parts.last("relu", &[sum], &[])
}

/// `softmax(x + mask)` over the last axis.
fn masked_softmax(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (x, mask) = (parts.operand(0)?, parts.operand(1)?);
    let sum = parts.op("add", &[x, mask], &[], parts.rank(x));
    parts.last("softmax", &[sum], &[("axis", Attr::Int(-1))])
}

/// `Σᵢⱼ xᵢ · weight[k, i, j] · yⱼ + bias[k]` of the rows of `x` and `y`.
fn bilinear(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (x, y, weight) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let [outputs, rows, columns] = [0, 1, 2].map(|axis| parts.extent(weight, axis));
    let (outputs, rows, columns) = (outputs?, rows?, columns?);
    let width = outputs.checked_mul(columns);
    let width = width.ok_or_else(|| Error::malformed("weights of an absurd size"))?;
    let matrix = parts.transposed(weight, &[1, 0, 2]);
    let matrix = parts.reshaped(matrix, &[rows, width]);
    let product = parts.op("matmul", &[x, matrix], &[], 2);
    let product = parts.reshaped(product, &[0, outputs, columns]);
    let y = parts.reshaped(y, &[0, columns, 1]);
    let product = parts.op("matmul", &[product, y], &[], 3);
    let product = parts.reshaped(product, &[0, outputs]);
    let result = parts.plus(product, parts.optional(3));
    parts.finish(&[result])
}
