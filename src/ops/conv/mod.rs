//! Convolutions (plain, transposed and deformable), and their windows as columns (`unfold`, `fold`).
//!
//! An op that slides a kernel with weights over spatial axes, or takes the windows of one apart, belongs here;
//! reductions of windows are in `pool`.

mod conv;
mod conv_transpose;
mod deformable_conv;
mod fold;
mod geometry;
mod row_conv;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    conv::OPS,
    conv_transpose::OPS,
    deformable_conv::OPS,
    fold::OPS,
    row_conv::OPS,
];
