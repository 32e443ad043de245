//! Program → the same program, smaller: what is known before a run becomes a constant ([`fold`]),
//! what is computed twice is computed once ([`merge`]), and what nothing needs is dropped
//! ([`dead`]).
//!
//! Values keep their ids, so that those of the original can be found again. Ops that can't be read
//! stay as they are: who lowers them says what is wrong.

mod dead;
mod fold;
mod merge;

use crate::ops::{self, Accuracy};
use crate::program::{Op, Program};

/// Simplifies a program for an opset-independent lowering.
pub(crate) fn simplify(program: &Program) -> Program {
    let mut program = program.clone();
    // What is folded may tell more of what follows.
    while fold::fold(&mut program) {}
    merge::merge(&mut program);
    dead::drop_unneeded(&mut program);
    program
}

/// Whether an op gives the same results whenever it has the same operands.
fn is_deterministic(op: &Op) -> bool {
    let def = ops::find(op.kind.name());
    op.blocks.is_empty() && def.is_some_and(|def| def.accuracy != Accuracy::Random)
}
