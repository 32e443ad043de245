//! The two file schemas, as prost generates them from `proto/`.

/// ONNX models.
pub(crate) mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

/// Paddle programs.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "tests alone have programs whole, not as outlines")
)]
pub(crate) mod framework {
    include!(concat!(env!("OUT_DIR"), "/paddle.framework.proto.rs"));
}
