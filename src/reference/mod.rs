//! The original numerics: runs the program itself, by Paddle's definitions.
//!
//! In go a program and its inputs, out come the outputs. Nothing here looks at what an op is lowered to, so that a
//! defect of a lowering can't hide. Every op is proved against outputs recorded from real Paddle.

mod interpreter;

pub use interpreter::Reference;
pub(crate) use interpreter::Step;
