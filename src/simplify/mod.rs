//! Program → the same program, smaller. The passes, in their order:
//!
//! 1. [`fold`]: what is known before a run becomes a constant. First, because constants that are equal make equal ops
//!    of what reads them.
//! 2. [`merge`]: what is computed twice is computed once.
//! 3. [`dead`]: what nothing needs any more, after both, is dropped.
//!
//! Values keep their ids, so that those of the original can be found again. Ops that can't be read stay as they are:
//! who lowers them says what is wrong.

mod dead;
mod fold;
mod merge;

pub(crate) use dead::drop_unneeded;

use crate::operator::Registry;
use crate::program::Program;

/// Simplifies a program for an opset-independent lowering.
pub(crate) fn simplify(program: &Program, registry: &Registry) -> Program {
    let mut program = program.clone();
    fold::fold(&mut program, registry);
    merge::merge(&mut program, registry);
    dead::drop_unneeded(&mut program);
    program
}
