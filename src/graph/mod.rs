//! The ONNX graph under construction.
//!
//! Ops emit their nodes through a [`Lowering`], which hands out tensors, knows what each opset spells how (`opset`),
//! builds shapes as tensors (`shapes`), and remembers which op a node comes from. At the end the nodes that nothing
//! needs are dropped and everything gets its name (`finish`): an [`OnnxModel`], whose weights are still in Paddle's
//! files.

mod context;
mod finish;
mod nodes;
mod opset;
mod shapes;

pub(crate) use context::Lowering;
pub use finish::OnnxModel;
pub(crate) use finish::{Initializer, InitializerData, finish};
pub(crate) use nodes::{NodeAttr, TensorId};
pub use opset::{DEFAULT_OPSET, OPSETS};
