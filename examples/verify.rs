//! Compares a model with the ONNX model that was made of it, on inputs in memory.
//!
//! ```sh
//! cargo run --example verify -- fixtures/paddle-3.3.1/vit/ViT_base_patch16_224 vit.onnx
//! ```

use std::env;
use std::error::Error;
use std::path::PathBuf;

use paddle2onnx::Model;
use paddle2onnx::tensor::Tensor;
use paddle2onnx::verify::{Inputs, VerifyOptions, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [program, onnx] = arguments.as_slice() else {
        return Err("give the program, or the folder with it, and the ONNX file".into());
    };
    let model = Model::open(program, None)?;
    // Extents that are open become 2.
    let inputs = model.summary().inputs.into_iter().map(|port| {
        let extents = port.shape.iter().map(|dim| dim.extent().unwrap_or(2));
        let shape: Vec<usize> = extents.collect();
        let numbers = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.7).sin());
        let tensor = Tensor::from_elements(&shape, numbers.collect())?.cast(port.dtype);
        Ok((port.name, tensor))
    });
    let options = VerifyOptions {
        inputs: Inputs::Tensors(vec![inputs.collect::<paddle2onnx::Result<_>>()?]),
        keep_values: true,
        ..VerifyOptions::default()
    };
    let report = verify(&model, onnx, &options, &|step| eprintln!("{step}"))?;
    for output in report.runs.iter().flat_map(|run| &run.outputs) {
        for (side, tensor) in &output.values {
            let first: Vec<f64> = tensor.to_f64_vec().into_iter().take(3).collect();
            println!("{} by {}: {first:.7?} …", output.name, side.label());
        }
    }
    println!("{}", report.verdict.label());
    Ok(())
}
