//! What a converted model says of itself: where it comes from, what its inputs and outputs mean, whether it was verified,
//! and the shapes between its nodes.

#![cfg(feature = "cli")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use paddle2onnx::{Snapshot, Weights};
use prost::Message;
use sha2::{Digest, Sha256};
use support::command::{Ran, command, command_with_runtime, run};
use support::fixture;
use support::onnx::{convert, decode, proto};
use support::shell::{folder, json};

/// A small model with weights.
const MODEL: &str = "paddle-2.6.2/ops/conv2d/bias.pdmodel";

/// A copy of a model, and of its weights, in a folder.
fn copied(model: &str, folder: &Path) -> PathBuf {
    let source = fixture(model);
    let copy = folder.join(source.file_name().unwrap());
    fs::copy(&source, &copy).unwrap();
    let weights = source.with_extension("pdiparams");
    if weights.exists() {
        fs::copy(weights, copy.with_extension("pdiparams")).unwrap();
    }
    copy
}

/// A model and its settings in a folder.
fn with_settings(folder: &Path, settings: &[u8]) -> PathBuf {
    let model = copied(MODEL, folder);
    fs::write(model.with_extension("yml"), settings).unwrap();
    model
}

fn entries(model: &proto::ModelProto) -> BTreeMap<&str, &str> {
    let entries = model.metadata_props.iter();
    let map: BTreeMap<&str, &str> = entries.map(|e| (e.key(), e.value())).collect();
    assert_eq!(map.len(), model.metadata_props.len(), "keys are distinct");
    map
}

/// Converts without options.
fn converted(model: &Path) -> (Ran, proto::ModelProto) {
    let ran = run({
        let mut command = command(["convert"]);
        command.arg(model);
        command
    });
    assert_eq!(ran.code, Some(0), "{ran}");
    (ran, decode(&model.with_extension("onnx")))
}

/// Converts and verifies, with these arguments.
fn verified(model: &Path, arguments: &[&str]) -> Ran {
    let mut command = command_with_runtime(["convert", "--verify"]);
    command.arg(model).args(arguments);
    run(command)
}

#[test]
fn the_source_is_named() {
    let folder = folder();
    for (path, format) in [
        (MODEL, "ProgramDesc (Paddle 1.x and 2.x)"),
        (
            "paddle-3.3.1/ops/conv2d/bias.json",
            "PIR version 4 (Paddle 3)",
        ),
    ] {
        let output = folder.path().join("model.onnx");
        convert(&fixture(path), &output, 17, Weights::Auto);
        let model = decode(&output);
        let digest = Sha256::digest(fs::read(fixture(path)).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            ("paddle.format", format),
            ("paddle.program_sha256", digest.as_str()),
        ];
        assert_eq!(entries(&model), BTreeMap::from(expected));
    }
}

#[test]
fn settings_beside_the_program_are_kept() {
    let folder = folder();
    let settings = "\
PostProcess:
  name: CTCLabelDecode
  character_dict:
  - '!'
  - 疗
  - ' '
  - a
label_list:
- person
- jack-o'-lantern
";
    let model = with_settings(folder.path(), settings.as_bytes());
    let (ran, onnx) = converted(&model);
    assert_eq!(ran.stderr, "");
    let entries = entries(&onnx);
    assert_eq!(entries["paddle.inference_yml"], settings);
    assert_eq!(entries["character"], "!\n疗\n \na");
    assert_eq!(entries["names"], r"{0: 'person', 1: 'jack-o\'-lantern'}");
    // The same is in what `--json` prints.
    let mut command = command(["convert", "--json"]);
    let ran = run({
        command.arg(&model);
        command
    });
    let printed = json(&ran);
    let printed = printed["metadata"].as_object().unwrap();
    assert_eq!(printed.len(), entries.len());
    for (key, value) in entries {
        assert_eq!(printed[key], value, "{key}");
    }
}

/// What half precision says of itself is among the metadata that are listed.
#[test]
fn all_metadata_are_listed() {
    let folder = folder();
    let model = copied(MODEL, folder.path());
    let mut command = command(["convert", "--json", "--dtype", "float16"]);
    command.arg(&model);
    let printed = json(&run(command));
    let onnx = decode(&model.with_extension("onnx"));
    let entries = entries(&onnx);
    assert_eq!(entries["paddle2onnx_rs.dtype"], "float16");
    let expected = serde_json::to_value(entries).unwrap();
    assert_eq!(printed["metadata"], expected);
}

#[test]
fn settings_that_are_none_are_left_out_with_a_warning() {
    let folder = folder();
    for (settings, words) in [
        (
            &b"a: \xff"[..],
            "not; the ONNX model is without the settings",
        ),
        (&vec![b' '; (4 << 20) + 1], "4194304 bytes at most"),
    ] {
        let model = with_settings(folder.path(), settings);
        let (ran, onnx) = converted(&model);
        assert!(ran.stderr.starts_with("warning: "), "{ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains(".yml: "),
            "{ran}"
        );
        assert_eq!(entries(&onnx).len(), 2);
    }
}

#[test]
fn settings_that_are_understood_in_part_are_kept_whole() {
    let folder = folder();
    for (settings, words) in [
        ("character_dict: [a", "this is not YAML"),
        ("character_dict: [a, \"b\\n\"]", "a line each"),
    ] {
        let model = with_settings(folder.path(), settings.as_bytes());
        let (ran, onnx) = converted(&model);
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains(".yml: "),
            "{ran}"
        );
        let entries = entries(&onnx);
        assert_eq!(
            (entries.len(), entries["paddle.inference_yml"]),
            (3, settings)
        );
    }
}

#[test]
fn a_verification_that_passes_leaves_a_stamp_behind_the_same_bytes() {
    let folder = folder();
    let model = copied(MODEL, folder.path());
    let (_, plain) = converted(&model);
    let output = model.with_extension("onnx");
    let bytes = fs::read(&output).unwrap();
    let ran = verified(&model, &["--json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let stamped = fs::read(&output).unwrap();
    assert!(stamped.starts_with(&bytes) && stamped.len() > bytes.len());

    let stamped = decode(&output);
    let (before, after) = (entries(&plain), entries(&stamped));
    assert_eq!(after.len(), before.len() + 3);
    assert_eq!(after["verify.verdict"], "parity");
    let printed = json(&ran);
    assert_eq!(printed["metadata"]["verify.verdict"], "parity");
    assert_eq!(printed["bytes"], fs::metadata(&output).unwrap().len());
    let outputs = printed["verification"]["runs"].as_array().unwrap().iter();
    let largest = outputs
        .map(|run| &run["outputs"][0]["comparisons"])
        .flat_map(|comparisons| comparisons.as_array().unwrap())
        .filter(|comparison| comparison["side"] == "onnx_runtime")
        .map(|comparison| comparison["metrics"]["max_abs"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert!(largest > 0.0);
    assert_eq!(after["verify.max_abs_error"], format!("{largest:.2e}"));
    assert_eq!(plain.graph, stamped.graph);
    // ONNX Runtime reads it.
    let mut command = command_with_runtime(["verify", "--onnx"]);
    command.arg(&output).arg(&model);
    let ran = run(command);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(decode(&output), stamped, "verify leaves a model as it is");
}

#[test]
fn a_verification_that_does_not_pass_leaves_none() {
    let folder = folder();
    let random = "paddle-3.3.1/ops/uniform/wide.json";
    for (path, arguments, code) in [
        (MODEL, &["--atol", "0", "--rtol", "0"][..], 1),
        (random, &[], 3),
    ] {
        let model = copied(path, folder.path());
        let ran = verified(&model, arguments);
        assert_eq!(ran.code, Some(code), "{ran}");
        assert_eq!(entries(&decode(&model.with_extension("onnx"))).len(), 2);
    }
}

#[test]
fn weights_in_another_file_are_not_touched() {
    let folder = folder();
    let model = copied(MODEL, folder.path());
    let ran = verified(&model, &["--weights", "external", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let output = model.with_extension("onnx");
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let data = size(&output.with_extension("onnx.data"));
    assert_eq!(json(&ran)["bytes"], size(&output) + data);
    assert_eq!(entries(&decode(&output)).len(), 5);
}

fn stamp() -> Vec<(String, String)> {
    vec![("verify.verdict".to_owned(), "parity".to_owned())]
}

#[test]
fn a_model_that_was_changed_gets_no_stamp() {
    let folder = folder();
    let output = folder.path().join("model.onnx");
    assert!(Snapshot::of(&output).is_err());
    convert(&fixture(MODEL), &output, 17, Weights::Auto);
    let snapshot = Snapshot::of(&output).unwrap();
    let mut bytes = fs::read(&output).unwrap();
    bytes.extend(&[0x70, 0x01]);
    fs::write(&output, &bytes).unwrap();
    let error = snapshot.add_metadata(&stamp()).unwrap_err();
    assert!(error.to_string().contains("was changed since"), "{error}");
    assert_eq!(fs::read(&output).unwrap(), bytes);
    fs::remove_file(&output).unwrap();
    assert!(snapshot.add_metadata(&stamp()).is_err());
    assert!(!output.exists());
}

#[test]
fn a_model_that_would_become_too_large_gets_no_stamp() {
    let folder = folder();
    let output = folder.path().join("model.onnx");
    // A sparse file, which takes no room.
    let size = i32::MAX as u64 - 10;
    File::create(&output).unwrap().set_len(size).unwrap();
    let error = Snapshot::of(&output).unwrap().add_metadata(&stamp());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("protobuf allows"), "{error}");
    assert_eq!(fs::metadata(&output).unwrap().len(), size);
}

/// The disk takes a part of the stamp: the model stays as it was, which the user is told.
#[cfg(unix)]
#[test]
fn a_stamp_that_does_not_fit_leaves_the_model_whole() {
    const BLOCK: u64 = 512;
    let folder = folder();
    let settings = |length: u64| "#".repeat(usize::try_from(length).unwrap());
    let model = with_settings(folder.path(), settings(2 * BLOCK).as_bytes());
    let output = model.with_extension("onnx");
    converted(&model);
    // The file that is to be written ends 20 bytes before the limit.
    let size = fs::metadata(&output).unwrap().len() + BLOCK;
    let blocks = size.div_ceil(BLOCK);
    let more = blocks * BLOCK - 20 - (size - BLOCK);
    with_settings(folder.path(), settings(2 * BLOCK + more).as_bytes());
    let (_, whole) = converted(&model);
    let bytes = fs::read(&output).unwrap();
    assert_eq!(bytes.len() as u64, blocks * BLOCK - 20);
    fs::remove_file(&output).unwrap();

    let program = assert_cmd::cargo::cargo_bin!("paddle2onnx-rs");
    let mut command = assert_cmd::Command::new("python3");
    // The limit counts in bytes there, and the signal of files that are too large is ignored.
    command
        .env("ORT_DYLIB_PATH", support::onnx_runtime())
        .args(["-c", LIMITED])
        .arg((blocks * BLOCK).to_string())
        .arg(program)
        .args(["convert", "--verify"])
        .arg(&model);
    let ran = run(command);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(
        ran.stderr.contains("does not say that it was verified"),
        "{ran}"
    );
    assert!(fs::read(&output).unwrap() == bytes);
    assert_eq!(entries(&whole).len(), 3);
}

/// Runs a program that may write no file above a size.
#[cfg(unix)]
const LIMITED: &str = "\
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
";

/// Whoever stops a verification finds the whole model, without a stamp.
#[test]
fn a_verification_that_can_not_be_made_leaves_the_model_whole() {
    let folder = folder();
    let model = copied(MODEL, folder.path());
    let missing = folder.path().join("missing.npz");
    let ran = verified(&model, &["--inputs", missing.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{ran}");
    let bytes = fs::read(model.with_extension("onnx")).unwrap();
    let onnx = proto::ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(entries(&onnx).len(), 2);
}
