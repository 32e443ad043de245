//! Convolutions, transposed and deformable ones, and the patches that they see (`unfold`, `fold`).
//!
//! An op that slides a kernel with weights over an image belongs here; windows without weights are in `pool`.

mod conv;
mod conv_transpose;
mod deformable_conv;
mod fold;
mod windows;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    conv::OPS,
    conv_transpose::OPS,
    deformable_conv::OPS,
    fold::OPS,
];
