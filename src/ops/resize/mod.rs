//! Resampling of spatial axes: interpolation, sampling at a grid, and exchanges with channels and frames.
//!
//! An op on tensors with spatial axes that takes elements from other positions or channels, without weights, belongs
//! here.

mod affine_grid;
mod grid_sample;
mod interpolate;
mod interpolation;
mod pixel_shuffle;
mod resample;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    affine_grid::OPS,
    grid_sample::OPS,
    interpolate::OPS,
    pixel_shuffle::OPS,
];
