//! Compiles `proto/*.proto` with protox, a protobuf compiler in Rust, so that no `protoc` is needed.

use std::error::Error;

const SCHEMAS: [&str; 2] = ["proto/framework.proto", "proto/onnx.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for schema in SCHEMAS {
        println!("cargo::rerun-if-changed={schema}");
    }
    let descriptors = protox::compile(SCHEMAS, ["proto"])?;
    // As `Bytes`, the weights of an ONNX file that is mapped into memory are decoded without a copy.
    prost_build::Config::new()
        .bytes(["onnx.TensorProto.raw_data"])
        .compile_fds(descriptors)?;
    Ok(())
}
