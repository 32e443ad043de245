//! Dead code: ops that no output of the program depends on are dropped.
//!
//! Before the pass, `shape64` and the second `divide` are needed by nothing:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:shape64 = shape64(%0:x) : int64 [2]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %7:divide) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %7:divide) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```

use std::collections::HashSet;

use crate::program::{Block, Op, OpKind, Operand, Program, ValueId};

type Needed = HashSet<ValueId>;

/// Drops the ops of which no result is read by an output, or by an op that is needed itself, and what branches and loops
/// return that is not read.
pub(crate) fn drop_unneeded(program: &mut Program) {
    let outputs = program.outputs.iter().map(|output| output.value);
    let mut needed: Needed = outputs.collect();
    drop_ops(&mut program.ops, &mut needed);
}

/// Drops those of the ops of a program or a block that are not `needed`, and adds to `needed` what the others read.
fn drop_ops(ops: &mut Vec<Op>, needed: &mut Needed) {
    let all = std::mem::take(ops);
    for mut op in all.into_iter().rev() {
        if !op.results.iter().any(|result| needed.contains(result)) {
            continue;
        }
        match op.kind {
            OpKind::Known("if") => narrow_branches(&mut op, needed),
            OpKind::Known("while") => narrow_loop(&mut op, needed),
            _ => {}
        }
        op.each_read(&mut |id| {
            needed.insert(id);
        });
        ops.push(op);
    }
    ops.reverse();
}

/// Drops the results of an `if` that are not needed, and what its branches do for them.
fn narrow_branches(op: &mut Op, needed: &Needed) {
    let is_needed: Vec<bool> = op.results.iter().map(|id| needed.contains(id)).collect();
    let mut blocks = op.blocks.iter();
    if blocks.any(|block| block.results.len() != is_needed.len()) {
        return;
    }
    keep(&mut op.results, &is_needed);
    for block in &mut op.blocks {
        keep(&mut block.results, &is_needed);
        drop_in_block(block);
    }
}

/// Drops the remarks on ops that there are no longer.
pub(super) fn drop_remarks(program: &mut Program) {
    let kept: HashSet<usize> = program.all_ops().map(|op| op.source.index).collect();
    program
        .remarks
        .retain(|(source, _)| kept.contains(&source.index));
}

/// Drops the carried values of a `while` that are neither needed after it, nor for the condition, nor for a carried value
/// that is.
fn narrow_loop(op: &mut Op, needed: &Needed) {
    let ([_, Operand::Many(initial)], [block]) =
        (op.operands.as_mut_slice(), op.blocks.as_mut_slice())
    else {
        return;
    };
    let mut is_needed: Vec<bool> = op.results.iter().map(|id| needed.contains(id)).collect();
    if block.results.len() != is_needed.len() + 1 || block.arguments.len() != is_needed.len() {
        return;
    }
    loop {
        let (condition, carried) = block.results.split_at(1);
        let carried = carried.iter().zip(&is_needed).filter(|(_, is)| **is);
        let mut read: Needed = carried.map(|(id, _)| *id).chain([condition[0]]).collect();
        for op in block.ops.iter().rev() {
            if op.results.iter().any(|id| read.contains(id)) {
                op.each_read(&mut |id| {
                    read.insert(id);
                });
            }
        }
        let arguments = block.arguments.iter();
        let more: Vec<bool> = arguments
            .zip(&is_needed)
            .map(|(id, is)| *is || read.contains(id))
            .collect();
        if more == is_needed {
            break;
        }
        is_needed = more;
    }
    keep(initial, &is_needed);
    keep(&mut op.results, &is_needed);
    keep(&mut block.arguments, &is_needed);
    is_needed.insert(0, true);
    keep(&mut block.results, &is_needed);
    drop_in_block(block);
}

fn drop_in_block(block: &mut Block) {
    let mut needed = block.results.iter().copied().collect();
    drop_ops(&mut block.ops, &mut needed);
}

/// Keeps the values at the positions where `is_kept` says so.
fn keep(values: &mut Vec<ValueId>, is_kept: &[bool]) {
    let mut is_kept = is_kept.iter();
    values.retain(|_| is_kept.next().copied().unwrap_or(true));
}
