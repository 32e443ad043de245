//! Weights that ONNX needs in another order than Paddle: they are copied from their places, wherever the model keeps
//! its weights, and no node rearranges them.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::verify::{Inputs, Verdict, VerifyOptions, verify};
use paddle2onnx::{DEFAULT_OPSET, Model, Weights};
use support::{PADDLE_VERSIONS, fixture, onnx, onnx_runtime};

/// The reader of text lines, which has an LSTM with two layers in both directions.
fn crnn(version: &str) -> PathBuf {
    fixture(&format!("{version}/recurrent/crnn"))
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn an_lstm_is_right_wherever_its_weights_are() {
    for version in PADDLE_VERSIONS {
        for weights in [Weights::Inline, Weights::External, Weights::Link] {
            let folder = tempfile::tempdir().unwrap();
            copy(&crnn(version), folder.path());
            let model = Model::open(folder.path(), None).unwrap();
            let output = folder.path().join("model.onnx");
            onnx::convert(folder.path(), &output, DEFAULT_OPSET, weights);
            let goldens = vec![
                folder.path().join("run0.npz"),
                folder.path().join("run1.npz"),
            ];
            let options = VerifyOptions {
                inputs: Inputs::Files(goldens.clone()),
                expected: goldens,
                ort_lib: Some(onnx_runtime().to_path_buf()),
                ..VerifyOptions::default()
            };
            let report = verify(&model, &output, &options, &|_| {}).unwrap();
            assert_eq!(report.verdict, Verdict::Parity, "{version} {weights:?}");
        }
    }
}

/// The weights and biases of each LSTM are initializers.
#[test]
fn no_node_rearranges_weights() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    onnx::convert(
        &crnn(PADDLE_VERSIONS[1]),
        &output,
        DEFAULT_OPSET,
        Weights::Inline,
    );
    let graph = onnx::decode(&output).graph.unwrap();
    let lstms: Vec<_> = (graph.node.iter())
        .filter(|node| node.op_type() == "LSTM")
        .collect();
    assert_eq!(lstms.len(), 2);
    for lstm in lstms {
        for weight in &lstm.input[1..4] {
            let mut all = graph.initializer.iter();
            assert!(all.any(|known| known.name() == weight), "{weight}");
        }
    }
}
