//! The numerics: kernels on plain arrays, which know nothing of ops or programs.
//!
//! They compute what Paddle's kernels do: floating-point numbers in f32 or, to know how far rounding takes the f32
//! results from the truth, in f64. Each kernel is proved by the ops that use it, against outputs recorded from real
//! Paddle.

pub(crate) mod boxes;
pub(crate) mod conv;
mod direct;
pub(crate) mod fourier;
pub(crate) mod grid;
pub(crate) mod index;
pub(crate) mod interpolate;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod order;
pub(crate) mod pool;
mod real;
pub(crate) mod recurrence;
pub(crate) mod reduce;
pub(crate) mod scan;
mod threads;
pub(crate) mod viterbi;

pub(crate) use real::{Real, on_real, with_real, with_reals};
