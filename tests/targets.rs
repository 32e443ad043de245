//! The opset, the version of the format, and the runtimes that models are written for.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::{DEFAULT_OPSET, ErrorKind, Model, OPSETS, TARGETS, Target};
use support::command::{Ran, command, is_refusal, names_in, run};
use support::fixture;
use support::onnx::decode;
use support::shell::{VIT, folder, json};

/// Converts to `model.onnx` in a folder.
fn converted(model: &str, arguments: &[&str], folder: &Path) -> Ran {
    let mut command = command(["convert"]);
    command.arg(fixture(model)).args(arguments);
    command.arg("-o").arg(folder.join("model.onnx"));
    run(command)
}

/// The opset and the version of the format of what was converted.
fn versions(folder: &Path) -> (i64, i64) {
    let model = decode(&folder.join("model.onnx"));
    (model.opset_import[0].version(), model.ir_version())
}

#[test]
fn the_version_of_the_format_is_the_lowest_or_a_higher_one() {
    let folder = folder();
    for (arguments, expected) in [
        (&["--opset", "17"][..], (17, 8)),
        (&["--opset", "17", "--ir-version", "8"], (17, 8)),
        (&["--opset", "17", "--ir-version", "9"], (17, 9)),
        (&["--opset", "11", "--ir-version", "14"], (11, 14)),
    ] {
        let ran = converted(VIT, arguments, folder.path());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(versions(folder.path()), expected);
    }
    fs::remove_file(folder.path().join("model.onnx")).unwrap();
    let needs = "IR version 7 is too low: a model of opset 17 needs 8";
    for (version, words) in [
        ("7", needs),
        ("0", "needs 8"),
        ("15", "there is no IR version 15; the newest is 14"),
    ] {
        let ran = converted(VIT, &["--ir-version", version], folder.path());
        is_refusal(&ran, &[words]);
    }
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn the_lowest_opset_is_chosen_with_the_reason() {
    let folder = folder();
    let aligned = "paddle-2.6.2/ops/roi_align/thin.pdmodel";
    let ran = converted(aligned, &["--opset", "auto"], folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(versions(folder.path()).0, 16);
    let reason =
        "the lowest for op 3 `roi_align` (writes `roi_align.tmp_0`): a RoiAlign of aligned boxes";
    assert!(ran.stdout.contains(&format!("16, {reason}")), "{ran}");
    let ran = converted(aligned, &["--opset", "auto", "--json"], folder.path());
    let printed = json(&ran);
    assert_eq!(printed["opset"], 16);
    assert_eq!(printed["opset_reason"], reason);
    // The opset below is refused, and names this one.
    let ran = converted(aligned, &["--opset", "15"], folder.path());
    is_refusal(&ran, &["a RoiAlign of aligned boxes needs opset 16"]);

    let plain = "paddle-2.6.2/ops/relu/plain.pdmodel";
    let ran = converted(plain, &["--opset", "auto"], folder.path());
    assert_eq!(versions(folder.path()).0, i64::from(*OPSETS.start()));
    assert!(ran.stdout.contains("the lowest of all"), "{ran}");
    let ran = converted(VIT, &["--json"], folder.path());
    assert!(json(&ran).get("opset_reason").is_none(), "{ran}");
    // Standard output has the model alone.
    let mut streamed = command(["convert", "--opset", "auto", "-o", "-"]);
    let streamed = streamed.arg(fixture(aligned)).output().unwrap();
    let told = String::from_utf8(streamed.stderr).unwrap();
    assert!(
        told.starts_with("note: the model is of opset 16, "),
        "{told}"
    );
    assert!(streamed.stdout.starts_with(b"\x08"));
}

#[test]
fn a_model_without_a_lowest_opset_is_refused_as_in_any() {
    let folder = folder();
    let custom = "paddle-2.6.2/custom_op/single";
    let fixed = converted(custom, &[], folder.path());
    let lowest = converted(custom, &["--opset", "auto"], folder.path());
    is_refusal(&lowest, &["not supported"]);
    assert_eq!(fixed.to_string(), lowest.to_string());
    let check = |opset: &str| {
        let mut command = command(["convert", "--check", "--json", "--opset", opset]);
        command.arg(fixture(custom));
        run(command)
    };
    let newest = OPSETS.end().to_string();
    assert_eq!(check("auto").stdout, check(&newest).stdout);
    let ran = check("automatic");
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("or auto"), "{ran}");
}

#[test]
fn the_portable_model_is_the_usual_one() {
    let folder = folder();
    let bytes = |arguments: &[&str]| {
        let ran = converted(VIT, arguments, folder.path());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        fs::read(folder.path().join("model.onnx")).unwrap()
    };
    let usual = bytes(&[]);
    for target in ["portable", "openvino", "mnn", "tract"] {
        assert!(bytes(&["--target", target]) == usual, "{target}");
    }
    assert!(bytes(&["--target", "onnxruntime"]) != usual);
    // What is asked for goes before the target.
    assert!(bytes(&["--target", "mnn", "--opset", "18"]) == bytes(&["--opset", "18"]));
}

#[test]
fn what_does_not_fit_a_runtime_is_said_with_the_option_that_helps() {
    let folder = folder();
    let shape = ["--input-shape", "x=1x3x32x32"];
    let open = "the open shape [batch, 3, 32, 32], and rknn takes shapes that are known; give it one with \
                --input-shape x=…,3,32,32";
    for (arguments, opset, words) in [
        (&["--target", "rknn"][..], 19, Some(open)),
        (&[&["--target", "rknn"], &shape[..]].concat(), 19, None),
        (
            &["--target", "ncnn"],
            DEFAULT_OPSET,
            Some("ncnn takes shapes"),
        ),
        (
            &[&["--target", "rknn", "--opset", "21"], &shape[..]].concat(),
            21,
            Some(
                "rknn reads opsets up to 19, and the model is of opset 21; convert it with --opset 19",
            ),
        ),
        (
            &[&["--target", "rknn", "--opset", "auto"], &shape[..]].concat(),
            9,
            None,
        ),
    ] {
        let ran = converted(VIT, arguments, folder.path());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(versions(folder.path()).0, i64::from(opset), "{ran}");
        match words {
            None => assert_eq!(ran.stderr, ""),
            Some(words) => {
                assert!(ran.stderr.starts_with("warning: "), "{ran}");
                assert!(ran.stderr.contains(words), "{ran}");
                assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
            }
        }
    }
}

#[test]
fn detectors_are_cut_on_request_for_runtimes_that_choose_themselves() {
    let folder = folder();
    let detector = "paddle-3.3.1/detectors/yolo";
    let ran = converted(detector, &["--target", "tensorrt"], folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("convert it with --drop-nms"), "{ran}");
    let ran = converted(
        detector,
        &["--target", "tensorrt", "--drop-nms"],
        folder.path(),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
}

#[test]
fn targets_are_listed_with_what_they_are() {
    let help = run(command(["convert", "--help"]));
    for target in TARGETS {
        assert!(
            help.stdout.contains(&format!("- {}:", target.name)),
            "{help}"
        );
    }
    let ran = run(command(["convert", "--target", "tensor_rt", "model"]));
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("tensorrt"), "{ran}");
    let error = Target::named("tensor_rt").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn open_shapes_alone_do_not_fit_some_runtimes() {
    let model = Model::open(&fixture(VIT), None).unwrap();
    for target in TARGETS {
        let remarks = target.remarks(&model, target.opset);
        assert_eq!(
            remarks.len(),
            usize::from(["ncnn", "rknn"].contains(&target.name))
        );
    }
}
