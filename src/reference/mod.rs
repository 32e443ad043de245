//! The original numerics: runs the program itself, by Paddle's definitions.
//!
//! In go a program and its inputs, out come the outputs. Nothing here looks at what an op is
//! lowered to, so that a defect of a lowering can't hide. Every kernel is proved against outputs
//! recorded from real Paddle.

pub(crate) mod conv;
pub(crate) mod grid;
pub(crate) mod index;
pub(crate) mod interpolate;
mod interpreter;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod normalize;
pub(crate) mod order;
pub(crate) mod pool;
mod real;
pub(crate) mod reduce;
pub(crate) mod scan;
mod values;

pub use interpreter::Reference;
pub(crate) use interpreter::{Step, evaluate_constant};
pub(crate) use real::{Real, with_real, with_reals};
pub use values::Precision;
pub(crate) use values::Values;
