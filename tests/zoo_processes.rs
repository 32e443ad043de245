//! `zoo run` and its worker processes: one that is killed fails its model alone, and none outlives
//! the run.

#![cfg(all(target_os = "linux", feature = "cli"))]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::command::{Ran, names_in};
use support::large::write_model;
use support::{fixture, onnx_runtime};
use tempfile::TempDir;

/// Longer than anything here takes, and too short to fill a disk.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a manifest: a model that takes forever between two small ones.
fn setup() -> TempDir {
    // This is not the system's folder for temporary files, since that may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(folder.path().join("large")).unwrap();
    write_model(&folder.path().join("large"));
    let small = |name: &str| format!("[[model]]\npath = '{}'\n", fixture(name).display());
    let manifest = small("paddle-3.3.1/vit/ViT_base_patch16_224")
        + "[[model]]\npath = 'large'\n"
        + &small("paddle-3.3.1/vit/ViT_base_patch16_384");
    fs::write(folder.path().join("zoo.toml"), manifest).unwrap();
    folder
}

/// Starts a run, whose models are kept in `folder`.
fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"))
        .args(["zoo", "run", "--json", "--jobs", "2"])
        .arg(folder.join("zoo.toml"))
        .arg("--keep")
        .arg(folder.join("kept"))
        .args(arguments)
        .env("ORT_DYLIB_PATH", onnx_runtime())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the worker of the large model is at work, and returns its process id.
fn large_worker(zoo: &mut Child) -> u32 {
    let start = Instant::now();
    loop {
        if let Some(worker) = children(zoo.id()).into_iter().find(|id| is_at_work(*id)) {
            return worker;
        }
        if start.elapsed() > PATIENCE {
            zoo.kill().unwrap();
            panic!("no worker came");
        }
        sleep(Duration::from_millis(2));
    }
}

/// Whether a process is the worker of the large model, and has its weights open.
fn is_at_work(id: u32) -> bool {
    let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let files = fs::read_dir(format!("/proc/{id}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut opened = files.filter_map(|file| fs::read_link(file.path()).ok());
    arguments.ends_with(b"/large\0") && opened.any(|path| path.ends_with("large.pdiparams"))
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // The name, in parentheses, is followed by the state and the parent.
    let parent_of = |id: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    ids.filter(|id| parent_of(id) == Some(parent)).collect()
}

fn signal(name: &str, id: u32) {
    let id = id.to_string();
    let status = Command::new("kill").args(["-s", name, &id]).status();
    assert!(status.unwrap().success());
}

fn statuses(ran: &Ran) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"));
    let results = report["results"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    results
        .map(|result| (text(&result["status"]), text(&result["message"])))
        .collect()
}

fn finish(zoo: Child) -> Ran {
    Ran::from(zoo.wait_with_output().unwrap())
}

/// Results are printed as they come, not at the end.
#[test]
fn results_are_printed_while_others_are_waited_for() {
    let folder = setup();
    let mut zoo = Command::new(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"))
        .args(["zoo", "run", "--jobs", "1"])
        .arg(folder.path().join("zoo.toml"))
        .env("ORT_DYLIB_PATH", onnx_runtime())
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The model that takes forever is the second one.
    let mut lines = BufReader::new(zoo.stdout.take().unwrap()).lines();
    let starts = ["model  ", "ViT_base_patch16_224  "];
    for start in starts {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with(start), "{line}");
    }
    large_worker(&mut zoo);
    signal("TERM", zoo.id());
    assert!(lines.next().is_none());
    let ran = finish(zoo);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(130), "error: interrupted\n"),
        "{ran}"
    );
}

#[test]
fn a_killed_worker_fails_alone() {
    let folder = setup();
    let mut zoo = start(folder.path(), &[]);
    signal("KILL", large_worker(&mut zoo));
    let ran = finish(zoo);
    assert_eq!(ran.code, Some(1), "{ran}");
    let [first, large, last] = statuses(&ran).try_into().unwrap();
    assert_eq!(
        (first.0.as_str(), last.0.as_str()),
        ("passed", "passed"),
        "{ran}"
    );
    assert_eq!(large.0, "crashed", "{ran}");
    assert!(large.1.starts_with("killed by signal 9"), "{ran}");
    let kept = [
        "ViT_base_patch16_224-opset17.onnx",
        "ViT_base_patch16_384-opset17.onnx",
    ];
    assert_eq!(names_in(&folder.path().join("kept")), kept);
}

#[test]
fn an_endless_worker_is_ended_alone() {
    let folder = setup();
    let manifest = folder.path().join("zoo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let limited = text.replace("path = 'large'", "path = 'large'\ntimeout = 0.2");
    fs::write(&manifest, limited).unwrap();
    let ran = finish(start(folder.path(), &[]));
    assert_eq!(ran.code, Some(1), "{ran}");
    let words = statuses(&ran);
    let words: Vec<&str> = words.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(words, ["passed", "timed_out", "passed"], "{ran}");
}

#[test]
fn a_signal_ends_all_and_leaves_nothing() {
    let folder = setup();
    let html = folder.path().join("zoo.html");
    let mut zoo = start(folder.path(), &["--html", html.to_str().unwrap()]);
    let worker = large_worker(&mut zoo);
    signal("TERM", zoo.id());
    let ran = finish(zoo);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran}");
    assert_eq!(ran.stderr, "error: interrupted\n");
    assert!(!is_at_work(worker));
    let kept = names_in(&folder.path().join("kept"));
    assert!(
        kept.iter()
            .all(|name| !name.starts_with('.') && name.ends_with(".onnx")),
        "{kept:?}"
    );
    assert_eq!(names_in(folder.path()), ["kept", "large", "zoo.toml"]);
}
