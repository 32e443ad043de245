//! Wrong lowerings are caught, and charged to the op that is wrong.

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::verify::{Inputs, RandomInputs, Report, Run, Verdict, VerifyOptions, verify};
use paddle2onnx::{DEFAULT_OPSET, Model, Weights};
use prost::Message;

use support::mutate_onnx::{MUTATIONS, Mutation, VIT, mutated};
use support::onnx::{convert, decode};
use support::{PADDLE_VERSIONS, fixture};

/// An opset that has Gelu, whose approximation is an attribute.
const OPSET: u32 = 20;

/// Compares an ONNX file with the model of a folder, on the inputs that are recorded there or else on random ones.
fn verified(model: &str, onnx: &Path, per_op: bool) -> Report {
    let folder = fixture(model);
    let model = Model::open(&folder, None).unwrap();
    let recorded = ["run0.npz", "run1.npz"].map(|run| folder.join(run));
    let options = VerifyOptions {
        inputs: if recorded[0].exists() {
            Inputs::Files(recorded.to_vec())
        } else {
            Inputs::Random(RandomInputs::default())
        },
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
        let report = verified(VIT, &onnx, true);
        let per_op = report.per_op.as_ref().unwrap();
        assert!(
            report.verdict.is_pass() && per_op.culprit.is_none(),
            "{report:#?}"
        );
        assert_eq!(per_op.ops.len(), per_op.compared);
        assert!(per_op.compared > 55, "{per_op:#?}");
    }
}

/// Also in networks that amplify rounding or make integers of floats, where the outputs alone can't tell.
#[test]
fn mutations_are_charged_to_their_op() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    for Mutation {
        model,
        name,
        op,
        shows,
        change,
    } in MUTATIONS
    {
        convert(&fixture(model), &onnx, OPSET, Weights::Inline);
        let right = decode(&onnx);
        fs::write(&onnx, mutated(right, change).encode_to_vec()).unwrap();
        let report = verified(model, &onnx, !shows);
        let remarks = &report.remarks;
        assert_eq!(
            report.verdict,
            Verdict::NoParity,
            "{model}, {name}: {remarks:?}"
        );
        if !shows {
            assert!(report.runs.iter().all(Run::agrees), "{name}: {report:#?}");
        }
        let culprit = report
            .per_op
            .as_ref()
            .and_then(|found| found.culprit.as_ref());
        let culprit = culprit.unwrap_or_else(|| panic!("{model}, {name}: {remarks:?}"));
        assert_eq!(culprit.report.op, op, "{model}, {name}: {culprit:#?}");
    }
}

/// What rounding decides is not taken for a fault, and not for a proof either.
#[test]
fn right_models_that_amplify_rounding_pass() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    for (name, verdict) in [
        ("deformable", Verdict::ParityByOp),
        ("tanh_8", Verdict::Parity),
        ("tanh_30", Verdict::ParityByOp),
        ("segmentation", Verdict::ParityByOp),
        ("pixels", Verdict::Parity),
        ("topk", Verdict::ParityByOp),
        ("resizes", Verdict::Parity),
        ("random_beside", Verdict::PartialParity),
        ("one_number", Verdict::Parity),
    ] {
        for version in PADDLE_VERSIONS {
            let model = format!("{version}/sensitive/{name}");
            convert(&fixture(&model), &onnx, OPSET, Weights::Inline);
            for per_op in [false, true] {
                let report = verified(&model, &onnx, per_op);
                assert_eq!(report.verdict, verdict, "{model}: {:?}", report.remarks);
                let found = report.per_op.as_ref();
                assert!(
                    found.is_none_or(|found| found.not_compared.is_empty()),
                    "{model}"
                );
            }
        }
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
