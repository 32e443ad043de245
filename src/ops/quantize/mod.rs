//! Quantisation: numbers on a scale become whole numbers of few bits, and numbers on that scale again.
//!
//! In the program there are three ops: [`quantize_linear`], [`dequantize_linear`] and [`abs_max`], the scale that the
//! largest element gives. The `fake_` ops of Paddle, which do several of these at once, are taken apart into them when
//! they are read ([`fake`]).

mod abs_max;
mod dequantize_linear;
mod fake;
mod levels;
mod quantize_linear;
mod scales;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    abs_max::OPS,
    dequantize_linear::OPS,
    fake::OPS,
    quantize_linear::OPS,
];
