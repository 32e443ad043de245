//! Control flow: ops that hold blocks of other ops, and what programs have beside them: lists of tensors, assertions,
//! and variables that nothing has written.

mod array;
mod assert;
mod branch;
mod condition;
mod repeat;
mod undefined;

use crate::operator::OpDef;

pub(super) const OPS: &[&[OpDef]] = &[
    array::OPS,
    assert::OPS,
    branch::OPS,
    repeat::OPS,
    undefined::OPS,
];
