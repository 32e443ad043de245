//! Layers that Paddle's optimiser, or its fused API, has made one op of: a product with its bias and activation, a
//! residual with its normalisation, and the like.
//!
//! An op that is several others in a row belongs here, unless it is attention.

mod activation;
mod conv;
mod fc;
mod layers;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[activation::OPS, conv::OPS, fc::OPS, layers::OPS];
