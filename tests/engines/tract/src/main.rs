//! Runs an ONNX model in tract.
//!
//!     run-in-tract MODEL.onnx FOLDER
//!
//! Reads the inputs, which are float32, from `in0.npy`, `in1.npy` … in the folder, and writes the outputs to `out0.npy`,
//! `out1.npy` … there.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ndarray_npy::{read_npy, write_npy};
use tract_onnx::prelude::*;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (model, folder) = args.next().zip(args.next()).context("MODEL and FOLDER")?;
    let model = tract_onnx::onnx().model_for_path(model)?;
    let mut inputs = TVec::new();
    for index in 0..model.input_outlets()?.len() {
        let array: tract_ndarray::ArrayD<f32> = read_npy(folder.join(format!("in{index}.npy")))?;
        inputs.push(Tensor::from(array).into_tvalue());
    }
    let results = model.into_optimized()?.into_runnable()?.run(inputs)?;
    for (index, result) in results.iter().enumerate() {
        let result = result.cast_to::<f32>()?;
        let path = folder.join(format!("out{index}.npy"));
        write_npy(path, &result.to_plain_array_view::<f32>()?)?;
    }
    Ok(())
}
