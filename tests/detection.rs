//! Detectors for runtimes that choose among boxes themselves, or whose tensors have known extents alone.

#![cfg(feature = "cli")]

mod support;

use std::path::{Path, PathBuf};

use paddle2onnx::operator::Precision;
use paddle2onnx::verify::{Inputs, Verdict, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, Model};
use support::command::{command_with_runtime, run};
use support::{PADDLE_VERSIONS, fixture, goldens, onnx_runtime};

/// The program of a case of `multiclass_nms3`.
fn case(version: &str, name: &str) -> PathBuf {
    let end = if version == PADDLE_VERSIONS[0] {
        "pdmodel"
    } else {
        "json"
    };
    fixture(&format!("{version}/ops/multiclass_nms3/{name}.{end}"))
}

/// The verdict on a converted model, on the recorded inputs of a program.
fn verdict(model: &Model, program: &Path) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let options = VerifyOptions {
        inputs: Inputs::Files(goldens(program)),
        per_op: true,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    verify(model, &onnx, &options, &|_| {}).unwrap().verdict
}

#[test]
fn without_the_choice_boxes_and_scores_are_the_outputs() {
    for version in PADDLE_VERSIONS {
        let program = case(version, "dynamic");
        let model = Model::open(&program, None).unwrap().without_nms().unwrap();
        let outputs = model.summary().outputs;
        let shown: Vec<String> = outputs
            .iter()
            .map(|port| format!("{} {}", port.name, port.shape.len()))
            .collect();
        assert_eq!(shown, ["boxes 3", "scores 3"], "{version}");
        // Classes come last.
        assert_eq!(outputs[1].shape[2].known(), Some(3), "{version}");
        assert_eq!(verdict(&model, &program), Verdict::Parity, "{version}");
    }
}

#[test]
fn a_limit_keeps_what_paddle_finds_and_fills_up_with_rows_of_minus_one() {
    for version in PADDLE_VERSIONS {
        for (name, images) in [
            ("plain", 2),
            ("untied", 2),
            ("pixels", 2),
            ("odd", 2),
            ("f64", 2),
        ] {
            let program = case(version, name);
            let model = Model::open(&program, None).unwrap();
            let outputs = model.program().outputs().iter();
            let outputs: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
            let inputs = model.program().inputs().iter();
            let inputs: Vec<&str> = inputs
                .map(|id| model.program()[*id].name.as_str())
                .collect();
            let golden = &goldens(&program)[0];
            let given = read_npz(golden, &inputs).unwrap();
            let names = inputs.iter().map(|name| (*name).to_owned());
            let given: Vec<_> = names.zip(given).collect();
            let expected = read_npz(golden, &outputs).unwrap();
            let limited = Model::open(&program, None).unwrap();
            let limited = limited.with_nms_limit(70).unwrap();
            let reference = limited.reference(Precision::Single).unwrap();
            let found = reference.run(&given).unwrap();
            let rows = found[0].to_f64_vec();
            let per_image = found[0].shape()[0] / images;
            let kept: Vec<f64> = rows
                .chunks(6)
                .filter(|row| row[0] >= 0.0)
                .flatten()
                .copied()
                .collect();
            assert!(per_image <= 70, "{version} {name}");
            assert_eq!(found[0].shape()[0] % images, 0, "{version} {name}");
            assert_eq!(kept, expected[0].to_f64_vec(), "{version} {name}");
            assert_eq!(found[2], expected[2], "{version} {name}");
            assert_eq!(
                verdict(&limited, &program),
                Verdict::Parity,
                "{version} {name}"
            );
        }
    }
}

#[test]
fn a_limit_makes_all_extents_known() {
    for version in PADDLE_VERSIONS {
        let program = case(version, "background_last");
        let model = Model::open(&program, None).unwrap();
        let model = model.with_nms_limit(4).unwrap();
        let outputs = model.summary().outputs;
        let extents = |number: usize| -> Vec<Option<i64>> {
            let shape = outputs[number].shape.iter();
            shape.map(|dim| dim.known()).collect()
        };
        assert_eq!(extents(0), [Some(8), Some(6)], "{version}");
        assert_eq!(extents(1), [Some(8), Some(1)], "{version}");
        assert_eq!(extents(2), [Some(2)], "{version}");
        assert_eq!(verdict(&model, &program), Verdict::Parity, "{version}");
    }
}

#[test]
fn a_model_that_chooses_no_boxes_is_refused() {
    let program = fixture("paddle-3.3.1/ops/yolo_box/plain.json");
    let model = || Model::open(&program, None).unwrap();
    for refused in [model().without_nms(), model().with_nms_limit(5)] {
        let error = refused.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("multiclass_nms3"), "{error}");
    }
}

#[test]
fn both_are_options_of_convert() {
    let folder = tempfile::tempdir().unwrap();
    let program = case(PADDLE_VERSIONS[1], "plain");
    for options in [["--drop-nms", "--json"], ["--nms-limit=5", "--json"]] {
        let output = folder.path().join("model.onnx");
        let mut command = command_with_runtime(["convert"]);
        command.arg(&program).args(["--verify", "-o"]).arg(&output);
        command.args(options);
        let ran = run(command);
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stdout.contains("\"parity\""), "{ran}");
    }
}
