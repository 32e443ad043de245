//! Networks that Paddle's own tools have quantised, as `fixtures/quantized.py` exports them.

#![cfg(feature = "verify")]

mod support;

use std::path::{Path, PathBuf};

use paddle2onnx::verify::{Inputs, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model, OPSETS};
use support::onnx::decode;
use support::onnx::proto::GraphProto;
use support::{PADDLE_VERSIONS, fixture, onnx_runtime};

/// The code of int8 in ONNX.
const INT8: i32 = 3;

/// The folders of all networks of a version.
fn networks(version: &str) -> Vec<PathBuf> {
    let folder = fixture(&format!("{version}/quantized"));
    let entries = std::fs::read_dir(folder).unwrap();
    let mut networks: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    networks.sort();
    assert!(networks.len() >= 4, "{version} has {networks:?}");
    networks
}

/// The graph that a model is converted to.
fn graph(model: &Path, dequantize: bool) -> GraphProto {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let options = ConvertOptions {
        dequantize,
        ..ConvertOptions::default()
    };
    let model = Model::open(model, None).unwrap();
    model.convert(&onnx, &options).unwrap();
    decode(&onnx).graph.unwrap()
}

#[test]
fn they_give_what_paddle_gives() {
    let networks = PADDLE_VERSIONS.into_iter().flat_map(networks);
    let cases = networks.flat_map(|network| {
        let opsets = [*OPSETS.start(), DEFAULT_OPSET, *OPSETS.end()];
        opsets.map(|opset| (network.clone(), opset))
    });
    for (network, opset) in cases {
        let folder = tempfile::tempdir().unwrap();
        let onnx = folder.path().join("model.onnx");
        let model = Model::open(&network, None).unwrap();
        let options = ConvertOptions {
            opset: model.lowest_opset().unwrap().max(opset),
            ..ConvertOptions::default()
        };
        model.convert(&onnx, &options).unwrap();
        let goldens = vec![network.join("run0.npz")];
        let options = VerifyOptions {
            inputs: Inputs::Files(goldens.clone()),
            expected: goldens,
            ort_lib: Some(onnx_runtime().to_path_buf()),
            ..VerifyOptions::default()
        };
        let report = verify(&model, &onnx, &options, &|_| {}).unwrap();
        assert!(
            report.verdict.is_pass(),
            "{} at opset {opset}: {report:?}",
            network.display()
        );
    }
}

/// Weights are stored in 8 bits, whether Paddle stores them in floats, as whole numbers in floats, or in 8 bits.
#[test]
fn weights_take_8_bits() {
    let models = [
        ("paddle-2.6.2", "ptq"),
        ("paddle-2.6.2", "ptq_float_weights"),
        ("paddle-2.6.2", "qat_unconverted"),
        ("paddle-2.6.2", "older_qat"),
        ("paddle-2.6.2", "older_qat_onnx_format"),
        ("paddle-2.6.2", "static_range"),
        ("paddle-2.6.2", "static_onnx_format"),
        ("paddle-2.6.2", "static_ptq"),
        ("paddle-2.6.2", "static_ptq_onnx_format"),
        ("paddle-2.6.2", "static_ptq_full"),
        ("paddle-3.3.1", "ptq"),
        ("paddle-3.3.1", "qat"),
        ("paddle-3.3.1", "qat_unconverted"),
    ];
    for (version, model) in models {
        let graph = graph(&fixture(&format!("{version}/quantized/{model}")), false);
        let matrices = graph.initializer.iter();
        let matrices: Vec<_> = matrices.filter(|tensor| tensor.dims.len() > 1).collect();
        let in_8_bits = matrices
            .iter()
            .filter(|tensor| tensor.data_type() == INT8)
            .count();
        let large = matrices
            .iter()
            .filter(|tensor| tensor.dims.iter().product::<i64>() > 30);
        let all = large.clone().count();
        assert!(all >= 3, "{version} {model}");
        assert!(
            large.clone().all(|tensor| tensor.data_type() == INT8),
            "{version} {model}: {in_8_bits} of {all}"
        );
    }
}

#[test]
fn dequantize_leaves_floats_alone() {
    let networks = [
        "ptq",
        "qat",
        "older_qat",
        "older_qat_onnx_format",
        "static_range",
        "static_ptq_onnx_format",
    ];
    for network in networks {
        let graph = graph(&fixture(&format!("paddle-2.6.2/quantized/{network}")), true);
        for node in &graph.node {
            assert!(!node.op_type().contains("Quantize"), "{network}: {node:?}");
            assert!(
                !node.op_type().contains("Dequantize"),
                "{network}: {node:?}"
            );
        }
        let mut weights = graph.initializer.iter();
        assert!(
            weights.all(|tensor| tensor.data_type() != INT8),
            "{network}"
        );
    }
}

#[test]
fn dequantize_refuses_programs_that_compute_with_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("paddle-2.6.2/ops/simplify/dequantized_behind.pdmodel");
    let options = ConvertOptions {
        dequantize: true,
        ..ConvertOptions::default()
    };
    let model = Model::open(&model, None).unwrap();
    let error = model
        .convert(&folder.path().join("model.onnx"), &options)
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("fake_quantize_range_abs_max"), "{text}");
    assert!(text.contains("without --dequantize"), "{text}");
}
