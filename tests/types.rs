//! Programs in half precision and in float64: what is converted opens in ONNX Runtime, or carries a note why not.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::tensor::DType;
use paddle2onnx::verify::{Inputs, RandomInputs, Tolerance, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, Model};
use support::retype::retyped;
use support::{fixture, goldens, onnx_runtime, programs};

/// The first case of each op of Paddle 3 that has float32 in it.
fn first_cases() -> Vec<PathBuf> {
    let mut cases = programs("paddle-3.3.1/ops");
    cases.retain(|case| fs::read_to_string(case).unwrap().contains("0.t_f32"));
    cases.dedup_by(|later, earlier| later.parent() == earlier.parent());
    cases
}

/// The model of a program at an opset, and its notes; None if it is refused.
fn converted(program: &Path, opset: u32) -> Option<(PathBuf, Vec<String>)> {
    let model = Model::open(program, None).ok()?;
    let onnx = program.with_extension("onnx");
    let options = ConvertOptions {
        opset,
        ..ConvertOptions::default()
    };
    let conversion = model.convert(&onnx, &options).ok()?;
    let notes = conversion.notes.into_iter().map(|note| note.text);
    Some((onnx, notes.collect()))
}

#[test]
fn what_is_converted_opens_or_carries_a_note() {
    let runtime = OnnxRuntime::load(Some(onnx_runtime())).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut surprises = Vec::new();
    let types = [DType::F64, DType::F16, DType::BF16];
    for (dtype, opset) in types
        .iter()
        .flat_map(|dtype| [13, 17, 21, 24].map(|opset| (*dtype, opset)))
    {
        let mut opened = 0;
        for case in first_cases() {
            let program = retyped(&case, dtype, scratch.path());
            let Some((onnx, notes)) = converted(&program, opset) else {
                continue;
            };
            let is_noted = notes
                .iter()
                .any(|note| note.contains("can't run the model"));
            match runtime.open(&onnx) {
                Ok(_) if is_noted => {
                    surprises.push(format!(
                        "{dtype} {opset} {}: opens, in spite of {notes:?}",
                        case.display()
                    ));
                }
                Ok(_) => opened += 1,
                Err(_) if is_noted => {}
                Err(e) => surprises.push(format!("{dtype} {opset} {}: {e}", case.display())),
            }
        }
        assert!(
            opened > 200,
            "{opened} programs of {dtype} at opset {opset} open"
        );
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Ops of which ONNX or ONNX Runtime has no kernel in half precision.
const HALF: [&str; 12] = [
    "conv2d/bias",
    "conv2d_transpose/groups",
    "pool2d/max_ceil",
    "pool2d/avg_ceil",
    "topk/last",
    "softmax/last",
    "layer_norm/last_axis",
    "gelu/exact",
    "matmul/bmm",
    "cumsum/last",
    "batch_norm/native_2d",
    "mean/kept",
];

/// What `verify` finds wrong with a program in half precision, on random inputs of the shapes that were recorded.
fn half_failure(program: &Path, recorded: &Path, dtype: DType, scratch: &Path) -> Option<String> {
    let retyped = retyped(program, dtype, scratch);
    let (onnx, _) = converted(&retyped, 17).unwrap();
    let model = Model::open(&retyped, None).unwrap();
    let inputs = model.program().inputs().iter();
    let names: Vec<&str> = inputs
        .map(|id| model.program()[*id].name.as_str())
        .collect();
    let recorded = read_npz(recorded, &names).unwrap();
    let shapes = names.iter().zip(recorded);
    let shapes = shapes.map(|(name, tensor)| ((*name).to_owned(), tensor.shape().to_vec()));
    let options = VerifyOptions {
        inputs: Inputs::Random(RandomInputs {
            shapes: shapes.collect(),
            ..RandomInputs::default()
        }),
        ort_lib: Some(onnx_runtime().to_path_buf()),
        per_op: true,
        ..VerifyOptions::default()
    };
    let what = format!("{} {dtype}", program.display());
    match verify(&model, &onnx, &options, &|_| {}) {
        Ok(report) if report.verdict.is_pass() => None,
        Ok(report) => Some(format!("{what}: {report:?}")),
        Err(e) => Some(format!("{what}: {e}")),
    }
}

#[test]
fn half_precision_is_computed_as_the_reference_does() {
    let scratch = tempfile::tempdir().unwrap();
    let cases = HALF.map(|case| fixture(&format!("paddle-3.3.1/ops/{case}.json")));
    let cases = cases.map(|case| (goldens(&case).swap_remove(0), case));
    let network = fixture("paddle-3.3.1/vit/ViT_base_patch16_224");
    let network = (network.join("batch1.npz"), network.join("inference.json"));
    let mut failed = Vec::new();
    for (recorded, program) in cases.iter().chain([&network]) {
        for dtype in [DType::F16, DType::BF16] {
            failed.extend(half_failure(program, recorded, dtype, scratch.path()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What is made of other operators is as exact as float64.
#[test]
fn float64_is_computed_in_float64() {
    let scratch = tempfile::tempdir().unwrap();
    let tolerance = Tolerance {
        atol: 1e-13,
        rtol: 1e-13,
    };
    let (mut failed, mut compared) = (Vec::new(), 0);
    for case in programs("paddle-3.3.1/ops") {
        if case.file_stem() != Some("in_f64".as_ref()) {
            continue;
        }
        let onnx = scratch.path().join("model.onnx");
        let model = Model::open(&case, None).unwrap();
        model.convert(&onnx, &ConvertOptions::default()).unwrap();
        let options = VerifyOptions {
            inputs: Inputs::Files(goldens(&case)),
            expected: goldens(&case),
            tolerance: Some(tolerance),
            ort_lib: Some(onnx_runtime().to_path_buf()),
            ..VerifyOptions::default()
        };
        let report = verify(&model, &onnx, &options, &|_| {}).unwrap();
        if !report.verdict.is_pass() {
            failed.push(format!("{}: {:?}", case.display(), report.runs));
        }
        compared += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(compared > 20, "{compared} cases");
}
