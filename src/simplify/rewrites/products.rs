//! Products with stored weights, and the biases that are added to them, as linear layers consist of.

use super::search::Search;
use super::{is, operand};
use crate::program::{Attr, Op, ValueId};
use crate::tensor::Dim;

/// The operands of a product of a tensor with this number of axes and a stored matrix, both as they are.
pub(super) fn product(search: &Search<'_>, op: &Op, rank: usize) -> Option<(ValueId, ValueId)> {
    let has =
        |name: &str, usual: Attr, wanted: &Attr| op.attrs.get(name).unwrap_or(&usual) == wanted;
    let no = Attr::Bool(false);
    let is_product = if is(op, "matmul") {
        ["transpose_x", "transpose_y"]
            .iter()
            .all(|name| has(name, no.clone(), &no))
    } else {
        let flattened = Attr::Int(rank as i64 - 1);
        is(op, "matmul_with_flatten")
            && has("x_num_col_dims", Attr::Int(1), &flattened)
            && has("y_num_col_dims", Attr::Int(1), &Attr::Int(1))
    };
    let (x, weight) = (operand(op, 0)?, operand(op, 1)?);
    let of_rank = |id: ValueId, rank: usize| search.shapes[id.index()].len() == rank;
    let value = &search.program[weight];
    let is_weight = of_rank(weight, 2) && value.dtype.is_float() && value.origin.is_stored();
    (is_product && of_rank(x, rank) && is_weight).then_some((x, weight))
}

/// What an `add` adds to each row of its first operand, if it is a stored vector.
pub(super) fn bias(search: &Search<'_>, op: &Op) -> Option<ValueId> {
    let bias = operand(op, 1).filter(|_| is(op, "add"))?;
    let shape = &search.shapes[op.results[0].index()];
    let columns = shape.last()?;
    let is_of_columns = match search.shapes[bias.index()].as_slice() {
        [extent] => matches!(extent, Dim::Known(_)) && extent.same(columns),
        _ => false,
    };
    let is_added = is_of_columns && adds_along_last(op, shape.len());
    (is_added && search.program[bias].origin.is_stored()).then_some(bias)
}

/// Whether an `add` lines up a vector with the last axis of its result of this rank.
pub(super) fn adds_along_last(add: &Op, rank: usize) -> bool {
    match add.attrs.get("axis") {
        None | Some(Attr::Int(-1)) => true,
        Some(Attr::Int(axis)) => *axis == rank as i64 - 1,
        Some(_) => false,
    }
}
