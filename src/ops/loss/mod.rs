//! Losses, which exported programs may still contain, and ops that prepare labels for them.
//!
//! An op that compares predictions with labels belongs here.

mod cross_entropy;
mod label_smooth;
mod loss;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[cross_entropy::OPS, label_smooth::OPS, loss::OPS];
