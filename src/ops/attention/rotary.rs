//! `fused_rotary_position_embedding`: rotary embeddings of positions (RoPE).
//!
//! Paddle: `phi/kernels/fusion/gpu/fused_rope_utils.h`. ONNX: Mul, Add, Reshape and Slice; Gather for
//! `position_ids`.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::Tensor;

const ROTATED: &[Binding] = &[
    Binding::Slot("q"),
    Binding::Optional("k"),
    Binding::Optional("v"),
    Binding::Optional("sin"),
    Binding::Optional("cos"),
    Binding::Optional("position_ids"),
];

pub(super) const OPS: &[OpDef] = &[decomposed(
    "fused_rotary_position_embedding",
    &[
        Arg::Tensor("q"),
        Arg::Optional("k"),
        Arg::Optional("v"),
        Arg::Optional("sin"),
        Arg::Optional("cos"),
        Arg::Optional("position_ids"),
    ],
    &[Form::legacy(
        &["fused_rotary_position_embedding"],
        ROTATED,
        &["out_q", "out_k", "out_v"],
    )],
    FLOATS,
    rotary,
)
.with_opset(10)
.with_limits(&["no sines and cosines"])
// Paddle makes sines and cosines of it if they are not given, which is refused.
.ignoring(&["rotary_emb_base"])
.with_results(&["out_q", "out_k", "out_v"])];

/// `x · cos + turned(x) · sin` for each of `q`, `k` and `v` that is given, with [`Turn`] for `turned`. They are
/// `[batch, length, heads, extent]`, or with `time_major` `[length, batch, heads, extent]`.
fn rotary(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let in_pairs = parts.attr("use_neox_rotary_style", true)?;
    let time_major = parts.attr("time_major", false)?;
    let q = parts.operand(0)?;
    if parts.rank(q) != 4 {
        return Err(Error::malformed(
            "a rotary embedding of an operand without four axes",
        ));
    }
    let extent = parts.extent(q, 3)?;
    if extent <= 0 || extent % 2 != 0 {
        return Err(Error::malformed(format!(
            "heads of {extent} numbers, which are no pairs"
        )));
    }
    let (Some(sin), Some(cos)) = (parts.optional(3), parts.optional(4)) else {
        return Err(Error::unsupported(
            "a rotary embedding without sines and cosines",
        ));
    };
    let [sin, cos] = [sin, cos].map(|table| of_positions(&mut parts, table, extent, time_major));
    let turn = Turn { extent, in_pairs };
    let operands = [Some(q), parts.optional(1), parts.optional(2)];
    let mut results = Vec::new();
    for x in operands.into_iter().flatten() {
        let turned = turn.of(&mut parts, x);
        let along = parts.op("multiply", &[x, cos], &[], 4);
        let across = parts.op("multiply", &[turned, sin], &[], 4);
        results.push(parts.plus(along, Some(across)));
    }
    parts.finish(&results)
}

/// The rows of a table of sines or cosines for the positions of the operands, in a shape that is broadcast to theirs:
/// `[batch, length, 1, extent]`, or with the length first. The table is `[positions, extent]`, with or without more
/// axes of extent 1; without `position_ids`, its rows are for the positions in order.
fn of_positions(
    parts: &mut Decomposition<'_>,
    table: ValueId,
    extent: i64,
    time_major: bool,
) -> ValueId {
    let Some(ids) = parts.optional(5) else {
        let shape = if time_major {
            [-1, 1, 1, extent]
        } else {
            [1, -1, 1, extent]
        };
        return parts.reshaped(table, &shape);
    };
    let table = parts.reshaped(table, &[-1, extent]);
    let rows = parts.typed_op("embedding", &[ids, table], parts.dtype(table), 3);
    let rows = if time_major {
        parts.transposed(rows, &[1, 0, 2])
    } else {
        rows
    };
    let axis = parts.integers(&[2]);
    parts.op("unsqueeze", &[rows, axis], &[], 4)
}

/// A rotation of pairs by a right angle, from `(a, b)` to `(-b, a)`. A pair is an element of the first half of a head
/// and the one at the same place in the second half, or two neighbours.
struct Turn {
    /// The extent of a head.
    extent: i64,
    /// Whether pairs are neighbours.
    in_pairs: bool,
}

impl Turn {
    fn of(&self, parts: &mut Decomposition<'_>, x: ValueId) -> ValueId {
        let half = self.extent / 2;
        let (shape, signs, axis) = if self.in_pairs {
            ([0, 0, 0, half, 2], [1, 2], 4)
        } else {
            ([0, 0, 0, 2, half], [2, 1], 3)
        };
        let pairs = parts.reshaped(x, &shape);
        let swapped = parts.op("flip", &[pairs], &[("axis", Attr::Ints(vec![axis]))], 5);
        let minus_plus = Tensor::vector(vec![-1.0_f64, 1.0]).cast(parts.dtype(x));
        let minus_plus = parts.tensor(minus_plus);
        let minus_plus = parts.reshaped(minus_plus, &signs);
        let turned = parts.op("multiply", &[swapped, minus_plus], &[], 5);
        parts.reshaped(turned, &[0, 0, 0, self.extent])
    }
}
