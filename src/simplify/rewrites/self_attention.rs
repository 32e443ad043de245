//! Attention whose queries, keys and values are the parts of one layer's result becomes one op with that layer. Before the
//! pass:
//!
//! ```text
//! %3:matmul = matmul(%0:x, %1:w) : float32 [batch, 5, 36]
//! %4:add = add(%3:matmul, %2:b) : float32 [batch, 5, 36]
//! %5:q, %6:k, %7:v = split(%4:add, [12, 12, 12], 2) : float32 [batch, 5, 12], …
//! %8:y = multi_head_attention(%5:q, %6:k, %7:v) num_heads=2 scale=0.5 : float32 [batch, 5, 12]
//! ```
//!
//! After it:
//!
//! ```text
//! %8:y = self_attention(%0:x, %1:w, %2:b) num_heads=2 scale=0.5 : float32 [batch, 5, 12]
//! ```

use std::collections::HashMap;

use super::attention::{MULTI_HEAD, SCALED_DOT_PRODUCT, has_all_axes};
use super::products::{bias, product};
use super::search::Search;
use super::{is, numbers, operand};
use crate::operator::Registry;
use crate::program::{Op, OpKind, Operand, Program, ValueId};
use crate::tensor::DType;

/// What an op before another has made.
#[derive(Clone, Copy)]
enum Before {
    /// The result of a layer.
    Layer(Layer),
    /// One of its three parts along the last axis: which, and the layer.
    Part(usize, Layer),
}

/// A layer that makes queries, keys and values.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Layer {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
}

/// Puts one op in the place of each such attention.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    Search::of(program, registry).each_op::<Before>(|search, op, before| {
        if let Some((x, weight)) = product(search, op, 3) {
            let bias = None;
            before.insert(op.results[0], Before::Layer(Layer { x, weight, bias }));
        } else if let Some(Before::Layer(layer)) = search.of_alone(op, before).copied() {
            if let Some(bias) = bias(search, op).filter(|_| layer.bias.is_none()) {
                let bias = Some(bias);
                before.insert(op.results[0], Before::Layer(Layer { bias, ..layer }));
            } else if has_three_parts(search, op) {
                let parts = op.results.iter().enumerate();
                before.extend(parts.map(|(part, id)| (*id, Before::Part(part, layer))));
            }
        } else if let Some(layer) = layer_of(op, before).filter(|_| takes_mask(search, op)) {
            let bias = layer.bias.map_or(Operand::Absent, Operand::One);
            let mask = op.operands.get(3).cloned().unwrap_or(Operand::Absent);
            op.kind = OpKind::Known("self_attention");
            op.operands = vec![
                Operand::One(layer.x),
                Operand::One(layer.weight),
                bias,
                mask,
            ];
        }
    });
}

/// Whether an op is a `split` of float32 into three equal parts along the last of three axes, each of which is read once.
fn has_three_parts(search: &Search<'_>, op: &Op) -> bool {
    let numbers = |position| numbers(search.program, operand(op, position)?);
    let is_alone = |id: &ValueId| search.reads.get(id) == Some(&1);
    is(op, "split")
        && search.program[op.results[0]].dtype == DType::F32
        && numbers(1).is_some_and(|extents| matches!(extents[..], [q, k, v] if q == k && q == v))
        && numbers(2).is_some_and(|axis| [[2], [-1]].iter().any(|last| axis == last))
        && op.results.iter().all(is_alone)
}

/// Whether ONNX Runtime's operator takes the mask of an op of attention, if that has one.
fn takes_mask(search: &Search<'_>, op: &Op) -> bool {
    operand(op, 3).is_none_or(|mask| has_all_axes(&search.shapes[mask.index()]))
}

/// The layer whose parts an op of attention, with heads side by side, takes as queries, keys and values.
fn layer_of(op: &Op, before: &HashMap<ValueId, Before>) -> Option<Layer> {
    let is_attention = is(op, MULTI_HEAD) || is(op, SCALED_DOT_PRODUCT);
    if !is_attention || !op.attrs.contains_key("num_heads") {
        return None;
    }
    let layer_of_part = |position| match before.get(&operand(op, position)?)? {
        Before::Part(part, layer) if *part == position => Some(*layer),
        _ => None,
    };
    let [q, k, v] = [0, 1, 2].map(layer_of_part);
    q.filter(|_| q == k && q == v)
}
