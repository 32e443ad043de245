//! `lstm_unit`: one step of an LSTM behind its products with the weights, as the older `fluid.layers` has it.
//!
//! Paddle: `fluid/operators/lstm_unit_op.h`, up to version 2.4. ONNX: Add, Mul, Sigmoid and Tanh.

use super::gru_unit::cut;
use crate::error::Result;
use crate::operator::{Arg, Binding, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

pub(super) const OPS: &[OpDef] = &[decomposed(
    "lstm_unit",
    &[Arg::Tensor("x"), Arg::Tensor("c_prev")],
    &[Form::legacy(
        &["lstm_unit"],
        &[Binding::Slot("X"), Binding::Slot("C_prev")],
        &["C", "H"],
    )],
    &[DType::F32, DType::F64],
    unit,
)
.with_results(&["c", "h"])];

/// With `x` the inputs of the gates i, f and o and of the candidate g side by side, `[batch, 4 · size]`, and `c` the cell
/// before, `[batch, size]`: the cell is `sigmoid(f + forget_bias) c + sigmoid(i) tanh(g)`, and the state
/// `sigmoid(o) tanh(cell)`.
fn unit(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let forget_bias: f64 = parts.attr("forget_bias", 0.0)?;
    let (x, before) = (parts.operand(0)?, parts.operand(1)?);
    let size = super::refuse_impossible(parts.extent(before, 1)?)?;
    let inputs = [0, 1, 2, 3].map(|n| cut(&mut parts, x, 1, (n * size, (n + 1) * size)));
    let bias = [("bias", Attr::Float(forget_bias))];
    let one = parts.number(1.0);
    let biased = parts.op("scale", &[inputs[1], one], &bias, 2);
    let gates = [inputs[0], biased, inputs[2]];
    let [input, forget, output] = gates.map(|gate| parts.op("sigmoid", &[gate], &[], 2));
    let candidate = parts.op("tanh", &[inputs[3]], &[], 2);
    let kept = parts.op("multiply", &[forget, before], &[], 2);
    let added = parts.op("multiply", &[input, candidate], &[], 2);
    let cell = parts.op("add", &[kept, added], &[], 2);
    let bounded = parts.op("tanh", &[cell], &[], 2);
    let state = parts.op("multiply", &[output, bounded], &[], 2);
    parts.finish(&[cell, state])
}
