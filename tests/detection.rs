//! Detectors for runtimes that choose among boxes themselves, or whose tensors have known extents alone.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use approx::assert_relative_eq;
use paddle2onnx::operator::Precision;
use paddle2onnx::tensor::Tensor;
use paddle2onnx::verify::{Inputs, Verdict, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, Model};
use support::command::{command_with_runtime, run};
use support::{PADDLE_VERSIONS, fixture, goldens, onnx_runtime};

/// The program of a case of an op.
fn case(version: &str, path: &str) -> PathBuf {
    let end = if version == PADDLE_VERSIONS[0] {
        "pdmodel"
    } else {
        "json"
    };
    fixture(&format!("{version}/ops/{path}.{end}"))
}

/// The folders of all detectors of a version.
fn detectors(version: &str) -> Vec<PathBuf> {
    let folder = fixture(&format!("{version}/detectors"));
    let entries = fs::read_dir(folder).unwrap();
    let mut detectors: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    detectors.sort();
    assert_eq!(detectors.len(), 5, "{version}");
    detectors
}

/// The recordings of a detector: one image, four, one in which nothing is found, and one with equal scores. Matrix
/// suppression, which leaves the order of these open, has no such one.
fn recordings(detector: &Path) -> Vec<PathBuf> {
    let runs = ["one", "four", "nothing", "tied"];
    let recordings = runs
        .map(|run| detector.join(format!("{run}.npz")))
        .into_iter();
    let recordings: Vec<PathBuf> = recordings.filter(|path| path.exists()).collect();
    let due = if detector.ends_with("pp_yolo") { 3 } else { 4 };
    assert_eq!(recordings.len(), due, "{}", detector.display());
    recordings
}

/// The inputs and the outputs that were recorded, by the names in a model.
fn recorded(model: &Model, golden: &Path) -> (Vec<(String, Tensor)>, Vec<Tensor>) {
    let program = model.program();
    let inputs = program.inputs().iter().map(|id| program[*id].name.as_str());
    let inputs: Vec<&str> = inputs.collect();
    let outputs = program.outputs().iter().map(|output| output.name.as_str());
    let outputs: Vec<&str> = outputs.collect();
    let given = read_npz(golden, &inputs).unwrap();
    let names = inputs.into_iter().map(str::to_owned);
    (
        names.zip(given).collect(),
        read_npz(golden, &outputs).unwrap(),
    )
}

/// The verdict on a converted model, on the recorded inputs of a program.
fn verdict(model: &Model, program: &Path) -> Verdict {
    verdict_on(model, goldens(program), Vec::new())
}

/// The verdict on a converted model on these inputs, with these outputs where they are given.
fn verdict_on(model: &Model, inputs: Vec<PathBuf>, expected: Vec<PathBuf>) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let options = VerifyOptions {
        inputs: Inputs::Files(inputs),
        expected,
        per_op: true,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    verify(model, &onnx, &options, &|_| {}).unwrap().verdict
}

#[test]
fn detectors_find_what_paddle_finds() {
    for detector in PADDLE_VERSIONS.into_iter().flat_map(detectors) {
        let model = Model::open(&detector, None).unwrap();
        let goldens = recordings(&detector);
        let verdict = verdict_on(&model, goldens.clone(), goldens);
        assert!(verdict.is_pass(), "{}: {verdict:?}", detector.display());
    }
}

/// The recordings are what their names say: of images with boxes, without, and with several boxes of one class and score.
#[test]
fn detectors_find_several_boxes_none_and_equal_scores() {
    for detector in PADDLE_VERSIONS.into_iter().flat_map(detectors) {
        let name = detector.display();
        let model = Model::open(&detector, None).unwrap();
        let found = recordings(&detector).into_iter().map(|golden| {
            let (_, outputs) = recorded(&model, &golden);
            let rows = outputs[0].to_f64_vec();
            let judged: Vec<[f64; 2]> = rows.chunks(6).map(|row| [row[0], row[1]]).collect();
            (judged, outputs[1].to_f64_vec())
        });
        let found: Vec<_> = found.collect();
        let (one, four, nothing) = (&found[0], &found[1], &found[2]);
        assert!(one.0.len() > 3, "{name}");
        assert!(four.1[0] > 0.0 && four.1[2] == 0.0, "{name}: {:?}", four.1);
        assert_eq!(
            (nothing.0.len(), nothing.1.as_slice()),
            (0, &[0.0][..]),
            "{name}"
        );
        let Some(tied) = found.get(3) else {
            continue;
        };
        let equal = tied.0.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(equal > 3, "{name}: {:?}", tied.0);
    }
}

/// Without the choice, detectors end with all boxes; with a limit, with a fixed number of them.
#[test]
fn detectors_for_other_runtimes_agree_with_themselves() {
    for detector in PADDLE_VERSIONS.into_iter().flat_map(detectors) {
        let name = detector.display().to_string();
        let open = || Model::open(&detector, None).unwrap();
        let plain = open().without_nms().unwrap();
        let outputs = plain.summary().outputs;
        let outputs: Vec<&str> = outputs.iter().map(|port| port.name.as_str()).collect();
        // The proposals of the first stage are a choice, too.
        assert_eq!(outputs, ["boxes", "scores"], "{name}");
        let verdict = verdict_on(&plain, recordings(&detector), Vec::new());
        assert!(verdict.is_pass(), "{name}: {verdict:?}");
        if name.ends_with("two_stage") {
            continue;
        }
        let limited = open().with_nms_limit(20).unwrap();
        let verdict = verdict_on(&limited, recordings(&detector), Vec::new());
        assert!(verdict.is_pass(), "{name}: {verdict:?}");
    }
}

#[test]
fn without_the_choice_boxes_and_scores_are_the_outputs() {
    for version in PADDLE_VERSIONS {
        let program = case(version, "multiclass_nms3/dynamic");
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
    let cases = [
        "multiclass_nms3/plain",
        "multiclass_nms3/untied",
        "multiclass_nms3/pixels",
        "multiclass_nms3/odd",
        "multiclass_nms3/f64",
        "matrix_nms/plain",
        "matrix_nms/gaussian",
        "matrix_nms/pixels",
        "matrix_nms/none_found",
        "matrix_nms/f64",
    ];
    for version in PADDLE_VERSIONS {
        for name in cases {
            let program = case(version, name);
            let limited = Model::open(&program, None).unwrap();
            let limited = limited.with_nms_limit(70).unwrap();
            let (given, expected) = recorded(&limited, &goldens(&program)[0]);
            let reference = limited.reference(Precision::Single).unwrap();
            let found = reference.run(&given).unwrap();
            let images = expected[2].shape()[0];
            let per_image = found[0].shape()[0] / images;
            assert!(per_image <= 70, "{version} {name}");
            assert_eq!(found[0].shape()[0] % images, 0, "{version} {name}");
            let rows = found[0].to_f64_vec();
            let kept = rows.chunks(6).filter(|row| row[0] >= 0.0).flatten();
            let kept: Vec<f64> = kept.copied().collect();
            assert_relative_eq!(
                kept.as_slice(),
                expected[0].to_f64_vec().as_slice(),
                max_relative = 1e-6
            );
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
        let program = case(version, "multiclass_nms3/background_last");
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
    let program = case(PADDLE_VERSIONS[1], "multiclass_nms3/plain");
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
