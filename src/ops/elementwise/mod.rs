//! Functions of each element of one tensor, or of the elements of two at the same place, with NumPy's broadcasting.
//!
//! Arithmetic, comparisons, logic, bits and special functions belong here; the activations of layers are in
//! `activation`.

mod add_n;
mod arithmetic;
mod atan2;
mod bessel;
mod bitwise;
mod cast;
mod clip;
mod compare;
mod logical;
mod scale;
mod select;
mod special;
mod unary;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    add_n::OPS,
    arithmetic::OPS,
    atan2::OPS,
    bessel::OPS,
    bitwise::OPS,
    cast::OPS,
    clip::OPS,
    compare::OPS,
    logical::OPS,
    scale::OPS,
    select::OPS,
    special::OPS,
    unary::OPS,
];
