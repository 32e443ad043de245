//! Wrong lowerings are caught, and charged to the op that is wrong.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::verify::{
    Culprit, Inputs, RandomInputs, Report, Run, Verdict, VerifyOptions, read_npz, verify,
};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model, OPSETS, Weights};
use prost::Message;
use support::mutate_onnx::{MUTATIONS, Mutation, VIT, mutated};
use support::onnx::{convert, decode};
use support::{PADDLE_VERSIONS, fixture};

/// An opset that has Gelu, whose approximation is an attribute.
const OPSET: u32 = 20;

/// The seeds that are tried: as many as the variable SEEDS in the environment says.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let given = std::env::var("SEEDS");
    0..given.map_or(default, |given| given.parse().expect("SEEDS is a number"))
}

/// The inputs that are recorded in the folder of a model, or else random ones.
fn recorded(folder: &Path) -> Inputs {
    let runs = ["run0.npz", "run1.npz"].map(|run| folder.join(run));
    if runs[0].exists() {
        Inputs::Files(runs.to_vec())
    } else {
        Inputs::Random(RandomInputs::default())
    }
}

/// Random inputs, of the shapes of those that are recorded.
fn random(folder: &Path, seed: u64) -> Inputs {
    let shapes = match recorded(folder) {
        Inputs::Files(runs) => {
            let inputs = runs.iter().flat_map(|run| read_npz(run, &["x"]).unwrap());
            inputs
                .map(|x| ("x".to_owned(), x.shape().to_vec()))
                .collect()
        }
        _ => Vec::new(),
    };
    Inputs::Random(RandomInputs {
        seed,
        shapes,
        ..RandomInputs::default()
    })
}

/// Compares an ONNX file with the model of a folder.
fn verified(model: &Model, onnx: &Path, inputs: Inputs, per_op: bool) -> Report {
    let options = VerifyOptions {
        inputs,
        per_op,
        ort_lib: Some(support::onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    verify(model, onnx, &options, &|_| {}).unwrap()
}

fn culprit(report: &Report) -> Option<&Culprit> {
    report.per_op.as_ref()?.culprit.as_ref()
}

#[test]
fn a_right_model_passes_with_every_op() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let model = Model::open(&fixture(VIT), None).unwrap();
    for weights in [Weights::Inline, Weights::External] {
        convert(&fixture(VIT), &onnx, OPSET, weights);
        let report = verified(&model, &onnx, recorded(&fixture(VIT)), true);
        let per_op = report.per_op.as_ref().unwrap();
        assert!(
            report.verdict.is_pass() && per_op.culprit.is_none(),
            "{report:#?}"
        );
        assert_eq!(per_op.ops.len(), per_op.compared);
        assert!(per_op.compared > 45, "{per_op:#?}");
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
        let folder = fixture(model);
        // A scale that is no node of its own can't be wrong alone.
        let left_out = if op == "scale" {
            &["scale-into-weights"][..]
        } else {
            &[]
        };
        convert_without(left_out, &folder, &onnx, OPSET);
        let right = decode(&onnx);
        fs::write(&onnx, mutated(right, change).encode_to_vec()).unwrap();
        let opened = Model::open(&folder, None).unwrap();
        let random = seeds(2).map(|seed| random(&folder, seed));
        for inputs in std::iter::once(recorded(&folder)).chain(random) {
            let label = format!("{model}, {name}, {inputs:?}");
            let report = verified(&opened, &onnx, inputs, !shows);
            assert_eq!(
                report.verdict,
                Verdict::NoParity,
                "{label}: {:?}",
                report.remarks
            );
            if !shows {
                assert!(report.runs.iter().all(Run::agrees), "{label}: {report:#?}");
            }
            let culprit = culprit(&report).unwrap_or_else(|| panic!("{label}: {report:#?}"));
            // Or to one whose nodes compute it.
            let absorbed = &culprit.report.absorbed;
            let is_charged = culprit.report.op == op
                || absorbed.iter().any(|one| one.ends_with(&format!("`{op}`")));
            assert!(is_charged, "{label}: {culprit:#?}");
        }
    }
}

/// One node stands for several ops there.
#[test]
fn wrong_attention_is_charged_to_its_ops() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let program = fixture(VIT);
    convert(&program, &onnx, *OPSETS.end(), Weights::Auto);
    let mut wrong = decode(&onnx);
    let mut nodes = wrong.graph.as_mut().unwrap().node.iter_mut();
    let attention = nodes.find(|node| node.op_type() == "Attention").unwrap();
    let mut attributes = attention.attribute.iter_mut();
    let scale = attributes.find(|attr| attr.name() == "scale").unwrap();
    scale.f = Some(2.0 * scale.f());
    fs::write(&onnx, wrong.encode_to_vec()).unwrap();
    let model = Model::open(&program, None).unwrap();
    let report = verified(&model, &onnx, recorded(&program), true);
    assert_eq!(report.verdict, Verdict::NoParity);
    let absorbed = &culprit(&report).unwrap().report.absorbed;
    assert!(
        absorbed.iter().any(|op| op.ends_with("`softmax`")),
        "{:#?}",
        culprit(&report)
    );
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
        ("borrowed", Verdict::Parity),
    ] {
        for version in PADDLE_VERSIONS {
            let folder = fixture(&format!("{version}/sensitive/{name}"));
            convert(&folder, &onnx, OPSET, Weights::Inline);
            let model = Model::open(&folder, None).unwrap();
            for per_op in [false, true] {
                let report = verified(&model, &onnx, recorded(&folder), per_op);
                assert_eq!(report.verdict, verdict, "{name}: {:?}", report.remarks);
                let found = report.per_op.as_ref();
                assert!(
                    found.is_none_or(|found| found.not_compared.is_empty()),
                    "{name}"
                );
            }
        }
    }
}

/// By default, no seed may make a right model fail.
#[test]
fn no_seed_raises_an_alarm() {
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    let folders = ["vit", "sensitive"].map(|folder| format!("paddle-3.3.1/{folder}"));
    for program in folders.iter().flat_map(|folder| support::programs(folder)) {
        convert(&program, &onnx, DEFAULT_OPSET, Weights::Inline);
        let model = Model::open(&program, None).unwrap();
        let folder = program.parent().unwrap();
        for seed in seeds(30) {
            let report = verified(&model, &onnx, random(folder, seed), seed % 10 == 0);
            let place = folder.display();
            assert!(
                !matches!(report.verdict, Verdict::NoParity | Verdict::Undecided),
                "{place}, seed {seed}: {report:#?}"
            );
        }
    }
}

/// Converts a model without these rewrites.
fn convert_without(rewrites: &[&str], model: &Path, onnx: &Path, opset: u32) {
    let rewrites: Vec<String> = rewrites.iter().map(|name| (*name).to_owned()).collect();
    let model = Model::open(model, None).unwrap();
    let model = model.without_rewrites(&rewrites).unwrap();
    let options = ConvertOptions {
        opset,
        weights: Weights::Inline,
        ..ConvertOptions::default()
    };
    model.convert(onnx, &options).unwrap();
}
