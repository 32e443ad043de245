//! Reductions along axes (sum, max, norms, medians, histograms), and cumulative ones along an axis (cumsum, …).
//!
//! An op that reduces all elements along an axis, or those up to each position of it, belongs here, and so does one
//! that scales by a norm.

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
