//! Program → a smaller program with the same outputs. The passes, in their order, each with an example in its module:
//!
//! 1. [`operands`] moves what dequantises a product to its operands. It comes first, since what it looks at is best known as it
//!    was read.
//! 2. [`biases`] makes constants of biases that are quantised, which the next pass computes with.
//! 3. [`fold`] makes constants of results that are known before a run. It comes early, because ops with equal constants
//!    as operands may be equal.
//! 4. [`take`] puts branches that are always taken in place of their ops. It comes fourth, because most conditions that
//!    are known are results.
//! 5. [`unroll`] puts the rounds of short loops in place of these, with the help of the passes before it.
//! 6. [`hoist`] moves what no round of a loop changes in front of the loop. It comes sixth, since a value that is carried
//!    but stays the same is no longer carried then.
//! 7. [`identity`] lets the readers of ops that pass an operand on read the operand.
//! 8. [`merge`] lets the readers of equal ops read the results of the first. It comes after `identity`, by which more are
//!    equal.
//! 9. [`dead`] drops the ops whose results nothing reads after the passes before it.
//! 10. [`rewrites`] puts ops that runtimes run faster in place of others. `dead` drops what is left over of each.
//!
//! Two are no passes for every model: `convert --dequantize` asks for [`dequantize`], before the others, and
//! `convert --dtype float16` for [`half`], after them.
//!
//! Values keep their ids, so that those of the original can be found again. Ops that can't be read stay as they are:
//! later stages report what is wrong with them.

mod biases;
mod choices;
mod crop;
mod dead;
mod dequantize;
mod fold;
mod half;
mod hoist;
mod identity;
mod merge;
mod operands;
mod ports;
mod readers;
mod replaced;
mod rewrites;
mod take;
mod unroll;

pub(crate) use choices::{with_limit, without_choices};
pub(crate) use crop::{cropped, starting_at};
pub(crate) use dead::drop_unneeded;
pub(crate) use dequantize::dequantize;
pub use half::{HalfPrecision, KEPT_IN_FLOAT32, KeptOps};
pub(crate) use half::{halved, refuse_without_match};
pub use ports::{InputShape, Renaming};
pub(crate) use ports::{renamed, with_shapes};
pub(crate) use rewrites::Goal;
pub use rewrites::{REWRITES, Rewrite};

use crate::operator::Registry;
use crate::program::Program;

/// The program after all passes, of which only the rewrites look at what it is for.
pub(crate) fn simplify(program: &Program, registry: &Registry, goal: &Goal<'_>) -> Program {
    let mut program = program.clone();
    operands::dequantize_operands(&mut program, registry);
    biases::know_biases(&mut program);
    fold::fold(&mut program, registry);
    take::take(&mut program);
    unroll::unroll(&mut program, registry);
    hoist::hoist(&mut program, registry);
    identity::pass_on(&mut program, registry);
    merge::merge(&mut program, registry);
    dead::drop_unneeded(&mut program);
    rewrites::rewrite(&mut program, registry, goal);
    program
}
