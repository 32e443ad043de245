//! Wrong lowerings are caught, and charged to the op that is wrong.

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::verify::{Inputs, RandomInputs, Report, Run, Verdict, VerifyOptions, verify};
use paddle2onnx::{DEFAULT_OPSET, Model, Weights};
use prost::Message;
use support::fixture;
use support::mutate_onnx::{MUTATIONS, Mutation, mutated};
use support::onnx::{convert, decode};

/// An opset that has Gelu, whose approximation is an attribute.
const OPSET: u32 = 20;
const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";

fn verified(onnx: &Path, per_op: bool) -> Report {
    let model = Model::open(&fixture(VIT), None).unwrap();
    let options = VerifyOptions {
        per_op,
        ort_lib: Some(support::onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    verify(&model, onnx, &options, &|_| {}).unwrap()
}

#[test]
fn a_right_model_passes_with_every_op() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    for weights in [Weights::Inline, Weights::External] {
        convert(&fixture(VIT), &onnx, OPSET, weights);
        let report = verified(&onnx, true);
        let per_op = report.per_op.as_ref().unwrap();
        assert!(report.verdict.is_pass() && per_op.culprit.is_none(), "{report:#?}");
        assert_eq!(per_op.ops.len(), per_op.compared);
        assert!(per_op.compared > 55, "{per_op:#?}");
    }
}

#[test]
fn mutations_are_charged_to_their_op() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    convert(&fixture(VIT), &onnx, OPSET, Weights::Inline);
    let right = decode(&onnx);
    for Mutation {
        name,
        op,
        shows,
        change,
    } in MUTATIONS
    {
        fs::write(&onnx, mutated(right.clone(), change).encode_to_vec()).unwrap();
        let report = verified(&onnx, !shows);
        assert!(report.verdict == Verdict::NoParity, "{name}: {report:#?}");
        let outputs_agree = report.runs.iter().all(Run::agrees);
        assert_eq!(outputs_agree, !shows, "{name}: {report:#?}");
        let culprit = report
            .per_op
            .as_ref()
            .and_then(|found| found.culprit.as_ref());
        let culprit = culprit.unwrap_or_else(|| panic!("{name}: {report:#?}"));
        assert_eq!(culprit.report.op, op, "{name}: {culprit:#?}");
    }
}

/// By default, no seed may make a right model fail.
#[test]
fn a_hundred_seeds_raise_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    for program in support::programs("paddle-3.3.1/vit") {
        convert(&program, &onnx, DEFAULT_OPSET, Weights::Inline);
        let model = Model::open(&program, None).unwrap();
        for seed in 0..100 {
            let options = VerifyOptions {
                inputs: Inputs::Random(RandomInputs {
                    seed,
                    ..RandomInputs::default()
                }),
                per_op: seed % 10 == 0,
                ort_lib: Some(support::onnx_runtime().to_path_buf()),
                ..VerifyOptions::default()
            };
            let report = verify(&model, &onnx, &options, &|_| {}).unwrap();
            assert!(
                report.verdict.is_pass(),
                "{}, seed {seed}: {report:#?}",
                program.display()
            );
        }
    }
}
