//! The ONNX graph under construction.
//!
//! Ops emit their nodes through a [`Lowering`], which hands out tensors, spells operators as the opset has them
//! (`opset`), builds shapes as tensors (`shapes`) and graphs inside of nodes (`bodies`), and remembers which op a node
//! comes from. At the end the nodes that nothing needs are dropped, and everything gets its name (`finish`, `encode`).
//! The result is an `OnnxModel`, whose weights are still in Paddle's files.

mod bodies;
mod context;
mod encode;
mod finish;
mod model;
mod nodes;
mod opset;
mod shapes;

pub use context::Lowering;
pub(crate) use finish::finish;
pub(crate) use model::{Initializer, InitializerData, OnnxModel};
pub use nodes::{Body, NodeAttr, TensorId};
pub use opset::{DEFAULT_OPSET, OPSETS};
