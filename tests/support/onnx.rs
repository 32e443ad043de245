//! Converted models, as the tests read them.

use std::fs;
use std::path::Path;

use paddle2onnx::{ConvertOptions, Model, Weights};
use prost::Message;

/// The crate keeps its ONNX types to itself, so the tests compile the same schema once more.
#[allow(missing_docs, dead_code, reason = "generated code")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

pub fn convert(path: &Path, output: &Path, opset: u32, weights: Weights) {
    let options = ConvertOptions {
        opset,
        weights,
        ..ConvertOptions::default()
    };
    let converted = Model::open(path, None).and_then(|model| model.convert(output, &options));
    converted.unwrap_or_else(|e| panic!("{} at opset {opset}: {e}", path.display()));
}

pub fn decode(onnx: &Path) -> proto::ModelProto {
    proto::ModelProto::decode(fs::read(onnx).unwrap().as_slice()).unwrap()
}
