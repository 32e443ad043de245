//! Linear algebra: matrix products, einsum, determinants and inverses, diagonals and triangles.
//!
//! An op that takes two axes of a tensor for a matrix, or that multiplies tensors as vectors or matrices, belongs here.

mod addmm;
mod cross;
mod diagonal;
mod einsum;
mod inverse;
mod kron;
mod matmul;
mod matrix_power;
mod numbers;
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
