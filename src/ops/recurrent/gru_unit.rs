//! `gru_unit`: one step of a GRU, as the older `fluid.layers` has it.
//!
//! Paddle: `phi/kernels/impl/gru_unit_kernel_impl.h`. ONNX: MatMul, Add, Mul, Sub and the activations.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

pub(super) const OPS: &[OpDef] = &[decomposed(
    "gru_unit",
    &[
        Arg::Tensor("input"),
        Arg::Tensor("hidden_prev"),
        Arg::Tensor("weight"),
        Arg::Optional("bias"),
    ],
    &[Form::legacy(
        &["gru_unit"],
        &[
            Binding::Slot("Input"),
            Binding::Slot("HiddenPrev"),
            Binding::Slot("Weight"),
            Binding::Optional("Bias"),
        ],
        &["ResetHiddenPrev", "Hidden"],
    )],
    &[DType::F32, DType::F64],
    unit,
)
.with_results(&["reset_hidden_prev", "hidden"])
.with_result_positions(&[1, 2])];

/// An activation by its number in Paddle. None changes nothing.
fn activation(number: i64) -> Result<Option<&'static str>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some("sigmoid")),
        2 => Ok(Some("tanh")),
        3 => Ok(Some("relu")),
        other => Err(Error::malformed(format!("the activation {other}"))),
    }
}

/// With `h` the state before, `[batch, size]`, and `x` the inputs of the gates u, r and c side by side,
/// `[batch, 3 · size]`, to which the bias is added: `u = gate(x_u + h W_u)`, `r = gate(x_r + h W_r)`,
/// `c = act(x_c + (r h) W_c)`. The state is `h + u (c - h)`, and in `origin_mode` `c + u (h - c)`.
fn unit(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let act = activation(parts.attr("activation", 2)?)?;
    let gate = activation(parts.attr("gate_activation", 1)?)?;
    let origin_mode = parts.attr("origin_mode", false)?;
    let (mut x, h, weight) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let size = super::refuse_impossible(parts.extent(weight, 0)?)?;
    if let Some(bias) = parts.optional(3) {
        let bias = parts.reshaped(bias, &[1, -1]);
        x = parts.op("add", &[x, bias], &[], 2);
    }
    let [of_gates, of_candidate] = weights(&mut parts, weight, size);
    let activate = |parts: &mut Decomposition<'_>, x: ValueId, name: Option<&'static str>| {
        name.map_or(x, |name| parts.op(name, &[x], &[], 2))
    };
    let recurrent = parts.op("matmul", &[h, of_gates], &[], 2);
    let gates = cut(&mut parts, x, 1, (0, 2 * size));
    let gates = parts.op("add", &[gates, recurrent], &[], 2);
    let gates = activate(&mut parts, gates, gate);
    let update = cut(&mut parts, gates, 1, (0, size));
    let reset = cut(&mut parts, gates, 1, (size, 2 * size));
    let reset = parts.op("multiply", &[reset, h], &[], 2);
    let recurrent = parts.op("matmul", &[reset, of_candidate], &[], 2);
    let candidate = cut(&mut parts, x, 1, (2 * size, 3 * size));
    let candidate = parts.op("add", &[candidate, recurrent], &[], 2);
    let candidate = activate(&mut parts, candidate, act);
    let (from, to) = if origin_mode {
        (candidate, h)
    } else {
        (h, candidate)
    };
    let way = parts.op("subtract", &[to, from], &[], 2);
    let way = parts.op("multiply", &[update, way], &[], 2);
    let hidden = parts.op("add", &[from, way], &[], 2);
    parts.finish(&[reset, hidden])
}

/// The weights of the gates, `[size, 2 · size]`, and those of the candidate, `[size, size]`, which follow one another in
/// memory, whatever the shape `[size, 3 · size]` of the whole says.
fn weights(parts: &mut Decomposition<'_>, whole: ValueId, size: i64) -> [ValueId; 2] {
    let all = parts.reshaped(whole, &[-1]);
    let of_gates = cut(parts, all, 0, (0, 2 * size * size));
    let of_candidate = cut(parts, all, 0, (2 * size * size, 3 * size * size));
    [
        parts.reshaped(of_gates, &[size, 2 * size]),
        parts.reshaped(of_candidate, &[size, size]),
    ]
}

/// The elements of `x` along an axis from one position to before another.
pub(super) fn cut(
    parts: &mut Decomposition<'_>,
    x: ValueId,
    axis: i64,
    (start, end): (i64, i64),
) -> ValueId {
    let (start, end) = (parts.integers(&[start]), parts.integers(&[end]));
    let axes = [("axes", Attr::Ints(vec![axis]))];
    parts.op("slice", &[x, start, end], &axes, parts.rank(x))
}
