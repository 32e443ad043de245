//! Pooling: the maximum, mean or p-norm of windows, adaptive pooling, and the inverse of max pooling (`unpool`).
//!
//! An op that slides a window without weights over spatial axes belongs here; those with weights are in `conv`.

mod adaptive;
mod fractional;
mod geometry;
mod max_pool_with_index;
mod pool;
mod spp;
mod uneven;
mod unpool;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    fractional::OPS,
    max_pool_with_index::OPS,
    pool::OPS,
    spp::OPS,
    unpool::OPS,
];
