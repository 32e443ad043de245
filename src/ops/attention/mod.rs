//! Attention: fused kernels of queries, keys and values, rotary embeddings, and softmax under a mask.
//!
//! An op that is attention as a whole, or that only attention layers use, belongs here; the matrix products that
//! unfused attention consists of are in `linalg`.

mod dot_product;
mod rotary;
mod softmax_mask;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[dot_product::OPS, rotary::OPS, softmax_mask::OPS];
