//! Linear algebra: matrix products, einsum, determinants and inverses, diagonals and triangles.
//!
//! An op that takes the last two axes for a matrix, or two tensors for vectors, belongs here.

mod addmm;
mod cross;
mod diagonal;
mod einsum;
mod inverse;
mod kron;
mod matmul;
mod matrix_power;
mod tril;

use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    addmm::OPS,
    cross::OPS,
    diagonal::OPS,
    einsum::OPS,
    inverse::OPS,
    kron::OPS,
    matmul::OPS,
    matrix_power::OPS,
    tril::OPS,
];
