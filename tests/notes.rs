//! What `convert` notes where ONNX can't follow the program.

#![cfg(feature = "cli")]

mod support;

use serde_json::Value;
use support::fixture;
use support::retype::retyped;
use support::shell::{VIT, folder, json, paddle2onnx};

use paddle2onnx::tensor::DType;

const SQUEEZE: &str = "the extent of axis 1 is open, and taken for 1";

fn squeezes() -> String {
    let program = fixture("paddle-2.6.2/ops/squeeze/open.pdmodel");
    program.into_os_string().into_string().unwrap()
}

#[test]
fn notes_are_said_once_with_their_number() {
    let folder = folder();
    for options in ["-o DIR/model.onnx", "--check"] {
        let ran = paddle2onnx(&format!("convert {} {options}", squeezes()), folder.path());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
        assert!(ran.stderr.starts_with("note: op 2 `squeeze2`"), "{ran}");
        assert!(ran.stderr.contains(", and 1 more: "), "{ran}");
        assert!(ran.stderr.contains(SQUEEZE), "{ran}");
    }
}

#[test]
fn notes_are_in_the_json() {
    let folder = folder();
    for options in ["-o DIR/model.onnx", "--check"] {
        let arguments = format!("convert {} {options} --json", squeezes());
        let printed = json(&paddle2onnx(&arguments, folder.path()));
        let notes = printed["notes"].as_array().unwrap();
        assert_eq!(notes.len(), 1, "{printed}");
        assert_eq!(notes[0]["op"], "squeeze2");
        assert!(notes[0]["text"].as_str().unwrap().starts_with(SQUEEZE));
        assert_eq!(notes[0]["places"].as_array().map(Vec::len), Some(2));
    }
}

/// Which axes have extent 1 is known in a run alone, and the rank has to be known before.
#[test]
fn open_axes_that_may_be_squeezed() {
    let folder = folder();
    for program in [
        "paddle-2.6.2/ops/squeeze/all_open.pdmodel",
        "paddle-3.3.1/ops/squeeze/all_open.json",
    ] {
        let program = fixture(program).display().to_string();
        let ran = paddle2onnx(
            &format!("convert {program} -o DIR/model.onnx"),
            folder.path(),
        );
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(
            ran.stderr
                .contains("the extent of axis 0 is open: the axis stays"),
            "{ran}"
        );
    }
}

#[test]
fn most_models_have_none() {
    let folder = folder();
    let printed = json(&paddle2onnx(
        "convert VIT -o DIR/model.onnx --json",
        folder.path(),
    ));
    assert_eq!(printed["notes"], Value::Array(Vec::new()), "{VIT}");
}

/// Types that ONNX does not have, or ONNX Runtime no kernel for, are named with what follows.
#[test]
fn types_are_noted() {
    let folder = folder();
    let said = |case: &str, dtype: DType, opset: u32| {
        let case = fixture(&format!("paddle-3.3.1/ops/{case}.json"));
        let program = retyped(&case, dtype, folder.path());
        let program = program.to_str().unwrap();
        let arguments = format!("convert {program} --opset {opset} -o DIR/model.onnx");
        let ran = paddle2onnx(&arguments, folder.path());
        (ran.code, ran.stderr)
    };
    let (code, text) = said("conv2d/bias", DType::BF16, 17);
    assert_eq!(code, Some(0), "{text}");
    let reason = "computed in float32 and cast back to bfloat16, which ONNX's Conv does not take at opset 17";
    assert!(text.contains(reason), "{text}");
    let (code, text) = said("conv2d/bias", DType::F64, 17);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("no kernel of Conv for float64, and so can't run the model"),
        "{text}"
    );
    let (code, text) = said("conv2d/bias", DType::BF16, 12);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("bfloat16 needs opset 13"), "{text}");
}
