//! `verify --image` and `verify --reference paddle`: what the command line shows of more than two
//! sides.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use ndarray_npy::NpzWriter;
use paddle2onnx::verify::read_npz;
use serde_json::Value;
use support::command::is_refusal;
use support::fixture;
use support::shell::{VIT, folder, json, paddle2onnx, shown};

const OUTPUT: &str = "save_infer_model/scale_0.tmp_0";

/// Names for the eleven classes of the small model.
fn write_labels(folder: &Path) {
    let names = (0..11).map(|number| format!("{number} class {number}, with a synonym or two\n"));
    fs::write(folder.join("labels"), names.collect::<String>()).unwrap();
}

#[test]
fn top_classes_stand_beside_each_other() {
    let folder = folder();
    write_labels(folder.path());
    let arguments = "verify VIT --image IMAGES/wide.png IMAGES/high.png --mean 0.5,0.5,0.5 \
                     --std 0.5,0.5,0.5 --labels DIR/labels";
    let text = shown(arguments, &folder);
    assert_snapshot!("verify_image", text);
    for line in text.lines().filter(|line| !line.contains("[FIXTURES]")) {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
}

#[test]
fn top_classes_as_json() {
    let folder = folder();
    write_labels(folder.path());
    let image = "verify VIT --json --image IMAGES/wide.png";
    let verified = json(&paddle2onnx(
        &format!("{image} --labels DIR/labels"),
        folder.path(),
    ));
    let top = &verified["runs"][0]["top"][0];
    assert_eq!(top["output"], OUTPUT);
    let sides: Vec<&Value> = top["sides"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&sides[0]["side"], &sides[1]["side"], sides.len()),
        (&"reference".into(), &"onnx_runtime".into(), 2)
    );
    for side in sides {
        let classes = side["classes"].as_array().unwrap();
        assert_eq!(classes.len(), 5);
        let scores = classes.iter().map(|class| class["score"].as_f64().unwrap());
        assert!(scores.is_sorted_by(|a, b| a >= b));
        let label = format!("class {}, with a synonym or two", classes[0]["index"]);
        assert_eq!(classes[0]["label"], label);
    }
    let verified = json(&paddle2onnx(image, folder.path()));
    let class = &verified["runs"][0]["top"][0]["sides"][0]["classes"][0];
    assert_eq!(class["label"], Value::Null);
    // Inputs that are no pictures have no top classes.
    let verified = json(&paddle2onnx("verify VIT --json --batch 1", folder.path()));
    assert_eq!(verified["runs"][0].get("top"), None);
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let folder = folder();
    let image = "verify VIT --image IMAGES/wide.png --labels DIR/labels";
    is_refusal(&paddle2onnx(image, folder.path()), &["labels", "read"]);
    fs::write(folder.path().join("labels"), "cat\ndog\n").unwrap();
    is_refusal(&paddle2onnx(image, folder.path()), &["2 labels", "11"]);
}

#[test]
fn wrong_usage() {
    let folder = folder();
    for arguments in [
        "verify VIT --shape 1x3x32x32",
        "verify VIT --shape x=1x0",
        "verify VIT --range x=2..1",
        "verify VIT --distribution cauchy",
        "verify VIT --shape x=1x3x32x32 --inputs VIT/batch1.npz",
        "verify VIT --image IMAGES/wide.png --inputs VIT/batch1.npz",
        "verify VIT --image IMAGES/wide.png --batch 2",
        "verify VIT --mean 0.5,0.5,0.5",
        "verify VIT --labels DIR/labels",
        "verify VIT --image IMAGES/wide.png --std 0,1,1",
        "verify VIT --python python3",
        "verify VIT --reference torch",
        "verify VIT --expected VIT/batch1.npz",
        "convert VIT -o DIR/m.onnx --shape x=1x3x32x32",
        "convert VIT -o DIR/m.onnx --image IMAGES/wide.png",
        "convert VIT -o DIR/m.onnx --reference paddle",
        "bench VIT --runs 0",
        "bench VIT --budget -1",
    ] {
        let ran = paddle2onnx(arguments, folder.path());
        assert_eq!(ran.code, Some(2), "{arguments}: {ran}");
        assert!(ran.stderr.contains("--help"), "{arguments}: {ran}");
    }
}

/// Writes an executable script that stands for Python.
#[cfg(unix)]
fn write_python(folder: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("python");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

const WITH_PADDLE: &str =
    "verify VIT --inputs VIT/batch1.npz --reference paddle --python DIR/python";

/// Writes the answer that a Python with Paddle would give, which is the recorded output.
#[cfg(unix)]
fn write_answer(folder: &Path, output: &str) {
    let recorded = read_npz(&fixture(VIT).join("batch1.npz"), &[OUTPUT]).unwrap();
    let elements = recorded[0].to_f64_vec().into_iter().map(|x| x as f32);
    let array = ndarray::Array2::from_shape_vec((1, 11), elements.collect()).unwrap();
    let mut archive = NpzWriter::new(fs::File::create(folder.join("answer.npz")).unwrap());
    let version = ndarray::Array1::from_vec(b"9.8.7".to_vec());
    archive.add_array("version", &version).unwrap();
    archive.add_array(output, &array).unwrap();
    archive.finish().unwrap();
}

/// The script gets the program, the weights and the inputs, and its answer is compared.
#[cfg(unix)]
#[test]
fn paddle_is_a_third_side() {
    let folder = folder();
    write_answer(folder.path(), &format!("0/{OUTPUT}"));
    let directory = folder.path().display();
    write_python(
        folder.path(),
        &format!(
            "cat > {directory}/question.npz\nshift 2\necho \"$@\" > {directory}/arguments\ncat {directory}/answer.npz"
        ),
    );
    let verified = json(&paddle2onnx(
        &format!("{WITH_PADDLE} --json"),
        folder.path(),
    ));
    assert_eq!(verified["paddle"], "9.8.7");
    assert_eq!(verified["verdict"], "parity");
    let comparisons = verified["runs"][0]["outputs"][0]["comparisons"].as_array();
    let sides: Vec<&Value> = comparisons.unwrap().iter().map(|c| &c["side"]).collect();
    assert_eq!(sides, ["onnx_runtime", "reference", "paddle"]);

    let vit = fixture(VIT);
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    let files = ["inference.pdmodel", "inference.pdiparams"].map(|name| vit.join(name));
    let expected = files.map(|file| file.display().to_string()).join(" ");
    assert_eq!(arguments.trim_end(), expected);
    let question = read_npz(&folder.path().join("question.npz"), &["0/x"]).unwrap();
    assert_eq!(question, read_npz(&vit.join("batch1.npz"), &["x"]).unwrap());

    let text = shown(WITH_PADDLE, &folder);
    assert!(text.contains("\nPaddle / exact  "), "{text}");
    assert!(text.contains(", Paddle 9.8.7\n"), "{text}");
}

#[cfg(unix)]
#[test]
fn what_is_wrong_with_paddle_is_said() {
    let folder = folder();
    let fails = |script: &str, words: &[&str]| {
        write_python(folder.path(), script);
        is_refusal(&paddle2onnx(WITH_PADDLE, folder.path()), words);
    };
    // `-S` leaves out site-packages, and Paddle with them.
    fails(
        "exec python3 -S \"$@\"",
        &["pip install paddlepaddle", "No module", "--python"],
    );
    fails(
        "printf 'trace\\n\\nInvalidArgument: no such op\\n' >&2; exit 1",
        &[
            "Paddle in",
            "exit status: 1",
            "trace InvalidArgument: no such op",
        ],
    );
    fails("kill -SEGV $$", &["signal: 11"]);
    fails("echo no archive", &["damaged"]);
    write_answer(folder.path(), "0/other");
    let directory = folder.path().display();
    fails(
        &format!("cat > /dev/null; cat {directory}/answer.npz"),
        &[OUTPUT, "0/other"],
    );
    fs::remove_file(folder.path().join("python")).unwrap();
    let ran = paddle2onnx(WITH_PADDLE, folder.path());
    is_refusal(&ran, &["could not start", "--python"]);
}

#[test]
fn weights_in_many_files_are_not_for_paddle() {
    let separate = fixture("paddle-2.6.2/layouts/separate");
    let arguments = format!("verify {} --reference paddle", separate.display());
    is_refusal(&paddle2onnx(&arguments, Path::new("")), &["one file"]);
}

/// Where a recorded output alone is off, no op is to blame.
#[test]
fn a_recorded_output_that_is_wrong_blames_no_op() {
    let folder = folder();
    let recorded = read_npz(&fixture(VIT).join("batch1.npz"), &[OUTPUT]).unwrap();
    let elements = recorded[0].to_f64_vec().into_iter().rev().map(|x| x as f32);
    let array = ndarray::Array2::from_shape_vec((1, 11), elements.collect()).unwrap();
    let file = fs::File::create(folder.path().join("wrong.npz")).unwrap();
    let mut archive = NpzWriter::new(file);
    archive.add_array(OUTPUT, &array).unwrap();
    archive.finish().unwrap();
    let arguments = "verify VIT --inputs VIT/batch1.npz --expected DIR/wrong.npz --json";
    let ran = paddle2onnx(arguments, folder.path());
    let verified = json(&ran);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert_eq!(verified["verdict"], "no_parity");
    assert_eq!(verified["per_op"], Value::Null);
    let remark = verified["remarks"][0].as_str().unwrap();
    assert!(
        remark.contains("Only the outputs that were recorded"),
        "{remark}"
    );
}
