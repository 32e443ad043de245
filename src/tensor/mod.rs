//! The vocabulary that every stage shares: element types, dimensions and tensors.

mod channels;
mod dim;
mod dtype;
mod layout;
mod panels;
mod value;

pub(crate) use channels::Channels;
pub use channels::ElementMap;
pub use dim::{Dim, Symbol, broadcast_dims, display_shape, normalize_axis, reshape_dims};
pub(crate) use dim::{allows_shape, open_extents, same_shape};
pub use dtype::DType;
pub(crate) use layout::{row_major, to_row_major};
pub use panels::Panels;
pub use value::{Array, Element, Tensor};
pub(crate) use value::{refuse_too_large, with_array, with_arrays};
