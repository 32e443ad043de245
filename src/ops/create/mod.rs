//! Tensors that are made from parameters (`full`, `arange`, `eye`, `one_hot`, `gaussian`, …), and copies (`assign`).
//!
//! An op that fills its result by a rule belongs here: from attributes, scalars, shapes, lengths, class indices or
//! probabilities.

mod arange;
mod assign;
mod eye;
mod full;
mod full_like;
mod linspace;
mod meshgrid;
mod one_hot;
mod random;
mod sequence_mask;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    arange::OPS,
    assign::OPS,
    eye::OPS,
    full::OPS,
    full_like::OPS,
    linspace::OPS,
    meshgrid::OPS,
    one_hot::OPS,
    random::OPS,
    sequence_mask::OPS,
];
