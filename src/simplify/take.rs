//! Known control flow: a branch that is always taken stands in place of its `if`, a loop that never starts is dropped,
//! and what no round changes is not carried.
//!
//! Before the pass, `%3` is never changed, and the last `if` always takes its first branch:
//!
//! ```text
//! %8:i, %9:x = while(%2:less_than, [%1:i, %0:x]) : int64 [], float32 [?, 4]
//!     block(%3:i, %4:x)
//!         %5:scale = scale(%3:i, 1.0, 1.0) : int64 []
//!         %6:less_than = less_than(%5:scale, 3) : bool []
//!     yield %6:less_than, %5:scale, %4:x
//! %11:y = if(true) : float32 [?, 4]
//!     block()
//!         %10:relu = relu(%9:x) : float32 [?, 4]
//!     yield %10:relu
//!     block()
//!     yield %9:x
//! output fetch_name_0 = %11:y
//! ```
//!
//! After it:
//!
//! ```text
//! %8:i = while(%2:less_than, [%1:i]) : int64 []
//!     block(%3:i)
//!         %5:scale = scale(%3:i, 1.0, 1.0) : int64 []
//!         %6:less_than = less_than(%5:scale, 3) : bool []
//!     yield %6:less_than, %5:scale
//! %10:relu = relu(%0:x) : float32 [?, 4]
//! output fetch_name_0 = %10:relu
//! ```

use super::replaced::Replaced;
use crate::program::{Op, OpKind, Operand, Origin, Program, ValueId};

/// Puts known branches in place of their ops, drops loops that never start, and carries no value that stays the same.
pub(super) fn take(program: &mut Program) {
    let mut replaced = Replaced::default();
    let ops = std::mem::take(&mut program.ops);
    let ops = taken(ops, program, &mut replaced);
    program.ops = ops;
    replaced.apply(program);
}

fn taken(ops: Vec<Op>, program: &Program, replaced: &mut Replaced) -> Vec<Op> {
    let mut kept = Vec::with_capacity(ops.len());
    for mut op in ops {
        match (&op.kind, known_condition(&op, program, replaced)) {
            (OpKind::Known("if"), Some(condition)) if op.blocks.len() == 2 => {
                let block = op.blocks.swap_remove(usize::from(!condition));
                kept.extend(taken(block.ops, program, replaced));
                replaced.extend(op.results.into_iter().zip(block.results));
                continue;
            }
            (OpKind::Known("while"), Some(false)) => {
                let initial = op.operands.get(1).map_or(&[][..], Operand::values);
                replaced.extend(op.results.into_iter().zip(initial.iter().copied()));
                continue;
            }
            _ => {}
        }
        for block in &mut op.blocks {
            let ops = std::mem::take(&mut block.ops);
            block.ops = taken(ops, program, replaced);
        }
        if op.kind == OpKind::Known("while") {
            drop_unchanged(&mut op, replaced);
        }
        kept.push(op);
    }
    kept
}

/// What the condition of an op with blocks always says, if that is known.
pub(super) fn known_condition(op: &Op, program: &Program, replaced: &Replaced) -> Option<bool> {
    let &Operand::One(mut condition) = op.operands.first().filter(|_| !op.blocks.is_empty())?
    else {
        return None;
    };
    replaced.apply_to(&mut condition);
    match &program[condition].origin {
        Origin::Constant(tensor) if tensor.len() == 1 => Some(tensor.to_i64_vec() != [0]),
        _ => None,
    }
}

/// Makes a loop carry no value that its block returns as it was given: the block reads the initial one instead.
fn drop_unchanged(op: &mut Op, replaced: &mut Replaced) {
    let [_, Operand::Many(initial)] = op.operands.as_mut_slice() else {
        return;
    };
    let [block] = op.blocks.as_mut_slice() else {
        return;
    };
    let count = initial.len();
    if block.arguments.len() != count
        || block.results.len() != count + 1
        || op.results.len() != count
    {
        return;
    }
    for position in (0..count).rev() {
        let (first, argument) = (initial[position], block.arguments[position]);
        let mut next: ValueId = block.results[position + 1];
        replaced.apply_to(&mut next);
        if next == argument || next == first {
            replaced.insert(argument, first);
            replaced.insert(op.results[position], first);
            initial.remove(position);
            block.arguments.remove(position);
            block.results.remove(position + 1);
            op.results.remove(position);
        }
    }
}
