//! What `bench` shows. The durations themselves are not tested.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::command::{Ran, command, command_with_runtime, is_refusal, run};
use support::fixture;

const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";

fn bench(arguments: &str) -> Ran {
    let vit = fixture(VIT).display().to_string();
    let words = ["bench", &vit];
    run(command_with_runtime(
        words.into_iter().chain(arguments.split_ascii_whitespace()),
    ))
}

fn json(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

#[test]
fn batches_of_1_4_and_8_are_measured() {
    let measured = json(&bench("--runs 3 --warmup 1 --json"));
    assert_eq!(measured["version"], env!("CARGO_PKG_VERSION"));
    assert!(measured["onnx_runtime"].is_string() && measured["threads"].as_u64() >= Some(1));
    assert_eq!(measured["onnx"], Value::Null);
    let measurements = measured["measurements"].as_array().unwrap();
    for (measurement, batch) in measurements.iter().zip([1_u32, 4, 8]) {
        assert_eq!(measurement["inputs"], format!("batch {batch}"));
        assert_eq!(measurement["batch"], batch);
        let sides = measurement["sides"].as_array().unwrap();
        let names: Vec<&Value> = sides.iter().map(|side| &side["side"]).collect();
        assert_eq!(names, ["onnx_runtime", "reference"]);
        for side in sides {
            let number = |key: &str| side[key].as_f64().unwrap();
            assert_eq!(number("runs"), 3.0);
            assert!(number("median_seconds") > 0.0);
            assert!(number("p95_seconds") >= number("median_seconds"));
            let rate = f64::from(batch) / number("median_seconds");
            approx::assert_relative_eq!(number("items_per_second"), rate, max_relative = 1e-9);
        }
    }
    assert_eq!(measurements.len(), 3);
}

#[test]
fn a_given_model_is_measured_alone() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("m.onnx");
    let vit = fixture(VIT);
    let arguments = [
        "convert".as_ref(),
        vit.as_os_str(),
        "-o".as_ref(),
        onnx.as_os_str(),
    ];
    assert_eq!(run(command(arguments)).code, Some(0));
    let onnx = onnx.display();
    let shape = "--shape x=2x3x32x32 --runs 1 --warmup 0";
    let measured = json(&bench(&format!(
        "--onnx {onnx} --no-reference {shape} --json"
    )));
    assert_eq!(measured["onnx"], onnx.to_string());
    let measurement = &measured["measurements"][0];
    assert_eq!(measurement["inputs"], "x=2x3x32x32");
    assert_eq!(measurement["sides"].as_array().unwrap().len(), 1);
}

#[test]
fn the_table_fits_a_terminal() {
    let ran = bench("--runs 1 --warmup 0 --batch 2,16");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    let mut lines = ran.stdout.lines();
    let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["median", "p95", "per", "second", "runs"]);
    for start in [
        "batch 2   ONNX Runtime",
        "          reference",
        "batch 16  ONNX Runtime",
    ] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(start), "{ran}");
        assert!(line.contains("ms  ") && line.len() <= 80, "{ran}");
    }
    assert!(ran.stdout.contains("\npaddle2onnx-rs "), "{ran}");
}

/// A row as in PaddleClas' tables of models.
#[test]
fn a_row_of_a_table() {
    let ran = bench("--table --runs 1 --warmup 0 --batch 1,4 --no-reference");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let heading = "| Model | Runtime | Size | Latency (ms) bs=1 | Latency (ms) bs=4 |";
    assert_eq!(lines[..2], [heading, "| --- | --- | --- | ---: | ---: |"]);
    assert!(
        lines[2].starts_with("| ViT_base_patch16_224 | ONNX Runtime | 32 | "),
        "{ran}"
    );
    let cells = lines[2].trim_matches('|').split(" | ").skip(3);
    let times: Vec<f64> = cells.map(|cell| cell.trim().parse().unwrap()).collect();
    assert!(
        times.len() == 2 && times.iter().all(|time| *time > 0.0),
        "{ran}"
    );
    let both = bench("--table --runs 1 --warmup 0 --batch 1");
    assert!(
        both.stdout
            .contains("\n| ViT_base_patch16_224 | reference | 32 | "),
        "{both}"
    );
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.onnx");
    fs::write(&text, "no model").unwrap();
    is_refusal(
        &bench(&format!("--onnx {}", text.display())),
        &["text.onnx", "ONNX Runtime refuses"],
    );
    is_refusal(&bench("--shape y=1"), &["`y`", "--shape"]);
    is_refusal(&bench("--ort-lib /nowhere"), &["--ort-lib"]);
    let missing = run(command(["bench", "nowhere"]));
    is_refusal(&missing, &["nowhere"]);
    assert!(!Path::new("nowhere").exists());
}
