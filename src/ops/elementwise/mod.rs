//! Functions that work element by element, on one tensor or on several that are broadcast as NumPy does.
//!
//! Arithmetic, comparisons, logic, bitwise operations, casts and special functions belong here; the activations of
//! layers are in `activation`.

mod add_n;
mod arithmetic;
mod atan2;
mod bessel;
mod bitwise;
mod cast;
mod clip;
mod compare;
mod complex;
mod logical;
mod scale;
mod select;
mod special;
mod unary;

use crate::operator::OpDef;

/// Functions of the bits of floating-point numbers.
pub(super) const OF_BITS: &[&str] = &["nextafter"];

/// Why those can't be converted.
pub(super) const HAS_NO_BITS: &str = "gives a neighbour of a floating-point number, for which ONNX has no operator, as it has \
     none for the bits of one";

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    add_n::OPS,
    arithmetic::OPS,
    atan2::OPS,
    bessel::OPS,
    bitwise::OPS,
    cast::OPS,
    clip::OPS,
    compare::OPS,
    complex::OPS,
    logical::OPS,
    scale::OPS,
    select::OPS,
    special::OPS,
    unary::OPS,
];
