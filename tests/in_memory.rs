//! Verification by what is in memory: inputs, recorded outputs, what the sides gave, and the end that another thread asks
//! for.

#![cfg(feature = "verify")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paddle2onnx::tensor::Tensor;
use paddle2onnx::verify::{Inputs, NamedTensors, Side, Verdict, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, ErrorKind, Model, Result};
use support::{fixture, onnx_runtime};

const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";

/// The small vision transformer, and its inputs and outputs, as recorded.
fn recorded() -> (Model, NamedTensors, NamedTensors) {
    let folder = fixture(VIT);
    let model = Model::open(&folder, None).unwrap();
    let summary = model.summary();
    let file = &folder.join("batch1.npz");
    let read = |ports: &[paddle2onnx::Port]| -> NamedTensors {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        let tensors = read_npz(file, &names).unwrap();
        names.into_iter().map(str::to_owned).zip(tensors).collect()
    };
    let (inputs, outputs) = (read(&summary.inputs), read(&summary.outputs));
    (model, inputs, outputs)
}

fn verified(model: &Model, options: VerifyOptions) -> Result<paddle2onnx::verify::Report> {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let options = VerifyOptions {
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..options
    };
    verify(model, &onnx, &options, &|_| {})
}

#[test]
fn tensors_in_memory_are_judged_as_files_are_and_what_the_sides_gave_is_kept() {
    let (model, inputs, outputs) = recorded();
    let options = VerifyOptions {
        inputs: Inputs::Tensors(vec![inputs]),
        expected_tensors: vec![outputs.clone()],
        keep_values: true,
        ..VerifyOptions::default()
    };
    let report = verified(&model, options).unwrap();
    assert_eq!(report.verdict, Verdict::Parity);
    let values = &report.runs[0].outputs[0].values;
    let sides: Vec<Side> = values.iter().map(|(side, _)| *side).collect();
    let all = [
        Side::Reference,
        Side::OnnxRuntime,
        Side::Expected,
        Side::Exact,
    ];
    assert_eq!(sides, all);
    assert_eq!(values[2].1, outputs[0].1);
    let numbers = |side: usize| values[side].1.to_f64_vec();
    let pairs = numbers(0).into_iter().zip(numbers(3));
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn tensors_of_other_names_types_and_counts_are_refused_by_name() {
    let (model, inputs, outputs) = recorded();
    let [(name, tensor)] = &inputs[..] else {
        panic!("one input");
    };
    let other = |name: &str, tensor: Tensor| Inputs::Tensors(vec![vec![(name.into(), tensor)]]);
    let whole = tensor.cast(paddle2onnx::tensor::DType::I64);
    for (given, expected, words) in [
        (other("y", tensor.clone()), vec![], ["`y`", name.as_str()]),
        (Inputs::Tensors(vec![vec![]]), vec![], ["missing", name]),
        (other(name, whole), vec![], ["int64", "astype"]),
        (
            other(name, tensor.clone()),
            vec![outputs.clone(), outputs.clone()],
            ["2 sets of expected outputs", "1 sets"],
        ),
        (
            other(name, tensor.clone()),
            vec![inputs.clone()],
            ["no output", &outputs[0].0],
        ),
    ] {
        let options = VerifyOptions {
            inputs: given,
            expected_tensors: expected,
            ..VerifyOptions::default()
        };
        let message = verified(&model, options).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is missing: {message}");
        }
    }
}

#[test]
fn another_thread_can_end_a_verification() {
    let (model, ..) = recorded();
    let stop = Arc::new(AtomicBool::new(true));
    let options = || VerifyOptions {
        stop: Some(stop.clone()),
        ..VerifyOptions::default()
    };
    let error = verified(&model, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    stop.store(false, Ordering::Relaxed);
    assert!(verified(&model, options()).is_ok());
}
