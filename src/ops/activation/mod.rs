//! Activation functions of layers: of each element (`relu`, `gelu`, …) or along an axis (`softmax`, `maxout`).
//!
//! An activation of one tensor, with its parameters, belongs here, and so does `dropout`. Functions of mathematics
//! belong to `elementwise`, and activations that are fused with the ops before them to `fused`.

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
