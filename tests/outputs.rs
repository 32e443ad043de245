//! Models cut off at values of the user's choice.

#![cfg(feature = "cli")]

mod support;

use serde_json::Value;
use support::shell::{folder, json, paddle2onnx};

#[test]
fn what_is_cut_off_agrees() {
    let folder = folder();
    let cut = "--outputs layer_norm_0.tmp_2,conv2d_0.tmp_1";
    let inspected = json(&paddle2onnx(
        &format!("inspect VIT {cut} --json"),
        folder.path(),
    ));
    let names = |ports: &Value| -> Vec<String> {
        let ports = ports.as_array().unwrap().iter();
        ports
            .map(|port| port["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&inspected["outputs"]),
        ["layer_norm_0.tmp_2", "conv2d_0.tmp_1"]
    );
    let whole = json(&paddle2onnx("inspect VIT --json", folder.path()));
    assert!(inspected["parameters"].as_u64() < whole["parameters"].as_u64());

    let ran = paddle2onnx(&format!("convert VIT -o DIR/m.onnx {cut}"), folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let options = "--per-op --batch 1,3 --json";
    let ran = paddle2onnx(
        &format!("verify VIT --onnx DIR/m.onnx {cut} {options}"),
        folder.path(),
    );
    let report = json(&ran);
    assert_eq!(report["verdict"], "parity", "{ran}");
    for run in report["runs"].as_array().unwrap() {
        assert_eq!(
            names(&run["outputs"]),
            ["layer_norm_0.tmp_2", "conv2d_0.tmp_1"]
        );
    }
}

#[test]
fn inputs_that_nothing_needs_are_left_out() {
    let folder = folder();
    let program = support::fixture("paddle-2.6.2/ops/multiplex/f32.pdmodel");
    let model = program.to_str().unwrap();
    let whole = json(&paddle2onnx(
        &format!("inspect {model} --json"),
        folder.path(),
    ));
    let inputs = whole["inputs"].as_array().unwrap();
    let first = inputs[0]["name"].as_str().unwrap();
    let cut = json(&paddle2onnx(
        &format!("inspect {model} --outputs {first} --json"),
        folder.path(),
    ));
    assert_eq!(cut["inputs"].as_array().unwrap().len(), 1, "{cut}");
    assert!(inputs.len() > 1);
}

#[test]
fn names_that_there_are_not() {
    let folder = folder();
    for (names, words) in [
        ("layer_norm_0.tmp_3", "similar names: `layer_norm_0.tmp_2`"),
        ("Q", "no value of the model is called `Q`; names"),
        ("conv2d_0.w_0", "`conv2d_0.w_0` is a weight"),
        ("tmp_9,tmp_9", "`tmp_9` is given twice"),
    ] {
        let ran = paddle2onnx(
            &format!("convert VIT -o DIR/m.onnx --outputs {names}"),
            folder.path(),
        );
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(words), "{ran}");
        assert!(!folder.path().join("m.onnx").exists(), "{ran}");
    }
    let inside = support::fixture("paddle-2.6.2/control_flow/while");
    let inside = inside.to_str().unwrap();
    let ran = paddle2onnx(
        &format!("convert {inside} -o DIR/m.onnx --outputs tmp_7"),
        folder.path(),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("inside of a branch or a loop"), "{ran}");
}
