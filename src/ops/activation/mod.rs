//! Activation functions: what a layer makes of each element (relu, gelu, …) or of a row (softmax, maxout).
//!
//! An activation of one tensor and a few attributes belongs here; functions of mathematics belong to `elementwise`,
//! and activations that are fused with what stands before them to `fused`.

mod dropout;
mod maxout;
mod pointwise;
mod prelu;
mod softmax;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    dropout::OPS,
    maxout::OPS,
    pointwise::OPS,
    prelu::OPS,
    softmax::OPS,
];
