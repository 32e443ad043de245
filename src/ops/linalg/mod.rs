//! Linear algebra: matrix products, einsum, determinants and inverses, diagonals and triangles.
//!
//! An op that takes two axes of a tensor for a matrix, or that multiplies tensors as vectors or matrices, belongs here.

mod addmm;
mod cross;
mod diagonal;
mod einsum;
mod inverse;
mod kron;
mod linear;
mod lu;
mod matmul;
mod matrix_power;
mod numbers;
mod qr;
mod rows;
mod scale_weight;
mod shift_weight;
mod solve;
mod tril;

use crate::operator::OpDef;

/// Ops that give eigenvectors or singular vectors, or are made of such.
pub(super) const OF_VECTORS: &[&str] = &["eig", "eigh", "svd", "lstsq"];

/// Why they can't be converted.
pub(super) const HAS_SIGNS: &str = "iterates until it converges, to vectors whose signs LAPACK leaves open: ONNX has no \
                                    operator for it, and no other way gives the same signs";

/// Ops that give eigenvalues or singular values alone.
pub(super) const OF_VALUES: &[&str] = &[
    "eigvals",
    "eigvalsh",
    "svdvals",
    "matrix_rank",
    "matrix_rank_tol",
];

/// Why they can't be converted.
pub(super) const ITERATES: &str = "iterates until it converges, for which ONNX has no operator";

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    addmm::OPS,
    cross::OPS,
    diagonal::OPS,
    einsum::OPS,
    inverse::OPS,
    kron::OPS,
    linear::OPS,
    lu::OPS,
    matmul::OPS,
    matrix_power::OPS,
    qr::OPS,
    scale_weight::OPS,
    shift_weight::OPS,
    solve::OPS,
    tril::OPS,
];
