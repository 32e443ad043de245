//! What several families need: broadcasting, functions of each element, data layouts, axes, and ops that are taken
//! apart.
//!
//! Families import this folder and themselves, and no other family.

pub(super) mod axes;
pub(super) mod binary;
pub(super) mod broadcast;
pub(super) mod broadcast_tensors;
pub(super) mod decomposition;
pub(super) mod image;
pub(super) mod layers;
pub(super) mod pointwise;
pub(super) mod rounding;
pub(super) mod values;
