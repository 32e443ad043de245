//! Complex numbers, Fourier transforms, and the frames of a signal.
//!
//! What makes complex tensors, takes them apart, or computes with the spectrum or the frames of a signal belongs here.
//! Arithmetic of complex numbers is in `elementwise`.

mod complex;
mod dft;
mod fft;
mod frame;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[complex::OPS, dft::OPS, fft::OPS, frame::OPS];
