//! Pooling: averages, maxima and norms of windows, and the way back.

mod adaptive;
mod indexed;
mod plain;
mod unpool;
mod windows;

use super::def::OpDef;

pub(super) const OPS: &[OpDef] = &[
    plain::POOL2D,
    plain::POOL3D,
    plain::LP_POOL2D,
    indexed::MAX_POOL2D,
    indexed::MAX_POOL3D,
    unpool::UNPOOL,
    unpool::UNPOOL3D,
];
