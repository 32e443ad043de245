//! The command line as its users see it: exit code, stdout and stderr.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::Value;
use support::command::{Ran, command, command_with_runtime, copy_of, names_in, run, stable};
use support::fixture;
use tempfile::TempDir;

/// One of PaddleClas' vision transformers, cut small.
const VIT: &str = "paddle-2.6.2/vit/ViT_base_patch16_224";

/// Runs the program; the arguments are separated by spaces, `VIT` stands for the model of that name
/// and `DIR` for `folder`.
fn paddle2onnx(arguments: &str, folder: &Path) -> Ran {
    let vit = fixture(VIT).into_os_string().into_string().unwrap();
    let folder = folder.to_str().unwrap();
    let words = arguments.split_ascii_whitespace();
    run(command_with_runtime(words.map(|word| {
        word.replace("VIT", &vit).replace("DIR", folder)
    })))
}

/// The same, as a text that is the same everywhere.
fn shown(arguments: &str, folder: &TempDir) -> String {
    let ran = paddle2onnx(arguments, folder.path());
    stable(
        &ran,
        &[(folder.path(), "[DIR]"), (&fixture(""), "[FIXTURES]/")],
    )
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "", "{ran}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn help() {
    let folder = folder();
    assert_snapshot!("help", shown("--help", &folder));
    assert_snapshot!("help_convert", shown("convert --help", &folder));
    assert_snapshot!("help_verify", shown("verify --help", &folder));
    assert_snapshot!("help_bench", shown("bench --help", &folder));
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
        "convert VIT --opset 16",
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

/// The reader has seen enough, as `head` has after a line. That is no failure, and no panic.
#[test]
fn a_closed_pipe_is_no_failure() {
    for format in ["", "--json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        // Before the program starts, so that it can't be faster.
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

/// A program that is named itself is at the same place as one that is found in its folder.
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
    assert_eq!(converted["verification"]["parity"], true);
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
    // Above the weights is as good: runtimes allow what is below the model.
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
fn verify_at_random_inputs() {
    assert_snapshot!("verify", shown("verify VIT", &folder()));
    assert_snapshot!(
        "verify_batch",
        shown("verify VIT --batch 2 --seed 5 --opset 20", &folder())
    );
}

#[test]
fn verify_against_recorded_outputs() {
    let arrays = "VIT/batch1.npz VIT/batch3.npz";
    let arguments = format!("verify VIT --inputs {arrays} --expected {arrays}");
    let text = shown(&arguments, &folder());
    assert_snapshot!("verify_expected", text);
    let tables = text.lines().filter(|line| !line.contains("[FIXTURES]"));
    for line in tables {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
}

/// The small variant, whose attention is scaled by another rule and has no bias.
#[test]
fn verify_the_small_variant_against_recorded_outputs() {
    let small = fixture("paddle-2.6.2/vit/ViT_small_patch16_224");
    let arrays = ["batch1.npz", "batch3.npz"].map(|name| small.join(name).display().to_string());
    let (small, arrays) = (small.display(), arrays.join(" "));
    let arguments = format!("verify {small} --json --inputs {arrays} --expected {arrays}");
    let ran = paddle2onnx(&arguments, Path::new(""));
    assert_eq!(ran.code, Some(0), "{ran}");
    let verified = json(&ran);
    assert_eq!(verified["parity"], true);
    let runs = verified["runs"].as_array().unwrap();
    for (run, batch) in runs.iter().zip([1, 3]) {
        let output = &run["outputs"][0];
        assert_eq!(output["shape"], serde_json::json!([batch, 11]));
        // Each side, Paddle among them, against the exact result.
        let comparisons = output["comparisons"].as_array().unwrap();
        let mut sides: Vec<&str> = Vec::new();
        for comparison in comparisons {
            assert_eq!(comparison["agrees"], true, "{comparison}");
            sides.extend(comparison["side"].as_str());
            sides.extend(comparison["against"].as_str());
        }
        sides.sort_unstable();
        sides.dedup();
        assert_eq!(sides, ["exact", "expected", "onnx_runtime", "reference"]);
    }
    assert_eq!(runs.len(), 2);
}

/// Several batch sizes are several runs of one ONNX model.
#[test]
fn verify_at_other_batches() {
    let ran = paddle2onnx("verify VIT --batch 2,5 --json", Path::new(""));
    let verified = json(&ran);
    let runs = verified["runs"].as_array().unwrap();
    let shapes: Vec<&Value> = runs.iter().map(|run| &run["outputs"][0]["shape"]).collect();
    assert_eq!(
        serde_json::json!(shapes),
        serde_json::json!([[2, 11], [5, 11]])
    );
    assert_eq!(
        (ran.code, &verified["parity"]),
        (Some(0), &Value::Bool(true))
    );
}

#[test]
fn verify_as_json() {
    let verified = json(&paddle2onnx(
        "verify VIT --batch 1,4 --json --atol 1e-4",
        Path::new(""),
    ));
    assert_eq!(verified["parity"], true);
    assert_eq!(verified["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(verified["onnx"], Value::Null);
    assert_eq!(verified["tolerance"]["atol"], 1e-4);
    assert_eq!(verified["tolerance"]["rtol"], 1e-3);
    assert!(verified["onnx_runtime"].is_string());
    let runs = verified["runs"].as_array().unwrap();
    let shapes: Vec<&Value> = runs.iter().map(|run| &run["outputs"][0]["shape"]).collect();
    assert_eq!(
        serde_json::json!(shapes),
        serde_json::json!([[1, 11], [4, 11]])
    );
    let comparison = &runs[1]["outputs"][0]["comparisons"][0];
    assert_eq!(comparison["side"], "onnx_runtime");
    assert_eq!(comparison["against"], "reference");
    assert_eq!(comparison["metrics"]["argmax"]["rows"], 4);
}

/// Writes `DIR/m.onnx`, with the sign of one weight flipped.
fn damaged_onnx(folder: &Path) {
    let onnx = folder.join("m.onnx");
    let ran = paddle2onnx("convert VIT -o DIR/m.onnx", folder);
    assert_eq!(ran.code, Some(0), "{ran}");
    let weights = fs::read(fixture(VIT).join("inference.pdiparams")).unwrap();
    let last = &weights[weights.len() - 32..];
    let mut bytes = fs::read(&onnx).unwrap();
    let place = bytes
        .windows(last.len())
        .position(|window| window == last)
        .unwrap();
    bytes[place + last.len() - 1] ^= 0x80;
    fs::write(&onnx, bytes).unwrap();
}

#[test]
fn no_parity_is_exit_code_1() {
    let folder = folder();
    damaged_onnx(folder.path());
    let text = shown("verify VIT --onnx DIR/m.onnx --batch 1", &folder);
    assert!(text.starts_with("exit code 1\n"), "{text}");
    assert!(text.contains("differs\n"), "{text}");
    assert!(
        text.contains("1 of 2 comparisons differ.\nNo parity (within 10 × the rounding noise)"),
        "{text}"
    );
    // The damaged weight is the class token, which `expand` repeats for each image.
    for words in [
        "The op to blame: op 10 `expand`",
        "Worst ",
        "Right ",
        "Found ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for line in text.lines().filter(|line| !line.contains("Tensor ")) {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
    let ran = paddle2onnx("verify VIT --onnx DIR/m.onnx --json", folder.path());
    assert_eq!(
        (ran.code, &json(&ran)["parity"]),
        (Some(1), &Value::Bool(false))
    );
}

/// A tolerance of 0 is too much to ask of two orders of summation.
#[test]
fn convert_without_parity_says_that_the_file_is_there() {
    let folder = folder();
    let arguments = "convert VIT -o DIR/m.onnx --verify --batch 8 --atol 0 --rtol 0";
    let ran = paddle2onnx(arguments, folder.path());
    assert_eq!(ran.code, Some(1), "{ran}");
    let said = stable(
        &ran,
        &[(folder.path(), "[DIR]"), (&fixture(""), "[FIXTURES]/")],
    );
    let message = said.split("--- stderr\n").nth(1).unwrap();
    assert_snapshot!(message, @"error: [DIR]/m.onnx was written, but it does not compute what [FIXTURES]/paddle-2.6.2/vit/ViT_base_patch16_224/inference.pdmodel computes");
    assert_eq!(names_in(folder.path()), ["m.onnx"]);
}

#[test]
fn without_onnx_runtime_nothing_is_verified() {
    let folder = folder();
    assert_snapshot!(shown("verify VIT --ort-lib /nowhere", &folder), @r"
    exit code 2
    --- stdout
    --- stderr
    error: /nowhere: there is no ONNX Runtime library where --ort-lib points
    ");
    // It is looked for before the conversion, so that nothing is written in vain.
    let ran = paddle2onnx(
        "convert VIT -o DIR/m.onnx --verify --ort-lib /nowhere",
        folder.path(),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(names_in(folder.path()), [""; 0]);
    // And conversion alone needs none.
    let mut command = command([
        "convert".into(),
        fixture(VIT),
        "-o".into(),
        folder.path().join("m"),
    ]);
    command.env("ORT_DYLIB_PATH", "/nowhere");
    assert_eq!(run(command).code, Some(0));
}

#[test]
fn what_can_not_be_compared_is_exit_code_2() {
    let folder = folder();
    fs::write(folder.path().join("text"), "no library").unwrap();
    for (arguments, words) in [
        (
            "verify VIT --inputs VIT/none.npz",
            "none.npz: could not open the arrays",
        ),
        (
            "verify VIT --inputs VIT/inference.pdmodel",
            "not a NumPy archive",
        ),
        (
            "verify VIT --inputs DIR/../fixture",
            "could not open the arrays",
        ),
        ("verify VIT --onnx DIR/none.onnx", "none.onnx"),
        (
            "verify VIT --onnx DIR/text",
            "ONNX Runtime refuses the model",
        ),
        (
            "verify VIT --ort-lib DIR/text",
            "could not load ONNX Runtime",
        ),
        (
            "verify VIT --inputs VIT/batch1.npz VIT/batch3.npz --expected VIT/batch1.npz",
            "1 files of expected outputs for 2 sets of inputs",
        ),
        (
            "verify VIT --batch 18446744073709551615",
            "not enough memory",
        ),
    ] {
        let ran = paddle2onnx(arguments, folder.path());
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments}: {ran}"
        );
        assert!(ran.stderr.contains(words), "{arguments}: {ran}");
    }
    assert_eq!(names_in(folder.path()), ["text"]);
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

/// The temporary file that becomes the output must not pass its own mode on.
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

/// The finished file is renamed to its name, which must not put it in the place of a pipe.
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

#[test]
fn verify_op_by_op() {
    let text = shown("verify VIT --per-op --batch 1", &folder());
    assert!(
        text.contains("batch 1: op by op (63 ops have become nodes, "),
        "{text}"
    );
    assert!(text.contains("No op alone is to blame"), "{text}");
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
    let ran = paddle2onnx("verify VIT --per-op --batch 1 --json", Path::new(""));
    let ops = json(&ran)["per_op"]["ops"].as_array().unwrap().len();
    assert_eq!((ran.code, ops), (Some(0), 63), "{ran}");
}

/// A tolerance that is stated decides instead of the noise, between all pairs of sides.
#[test]
fn verify_by_a_stated_tolerance() {
    let text = shown("verify VIT --batch 1 --atol 1e-5", &folder());
    assert!(text.contains("runtime / reference"), "{text}");
    assert!(text.contains("Parity (atol 1e-5, rtol 1e-3)"), "{text}");
    assert!(!text.contains("noise"), "{text}");
}

/// Without the names that this program gives to tensors, nothing can be told of single ops.
#[test]
fn other_models_are_not_compared_op_by_op() {
    let folder = folder();
    let program = fixture("paddle-2.6.2/ops/relu/plain.pdmodel");
    let other = fixture("paddle-3.3.1/ops/tanh/plain.json");
    let (program, other) = (program.display(), other.display());
    let ran = paddle2onnx(&format!("convert {other} -o DIR/m.onnx"), folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let arrays = fixture("paddle-2.6.2/ops/relu/plain.0.npz");
    let verify = format!(
        "verify {program} --onnx DIR/m.onnx --inputs {}",
        arrays.display()
    );
    let ran = paddle2onnx(&verify, folder.path());
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("could not be looked for"), "{ran}");
    let ran = paddle2onnx(&format!("{verify} --per-op"), folder.path());
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("none of the program's values"), "{ran}");
}

/// One page that loads nothing from anywhere.
#[test]
fn verify_writes_a_page() {
    let folder = folder();
    let ran = paddle2onnx("verify VIT --batch 2 --html DIR/report.html", folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(names_in(folder.path()), ["report.html"]);
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    for part in [
        "<!DOCTYPE html>",
        "<span class=\"badge good\">Parity</span>",
        "ProgramDesc (Paddle 1.x and 2.x)",
        "<h2>batch 2: save_infer_model/scale_0.tmp_0 [2, 11]</h2>",
        "<h2>Error by layer</h2>",
        "All 63 ops",
    ] {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    for part in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(part), "{part} in {page}");
    }
    for tag in ["svg", "table", "div", "tr", "td", "dl", "p"] {
        let (opened, closed) = (format!("<{tag}"), format!("</{tag}>"));
        let opened = page
            .split(&opened)
            .skip(1)
            .filter(|rest| rest.starts_with([' ', '>']));
        assert_eq!(opened.count(), page.matches(&closed).count(), "{tag}");
    }
    damaged_onnx(folder.path());
    let verify = "verify VIT --onnx DIR/m.onnx --batch 1 --html DIR/report.html";
    let ran = paddle2onnx(verify, folder.path());
    assert_eq!(ran.code, Some(1), "{ran}");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("The op to blame: op 10 expand"), "{page}");
}
