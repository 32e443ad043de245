//! `accuracy`: Top-1 and Top-5 on pictures, and where both sides differ.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use prost::Message;
use serde_json::Value;
use support::command::{Ran, is_refusal, names_in};
use support::fixture;
use support::onnx::decode;
use support::shell::{folder, json, paddle2onnx};

const IMAGES: [&str; 3] = ["high.png", "wide.jpg", "wide.png"];

/// The classes of each picture in the order of their scores, as `verify` shows them.
fn ranked(folder: &Path) -> Vec<Vec<u64>> {
    let paths = IMAGES.map(|name| format!("IMAGES/{name}")).join(" ");
    let report = json(&paddle2onnx(
        &format!("verify VIT --json --image {paths}"),
        folder,
    ));
    let runs = report["runs"].as_array().unwrap().iter();
    let classes = runs.map(|run| {
        let classes = run["top"][0]["sides"][0]["classes"]
            .as_array()
            .unwrap()
            .iter();
        classes
            .map(|class| class["index"].as_u64().unwrap())
            .collect()
    });
    classes.collect()
}

/// A class that is not among these.
fn other(classes: &[u64]) -> u64 {
    (0..11).find(|class| !classes.contains(class)).unwrap()
}

fn list(folder: &Path, lines: &[String]) {
    fs::write(folder.join("list.txt"), lines.join("\n")).unwrap();
}

fn accuracy(folder: &Path, arguments: &str) -> Ran {
    paddle2onnx(&format!("accuracy VIT {arguments}"), folder)
}

/// One picture is right, one among the five best, and one is wrong.
#[test]
fn right_and_wrong_are_counted() {
    let folder = folder();
    let ranked = ranked(folder.path());
    let classes = [ranked[0][0], ranked[1][4], other(&ranked[2])];
    let lines: Vec<String> = (IMAGES.iter().zip(classes))
        .map(|(name, class)| format!("{name} {class}"))
        .collect();
    list(folder.path(), &lines);
    let ran = accuracy(folder.path(), "--list DIR/list.txt --images IMAGES --json");
    assert_eq!(ran.code, Some(0), "{ran}");
    let report = json(&ran);
    assert_eq!(
        (&report["classes"], &report["unreadable"]),
        (&11.into(), &serde_json::json!([]))
    );
    for score in [
        &report["all"],
        &report["sample"]["reference"],
        &report["sample"]["onnx_runtime"],
    ] {
        let counts = ["pictures", "top1", "top5"].map(|key| score[key].as_u64().unwrap());
        assert_eq!(counts, [3, 1, 2], "{report}");
        approx::assert_relative_eq!(score["top1_percent"].as_f64().unwrap(), 100.0 / 3.0);
        assert!(score["pictures_per_second"].as_f64() > Some(0.0));
    }
    assert!(
        report["sample"]["max_abs"].as_f64() < Some(1e-5),
        "{report}"
    );
    assert_eq!(report["sample"]["differing"], serde_json::json!([]));

    let ran = accuracy(
        folder.path(),
        "--list DIR/list.txt --images IMAGES --sample 2",
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    let rows: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[1][..7],
        ["ONNX", "Runtime", "3", "33.33", "%", "66.67", "%"],
        "{ran}"
    );
    assert_eq!(rows[3][..3], ["reference,", "sample", "2"], "{ran}");
    assert!(
        ran.stdout
            .contains("Both take all 2 pictures of the sample for the same"),
        "{ran}"
    );
    let ran = accuracy(
        folder.path(),
        "--list DIR/list.txt --images IMAGES --sample 0 --json",
    );
    assert_eq!(json(&ran)["sample"], Value::Null);
}

/// A picture that is missing, or is none, is named, and the others are counted.
#[test]
fn pictures_that_can_not_be_read() {
    let folder = folder();
    let path = |name: &str| fixture("images").join(name).display().to_string();
    fs::write(folder.path().join("text.png"), "no picture").unwrap();
    let lines = [
        "nowhere.jpg 1".into(),
        format!("{} 2", path("wide.png")),
        "text.png 3".into(),
    ];
    list(folder.path(), &lines);
    let ran = accuracy(
        folder.path(),
        "--list DIR/list.txt --html DIR/page.html --json",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let report = json(&ran);
    assert_eq!(report["all"]["pictures"], 1);
    let unreadable = report["unreadable"].as_array().unwrap();
    for (picture, (name, line, words)) in unreadable.iter().zip([
        ("nowhere.jpg", 1, "could not open the picture"),
        ("text.png", 3, "could not read the picture"),
    ]) {
        assert!(
            picture["path"].as_str().unwrap().ends_with(name),
            "{picture}"
        );
        assert_eq!(picture["line"], line);
        assert!(
            picture["reason"].as_str().unwrap().contains(words),
            "{picture}"
        );
    }
    assert_eq!(unreadable.len(), 2);
    let text = accuracy(folder.path(), "--list DIR/list.txt");
    assert!(
        text.stdout
            .contains("\nPictures that could not be read: 2\n"),
        "{text}"
    );
    assert!(text.stdout.contains("nowhere.jpg (line 1): "), "{text}");
    let html = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(
        html.contains("text.png (line 3): ") && !html.contains("src="),
        "{html}"
    );

    list(
        folder.path(),
        &["nowhere.jpg 1".into(), "text.png 3".into()],
    );
    is_refusal(
        &accuracy(folder.path(), "--list DIR/list.txt"),
        &["none of the 2 pictures", "nowhere.jpg"],
    );
}

#[test]
fn a_folder_per_class() {
    let folder = folder();
    let ranked = ranked(folder.path());
    let pictures = folder.path().join("pictures");
    for (name, class) in IMAGES
        .iter()
        .zip([ranked[0][0], ranked[1][0], other(&ranked[2])])
    {
        let class = pictures.join(class.to_string());
        fs::create_dir_all(&class).unwrap();
        fs::copy(fixture("images").join(name), class.join(name)).unwrap();
        fs::write(class.join(".DS_Store"), "hidden").unwrap();
    }
    let report = json(&accuracy(folder.path(), "--images DIR/pictures --json"));
    assert_eq!(
        (&report["all"]["pictures"], &report["all"]["top1"]),
        (&3.into(), &2.into()),
        "{report}"
    );
    fs::create_dir(folder.path().join("empty")).unwrap();
    is_refusal(
        &accuracy(folder.path(), "--images DIR/empty"),
        &["empty", "one for each class"],
    );
}

/// An ONNX model that takes everything for one class, which the original takes nothing for.
#[test]
fn pictures_that_the_sides_take_for_different_things() {
    let folder = folder();
    let firsts: Vec<u64> = ranked(folder.path())
        .iter()
        .map(|classes| classes[0])
        .collect();
    let wrong = other(&firsts);
    let ran = paddle2onnx("convert VIT -o DIR/m.onnx", folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let onnx = folder.path().join("m.onnx");
    let mut model = decode(&onnx);
    let graph = model.graph.as_mut().unwrap();
    let mut biases = graph
        .initializer
        .iter_mut()
        .filter(|tensor| tensor.dims == [11]);
    let bias = (0..11).map(|class| if class == wrong { 9.0_f32 } else { 0.0 });
    biases.next().unwrap().raw_data = Some(bias.flat_map(f32::to_le_bytes).collect());
    assert!(biases.next().is_none());
    fs::write(&onnx, model.encode_to_vec()).unwrap();
    let lines: Vec<String> = IMAGES
        .iter()
        .map(|name| format!("{name} {wrong}"))
        .collect();
    list(folder.path(), &lines);
    fs::write(folder.path().join("labels.txt"), "cat <b>\n".repeat(11)).unwrap();
    let common = "--list DIR/list.txt --images IMAGES --onnx DIR/m.onnx --labels DIR/labels.txt";
    let ran = accuracy(
        folder.path(),
        &format!("{common} --html DIR/page.html --json"),
    );
    assert_eq!(ran.code, Some(1), "{ran}");
    let report = json(&ran);
    let sample = &report["sample"];
    assert_eq!(
        (
            &sample["onnx_runtime"]["top1"],
            &sample["reference"]["top1"]
        ),
        (&3.into(), &0.into())
    );
    let differing = sample["differing"].as_array().unwrap();
    assert_eq!(differing.len(), 3, "{report}");
    for picture in differing {
        let best = &picture["sides"][0]["classes"][0];
        assert_eq!(
            (&picture["class"], &best["index"]),
            (&wrong.into(), &wrong.into())
        );
        assert_eq!(best["label"], "cat <b>");
        assert!(picture["max_abs"].as_f64() > Some(0.5), "{picture}");
    }
    let html = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert_eq!(
        html.matches("<img alt=\"\" src=\"data:image/jpeg;base64,/9j/")
            .count(),
        3
    );
    assert!(
        html.contains("cat &lt;b&gt;") && !html.contains("http"),
        "{html}"
    );
    let text = accuracy(folder.path(), common);
    assert!(
        text.stdout
            .contains("3 of 3 pictures are taken for different things:"),
        "{text}"
    );
    assert!(
        text.stdout
            .contains(&format!("    ONNX Runtime: {wrong} (0.9")),
        "{text}"
    );
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let folder = folder();
    let refused = |lines: &[&str], arguments: &str, words: &[&str]| {
        fs::write(folder.path().join("list.txt"), lines.join("\n")).unwrap();
        let common = "--list DIR/list.txt --images IMAGES";
        is_refusal(
            &accuracy(folder.path(), &format!("{common} {arguments}")),
            words,
        );
    };
    let right = ["high.png 1"];
    refused(
        &["high.png 1", "wide.png 11"],
        "",
        &["wide.png", "line 2 of the list", "class 11", "0 to 10"],
    );
    refused(
        &["high.png 1", "wide.png"],
        "",
        &["list.txt", "line 2", "number of a class"],
    );
    refused(&[], "", &["names no picture"]);
    fs::write(folder.path().join("labels.txt"), "a\nb\n").unwrap();
    refused(
        &right,
        "--labels DIR/labels.txt",
        &["2 labels", "11 classes"],
    );
    refused(&right, "--html DIR/none/page.html", &["page.html"]);
    refused(&right, "--ort-lib /nowhere", &["--ort-lib"]);
    is_refusal(
        &accuracy(folder.path(), "--list DIR/nowhere.txt"),
        &["could not read the list"],
    );
    let detector = fixture("paddle-2.6.2/inputs/detector")
        .display()
        .to_string();
    let list = "--list DIR/list.txt --images IMAGES";
    fs::write(folder.path().join("list.txt"), right[0]).unwrap();
    is_refusal(
        &paddle2onnx(&format!("accuracy {detector} {list}"), folder.path()),
        &["a model with one input"],
    );
    assert_eq!(accuracy(folder.path(), "").code, Some(2));
    assert_eq!(names_in(folder.path()), ["labels.txt", "list.txt"]);
}
