//! Where `convert` writes: a file, a folder, standard output, and a tree of folders for a tree of models.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::command::{Ran, command, copy_of, is_refusal, names_in};
use support::fixture;
use support::large::write_model;
use support::shell::{VIT, folder, json, paddle2onnx};

/// Converts to standard output, and returns the exit code, stdout and stderr.
fn to_stdout(model: &Path, arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = command(["convert", "-o", "-"]);
    let output = command.arg(model).args(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), output.stdout, stderr)
}

#[test]
fn stdout_gets_the_model_and_nothing_else() {
    let folder = folder();
    let ran = paddle2onnx("convert VIT -o DIR/m.onnx --opset 18", folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let (code, model, stderr) = to_stdout(&fixture(VIT), &["--opset", "18"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(model == fs::read(folder.path().join("m.onnx")).unwrap());
    // Notes go to stderr.
    let noted = fixture("paddle-2.6.2/ops/squeeze/open.pdmodel");
    let (code, model, stderr) = to_stdout(&noted, &[]);
    assert!(
        stderr.starts_with("note: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(code == Some(0) && model.starts_with(b"\x08"), "{code:?}");
}

#[test]
fn stdout_takes_one_whole_model() {
    let vit = fixture(VIT);
    for (arguments, words) in [
        (&["--weights", "external"][..], "would need a second file"),
        (&["--weights", "link"], "--weights link"),
        (&["--json"], "--json"),
        (&["--verify"], "--verify"),
        (&["--recursive"], "name a folder"),
    ] {
        let (code, stdout, stderr) = to_stdout(&vit, arguments);
        assert_eq!(
            (code, stdout.len()),
            (Some(2), 0),
            "{arguments:?}: {stderr}"
        );
        assert!(
            stderr.contains("--output -") && stderr.contains(words),
            "{stderr}"
        );
    }
    let (code, stdout, stderr) = to_stdout(&fixture("paddle-3.3.1/unusual/complex"), &[]);
    assert_eq!((code, stdout.len()), (Some(2), 0), "{stderr}");
    let folder = folder();
    write_model(folder.path());
    let (code, stdout, stderr) = to_stdout(folder.path(), &[]);
    assert_eq!((code, stdout.len()), (Some(2), 0), "{stderr}");
    assert!(
        stderr.contains("protobuf allows 2147483647 in one file"),
        "{stderr}"
    );
    assert!(!Path::new("-").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_gets_no_model() {
    use std::process::{Command, Stdio};

    // `script` runs the command on a terminal of its own, and writes to stdout what appears there.
    let binary = assert_cmd::cargo::cargo_bin!("paddle2onnx-rs");
    let line = format!(
        "'{}' convert '{}' -o - --color never",
        binary.display(),
        fixture(VIT).display()
    );
    let script = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&script.stdout);
    assert_eq!(script.status.code(), Some(2), "{shown}");
    assert!(
        shown.starts_with("error: --output - writes") && shown.contains("a terminal"),
        "{shown}"
    );
}

#[test]
fn a_folder_gets_the_model_under_its_own_name() {
    let folder = folder();
    for (model, name) in [
        ("VIT".to_owned(), "inference.onnx"),
        (
            fixture("paddle-2.6.2/layouts/separate")
                .display()
                .to_string(),
            "model.onnx",
        ),
    ] {
        for end in ["", "/"] {
            let ran = paddle2onnx(
                &format!("convert {model} --json -o DIR{end}"),
                folder.path(),
            );
            let output = folder.path().join(name);
            assert_eq!(json(&ran)["output"], output.to_str().unwrap());
            fs::remove_file(output).unwrap();
        }
    }
    is_refusal(
        &paddle2onnx("convert VIT -o DIR/none/", folder.path()),
        &["none/: there is no such folder"],
    );
    assert_eq!(names_in(folder.path()), [""; 0]);
}

/// A folder with models of both formats and of Paddle 1, beside other files, in `DIR/models`.
fn tree(folder: &Path) {
    let models = folder.join("models");
    fs::create_dir_all(models.join("deep/er/empty")).unwrap();
    copy_of(VIT, &models);
    copy_of(
        "paddle-3.3.1/vit/ViT_base_patch16_384",
        &models.join("deep"),
    );
    copy_of("paddle-2.6.2/layouts/separate", &models.join("deep/er"));
    fs::write(models.join("deep/package.json"), "{\"name\": \"x\"}").unwrap();
    fs::write(models.join("deep/readme.md"), "text").unwrap();
}

fn entries(summary: &Value) -> Vec<(String, Option<String>)> {
    let models = summary["models"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entries = models.map(|model| (text(&model["program"]).unwrap(), text(&model["output"])));
    entries.collect()
}

#[test]
fn a_tree_of_models_becomes_a_tree() {
    let folder = folder();
    tree(folder.path());
    let ran = paddle2onnx(
        "convert DIR/models --recursive -o DIR/out --json",
        folder.path(),
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let summary = json(&ran);
    assert_eq!(
        (&summary["converted"], &summary["failed"]),
        (&3.into(), &0.into())
    );
    let path = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
    let pairs = [
        (
            "ViT_base_patch16_224/inference.pdmodel",
            "ViT_base_patch16_224/inference.onnx",
        ),
        (
            "deep/ViT_base_patch16_384/inference.json",
            "deep/ViT_base_patch16_384/inference.onnx",
        ),
        ("deep/er/separate/__model__", "deep/er/separate/model.onnx"),
    ];
    let expected = pairs.map(|(program, output)| {
        (
            path(&format!("models/{program}")),
            Some(path(&format!("out/{output}"))),
        )
    });
    assert_eq!(entries(&summary), expected);
    for model in summary["models"].as_array().unwrap() {
        assert_eq!(model.get("error"), None);
        assert!(model["nodes"].as_u64() > Some(3), "{model}");
        let written = fs::metadata(model["output"].as_str().unwrap()).unwrap();
        assert_eq!(model["bytes"], written.len());
    }
    // The same as each of them alone.
    let alone = paddle2onnx("convert VIT -o DIR/alone.onnx", folder.path());
    assert_eq!(alone.code, Some(0), "{alone}");
    let in_tree = folder
        .path()
        .join("out/ViT_base_patch16_224/inference.onnx");
    assert!(fs::read(in_tree).unwrap() == fs::read(folder.path().join("alone.onnx")).unwrap());

    let ran = paddle2onnx("convert DIR/models -r -o DIR/out", folder.path());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("model  ") && lines.len() == 6, "{ran}");
    for (line, (program, _)) in lines[1..].iter().zip(pairs) {
        assert!(
            line.contains("  converted") && line.chars().count() <= 80,
            "{ran}"
        );
        let end = &program[program.len() - 20..];
        assert!(line.contains(end), "{ran}");
    }
    assert!(
        lines[5].starts_with("3 models in ") && lines[5].ends_with("3 converted, 0 failed"),
        "{ran}"
    );
    let ran = paddle2onnx("convert DIR/models -r -q", folder.path());
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "", ""),
        "{ran}"
    );
    assert!(
        folder
            .path()
            .join("models/deep/er/separate/model.onnx")
            .exists(),
        "beside the program"
    );
}

/// What fails alone is named, and the others are converted all the same.
#[test]
fn failures_in_a_tree() {
    let folder = folder();
    tree(folder.path());
    let models = folder.path().join("models");
    fs::create_dir(models.join("bad")).unwrap();
    fs::write(models.join("bad/inference.pdmodel"), "no model").unwrap();
    // Both would become inference.onnx.
    let both = models.join("deep/ViT_base_patch16_384");
    fs::copy(
        models.join("ViT_base_patch16_224/inference.pdmodel"),
        both.join("inference.pdmodel"),
    )
    .unwrap();
    let ran = paddle2onnx("convert DIR/models --recursive -o DIR/out", folder.path());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stdout.ends_with(": 2 converted, 3 failed\n"), "{ran}");
    let failed: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| line.contains("  failed: "))
        .collect();
    assert_eq!(failed.len(), 3, "{ran}");
    assert!(failed[0].starts_with("bad/inference.pdmodel "), "{ran}");
    for (line, rival) in failed[1..]
        .iter()
        .zip(["inference.pdmodel", "inference.json"])
    {
        let words = format!("{rival} would be written to the same file, ");
        assert!(line.contains(&words), "{ran}");
    }
    assert_eq!(
        names_in(&folder.path().join("out")),
        ["ViT_base_patch16_224", "deep"]
    );
    assert_eq!(names_in(&folder.path().join("out/deep")), ["er"]);

    let ran = paddle2onnx(
        "convert DIR/models --recursive -o DIR/out --json",
        folder.path(),
    );
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, &summary["failed"]),
        (Some(1), &3.into()),
        "{ran}"
    );
    let errors = summary["models"].as_array().unwrap().iter();
    assert_eq!(
        errors.filter(|model| model["error"].is_string()).count(),
        3,
        "{ran}"
    );
    let quiet = paddle2onnx(
        "convert DIR/models --recursive -o DIR/out -q",
        folder.path(),
    );
    assert_eq!(
        (quiet.code, quiet.stdout.matches("failed: ").count()),
        (Some(1), 3),
        "{quiet}"
    );
    assert!(!quiet.stdout.contains("  converted"), "{quiet}");
}

#[test]
fn trees_without_models() {
    let folder = folder();
    let refused = |arguments: &str, words: &[&str]| {
        is_refusal(&paddle2onnx(arguments, folder.path()), words);
    };
    refused(
        "convert DIR -r",
        &["no Paddle model in the folder or below it"],
    );
    refused("convert DIR/none -r", &["none: could not list the folder"]);
    refused(
        "convert VIT -r -o VIT/inference.pdmodel",
        &["could not create the folder"],
    );
    for arguments in ["--verify", "--check", "--params x"] {
        let ran: Ran = paddle2onnx(&format!("convert VIT -r {arguments}"), folder.path());
        assert_eq!(ran.code, Some(2), "{ran}");
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
}
