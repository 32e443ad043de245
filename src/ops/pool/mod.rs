//! Pooling: averages, maxima and p-norms over windows, adaptive pools, and the way back (`unpool`).
//!
//! An op that slides a window without weights over an image belongs here; those with weights are in `conv`.

mod adaptive;
mod max_pool_with_index;
mod pool;
mod unpool;
mod windows;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[pool::OPS, max_pool_with_index::OPS, unpool::OPS];
