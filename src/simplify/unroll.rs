//! Loops of a few rounds, as many in every run: the ops of all rounds stand in place of the loop. Runtimes fuse them then,
//! engines without loops take them, and what each round makes of a shape is known.
//!
//! Before the pass:
//!
//! ```text
//! %8:i, %9:x = while(true, [0, %0:x]) : int64 [], float32 [?, 4]
//!     block(%3:i, %4:x)
//!         %5:scale = scale(%3:i, 1.0, 1.0) : int64 []
//!         %6:concat = concat([%4:x, %4:x], 0) : float32 [?, 4]
//!         %7:less_than = less_than(%5:scale, 2) : bool []
//!     yield %7:less_than, %5:scale, %6:concat
//! output fetch_name_0 = %9:x
//! ```
//!
//! After it:
//!
//! ```text
//! %10:concat = concat([%0:x, %0:x], 0) : float32 [?, 4]
//! %11:concat = concat([%10:concat, %10:concat], 0) : float32 [?, 4]
//! output fetch_name_0 = %11:concat
//! ```

use std::collections::{HashMap, HashSet};

use super::replaced::Replaced;
use super::{fold, take};
use crate::operator::Registry;
use crate::program::{Op, OpKind, Operand, Program, ValueId};

/// The most rounds of a loop that is unrolled.
const MOST_ROUNDS: usize = 8;
/// The most ops that stand in place of a loop.
const MOST_OPS: usize = 64;

/// Unrolls the loops of the program, outside of blocks, whose conditions turn out to be known in every round; then those
/// that were in these.
pub(super) fn unroll(program: &mut Program, registry: &Registry) {
    let mut kept = HashSet::new();
    loop {
        let mut ids = program.ops.iter().filter_map(|op| started(op, program));
        let Some(id) = ids.find(|id| !kept.contains(id)) else {
            return;
        };
        match unrolled(program, id, registry) {
            Some(unrolled) => *program = unrolled,
            None => {
                kept.insert(id);
            }
        }
    }
}

/// The condition that the block of an op returns, by which it is found again, if the op is a loop that is known to run at
/// least once.
fn started(op: &Op, program: &Program) -> Option<ValueId> {
    let starts = take::known_condition(op, program, &Replaced::default()) == Some(true);
    let next = op.blocks.first()?.results.first();
    next.filter(|_| starts && op.kind == OpKind::Known("while"))
        .copied()
}

/// The program without the loop whose block returns this condition. None if it has too many rounds, or is not known to end.
fn unrolled(program: &Program, id: ValueId, registry: &Registry) -> Option<Program> {
    let mut trial = program.clone();
    let most = program.all_ops().count() + MOST_OPS;
    for _ in 0..MOST_ROUNDS {
        let mut starts = trial.ops.iter().map(|op| started(op, &trial));
        let position = starts.position(|found| found == Some(id))?;
        if !peel(&mut trial, position) {
            return None;
        }
        fold::fold(&mut trial, registry);
        take::take(&mut trial);
        if trial.all_ops().count() > most {
            return None;
        }
        let mut blocks = trial.ops.iter().flat_map(|op| &op.blocks);
        if !blocks.any(|block| block.results.first() == Some(&id)) {
            return Some(trial);
        }
    }
    None
}

/// Puts the ops of the first round in front of a loop, which goes on from there. False if it is no loop as it should be.
fn peel(program: &mut Program, position: usize) -> bool {
    let op = &program.ops[position];
    let ([_, Operand::Many(initial)], [block]) = (op.operands.as_slice(), op.blocks.as_slice())
    else {
        return false;
    };
    if block.arguments.len() != initial.len() || block.results.len() != initial.len() + 1 {
        return false;
    }
    let block = block.clone();
    let arguments = block.arguments.iter().copied();
    let mut renamed: HashMap<ValueId, ValueId> = arguments.zip(initial.iter().copied()).collect();
    let mut round = block.ops;
    for op in &mut round {
        rename(op, program, &mut renamed);
    }
    let next = |id: &ValueId| *renamed.get(id).unwrap_or(id);
    let (condition, carried) = (
        next(&block.results[0]),
        block.results[1..].iter().map(next).collect(),
    );
    program.ops[position].operands = vec![Operand::One(condition), Operand::Many(carried)];
    program.ops.splice(position..position, round);
    true
}

/// Gives a copy of an op results of its own, likewise what is in its blocks, and makes it read those of the copies before.
fn rename(op: &mut Op, program: &mut Program, renamed: &mut HashMap<ValueId, ValueId>) {
    let mut fresh = |id: &mut ValueId| {
        let copy = program.add_value(program[*id].clone());
        renamed.insert(*id, copy);
        *id = copy;
    };
    each_defined(op, &mut fresh);
    op.each_read_mut(&mut |id| {
        if let Some(copy) = renamed.get(id) {
            *id = *copy;
        }
    });
}

/// Calls `visit` with the results of an op, and with the arguments and results in its blocks.
fn each_defined(op: &mut Op, visit: &mut dyn FnMut(&mut ValueId)) {
    op.results.iter_mut().for_each(&mut *visit);
    for block in &mut op.blocks {
        block.arguments.iter_mut().for_each(&mut *visit);
        block.ops.iter_mut().for_each(|op| each_defined(op, visit));
    }
}
