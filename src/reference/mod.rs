//! The reference: runs the program itself, by Paddle's definitions of its ops.
//!
//! In go a program and its inputs, out come its outputs. Nothing here depends on what an op is lowered to, so that
//! a defect of a lowering can't hide. Every op is proved against outputs recorded from real Paddle.

mod interpreter;
mod lifetimes;
mod rounding;
mod walk;
mod weights;

pub use interpreter::Reference;
pub(crate) use rounding::{Rounding, roundings};
pub use walk::Within;
pub(crate) use walk::{Rounds, Step};
