//! The ONNX graph under construction.
//!
//! Ops emit their nodes through a [`Lowering`], which hands out tensors, spells operators as the opset has them
//! (`opset`, `activations`, `bits`) and for the element types that it takes (`types`, with the table `operators`; `float64`), builds
//! shapes as tensors (`shapes`), weights out of rows of others (`rows`) or in 8 bits
//! (`integers`), and graphs inside of nodes (`bodies`), remembers
//! which op a node comes from, and takes notes where ONNX can't follow (`notes`). At the end the nodes that nothing needs are
//! dropped, everything gets its name (`finish`, `encode`), and the names are checked (`scoping`). The result is an
//! `OnnxModel`, whose weights are still in Paddle's files.

mod activations;
mod bits;
mod bodies;
mod context;
mod encode;
mod finish;
mod float64;
mod former;
mod integers;
mod model;
mod nodes;
mod notes;
mod operators;
mod opset;
mod rows;
mod scoping;
mod shapes;
mod types;

pub use context::Lowering;
pub(crate) use finish::finish;
pub(crate) use integers::Mapping;
pub(crate) use model::{Initializer, InitializerData, OnnxModel};
pub use nodes::{Body, NodeAttr, TensorId};
pub(crate) use notes::Note;
pub use opset::{DEFAULT_OPSET, OPSETS};
pub use rows::Rows;
