//! Inputs and recorded outputs as people have them: arrays of other names, of 16 bits, of wrong types and shapes; and
//! what is said of inputs that a model does not take.

#![cfg(feature = "cli")]

mod support;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use support::command::is_refusal;
use support::fixture;
use support::shell::{folder, json, paddle2onnx};
use zip::ZipArchive;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A folder of a network of `fixtures/VERSION/inputs/`.
fn network(name: &str) -> String {
    fixture(&format!("paddle-2.6.2/inputs/{name}"))
        .display()
        .to_string()
}

/// Copies arrays of a recording to another archive: for each its name there, and the one that it gets.
fn renamed(from: &Path, to: &Path, names: &[(&str, &str)]) {
    let mut source = ZipArchive::new(File::open(from).unwrap()).unwrap();
    let mut target = ZipWriter::new(File::create(to).unwrap());
    for (from, to) in names {
        let options = SimpleFileOptions::default();
        target.start_file(format!("{to}.npy"), options).unwrap();
        let mut entry = source.by_name(&format!("{from}.npy")).unwrap();
        std::io::copy(&mut entry, &mut target).unwrap();
    }
    target.finish().unwrap();
}

/// Writes an archive with one array of zeros.
fn zeros(to: &Path, name: &str, descriptor: &str, shape: &str, bytes: usize) {
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend((header.len() as u16 + 1).to_le_bytes());
    array.extend(header.as_bytes());
    array.push(b'\n');
    array.resize(array.len() + bytes, 0);
    let mut target = ZipWriter::new(File::create(to).unwrap());
    target
        .start_file(format!("{name}.npy"), SimpleFileOptions::default())
        .unwrap();
    target.write_all(&array).unwrap();
    target.finish().unwrap();
}

const OUTPUT: &str = "save_infer_model/scale_0.tmp_0";

/// What `np.savez(file, *arrays)` writes is taken in its order, with a note.
#[test]
fn arrays_of_other_names_are_taken_in_order() {
    let folder = folder();
    let recorded = fixture("paddle-2.6.2/inputs/masked/run0.npz");
    let inputs = [
        ("ids", "arr_0"),
        ("attention_mask", "arr_1"),
        ("lengths", "arr_2"),
    ];
    renamed(&recorded, &folder.path().join("in.npz"), &inputs);
    renamed(&recorded, &folder.path().join("out.npz"), &[(OUTPUT, "y")]);
    let arguments = format!(
        "verify {} --inputs DIR/in.npz --expected DIR/out.npz --json",
        network("masked")
    );
    let ran = paddle2onnx(&arguments, folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let notes = serde_json::from_str::<Value>(&ran.stdout).unwrap()["notes"].clone();
    let notes: Vec<String> = serde_json::from_value(notes).unwrap();
    assert_eq!(notes.len(), 2, "{ran}");
    assert!(
        notes[0].ends_with("arr_0 as ids, arr_1 as attention_mask, arr_2 as lengths"),
        "{ran}"
    );
    assert!(notes[1].ends_with(&format!("y as {OUTPUT}")), "{ran}");
    for note in notes {
        assert!(ran.stderr.contains(&format!("note: {note}\n")), "{ran}");
    }
}

/// Arrays that don't fit in their order are refused with the reason.
#[test]
fn arrays_in_a_wrong_order_are_refused() {
    let folder = folder();
    let recorded = fixture("paddle-2.6.2/inputs/masked/run0.npz");
    let verify = format!("verify {} --inputs DIR/in.npz", network("masked"));
    for (names, words) in [
        (
            &[
                ("lengths", "arr_0"),
                ("attention_mask", "arr_1"),
                ("ids", "arr_2"),
            ][..],
            &[
                "in.npz",
                "no array `ids`",
                "`arr_0` is int64 [2] where `ids` is int64",
            ][..],
        ),
        (
            &[("ids", "arr_0"), ("attention_mask", "arr_1")],
            &["in.npz", "no array `ids`", "there are 2 where 3 are needed"],
        ),
        (
            &[("ids", "a"), ("attention_mask", "b"), ("lengths", "ids")],
            &["in.npz", "`ids` is at another place"],
        ),
    ] {
        renamed(&recorded, &folder.path().join("in.npz"), names);
        is_refusal(&paddle2onnx(&verify, folder.path()), words);
    }
}

/// Types of 16 bits and booleans, as Paddle's own `numpy()` gives them.
#[test]
fn arrays_of_16_bits_are_read() {
    for version in ["paddle-2.6.2", "paddle-3.3.1"] {
        let halves = fixture(&format!("{version}/inputs/halves"));
        let halves = halves.display();
        let runs = format!("{halves}/run0.npz {halves}/run1.npz");
        let arguments = format!("verify {halves} --json --inputs {runs} --expected {runs}");
        let ran = paddle2onnx(&arguments, Path::new(""));
        assert_eq!(ran.code, Some(0), "{ran}");
        let sides = &json(&ran)["runs"][1]["outputs"][1]["comparisons"];
        assert!(sides.to_string().contains("expected"), "{ran}");
    }
}

/// Wrong types and shapes are said in words of the model, before anything runs.
#[test]
fn arrays_that_do_not_fit_are_refused() {
    let folder = folder();
    let verify = format!("verify {} --inputs DIR/in.npz", network("pyramid"));
    for (descriptor, shape, bytes, words) in [
        (
            "<f8",
            "(1, 3, 32, 32)",
            8 * 3 * 1024,
            &["float64 [1, 3, 32, 32]", "array.astype(\"float32\")"][..],
        ),
        (
            "<u2",
            "(1, 3, 32, 32)",
            2 * 3 * 1024,
            &["bfloat16 [1, 3, 32, 32]", "float32"],
        ),
        (
            "<f4",
            "(3, 32, 32)",
            4 * 3 * 1024,
            &["float32 [3, 32, 32]", "[batch, 3, x_dim2, x_dim3]"],
        ),
        ("<c8", "(1, 3, 32, 32)", 8 * 3 * 1024, &["<c8", "not read"]),
        (
            "<f4",
            "(1, 3, 48, 64)",
            4 * 9 * 1024,
            &["elementwise_add", "`x` [1, 3, 48, 64]"],
        ),
        ("<f2", "(1, 3, 32, 32)", 3 * 1024, &["in.npz", "damaged"]),
    ] {
        zeros(&folder.path().join("in.npz"), "x", descriptor, shape, bytes);
        is_refusal(&paddle2onnx(&verify, folder.path()), words);
    }
}

/// What the program itself can't take is said by the reference, before ONNX Runtime has a word.
#[test]
fn the_reference_says_what_an_op_can_not_take() {
    let picked = network("picked");
    for (arguments, words) in [
        (
            format!("verify {picked} --shape x=5x8 --range dst=5..6 --batch 4"),
            &[
                "gather",
                "`dst` holds 5",
                "5 positions, which are 0 to 4",
                "--range dst=0..5",
            ][..],
        ),
        (
            format!("verify {} --shape x=1x3x48x64", network("pyramid")),
            &["elementwise_add", "`x` [1, 3, 48, 64]", "--shape x="],
        ),
        (
            format!("bench {} --shape x=1x3x48x64 --runs 1", network("pyramid")),
            &["elementwise_add", "--shape x="],
        ),
    ] {
        is_refusal(&paddle2onnx(&arguments, Path::new("")), words);
    }
    let ran = paddle2onnx(
        &format!("verify {picked} --range dst=0..9 -v"),
        Path::new(""),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
}

#[test]
fn a_batch_without_effect_is_noted() {
    let fixed = fixture("paddle-2.6.2/ops/divide/i32_signs.pdmodel");
    let ran = paddle2onnx(
        &format!("verify {} --batch 2", fixed.display()),
        Path::new(""),
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(
        ran.stderr.starts_with("note: --batch has no effect"),
        "{ran}"
    );
}
