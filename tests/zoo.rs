//! `zoo run`: manifests, the results of their models, and the reports of these.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use paddle2onnx::zoo::Manifest;
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
    assert_snapshot!("help_zoo_merge", words("zoo merge --help"));
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
            with("opsets = [6]"),
            Some(1),
            "opset 6 can't be written, only 7 to 25",
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
            "exceeds the limit of 1e-12; 61 nodes exceed the limit of 3",
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
    assert_eq!(regressions[1]["message"], "60 nodes before, 61 now");
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

/// Runs `zoo merge`; the arguments are separated by spaces, `DIR` stands for the folder.
fn merge(folder: &Path, arguments: &str) -> Ran {
    let words = arguments.split_ascii_whitespace();
    let words = words.map(|word| word.replace("DIR", folder.to_str().unwrap()));
    run(command_with_runtime(
        ["zoo".to_owned(), "merge".to_owned()]
            .into_iter()
            .chain(words),
    ))
}

/// Runs each of three shards of a manifest, which does not expect all that comes, and keeps the reports in its folder.
fn run_shards(folder: &Path) -> PathBuf {
    let text = "
[[model]]
path = 'FIXTURES/paddle-3.3.1/vit/ViT_base_patch16_*'
opsets = [17, 11]
batches = [1]
[[model]]
path = 'FIXTURES/paddle-3.3.1/sensitive/tanh_30'
inputs = ['run*.npz']
[[model]]
path = 'FIXTURES/paddle-3.3.1/unusual/complex'
fails = 'control flow'
";
    let manifest = manifest(folder, text);
    for number in 1..=3 {
        let ran = zoo(&manifest, &format!("--shard {number}/3 --json"));
        assert_eq!(ran.code, Some(0), "{ran}");
        fs::write(folder.join(format!("{number}.json")), ran.stdout).unwrap();
    }
    manifest
}

/// What the shards of a manifest find is what is found at once, and a baseline of it.
#[test]
fn shards_make_one_report() {
    let folder = folder();
    let manifest = run_shards(folder.path());
    let parts = [1, 2, 3].map(|number| {
        let text = fs::read_to_string(folder.path().join(format!("{number}.json"))).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    });
    assert_eq!(parts[1]["shards"], json!([{ "number": 2, "count": 3 }]));
    let sizes = parts
        .each_ref()
        .map(|part| part["results"].as_array().unwrap().len());
    assert!(
        sizes.iter().sum::<usize>() == 6 && sizes.iter().all(|size| *size < 6),
        "{sizes:?}"
    );

    let files = "DIR/3.json DIR/1.json DIR/2.json";
    let ran = merge(
        folder.path(),
        &format!("{files} --json --junit DIR/zoo.xml --html DIR/zoo.html"),
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let merged = json(&ran);
    assert_eq!(
        (&merged["passed"], merged.get("shards")),
        (&json!(true), None)
    );
    let whole = json(&zoo(&manifest, "--json"));
    let mut expected = statuses(&whole);
    expected.sort_unstable();
    assert_eq!(statuses(&merged), expected);
    let xml = fs::read_to_string(folder.path().join("zoo.xml")).unwrap();
    assert_eq!(xml.matches("<testcase ").count(), 6, "{xml}");
    let html = fs::read_to_string(folder.path().join("zoo.html")).unwrap();
    assert_eq!(html.matches("<details>").count(), 6, "{html}");
    let text = merge(folder.path(), files);
    assert_eq!(
        (text.code, text.stdout.lines().count()),
        (Some(0), 10),
        "{text}"
    );
    assert!(text.stdout.ends_with("\nAll as expected\n"), "{text}");

    // A shard knows that what is only in the baseline belongs to another one.
    fs::write(folder.path().join("merged.json"), merged.to_string()).unwrap();
    let ran = zoo(&manifest, "--shard 1/3 --json --baseline DIR/merged.json");
    assert_eq!(json(&ran)["missing"], json!([]), "{ran}");
}

#[test]
fn a_missing_shard_is_a_failure() {
    let folder = folder();
    run_shards(folder.path());
    let ran = merge(
        folder.path(),
        "DIR/1.json DIR/3.json --junit DIR/zoo.xml --html DIR/zoo.html",
    );
    assert_eq!(ran.code, Some(1), "{ran}");
    let end = "\nThere is no report of these shards: 2/3\n";
    assert!(
        ran.stdout.contains(end) && ran.stdout.ends_with("Not as expected\n"),
        "{ran}"
    );
    let xml = fs::read_to_string(folder.path().join("zoo.xml")).unwrap();
    assert!(xml.contains("<testcase name=\"shard 2/3\" "), "{xml}");
    let html = fs::read_to_string(folder.path().join("zoo.html")).unwrap();
    assert!(html.contains("no report of these shards: 2/3."), "{html}");
    // The report of the missing shard can still be added.
    let partial = merge(folder.path(), "DIR/1.json DIR/3.json --json");
    fs::write(folder.path().join("partial.json"), partial.stdout).unwrap();
    let ran = merge(folder.path(), "DIR/partial.json DIR/2.json");
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn reports_that_do_not_belong_together() {
    let folder = folder();
    run_shards(folder.path());
    let text = fs::read_to_string(folder.path().join("2.json")).unwrap();
    let two: Value = serde_json::from_str(&text).unwrap();
    for (key, value, words) in [
        (
            "shards",
            json!([{ "number": 2, "count": 4 }]),
            "a report of shard 2/4, and another one is of shard 1/3",
        ),
        (
            "shards",
            json!([{ "number": 1, "count": 3 }]),
            "1.json has shard 1/3, too",
        ),
        (
            "shards",
            json!([{ "number": 4, "count": 3 }]),
            "there is no shard 4 of 3",
        ),
        (
            "program",
            json!("0.0.1"),
            "was made with paddle2onnx-rs 0.0.1, and ",
        ),
        ("version", json!(2), "a report of version 2"),
    ] {
        let mut other = two.clone();
        other[key] = value;
        fs::write(folder.path().join("other.json"), other.to_string()).unwrap();
        let ran = merge(folder.path(), "DIR/1.json DIR/other.json");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains("other.json"),
            "{ran}"
        );
    }
    let mut whole = two.clone();
    whole.as_object_mut().unwrap().remove("shards");
    fs::write(folder.path().join("other.json"), whole.to_string()).unwrap();
    let ran = merge(folder.path(), "DIR/2.json DIR/other.json");
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains(", too\n"), "{ran}");
    for arguments in ["", "DIR/none.json", "DIR/1.json --html DIR"] {
        let ran = merge(folder.path(), arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments}: {ran}"
        );
    }
    for shard in ["0/8", "9/8", "2", "a/b"] {
        let ran = zoo(&folder.path().join("zoo.toml"), &format!("--shard {shard}"));
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{shard}: {ran}"
        );
        assert!(ran.stderr.contains("--shard"), "{ran}");
    }
}

/// A machine may find nothing to do.
#[test]
fn an_empty_shard_passes() {
    let folder = folder();
    let manifest = manifest(folder.path(), &TWO.replace("16_*", "16_224"));
    let shard = |number| zoo(&manifest, &format!("--shard {number}/2"));
    let outputs = [shard(1), shard(2)].map(|ran| {
        assert_eq!(ran.code, Some(0), "{ran}");
        ran.stdout
    });
    let empty = outputs
        .iter()
        .filter(|text| text.contains("\n0 results in 0.0 s\n"));
    assert_eq!(empty.count(), 1, "{outputs:?}");
}

/// A pattern may stand for thousands of models.
#[test]
fn a_large_manifest_is_read_at_once() {
    const COUNT: usize = 5000;
    let folder = folder();
    let program = folder.path().join("model.json");
    fs::copy(fixture(VIT).join("inference.json"), &program).unwrap();
    for number in 0..COUNT {
        let model = folder
            .path()
            .join(format!("models/family{}/net{number}", number % 9));
        fs::create_dir_all(&model).unwrap();
        fs::hard_link(&program, model.join("inference.json")).unwrap();
        fs::write(model.join("out.npz"), "").unwrap();
    }
    let text = "[[model]]\npath = 'models/*/net*'\nexpected = ['*.npz']\n";
    let manifest = manifest(folder.path(), text);
    let start = Instant::now();
    let read = Manifest::read(&manifest).unwrap();
    let time = start.elapsed();
    println!("{COUNT} models in {time:?}");
    assert!(time < Duration::from_secs(5), "{time:?}");
    assert_eq!(read.tasks.len(), COUNT);
    let parts = (1..=8).map(|number| {
        let mut part = read.clone();
        part.select_shard(format!("{number}/8").parse().unwrap());
        part.tasks.len()
    });
    let parts: Vec<usize> = parts.collect();
    assert_eq!(parts.iter().sum::<usize>(), COUNT);
    assert!(
        parts.iter().all(|size| (500..750).contains(size)),
        "{parts:?}"
    );
}
