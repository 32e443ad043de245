//! Control flow: ops that hold blocks of other ops, and what programs have beside them: lists of tensors, assertions,
//! and variables that nothing has written.

mod array;
mod array_slice;
mod assert;
mod branch;
mod condition;
mod repeat;
mod undefined;

use crate::operator::OpDef;

pub(super) const OPS: &[&[OpDef]] = &[
    array::OPS,
    array_slice::OPS,
    assert::OPS,
    branch::OPS,
    repeat::OPS,
    undefined::OPS,
];

/// The ops with which the rounds of a loop keep values for its gradient. Paddle leaves them out of what it saves for
/// inference, and what they keep is read by gradients alone.
pub(super) const OF_TRAINING: &[&str] = &["cf.stack_create", "cf.tuple_pop", "cf.tuple_push"];

/// Why they can't be converted.
pub(super) const IS_OF_TRAINING: &str =
    "keeps values for the gradient of a loop: save the program for inference (paddle.jit.save)";
