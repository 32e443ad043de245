//! Fully connected layers that Paddle's optimiser has fused, each a matrix product with what follows it: `fc`,
//! `fusion_squared_mat_sub`, `fusion_repeated_fc_relu`.
//!
//! Paddle: `phi/kernels/impl/fc_kernel_impl.h`,
//! `phi/kernels/fusion/cpu/fusion_{squared_mat_sub,repeated_fc_relu}_kernel.cc`. ONNX: MatMul, Add, Relu, Mul, Sub.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};

const CONNECTED: &[Binding] = &[
    Binding::Slot("Input"),
    Binding::Slot("W"),
    Binding::Optional("Bias"),
];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
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
    .with_limits(&["padded weights", "activations but relu"])
    .ignoring(&[
        // The backend, and scales that a quantised kernel alone reads.
        "use_mkldnn",
        "use_quantizer",
        "mkldnn_data_type",
        "force_fp32_output",
        "Scale_in",
        "Scale_weights",
        "Scale_out",
    ]),
    decomposed(
        "fusion_squared_mat_sub",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(&["fusion_squared_mat_sub"], X_AND_Y, &["Out"])],
        FLOATS,
        squared_difference,
    )
    .with_result_positions(&[3]),
    decomposed(
        "fusion_repeated_fc_relu",
        &[Arg::Tensor("x"), Arg::List("w"), Arg::List("bias")],
        &[Form::legacy(&["fusion_repeated_fc_relu"], LAYERS, &["Out"])],
        FLOATS,
        layers,
    )
    .with_result_positions(&[1]),
];

/// `activation(input · w + bias)`, with the axes of `input` from `in_num_col_dims` on flattened to columns. The
/// activation is `relu` or none.
fn fully_connected(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let columns: i64 = parts.attr("in_num_col_dims", 1)?;
    let activation: String = parts.attr("activation_type", String::new())?;
    if parts.attr("padding_weights", false)? {
        return Err(Error::unsupported(
            "`padding_weights`: weights with padding in them",
        ));
    }
    if !matches!(activation.as_str(), "" | "relu") {
        return Err(Error::unsupported(format!(
            "`activation_type` {activation:?}"
        )));
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

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

const LAYERS: &[Binding] = &[
    Binding::Slot("X"),
    Binding::List("W"),
    Binding::List("Bias"),
];

/// `scalar · ((x · y)² - x² · y²)`
fn squared_difference(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let scalar: f64 = parts.attr("scalar", 1.0)?;
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let product = parts.op("matmul", &[x, y], &[], 2);
    let [x, y, square] = [x, y, product].map(|x| parts.op("square", &[x], &[], 2));
    let squares = parts.op("matmul", &[x, y], &[], 2);
    let difference = parts.op("subtract", &[square, squares], &[], 2);
    let result = parts.scaled(difference, scalar);
    parts.finish(&[result])
}

/// `relu(x · w + bias)` for each `w` and `bias` of the lists, one after the other.
fn layers(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let mut x = parts.operand(0)?;
    let (weights, biases) = (parts.list(1)?, parts.list(2)?);
    if weights.len() != biases.len() {
        let (weights, biases) = (weights.len(), biases.len());
        return Err(Error::malformed(format!(
            "{weights} weights and {biases} biases"
        )));
    }
    for (weight, bias) in weights.into_iter().zip(biases) {
        let product = parts.op("matmul", &[x, weight], &[], 2);
        let bias = parts.reshaped(bias, &[-1]);
        let sum = parts.plus(product, Some(bias));
        x = parts.op("relu", &[sum], &[], 2);
    }
    parts.finish(&[x])
}
