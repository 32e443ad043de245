//! The command line as its users see it: exit code, stdout and stderr.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::Value;
use support::command::{Ran, copy_of, names_in, run};
use support::fixture;
use support::shell::{VIT, folder, json, paddle2onnx, shown};

#[test]
fn help() {
    let folder = folder();
    assert_snapshot!("help", shown("--help", &folder));
    assert_snapshot!("help_convert", shown("convert --help", &folder));
    assert_snapshot!("help_verify", shown("verify --help", &folder));
    assert_snapshot!("help_bench", shown("bench --help", &folder));
    assert_snapshot!("help_accuracy", shown("accuracy --help", &folder));
    assert_snapshot!("help_completions", shown("completions --help", &folder));
    assert_snapshot!("help_man", shown("man --help", &folder));
    assert_snapshot!("help_ops", shown("ops --help", &folder));
    assert_snapshot!("help_inspect", shown("inspect --help", &folder));
}

#[test]
fn version() {
    assert_snapshot!(shown("--version", &folder()), @r"
    exit code 0
    --- stdout
    paddle2onnx-rs [VERSION]
    --- stderr
    ");
}

#[test]
fn wrong_usage() {
    let folder = folder();
    for arguments in [
        "",
        "convert",
        "frobnicate",
        "convert VIT --batch 1",
        "convert VIT --ort-lib x",
        "convert VIT --opset 6",
        "convert VIT --opset x",
        "convert VIT --weights away",
        "verify VIT --batch 0",
        "verify VIT --batch 1 --inputs VIT/batch1.npz",
        "verify VIT --seed 1 --inputs VIT/batch1.npz",
        "verify VIT --expected VIT/batch1.npz",
        "verify VIT --atol -1",
        "verify VIT --rtol nan",
        "verify VIT --onnx model.onnx --opset 18",
    ] {
        let ran = paddle2onnx(arguments, folder.path());
        assert!(ran.stderr.contains("--help"), "{arguments}: {ran}");
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments}: {ran}"
        );
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn inspect() {
    assert_snapshot!("inspect", shown("inspect VIT", &folder()));
}

#[test]
fn inspect_as_json() {
    let inspected = json(&paddle2onnx("inspect VIT --json", Path::new("")));
    assert_eq!(inspected["format"], "ProgramDesc");
    assert_eq!(inspected["weights"]["kind"], "combined");
    assert_eq!(inspected["inputs"][0]["name"], "x");
    assert_eq!(inspected["inputs"][0]["dtype"], "float32");
    let shape = serde_json::json!(["batch", 3, 32, 32]);
    assert_eq!(inspected["inputs"][0]["shape"], shape);
    let shape = serde_json::json!(["batch", 11]);
    assert_eq!(inspected["outputs"][0]["shape"], shape);
    let ops = inspected["ops"].as_array().unwrap();
    let counts: Vec<u64> = ops.iter().map(|op| op["count"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert!(ops.iter().all(|op| op["supported"] == true));
    assert_eq!(inspected["problem"], Value::Null);
    let macs = &inspected["macs"];
    assert!(macs["layers"].as_u64() < macs["with_attention_products"].as_u64());
}

/// A reader that closes the pipe early, as `head` does, causes neither a failure nor a panic.
#[test]
fn a_closed_pipe_is_no_failure() {
    for format in ["", "--json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        // Dropped before the program starts, which could else write first.
        drop(reader);
        let mut inspect =
            std::process::Command::new(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"));
        inspect.arg("inspect").arg(fixture(VIT)).stdout(writer);
        inspect.args(format.split_ascii_whitespace());
        let child = inspect
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_is_lost_is_a_failure() {
    let ran = shell("\"$0\" inspect \"$1\" > /dev/full", Path::new(""));
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(
        ran.stderr.starts_with("error: could not write to stdout: "),
        "{ran}"
    );
}

#[test]
fn convert_writes_beside_the_program() {
    let folder = folder();
    copy_of(VIT, folder.path());
    let model = "DIR/ViT_base_patch16_224";
    assert_snapshot!("convert", shown(&format!("convert {model}"), &folder));
    let names = names_in(&folder.path().join("ViT_base_patch16_224"));
    let expected = [
        "batch1.npz",
        "batch3.npz",
        "inference.onnx",
        "inference.pdiparams",
        "inference.pdmodel",
    ];
    assert_eq!(names, expected);
    let onnx = format!("{model}/inference.onnx");
    let ran = paddle2onnx(&format!("verify {model} --onnx {onnx}"), folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
}

/// The output goes beside the program, whether the program or its folder is named.
#[test]
fn convert_writes_beside_the_named_program() {
    let folder = folder();
    let copy = copy_of(VIT, folder.path());
    fs::rename(copy.join("inference.pdmodel"), copy.join("net.pdmodel")).unwrap();
    fs::rename(copy.join("inference.pdiparams"), copy.join("net.pdiparams")).unwrap();
    let program = "DIR/ViT_base_patch16_224/net.pdmodel";
    let ran = paddle2onnx(&format!("convert {program} --json"), folder.path());
    let output = copy.join("net.onnx");
    assert_eq!(json(&ran)["output"], output.to_str().unwrap());
    assert!(output.is_file(), "{ran}");
}

#[test]
fn convert_as_json() {
    let folder = folder();
    let ran = paddle2onnx(
        "convert VIT -o DIR/m.onnx --json --opset 18 --verify",
        folder.path(),
    );
    let converted = json(&ran);
    let output = folder.path().join("m.onnx");
    assert_eq!(converted["output"], output.to_str().unwrap());
    assert_eq!(converted["bytes"], fs::metadata(output).unwrap().len());
    assert_eq!(converted["opset"], 18);
    assert_eq!(converted["weights"], "inline");
    assert_eq!(converted["data"], Value::Null);
    assert!(converted["nodes"].as_u64() > Some(10));
    assert_eq!(converted["verification"]["verdict"], "parity");
    let ran = paddle2onnx("convert VIT -o DIR/m.onnx --json", folder.path());
    assert_eq!(json(&ran).get("verification"), None);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = folder();
    for placement in ["inline", "external"] {
        let written = ["a", "b"].map(|name| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            let output = format!("DIR/{name}/m.onnx --weights {placement}");
            let ran = paddle2onnx(&format!("convert VIT -o {output}"), folder.path());
            assert_eq!(ran.code, Some(0), "{ran}");
            fs::read(folder.path().join(name).join("m.onnx")).unwrap()
        });
        assert!(written[0] == written[1], "{placement}");
    }
    let data =
        ["a", "b"].map(|name| fs::read(folder.path().join(name).join("m.onnx.data")).unwrap());
    assert!(data[0] == data[1]);
}

#[test]
fn weights_can_be_external() {
    let folder = folder();
    assert_snapshot!(
        "convert_external",
        shown(
            "convert VIT -o DIR/m.onnx --weights external --verify",
            &folder
        )
    );
    assert_eq!(names_in(folder.path()), ["m.onnx", "m.onnx.data"]);
}

#[test]
fn weights_can_be_linked() {
    let folder = folder();
    let copy = copy_of(VIT, folder.path());
    let model = "DIR/ViT_base_patch16_224";
    let ran = shown(&format!("convert {model} --weights link --verify"), &folder);
    assert_snapshot!("convert_link", ran);
    let size = |name: &str| fs::metadata(copy.join(name)).unwrap().len();
    assert!(size("inference.onnx") < size("inference.pdiparams"));
    // The model may be in a folder above the weights: runtimes open what is below the model's folder.
    let above = format!("convert {model} --weights link -o DIR/m.onnx --verify");
    let ran = paddle2onnx(&above, folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn weights_elsewhere_are_not_linked() {
    let folder = folder();
    assert_snapshot!(shown("convert VIT -o DIR/m.onnx --weights link", &folder), @r"
    exit code 2
    --- stdout
    --- stderr
    error: [DIR]: --weights link needs the output in the folder of the weights ([FIXTURES]/paddle-2.6.2/vit/ViT_base_patch16_224/inference.pdiparams), because runtimes open external data only in or below the model's folder; write it there, or use --weights inline
    ");
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn older_layouts_convert_and_verify() {
    for layout in ["separate", "folder_combined"] {
        let folder = folder();
        copy_of(&format!("paddle-2.6.2/layouts/{layout}"), folder.path());
        for model in [format!("DIR/{layout}"), format!("DIR/{layout}/__model__")] {
            let golden = format!("DIR/{layout}/goldens.0.npz DIR/{layout}/goldens.1.npz");
            let options = format!("--verify --inputs {golden} --expected {golden}");
            let ran = paddle2onnx(&format!("convert {model} {options}"), folder.path());
            assert_eq!(ran.code, Some(0), "{ran}");
            let output: PathBuf = folder.path().join(layout).join("model.onnx");
            assert!(output.exists(), "{ran}");
            fs::remove_file(output).unwrap();
        }
    }
    assert_snapshot!(
        "inspect_separate",
        shown(
            &format!(
                "inspect {}",
                fixture("paddle-2.6.2/layouts/separate").display()
            ),
            &folder()
        )
    );
}

#[test]
fn weights_can_be_named() {
    let folder = folder();
    let copy = copy_of(VIT, folder.path());
    fs::rename(
        copy.join("inference.pdiparams"),
        folder.path().join("elsewhere"),
    )
    .unwrap();
    let model = "DIR/ViT_base_patch16_224";
    for command in ["convert", "verify", "inspect"] {
        let ran = paddle2onnx(
            &format!("{command} {model} --params DIR/elsewhere"),
            folder.path(),
        );
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

#[test]
fn a_folder_with_two_models_is_ambiguous() {
    let folder = folder();
    let copy = copy_of(VIT, folder.path());
    fs::copy(copy.join("inference.pdmodel"), copy.join("another.pdmodel")).unwrap();
    assert_snapshot!(shown("inspect DIR/ViT_base_patch16_224", &folder), @r"
    exit code 2
    --- stdout
    --- stderr
    error: [DIR]/ViT_base_patch16_224: the folder holds 2 models; name one of them: [DIR]/ViT_base_patch16_224/another.pdmodel, [DIR]/ViT_base_patch16_224/inference.pdmodel
    ");
}

/// Runs a shell script with the program as `$0`, the model as `$1` and a new folder as `$2`.
#[cfg(unix)]
fn shell(script: &str, folder: &Path) -> Ran {
    let binary = assert_cmd::cargo::cargo_bin!("paddle2onnx-rs");
    let mut shell = assert_cmd::Command::new("sh");
    shell
        .args(["-c", script])
        .arg(binary)
        .arg(fixture(VIT))
        .arg(folder);
    run(shell)
}

/// Outputs must not have the stricter mode of the temporary files that they are renamed from.
#[test]
#[cfg(unix)]
fn outputs_have_the_mode_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    for (mask, expected) in [("022", 0o644), ("077", 0o600)] {
        let folder = folder();
        let script =
            format!("umask {mask}; exec \"$0\" convert \"$1\" -o \"$2/m.onnx\" --weights external");
        let ran = shell(&script, folder.path());
        assert_eq!(ran.code, Some(0), "{ran}");
        for name in ["m.onnx", "m.onnx.data"] {
            let metadata = fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, expected, "{name}");
        }
    }
}

/// The finished file is renamed to the name of the output, which must not replace a pipe.
#[cfg(unix)]
#[test]
fn a_pipe_is_not_replaced() {
    use std::os::unix::fs::FileTypeExt;

    let folder = folder();
    let pipe = folder.path().join("pipe");
    let ran = shell("mkfifo \"$2/pipe\"", folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let ran = paddle2onnx("convert VIT --output DIR/pipe", folder.path());
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("device or pipe"), "{ran}");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
}
