//! The vocabulary in which ops are defined.
//!
//! An [`OpDef`] names an op, its operands and results by PHI's signature, and the [`Form`]s in which files spell it.
//! Its `parse` reads an op through an [`OpReader`] into an [`Operator`], which knows what can be said of the results
//! before a run, which ONNX nodes compute them, and what Paddle computes. A [`Registry`] holds definitions, and finds
//! them by the names that they have in files.

mod argument;
mod custom;
mod definition;
mod evaluate;
mod form;
mod interface;
mod reader;
mod registry;
mod values;

pub use argument::Arg;
pub use custom::CustomOp;
pub use definition::{ANY, Accuracy, FLOATS, NUMBERS, OpDef, WIDE};
pub(crate) use evaluate::{evaluate, evaluate_constant};
pub use form::{Binding, Form, Rewrite};
pub use interface::{Function, Macs, Operator, Parse, Parsed};
pub use reader::OpReader;
pub(crate) use reader::says_nothing;
pub(crate) use registry::{ParsedOp, PirSpelling};
pub use registry::{Registry, SupportedOp};
pub use values::{Precision, Values};
