//! `verify` as its users see it: tables, verdicts, exit codes and pages.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;
use support::command::{command, names_in, run, stable};
use support::fixture;
use support::shell::{VIT, folder, json, paddle2onnx, shown};

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

/// The small variant scales its attention differently, and has no bias in it.
#[test]
fn verify_the_small_variant_against_recorded_outputs() {
    let small = fixture("paddle-2.6.2/vit/ViT_small_patch16_224");
    let arrays = ["batch1.npz", "batch3.npz"].map(|name| small.join(name).display().to_string());
    let (small, arrays) = (small.display(), arrays.join(" "));
    let arguments = format!("verify {small} --json --inputs {arrays} --expected {arrays}");
    let ran = paddle2onnx(&arguments, Path::new(""));
    assert_eq!(ran.code, Some(0), "{ran}");
    let verified = json(&ran);
    assert_eq!(verified["verdict"], "parity");
    let runs = verified["runs"].as_array().unwrap();
    for (run, batch) in runs.iter().zip([1, 3]) {
        let output = &run["outputs"][0];
        assert_eq!(output["shape"], serde_json::json!([batch, 11]));
        // Each side, and Paddle's recorded output, is compared with the exact result.
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
        (ran.code, &verified["verdict"]),
        (Some(0), &Value::from("parity"))
    );
}

#[test]
fn verify_as_json() {
    let verified = json(&paddle2onnx(
        "verify VIT --batch 1,4 --json --atol 1e-4",
        Path::new(""),
    ));
    assert_eq!(verified["verdict"], "parity");
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
    let mut bytes = fs::read(&onnx).unwrap();
    // The last that are as they were, since rewrites make others of some.
    let mut ends = weights.windows(32).rev();
    let place = ends.find_map(|end| bytes.windows(32).position(|window| window == end));
    bytes[place.unwrap() + 31] ^= 0x80;
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
    // The damaged weight is in the embedding of positions.
    for words in ["The op to blame: op 13 `add`", "Worst ", "Right ", "Found "] {
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
        (ran.code, &json(&ran)["verdict"]),
        (Some(1), &Value::from("no_parity"))
    );
}

/// With a tolerance of 0, the sides differ, since they sum in different orders.
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
    // ONNX Runtime is looked for before the conversion, so that nothing is written in vain.
    let ran = paddle2onnx(
        "convert VIT -o DIR/m.onnx --verify --ort-lib /nowhere",
        folder.path(),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(names_in(folder.path()), [""; 0]);
    // Conversion alone needs no ONNX Runtime.
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
        ("verify VIT --onnx DIR/text", "text: not an ONNX model"),
        (
            "verify VIT --ort-lib DIR/text",
            "could not load ONNX Runtime",
        ),
        (
            "verify VIT --inputs VIT/batch1.npz VIT/batch3.npz --expected VIT/batch1.npz",
            "1 sets of expected outputs for 2 sets of inputs",
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
fn verify_op_by_op() {
    let text = shown("verify VIT --per-op --batch 1", &folder());
    assert!(
        text.contains("batch 1: op by op (46 ops have become nodes, "),
        "{text}"
    );
    assert!(text.contains("No op is to blame"), "{text}");
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
    let ran = paddle2onnx("verify VIT --per-op --batch 1 --json", Path::new(""));
    let ops = json(&ran)["per_op"]["ops"].as_array().unwrap().len();
    assert_eq!((ran.code, ops), (Some(0), 46), "{ran}");
}

/// Transposes are left out where they cancel out, so that tensors between them have their axes in another order.
#[test]
fn values_of_channels_last_are_compared_in_tensors_of_channels_first() {
    for program in [
        "paddle-2.6.2/ops/rewrites/layers_of_channels_last.pdmodel",
        "paddle-3.3.1/ops/rewrites/layers_of_channels_last.json",
    ] {
        let path = fixture(program);
        let verify = format!("verify {} --per-op --json", path.display());
        let ran = paddle2onnx(&verify, Path::new(""));
        assert_eq!(ran.code, Some(0), "{ran}");
        let report = json(&ran);
        let ops = report["per_op"]["ops"].as_array().unwrap();
        let names: Vec<&str> = ops.iter().map(|op| op["op"].as_str().unwrap()).collect();
        let expected = [
            "conv2d", "relu", "conv2d", "relu", "add", "pool2d", "flatten",
        ];
        assert_eq!(names, expected, "{program}");
    }
}

/// If a tolerance is stated, it decides instead of the rounding noise, and all pairs of sides are compared.
#[test]
fn verify_by_a_stated_tolerance() {
    let text = shown("verify VIT --batch 1 --atol 1e-5", &folder());
    assert!(text.contains("runtime / reference"), "{text}");
    assert!(text.contains("Parity (atol 1e-5, rtol 1e-3)"), "{text}");
    assert!(!text.contains("noise"), "{text}");
}

/// Single ops can only be compared by the names that the conversion gives to tensors.
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
    assert!(
        ran.stdout.contains("could not be compared one by one"),
        "{ran}"
    );
    let ran = paddle2onnx(&format!("{verify} --per-op"), folder.path());
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("none of the program's values"), "{ran}");
}

/// The page is a single file that loads nothing else.
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
        "All 46 ops",
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
    assert!(page.contains("The op to blame: op 13 add"), "{page}");
}

/// Outputs that depend on random numbers are different in each run, so that their values are not compared.
#[test]
fn random_outputs_are_compared_by_shape_and_type_alone() {
    let program = fixture("paddle-3.3.1/ops").join("gaussian/native_one_of_two.json");
    let program = program.display();
    let ran = paddle2onnx(&format!("verify {program} --json"), Path::new(""));
    assert_eq!(ran.code, Some(3), "{ran}");
    let verified = json(&ran);
    assert_eq!(verified["verdict"], "partial_parity");
    for run in verified["runs"].as_array().unwrap() {
        let [exact, random] = run["outputs"].as_array().unwrap().as_slice() else {
            panic!("{run}");
        };
        assert!(exact["random"].is_null() && exact["comparisons"][0]["metrics"].is_object());
        assert_eq!(random["random"], true);
        assert_eq!(random["comparisons"][0]["agrees"], true);
        assert!(random["comparisons"][0]["metrics"].is_null());
    }
    let folder = folder();
    let arguments = format!("verify {program} --per-op --html DIR/report.html");
    let ran = paddle2onnx(&arguments, folder.path());
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(ran.stdout.contains("since they are random"), "{ran}");
    assert!(ran.stdout.contains("same shape and dtype"), "{ran}");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Not judged, since they are random"));
}
