//! A `concat` of what other `concat`s have joined along the same axis joins all parts at once. Before the pass:
//!
//! ```text
//! %2:concat = concat([%0:x, %1:y], 1) : float32 [batch, 5]
//! %4:out = concat([%2:concat, %3:z], 1) : float32 [batch, 9]
//! ```
//!
//! After it:
//!
//! ```text
//! %4:out = concat([%0:x, %1:y, %3:z], 1) : float32 [batch, 9]
//! ```

use std::collections::HashMap;

use super::{count_reads, each_list, is, numbers, operand};
use crate::operator::Registry;
use crate::program::{Op, Operand, Program, ValueId};
use crate::tensor::normalize_axis;

/// Takes apart the operands of `concat`s that nothing else reads.
pub(super) fn rewrite(program: &mut Program, _: &Registry) {
    let reads = count_reads(program);
    let ops = std::mem::take(&mut program.ops);
    program.ops = each_list(ops, &mut |ops| joined(ops, program, &reads));
}

fn joined(ops: Vec<Op>, program: &Program, reads: &HashMap<ValueId, usize>) -> Vec<Op> {
    /// The axis and the parts of a result.
    type Joined = (usize, Vec<ValueId>);
    let mut known: HashMap<ValueId, Joined> = HashMap::new();
    let joined = ops.into_iter().map(|mut op| {
        if let Some(axis) = axis(&op, program) {
            let parts = op.operands[0].values().iter().flat_map(|part| {
                let inner = known.get(part).filter(|(inner, _)| *inner == axis);
                let inner = inner.filter(|_| reads.get(part) == Some(&1));
                inner.map_or_else(|| vec![*part], |(_, parts)| parts.clone())
            });
            let parts: Vec<ValueId> = parts.collect();
            op.operands[0] = Operand::of(parts.clone());
            known.insert(op.results[0], (axis, parts));
        }
        op
    });
    joined.collect()
}

/// The axis of a `concat`, if it is known.
pub(super) fn axis(op: &Op, program: &Program) -> Option<usize> {
    let axes = operand(op, 1).filter(|_| is(op, "concat"));
    let [axis] = numbers(program, axes?)?[..] else {
        return None;
    };
    normalize_axis(axis, program[op.results[0]].shape.len()).ok()
}
