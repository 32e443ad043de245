//! `compat`, and the program called `paddle2onnx`: the command line of Paddle2ONNX.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::tensor::DType;
use support::command::{Ran, command, is_refusal, names_in, run};
use support::onnx::{decode, proto::ModelProto};
use support::shell::{VIT, folder};
use support::{PADDLE_VERSIONS, fixture};

/// Runs `compat` on a model, with its output in `folder`, and with more arguments.
fn compat(model: &str, folder: &Path, more: &[&str]) -> Ran {
    let (model, output) = (fixture(model), folder.join("out/model.onnx"));
    let paths = [
        "--model_dir",
        model.to_str().unwrap(),
        "--save_file",
        output.to_str().unwrap(),
    ];
    run(command(["compat"].iter().chain(&paths).chain(more)))
}

fn converted(folder: &Path) -> ModelProto {
    decode(&folder.join("out/model.onnx"))
}

fn opset(model: &ModelProto) -> i64 {
    model.opset_import[0].version()
}

#[test]
fn the_flags_of_the_first_and_of_the_second_version_convert() {
    for version in PADDLE_VERSIONS {
        let name = if version == "paddle-2.6.2" {
            "inference.pdmodel"
        } else {
            "inference.json"
        };
        let folder = folder();
        let model = format!("{version}/vit/ViT_base_patch16_224");
        let given = [
            "--model_filename",
            name,
            "--params_filename=inference.pdiparams",
            "--opset_version",
            "13",
            "--enable_auto_update_opset",
            "True",
        ];
        let ran = compat(&model, folder.path(), &given);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        assert!(ran.stdout.contains("out/model.onnx"), "{ran}");
        assert_eq!(opset(&converted(folder.path())), 13);
    }
}

#[test]
fn weights_that_are_named_need_not_be_there_where_there_are_none() {
    let folder = folder();
    let given = ["--params_filename", "inference.pdiparams"];
    let ran = compat("paddle-3.3.1/control_flow/while", folder.path(), &given);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");

    let given = ["--params_filename", "elsewhere.pdiparams"];
    let ran = compat(
        "paddle-3.3.1/vit/ViT_base_patch16_224",
        folder.path(),
        &given,
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(
        ran.stderr
            .contains("elsewhere.pdiparams: could not open the weights"),
        "{ran}"
    );
}

#[test]
fn the_opset_rises_from_its_default_unless_that_is_switched_off() {
    let folder = folder();
    let ran = compat(VIT, folder.path(), &[]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(opset(&converted(folder.path())), 9);
    let low = ["--opset_version", "6"];
    let ran = compat(VIT, folder.path(), &low);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(opset(&converted(folder.path())), 9);
    let fixed = [&low[..], &["--enable_auto_update_opset", "False"]].concat();
    let ran = compat(VIT, folder.path(), &fixed);
    is_refusal(&ran, &["--opset_version 6", "7 to "]);
}

#[cfg(unix)]
#[test]
fn a_link_called_paddle2onnx_takes_the_flags_by_their_short_names() {
    let folder = folder();
    let link = folder.path().join("paddle2onnx");
    std::os::unix::fs::symlink(command([""; 0]).get_program(), &link).unwrap();
    let call = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&link);
        Ran::from(command.args(arguments).output().unwrap())
    };
    let output = folder.path().join("model.onnx");
    let model = fixture(VIT);
    let ran = call(&[
        "-m",
        model.to_str().unwrap(),
        "-mf",
        "inference.pdmodel",
        "-pf",
        "inference.pdiparams",
        "-s",
        output.to_str().unwrap(),
        "-ov",
        "14",
    ]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(opset(&decode(&output)), 14);
    let version = call(&["-v"]);
    assert!(version.stdout.starts_with("paddle2onnx-rs "), "{version}");
    for arguments in [&[][..], &["-h"]] {
        let help = call(arguments);
        assert_eq!(help.code, Some(0), "{help}");
        assert!(help.stdout.contains("--model_filename"), "{help}");
    }
    assert_eq!(call(&["--folder_of_model", "x"]).code, Some(2));
}

#[test]
fn each_flag_without_effect_is_accepted_with_a_line_that_says_so() {
    let flags = [
        ["--enable_onnx_checker", "True"],
        ["--enable_dist_prim_all", "False"],
        ["--enable_verbose", "1"],
        ["--optimize_tool", "onnxoptimizer"],
        ["--save_calibration_file", "calibration.cache"],
        ["--external_filename", "external_data"],
        ["--enable_paddle_fallback", "False"],
        ["--enable_dev_version", "True"],
    ];
    let folder = folder();
    let ran = compat(VIT, folder.path(), flags.as_flattened());
    assert_eq!(ran.code, Some(0), "{ran}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), flags.len(), "{ran}");
    for ([flag, _], line) in flags.iter().zip(lines) {
        let start = format!("note: {flag} has no effect: ");
        assert!(line.starts_with(&start), "{line}");
    }
    // What only restates the default is no reason to speak.
    let usual = [
        "--deploy_backend",
        "ONNXRuntime",
        "--custom_ops",
        "{}",
        "--export_fp16_model",
        "False",
        "--input_shape_dict",
        "None",
    ];
    let ran = compat(VIT, folder.path(), &usual);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
}

#[test]
fn outputs_get_other_names() {
    let folder = folder();
    for names in ["['logits']", "{'save_infer_model/scale_0.tmp_0': 'logits'}"] {
        let ran = compat(VIT, folder.path(), &["--output_names", names]);
        assert_eq!(ran.code, Some(0), "{ran}");
        let graph = converted(folder.path()).graph.unwrap();
        assert_eq!(graph.output[0].name(), "logits");
    }
}

#[test]
fn inputs_get_other_shapes() {
    let folder = folder();
    let ran = compat(VIT, folder.path(), &["-isd", "{'x': [2, 3, 32, 32]}"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let graph = converted(folder.path()).graph.unwrap();
    let shape = format!("{:?}", graph.input[0]);
    assert!(shape.contains("DimValue(2)"), "{shape}");
}

#[test]
fn models_become_half_as_large_in_float16() {
    let folder = folder();
    let ran = compat(VIT, folder.path(), &["--export_fp16_model", "True"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let graph = converted(folder.path()).graph.unwrap();
    let halves = graph.initializer.iter();
    let halves = halves.filter(|tensor| tensor.data_type() == DType::F16.onnx_code());
    assert!(halves.count() > 20);
}

#[test]
fn custom_ops_become_operators_of_the_domain_paddle() {
    let folder = folder();
    let model = "paddle-2.6.2/custom_op/single";
    let ran = compat(
        model,
        folder.path(),
        &["--custom_ops", r#"{"leaky_gate": "Gate"}"#],
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let graph = converted(folder.path()).graph.unwrap();
    let mut nodes = graph.node.iter();
    let node = nodes.find(|node| node.op_type() == "Gate").unwrap();
    assert_eq!(node.domain(), "Paddle");
    is_refusal(&compat(model, folder.path(), &[]), &["leaky_gate"]);
}

#[test]
fn what_is_not_done_is_refused_and_nothing_is_written() {
    let quantized = "paddle-2.6.2/quantized";
    let quantized = fs::read_dir(fixture(quantized)).unwrap().next().unwrap();
    let quantized = quantized.unwrap().path();
    let quantized = quantized.to_str().unwrap();
    for (model, given, words) in [
        (
            VIT,
            ["--input_shape_dict", "{'y': [1, 3, 224, 224]}"],
            ["no input is called `y`", "x"],
        ),
        (
            VIT,
            ["--output_names", "['a', 'b']"],
            ["2 names", "1 outputs"],
        ),
        (
            VIT,
            ["--output_names", "{'a': 'b'}"],
            ["called `a`", "scale_0"],
        ),
        (
            VIT,
            ["--model_filename", "other.pdmodel"],
            ["other.pdmodel", ""],
        ),
        (
            VIT,
            ["--params_filename", "other.pdiparams"],
            ["other.pdiparams", ""],
        ),
        (VIT, ["--opset_version", "99"], ["99", ""]),
        (
            quantized,
            ["--deploy_backend", "tensorrt"],
            ["QuantizeLinear", "--dequantize"],
        ),
    ] {
        let folder = folder();
        let ran = compat(model, folder.path(), &given);
        is_refusal(&ran, &words);
        assert_eq!(names_in(folder.path()), [""; 0], "{ran}");
    }
}

#[test]
fn a_wrong_literal_is_refused_with_the_name_of_its_flag() {
    let folder = folder();
    for (flag, value) in [
        ("--enable_onnx_checker", "Treu"),
        ("--enable_auto_update_opset", "yes"),
        ("--custom_ops", "{'a': 1}"),
        ("--output_names", "logits"),
        ("--input_shape_dict", "{'x': 'y'}"),
        ("--deploy_backend", "openvino"),
        ("--optimize_tool", "onnxsim"),
        ("--opset_version", "x"),
    ] {
        let ran = compat(VIT, folder.path(), &[flag, value]);
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(flag), "{ran}");
        assert!(ran.stderr.contains(value), "{ran}");
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
    is_refusal(&run(command(["compat"])), &["--model_dir", "--save_file"]);
}
