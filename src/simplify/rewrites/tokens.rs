//! Learnt tokens in front of the rows of a sequence go into the embedding of positions, to which the rows are then added with
//! zeros in front of them. No shape has to be computed for the tokens of each batch. Before the pass:
//!
//! ```text
//! input %2:x : float32 [batch, 4, 6]
//! %5:token = expand(%0:token, %4:shape) : float32 [?, 1, 6]
//! %6:rows = concat([%5:token, %2:x], 1) : float32 [?, 5, 6]
//! %7:add = add(%6:rows, %1:position) : float32 [?, 5, 6]
//! ```
//!
//! After it:
//!
//! ```text
//! input %2:x : float32 [batch, 4, 6]
//! %8 = pad(%2:x, 0.0, [0, 0, 1, 0, 0, 0]) : float32 [?, 5, 6]
//! %9:position = shift_weight(%1:position, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]) : float32 [1, 5, 6]
//! %7:add = add(%8, %9:position) : float32 [?, 5, 6]
//! ```
//!
//! Tokens of a batch whose extent is known are a constant already, and stay one.

use std::collections::HashMap;

use super::search::Search;
use super::weights::{constant, like, stored};
use super::{concats, is, operand};
use crate::operator::Registry;
use crate::program::{Attributes, Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// What an op before another has made.
enum Before {
    /// These tokens for each of a batch.
    Tokens(ValueId),
    /// Tokens in front of rows.
    Joined { tokens: ValueId, rows: ValueId },
}

/// Puts tokens into the embeddings of positions that are added to them.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    if program.missing_weights.is_some() {
        return;
    }
    Search::of(program, registry).each_op::<Before>(|search, op, before| {
        if let Some(made) = tokens(search, op).or_else(|| joined(search, op, before)) {
            before.insert(op.results[0], made);
        } else if let Some(Before::Joined { tokens, rows }) = search.of_alone(op, before)
            && let Some(positions) = positions(search, op)
            && let Some(shifts) = stored(search.program, *tokens)
        {
            search.in_front = placed(search.program, op, *rows, (positions, shifts));
        }
    });
}

/// The extents of a value of rank 3, if all but the first are known.
fn extents(search: &Search<'_>, id: ValueId) -> Option<(Dim, [i64; 2])> {
    match search.shapes[id.index()].as_slice() {
        [batch, Dim::Known(rows), Dim::Known(columns)] => Some((batch.clone(), [*rows, *columns])),
        _ => None,
    }
}

/// Stored tokens that an `expand` repeats for each of a batch.
fn tokens(search: &Search<'_>, op: &Op) -> Option<Before> {
    let tokens = operand(op, 0).filter(|_| is(op, "expand"))?;
    let value = &search.program[tokens];
    let (batch, inner) = extents(search, tokens)?;
    let (_, expanded) = extents(search, op.results[0])?;
    let is_of_batch = batch == Dim::Known(1) && inner == expanded;
    let is_stored = value.origin.is_stored() && value.dtype == DType::F32;
    (is_of_batch && is_stored).then_some(Before::Tokens(tokens))
}

/// Tokens that a `concat` puts in front of rows.
fn joined(search: &Search<'_>, op: &Op, before: &HashMap<ValueId, Before>) -> Option<Before> {
    let axis = concats::axis(op, search.program)?;
    let [first, rows] = op.operands[0].values()[..] else {
        return None;
    };
    let Some(Before::Tokens(tokens)) = before.get(&first) else {
        return None;
    };
    let is_alone = search.reads.get(&first) == Some(&1) && axis == 1;
    is_alone.then_some(Before::Joined {
        tokens: *tokens,
        rows,
    })
}

/// The embedding of positions that an `add` adds to as many rows, if nothing else reads it.
fn positions(search: &Search<'_>, op: &Op) -> Option<ValueId> {
    let positions = operand(op, 1).filter(|_| is(op, "add"))?;
    let value = &search.program[positions];
    let is_weight = matches!(value.origin, Origin::Parameter(_)) && value.dtype == DType::F32;
    let (batch, inner) = extents(search, positions)?;
    let (_, added) = extents(search, operand(op, 0)?)?;
    let is_alone = search.reads.get(&positions) == Some(&1);
    (is_weight && is_alone && batch == Dim::Known(1) && inner == added).then_some(positions)
}

/// The ops in front of an `add` that adds `rows` behind zeros to positions with tokens in them, as it does afterwards.
fn placed(
    program: &mut Program,
    add: &mut Op,
    rows: ValueId,
    (positions, tokens): (ValueId, Tensor),
) -> Vec<Op> {
    let joined = add.operands[0].values()[0];
    let padded = like(program, joined, None);
    // With tokens, it would be what has the name in Paddle.
    program.values[padded.index()].name.clear();
    let shifted = like(program, positions, None);
    let zero = constant(program, String::new(), Tensor::scalar(0.0_f32));
    let count = tokens.shape()[1] as i64;
    let paddings = Tensor::vector(vec![0, 0, count, 0, 0, 0]);
    let paddings = constant(program, String::new(), paddings);
    let shifts = Tensor::vector(tokens.to_f64_vec()).cast(DType::F32);
    let shifts = constant(program, String::new(), shifts);
    add.operands = [padded, shifted].map(Operand::One).to_vec();
    let op = |name: &'static str, operands: &[ValueId], result: ValueId| Op {
        kind: OpKind::Known(name),
        operands: operands.iter().copied().map(Operand::One).collect(),
        results: vec![result],
        attrs: Attributes::default(),
        ..add.clone()
    };
    vec![
        op("pad", &[rows, zero, paddings], padded),
        op("shift_weight", &[positions, shifts], shifted),
    ]
}
