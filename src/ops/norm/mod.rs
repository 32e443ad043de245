//! Normalisation: layer, batch, group, RMS, local response and spectral, and the affine transform of channels.
//!
//! An op that scales a tensor by statistics, given or computed, belongs here; norms of vectors are in `reduce`.

mod affine_channel;
mod batch_norm;
mod channels;
mod data_norm;
mod group_norm;
mod layer_norm;
mod lrn;
mod rms_norm;
mod spectral_norm;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    affine_channel::OPS,
    batch_norm::OPS,
    data_norm::OPS,
    group_norm::OPS,
    layer_norm::OPS,
    lrn::OPS,
    rms_norm::OPS,
    spectral_norm::OPS,
];
