//! Elements by their positions: gather, scatter, masks, sorting, searching.
//!
//! An op that reads or writes where an index or a mask says, or whose result is positions, belongs here.

mod argsort;
mod embedding;
mod gather;
mod index_put;
mod masked;
mod messages;
mod multiplex;
mod nonzero;
mod scatter;
mod searchsorted;
mod shard_index;
mod unique;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    argsort::OPS,
    embedding::OPS,
    gather::OPS,
    index_put::OPS,
    masked::OPS,
    messages::OPS,
    multiplex::OPS,
    nonzero::OPS,
    scatter::OPS,
    searchsorted::OPS,
    shard_index::OPS,
    unique::OPS,
];
