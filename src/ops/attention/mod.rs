//! Attention: fused kernels of queries, keys and values, rotary embeddings, and softmax under a mask.
//!
//! An op that is attention as a whole, or that only attention layers use, belongs here; the matrix products that
//! unfused attention consists of are in `linalg`.

mod dot_product;
mod onnx_runtime;
mod rotary;
mod scaled_dot_product;
mod softmax_mask;

use crate::operator::OpDef;

/// Ops of which Paddle has kernels for GPUs alone, and which only layers for GPUs write.
pub(super) const FOR_GPUS: &[&str] = &["flash_attn_unpadded", "fused_dot_product_attention"];

/// Why those can't be converted.
pub(super) const IS_FOR_GPUS: &str = "is attention that Paddle computes on GPUs alone, so that no result on a CPU can be \
     compared with: export the layer with `paddle.nn.functional.scaled_dot_product_attention`";

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    dot_product::OPS,
    onnx_runtime::OPS,
    rotary::OPS,
    scaled_dot_product::OPS,
    softmax_mask::OPS,
];
