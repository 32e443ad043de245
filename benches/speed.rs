//! How fast conversion and the reference are, as ratios taken in one run: conversion against `cp`
//! of the same weights, the reference against ONNX Runtime on the same cores.
//!
//!     cargo bench --bench speed -- target/zoo/paddle-3.3.1/ViT_base_patch16_224 …
//!
//! Without arguments it takes every model in `target/zoo/paddle-3.3.1/` (see
//! `fixtures/generate.py zoo`).
//! Figures are medians of five rounds after a warm-up; in each round the two sides take turns.

mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use measure::{Measured, median, run};
use paddle2onnx::operator::Precision;
use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::tensor::Tensor;
use paddle2onnx::verify::read_npz;
use paddle2onnx::{ConvertOptions, Model, WeightFiles};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo passes `--bench`.
    let given = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let mut models: Vec<PathBuf> = given.map(PathBuf::from).collect();
    if models.is_empty() {
        let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/zoo/paddle-3.3.1");
        let entries = fs::read_dir(&zoo).map_err(|e| {
            format!(
                "{}: {e}; make it with fixtures/generate.py zoo",
                zoo.display()
            )
        })?;
        models = entries
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        models.sort();
    }
    // All conversions come first, since a child's peak memory is at least what its parent holds.
    for model in &models {
        conversion(model)?;
    }
    for model in &models {
        inference(model)?;
    }
    Ok(())
}

/// Measures conversion by the command line, as a whole process, against `cp` of the weights.
fn conversion(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open(folder, None)?;
    let WeightFiles::Combined(weights) = &model.files().weights else {
        return Err("a model without combined weights".into());
    };
    let scratch = tempfile::tempdir_in(folder)?;
    let copy = scratch.path().join("copy");
    let onnx = scratch.path().join("model.onnx");
    let linked = folder.join("linked.onnx");
    let convert = |output: &Path, form: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paddle2onnx-rs"));
        command
            .arg("convert")
            .arg(folder)
            .arg("--output")
            .arg(output);
        command.args(["--weights", form]);
        command
    };
    let (mut cp, mut inline, mut link) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut command = Command::new("cp");
        let runs = [
            (run(command.arg(weights).arg(&copy))?, &mut cp),
            (run(&mut convert(&onnx, "inline"))?, &mut inline),
            (run(&mut convert(&linked, "link"))?, &mut link),
        ];
        for (measured, list) in runs {
            if round > 0 {
                list.push(measured);
            }
        }
        for file in [&copy, &onnx, &linked] {
            fs::remove_file(file)?;
        }
    }
    let seconds = |runs: &[Measured]| median(runs.iter().map(|run| run.seconds).collect());
    let peak = |runs: &[Measured]| runs.iter().map(|run| run.peak_kib).max().unwrap_or(0) / 1024;
    println!(
        "{}: cp {:.3} s · convert {:.3} s ({:.2} × cp, peak {} MiB) · link {:.3} s (peak {} MiB)",
        folder.display(),
        seconds(&cp),
        seconds(&inline),
        seconds(&inline) / seconds(&cp),
        peak(&inline),
        seconds(&link),
        peak(&link),
    );
    Ok(())
}

/// Measures a batch of 1 in the reference and in ONNX Runtime, in turn.
fn inference(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = OnnxRuntime::load(None)?;
    let model = Model::open(folder, None)?;
    let scratch = tempfile::tempdir_in(folder)?;
    let onnx = scratch.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default())?;
    let mut session = runtime.open(&onnx)?;
    let reference = model.reference(Precision::Single)?;
    let names: Vec<&str> = model
        .program()
        .inputs()
        .iter()
        .map(|id| model.program()[*id].name.as_str())
        .collect();
    let tensors = read_npz(&folder.join("batch1.npz"), &names)?;
    let inputs: Vec<(String, Tensor)> =
        names.iter().map(|n| (*n).to_owned()).zip(tensors).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let start = Instant::now();
        reference.run(&inputs)?;
        let middle = Instant::now();
        session.run(&inputs)?;
        if round > 0 {
            ours.push((middle - start).as_secs_f64());
            theirs.push(middle.elapsed().as_secs_f64());
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{}: batch 1 in the reference {ours:.3} s · in ONNX Runtime {} {theirs:.3} s ({:.2} ×)",
        folder.display(),
        runtime.version(),
        ours / theirs
    );
    Ok(())
}
