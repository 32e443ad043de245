//! The vocabulary in which ops are defined.
//!
//! An [`OpDef`] names an op, its operands and results by PHI's signature, and the [`Form`]s in which files spell it.
//! Its `parse` reads an op through an [`OpReader`] into an [`Operator`], which knows what can be said of the results
//! before a run, which ONNX nodes compute them, and what Paddle computes. An op that holds blocks is a `Control` instead,
//! which is handed the means to deal with these. A [`Registry`] holds definitions, and finds
//! them by the names that they have in files.

mod argument;
mod complex;
mod control;
mod custom;
mod definition;
mod evaluate;
mod form;
mod interface;
mod parsed;
mod reader;
mod registry;
mod values;

pub use argument::Arg;
pub use complex::{Complex, ComplexRewrite};
pub(crate) use control::{Control, InferBlock, LowerBlock, Run};
pub use custom::CustomOp;
pub(crate) use custom::ONNX_RUNTIME_DOMAIN;
pub(crate) use definition::Reading;
pub use definition::{ANY, Accuracy, FLOATS, NUMBERS, OpDef, WIDE};
pub(crate) use evaluate::{evaluate, evaluate_constant};
pub use form::{Binding, Form, Rewrite};
pub use interface::{Convolution, Function, Macs, Operator, Parse, Parsed};
pub(crate) use parsed::{Behaviour, ParsedOp};
pub use reader::OpReader;
pub(crate) use reader::says_nothing;
pub(crate) use registry::PirSpelling;
pub use registry::{Registry, SupportedOp};
pub use values::{Precision, Values};
