//! PaddleClas' vision transformers, cut small. They take the same code path as those of full size.

#![cfg(feature = "verify")]

mod support;

use std::fs;

use paddle2onnx::verify::{Inputs, RandomInputs, Tolerance, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, OPSETS};
use support::{PADDLE_VERSIONS, fixture};

/// The seven variants of PaddleClas 2.6.0.
const VARIANTS: [&str; 7] = [
    "ViT_base_patch16_224",
    "ViT_base_patch16_384",
    "ViT_base_patch32_384",
    "ViT_large_patch16_224",
    "ViT_large_patch16_384",
    "ViT_large_patch32_384",
    "ViT_small_patch16_224",
];

#[test]
fn all_variants_are_here() {
    for version in PADDLE_VERSIONS {
        let folders = fs::read_dir(fixture(version).join("vit")).unwrap();
        let mut names: Vec<String> = folders
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, VARIANTS, "{version}");
    }
}

/// Batch 1 and 3 against what Paddle recorded, at every opset.
#[test]
fn every_variant_gives_what_paddle_gives() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let versions = PADDLE_VERSIONS.map(|version| fixture(version).join("vit"));
    for source in versions
        .iter()
        .flat_map(|vit| VARIANTS.map(|name| vit.join(name)))
    {
        let goldens = ["batch1.npz", "batch3.npz"].map(|file| source.join(file));
        let options = VerifyOptions {
            inputs: Inputs::Files(goldens.to_vec()),
            expected: goldens.to_vec(),
            tolerance: Some(Tolerance {
                atol: 1e-6,
                rtol: 1e-5,
            }),
            ort_lib: Some(support::onnx_runtime().to_path_buf()),
            ..VerifyOptions::default()
        };
        let model = Model::open(&source, None).unwrap();
        // GELU is made of Erf, which opset 9 has.
        for opset in 9..=*OPSETS.end() {
            let convert = ConvertOptions {
                opset,
                ..ConvertOptions::default()
            };
            model.convert(&output, &convert).unwrap();
            let report = verify(&model, &output, &options, &|_| {}).unwrap();
            assert!(
                report.verdict.is_pass(),
                "{} at opset {opset}: {report:#?}",
                source.display()
            );
        }
    }
}

/// Random inputs at two batch sizes that no golden has.
#[test]
fn open_batches_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let model = Model::open(&fixture("paddle-2.6.2/vit/ViT_base_patch16_224"), None).unwrap();
    model.convert(&output, &ConvertOptions::default()).unwrap();
    let options = VerifyOptions {
        inputs: Inputs::Random(RandomInputs {
            batches: vec![2, 5],
            seed: 7,
            ..RandomInputs::default()
        }),
        ort_lib: Some(support::onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = verify(&model, &output, &options, &|_| {}).unwrap();
    assert!(report.verdict.is_pass(), "{report:#?}");
    let shapes: Vec<&[usize]> = report
        .runs
        .iter()
        .map(|r| r.outputs[0].shape.as_slice())
        .collect();
    assert_eq!([shapes[0][0], shapes[1][0]], [2, 5]);
}
