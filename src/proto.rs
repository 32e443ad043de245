//! The two file schemas, as prost generates them from `proto/`.

/// ONNX models.
pub(crate) mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

/// Paddle programs.
pub(crate) mod framework {
    include!(concat!(env!("OUT_DIR"), "/paddle.framework.proto.rs"));
}
