//! Other shapes of the same elements: reshape, transpose, concat, slice, pad, tile, ….
//!
//! An op that moves, repeats or leaves out elements, by positions that do not depend on data, belongs here,
//! and so does one that gives the shape of a tensor or the number of its elements.

mod concat;
mod crop;
mod expand;
mod pad;
mod reshape;
mod roll;
mod shape;
mod slice;
mod split;
mod squeeze;
mod strided_slice;
mod tile;
mod transpose;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    concat::OPS,
    crop::OPS,
    expand::OPS,
    pad::OPS,
    reshape::OPS,
    roll::OPS,
    shape::OPS,
    slice::OPS,
    split::OPS,
    squeeze::OPS,
    strided_slice::OPS,
    tile::OPS,
    transpose::OPS,
];
