//! `zoo run`: manifests, the results of their models, and the reports of these.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::{Value, json};
use support::command::{Ran, command_with_runtime, names_in, run};
use support::fixture;
use tempfile::TempDir;

const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes a manifest, in which `FIXTURES` stands for the folder of fixtures, and returns its path.
fn manifest(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("zoo.toml");
    let fixtures = fixture("").into_os_string().into_string().unwrap();
    fs::write(&path, text.replace("FIXTURES/", &fixtures)).unwrap();
    path
}

/// Runs a manifest; the arguments are separated by spaces, `DIR` stands for the manifest's folder.
fn zoo(manifest: &Path, arguments: &str) -> Ran {
    let folder = manifest.parent().unwrap().to_str().unwrap();
    let mut words = vec!["zoo".to_owned(), "run".to_owned()];
    words.push(manifest.to_str().unwrap().to_owned());
    words.extend(
        arguments
            .split_ascii_whitespace()
            .map(|word| word.replace("DIR", folder)),
    );
    run(command_with_runtime(words))
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "", "{ran}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

/// Name and status of every result.
fn statuses(report: &Value) -> Vec<(&str, &str)> {
    let results = report["results"].as_array().unwrap().iter();
    results
        .map(|result| {
            (
                result["name"].as_str().unwrap(),
                result["status"].as_str().unwrap(),
            )
        })
        .collect()
}

/// Two small vision transformers.
const TWO: &str = "
[defaults]
expected = ['batch1.npz', 'batch3.npz']
[[model]]
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_*'
";

#[test]
fn help() {
    let words = |text: &str| run(command_with_runtime(text.split_ascii_whitespace())).to_string();
    assert_snapshot!("help_zoo", words("zoo --help"));
    assert_snapshot!("help_zoo_run", words("zoo run --help"));
}

/// The committed manifest, in every form of output.
#[test]
fn the_committed_models_are_as_expected() {
    let folder = folder();
    let (junit, html) = (
        folder.path().join("zoo.xml"),
        folder.path().join("zoo.html"),
    );
    let arguments = format!("--junit {} --html {}", junit.display(), html.display());
    let ran = zoo(&fixture("zoo.toml"), &arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    assert!(ran.stdout.ends_with("\nAll as expected\n"), "{ran}");
    for line in ran.stdout.lines() {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
    let results = ran
        .stdout
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .count();
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "));
    assert_eq!(junit.matches("<testcase ").count(), results);
    assert_eq!(junit.matches("<skipped ").count(), 0);
    assert!(
        !junit.contains("<failure") && !junit.contains("<error"),
        "{junit}"
    );
    let html = fs::read_to_string(html).unwrap();
    assert_eq!(html.matches("<details>").count(), results);
    assert!(html.contains("All as expected"), "{html}");
    for outside in ["http:", "https:", "src=", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(names_in(folder.path()), ["zoo.html", "zoo.xml"]);
}

#[test]
fn results_as_json() {
    let folder = folder();
    let manifest = manifest(folder.path(), TWO);
    let report = json(&zoo(&manifest, "--json --jobs 2 --keep DIR/kept"));
    assert_eq!(report["version"], 1);
    assert_eq!(report["passed"], true);
    assert!(report["onnx_runtime"].is_string());
    let names = ["ViT_base_patch16_224", "ViT_base_patch16_384"];
    assert_eq!(statuses(&report), names.map(|name| (name, "passed")));
    let result = &report["results"][0];
    assert_eq!(result["opset"], 17);
    assert!(result["nodes"].as_u64() > Some(10), "{result}");
    let pairs = result["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        assert!(pair["max_abs"].as_f64() < Some(1e-5), "{pair}");
        assert_eq!(
            (&pair["argmax_same"], &pair["argmax_rows"]),
            (&json!(4), &json!(4))
        );
    }
    let kept = names_in(&folder.path().join("kept"));
    assert_eq!(kept, names.map(|name| format!("{name}-opset17.onnx")));
}

/// There is one run per shape, so that the outputs have as many rows as the batches have elements together.
#[test]
fn random_inputs_have_the_shapes_that_are_asked_for() {
    let folder = folder();
    let text = format!(
        "[[model]]\npath = 'FIXTURES/{VIT}'\nshapes = ['x=4x3x32x32', 'x=2x3x32x32']\n\
         ranges = ['x=-1..1']\nseed = 3\n"
    );
    let manifest = manifest(folder.path(), &text);
    let ran = zoo(&manifest, "--json");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(json(&ran)["results"][0]["pairs"][0]["argmax_rows"], 6);
    fs::write(
        &manifest,
        fs::read_to_string(&manifest)
            .unwrap()
            .replace("'x=4", "'y=4"),
    )
    .unwrap();
    let ran = zoo(&manifest, "--json");
    assert_eq!(ran.code, Some(1), "{ran}");
    let message = json(&ran)["results"][0]["message"].to_string();
    assert!(message.contains("there is no input `y`"), "{message}");
}

#[test]
fn models_are_selected_by_name() {
    let folder = folder();
    let manifest = manifest(folder.path(), TWO);
    let report = json(&zoo(&manifest, "*_384 --json"));
    assert_eq!(statuses(&report), [("ViT_base_patch16_384", "passed")]);
    for (pattern, words) in [
        ("ResNet", "no model of the manifest is called `ResNet`"),
        ("[", "not a pattern"),
    ] {
        let ran = zoo(&manifest, pattern);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.contains(words), "{ran}");
    }
}

/// Each wrong manifest is refused with the line of the mistake, and a message that has these words.
#[test]
fn manifests_that_are_wrong() {
    let path = format!("path = 'FIXTURES/{VIT}'\n");
    let with = |text: &str| format!("[[model]]\n{path}{text}\n");
    let folder = folder();
    for (text, line, words) in [
        (String::new(), None, "the manifest names no model"),
        ("[[model]".into(), Some(1), ""),
        ("[[model]]\n".into(), Some(1), "the model has no `path`"),
        (
            "[[models]]\npath = 'x'".into(),
            Some(1),
            "unknown field `models`",
        ),
        (with("opset = [17]"), Some(3), "unknown field `opset`"),
        (with("opsets = 17"), Some(3), "invalid type"),
        (
            with("opsets = [10]"),
            Some(1),
            "opset 10 can't be written, only 11 to 21",
        ),
        (with("opsets = []"), Some(1), "`opsets` is empty"),
        (with("batches = [0]"), Some(3), "nonzero"),
        (
            with("atol = -1"),
            Some(1),
            "`atol` must be a number of 0 or more",
        ),
        (
            with("limits = { max_abs = nan }"),
            Some(1),
            "`limits.max_abs` must be",
        ),
        (
            with("seed = 1\nexpected = ['batch1.npz']"),
            Some(1),
            "no meaning",
        ),
        (
            with("expected = ['batch2.npz']"),
            Some(1),
            "nothing matches `batch2.npz` in ",
        ),
        (
            with("expected = ['*.npz']\ninputs = ['batch1.npz']"),
            Some(1),
            "1 files of `inputs` for 2",
        ),
        (
            with("fails_with = 'x'"),
            Some(1),
            "`fails_with` needs `fails`",
        ),
        (with("name = '../x'"), Some(1), "`../x` is no name"),
        (with("timeout = 'long'"), Some(3), "invalid type"),
        (
            with("") + &with(""),
            Some(4),
            "are both called `ViT_base_patch16_224` at opset 17",
        ),
        (
            "\n[defaults]\npath = 'x'".into(),
            Some(2),
            "`path` belongs to a [[model]]",
        ),
        (
            "[[model]]\npath = 'none/*'".into(),
            Some(1),
            "nothing matches `none/*`",
        ),
        ("[[model]]\npath = '***'".into(), Some(1), "is no path"),
        (
            "[[model]]\npath = 'x'\noptional = true".into(),
            None,
            "names no model",
        ),
        (
            "[baseline]\nerror = 1".into(),
            Some(2),
            "unknown field `error`",
        ),
    ] {
        let manifest = manifest(folder.path(), &text);
        let ran = zoo(&manifest, "");
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{text}: {ran}"
        );
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        let start = format!("error: {}: {line}", manifest.display());
        assert!(ran.stderr.starts_with(&start), "{text}: {ran}");
        assert!(ran.stderr.contains(words), "{text}: {ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{text}: {ran}");
    }
    let ran = zoo(&folder.path().join("none.toml"), "");
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("could not read the manifest"), "{ran}");
}

/// A model that does not do what the manifest expects fails, with a reason; one that does is no failure.
#[test]
fn expectations() {
    let folder = folder();
    let manifest = manifest(
        folder.path(),
        "
[[model]]
name = 'expected'
path = 'FIXTURES/paddle-3.3.1/unusual/complex'
fails = 'control flow'
fails_with = 'as_real'
[[model]]
name = 'other message'
path = 'FIXTURES/paddle-3.3.1/unusual/complex'
fails = 'control flow'
fails_with = 'out of memory'
[[model]]
name = 'unsupported'
path = 'FIXTURES/paddle-3.3.1/unusual/complex'
[[model]]
name = 'unexpected'
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_224'
fails = 'it converts'
[[model]]
name = 'no parity'
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_224'
atol = 0
rtol = 0
[[model]]
name = 'limits'
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_224'
limits = { max_abs = 1e-12, nodes = 3 }
",
    );
    let ran = zoo(&manifest, "--json --junit DIR/zoo.xml");
    assert_eq!(ran.code, Some(1), "{ran}");
    let report = json(&ran);
    assert_eq!(report["passed"], false);
    let expected = [
        ("expected", "expected_failure", "control flow"),
        (
            "other message",
            "failed",
            "it fails without saying `out of memory`: ",
        ),
        ("unsupported", "failed", "`paddle.as_real`"),
        ("unexpected", "unexpected_pass", "it converts, though"),
        (
            "no parity",
            "failed",
            "no parity: ONNX Runtime / reference, `",
        ),
        (
            "limits",
            "failed",
            "exceeds the limit of 1e-12; 73 nodes exceed the limit of 3",
        ),
    ];
    for ((name, status, words), result) in
        expected.iter().zip(report["results"].as_array().unwrap())
    {
        assert_eq!(
            (&result["name"], &result["status"]),
            (&json!(name), &json!(status)),
            "{result}"
        );
        assert!(
            result["message"].as_str().unwrap().contains(words),
            "{result}"
        );
    }
    let junit = fs::read_to_string(folder.path().join("zoo.xml")).unwrap();
    assert_eq!(junit.matches("<failure ").count(), 5, "{junit}");
    let text = zoo(&manifest, "unexpected limits");
    assert_eq!(text.code, Some(1), "{text}");
    assert!(
        text.stdout
            .contains("\nlimits at opset 17 failed: max abs "),
        "{text}"
    );
    assert!(
        text.stdout
            .ends_with("1 failed, 1 passed unexpectedly\nNot as expected\n"),
        "{text}"
    );
}

#[test]
fn what_takes_too_long_is_ended() {
    let folder = folder();
    let manifest = manifest(folder.path(), TWO);
    let ran = zoo(&manifest, "--json --timeout 0.001");
    assert_eq!(ran.code, Some(1), "{ran}");
    let report = json(&ran);
    assert!(
        statuses(&report)
            .iter()
            .all(|(_, status)| *status == "timed_out"),
        "{report}"
    );
    for wrong in [
        "--timeout=0",
        "--timeout=-1",
        "--timeout=x",
        "--timeout=inf",
        "--jobs=0",
    ] {
        let ran = zoo(&manifest, wrong);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{wrong}: {ran}"
        );
    }
}

#[test]
fn an_earlier_run_is_a_baseline() {
    let folder = folder();
    let manifest = manifest(
        folder.path(),
        &format!("{TWO}[baseline]\nerror_floor = 0\ntime_floor = 0\ntime_factor = 50"),
    );
    let baseline = folder.path().join("baseline.json");
    let against = |value: &Value, arguments: &str| {
        fs::write(&baseline, value.to_string()).unwrap();
        let ran = zoo(
            &manifest,
            &format!("--json --baseline DIR/baseline.json {arguments}"),
        );
        (ran.code, json(&ran))
    };
    let before = json(&zoo(&manifest, "--json"));
    let (code, report) = against(&before, "");
    assert_eq!((code, &report["regressions"]), (Some(0), &json!([])));

    let mut better = before.clone();
    better["results"][0]["nodes"] = json!(60);
    for pair in better["results"][0]["pairs"].as_array_mut().unwrap() {
        pair["max_abs"] = json!(1e-12);
    }
    better["results"][1]["seconds"] = json!(1e-6);
    let mut gone = better["results"][1].clone();
    gone["name"] = json!("gone");
    better["results"].as_array_mut().unwrap().push(gone);
    let (code, report) = against(&better, "");
    assert_eq!(code, Some(1));
    let regressions = report["regressions"].as_array().unwrap();
    let kinds: Vec<&Value> = regressions
        .iter()
        .map(|regression| &regression["kind"])
        .collect();
    assert_eq!(kinds, ["error", "nodes", "time"]);
    assert_eq!(regressions[1]["message"], "60 nodes before, 73 now");
    assert_eq!(report["missing"], json!(["gone at opset 17"]));
    // If models are selected by name, the others are not reported as missing.
    let (code, report) = against(&better, "*_384");
    assert_eq!((code, &report["missing"]), (Some(1), &json!([])));

    // A failure of any kind is a regression of a model that passed before.
    let limited = fs::read_to_string(&manifest).unwrap();
    let limited = limited.replace("[defaults]", "[defaults]\nlimits = { nodes = 1 }");
    fs::write(&manifest, limited).unwrap();
    let (code, report) = against(&before, "*_224");
    assert_eq!(
        (code, &report["regressions"][0]["kind"]),
        (Some(1), &json!("parity"))
    );
}

#[test]
fn a_baseline_that_is_none() {
    let folder = folder();
    let manifest = manifest(folder.path(), TWO);
    for (text, words) in [
        ("", "not a report of `zoo run --json`"),
        ("{\"version\": 2}", "a report of version 2"),
        (
            "{\"version\": 1}",
            "not a report of `zoo run --json`: missing field",
        ),
    ] {
        fs::write(folder.path().join("baseline.json"), text).unwrap();
        let ran = zoo(&manifest, "--baseline DIR/baseline.json");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.contains(words), "{ran}");
    }
}

#[test]
fn what_can_not_be_written_is_known_before_the_work() {
    let folder = folder();
    let manifest = manifest(folder.path(), TWO);
    for arguments in [
        "--junit DIR/none/x.xml",
        "--html DIR",
        "--ort-lib DIR",
        "--keep DIR/zoo.toml",
    ] {
        let ran = zoo(&manifest, arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments}: {ran}"
        );
        assert!(ran.stderr.starts_with("error: "), "{arguments}: {ran}");
    }
    assert_eq!(names_in(folder.path()), ["zoo.toml"]);
}

/// A pass by the single ops, and one of what can be judged, are passes of their own kinds.
#[test]
fn passes_of_other_kinds() {
    let folder = folder();
    let text = "
[[model]]
name = 'tanh'
path = 'FIXTURES/paddle-3.3.1/sensitive/tanh_30'
inputs = ['run*.npz']

[[model]]
name = 'random'
path = 'FIXTURES/paddle-3.3.1/sensitive/random_beside'
inputs = ['run*.npz']

[[model]]
name = 'vit'
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_224'
batches = [1]
";
    let ran = zoo(
        &manifest(folder.path(), text),
        "--per-op --json --junit DIR/zoo.xml",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let kinds = [
        ("tanh", "passed_by_op"),
        ("random", "passed_in_part"),
        ("vit", "passed"),
    ];
    assert_eq!(statuses(&json(&ran)), kinds);
    let xml = fs::read_to_string(folder.path().join("zoo.xml")).unwrap();
    for words in [
        "passed op by op: ",
        "can&apos;t be judged by its values alone: rounding alone moves it",
        "passed in part: Not judged, since they are random",
    ] {
        assert!(xml.contains(words), "{words}: {xml}");
    }
    assert!(!xml.contains("<failure"), "{xml}");
}
