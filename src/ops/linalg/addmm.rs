//! Products of matrices and vectors together with a sum: `dot`, `addmm`, `baddbmm`, `bilinear`.
//!
//! Paddle: `phi/kernels/{dot,addmm,baddbmm,bilinear}_kernel.h`. ONNX: MatMul, Mul, Add, ReduceSum, by way of the ops
//! that these are taken apart into when they are read.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

const X_AND_Y_ARGS: &[Arg] = &[Arg::Tensor("x"), Arg::Tensor("y")];

const ADDED: &[Binding] = &[
    Binding::Slot("Input"),
    Binding::Slot("X"),
    Binding::Slot("Y"),
];

const ADDED_ARGS: &[Arg] = &[Arg::Tensor("input"), Arg::Tensor("x"), Arg::Tensor("y")];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "dot",
        X_AND_Y_ARGS,
        &[Form::legacy(&["dot"], X_AND_Y, &["Out"])],
        &[I32, I64, F16, BF16, F32, F64],
        dot,
    ),
    decomposed(
        "addmm",
        ADDED_ARGS,
        &[added(&["addmm"])],
        FLOATS,
        add_product,
    ),
    decomposed(
        "baddbmm",
        ADDED_ARGS,
        &[added(&["baddbmm"])],
        FLOATS,
        add_product,
    ),
    decomposed(
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
];

/// The form of an op that adds a tensor and a product, each times a number.
const fn added(names: &'static [&'static str]) -> Form {
    Form::legacy(names, ADDED, &["Out"]).renaming(&[("Alpha", "alpha"), ("Beta", "beta")])
}

const BILINEAR: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Y"),
    Binding::Slot("Weight"),
    Binding::Optional("Bias"),
];

/// `Σ x · y` over the last axis: `dot`.
fn dot(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    // A sum without a stated type would widen int32 to int64.
    let dtype = Attr::Int(parts.dtype(x).paddle_code());
    let products = parts.op("multiply", &[x, y], &[], parts.rank(x));
    let last = parts.integers(&[-1]);
    parts.last(
        "sum",
        &[products, last],
        &[("dtype", dtype), ("keepdim", Attr::Bool(false))],
    )
}

/// `beta · input + alpha · x · y`, of matrices (`addmm`) or of batches of them (`baddbmm`).
fn add_product(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (alpha, beta) = (parts.attr("alpha", 1.0)?, parts.attr("beta", 1.0)?);
    let (input, x, y) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let rank = parts.rank(x);
    if beta == 0.0 {
        // Paddle does not read `input` then, so that a NaN in it changes nothing.
        let product = parts.op("matmul", &[x, y], &[], rank);
        let alpha = parts.number(alpha);
        return parts.last("scale", &[product, alpha], &[]);
    }
    let product = parts.op("matmul", &[x, y], &[], rank);
    let product = parts.scaled(product, alpha);
    let term = parts.scaled(input, beta);
    parts.last("add", &[product, term], &[])
}

/// `Σᵢⱼ xᵢ · weight[k, i, j] · yⱼ + bias[k]` for each row of `x` and `y`, as `[batch, k]`: `bilinear`.
fn bilinear(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
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
