//! Reductions of axes (sum, max, norms, medians, histograms), and running ones along an axis (cumsum, …).
//!
//! An op that makes one element, or one after another, of all elements along an axis belongs here.

mod argmax;
mod cumulative;
mod histogram;
mod median;
mod mode;
mod p_norm;
mod reduce;
mod renorm;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    argmax::OPS,
    cumulative::OPS,
    histogram::OPS,
    median::OPS,
    mode::OPS,
    p_norm::OPS,
    reduce::OPS,
    renorm::OPS,
];
