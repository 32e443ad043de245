//! Programs as people have them in public, written by Paddle 1.5 to 3 (`fixtures/wild/`): each can be inspected, and it
//! computes what Paddle computes, or is refused for ops that have no definition, and for nothing else.

#![cfg(feature = "cli")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::tensor::Tensor;
use paddle2onnx::verify::{Inputs, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model};
use support::wild::{program_desc, write_inputs, write_model};
use support::{fixture, onnx_runtime};
use tempfile::TempDir;

/// The programs that are refused, and the ops for which they are. This list may only shrink.
const REFUSED: [(&str, &[&str]); 4] = [
    ("15-tagger-gru-lod", &["crf_decoding", "gru"]),
    ("15-text-gru-lod", &["gru", "sequence_pool"]),
    (
        "16-text-sequence-conv-lod",
        &["sequence_conv", "sequence_pool"],
    ),
    ("18-sequence-lstm-lod", &["lstm"]),
];

/// What Paddle 2.6.2, which has recorded the others, can't read. Nothing may stand in the way of its conversion.
const UNRECORDED: &str = "3x-doc-layout-picodet";

/// With 31 to 124 billion multiply-accumulates for a picture, these take the reference too long for a test. What Paddle
/// has recorded is compared with ONNX Runtime alone.
const COSTLY: [&str; 3] = [
    "15-resnet-is-test-int",
    "18-unet-bilinear",
    "18-unet-separate-weights",
];

/// The runs that Paddle has recorded.
const RUNS: [usize; 2] = [1, 2];

/// Outputs with more elements are recorded in part: some ten thousand elements, at equal distances.
const LARGEST: usize = 50_000;
const SAMPLE: usize = 10_000;

/// What detectors give for a box: its class, its score and its sides.
const DETECTION: usize = 6;

/// How far ONNX Runtime may be from Paddle, as a part of the largest element of an output. Both sum in float32, each in
/// an order of its own, which makes up to 3.5e-6 here.
const TOLERANCE: f64 = 2e-5;

/// A program and its folder, with weights in a folder that is removed at the end.
struct Wild {
    name: String,
    recorded: PathBuf,
    scratch: TempDir,
    program: PathBuf,
    checksum: i64,
}

impl Wild {
    fn new(name: &str) -> Self {
        let recorded = fixture("wild").join(name);
        let files = fs::read_dir(&recorded).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        let program = files.find(|path| path.extension().is_none_or(|e| e != "npz"));
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let separate = name.ends_with("-separate-weights");
        let (program, checksum) = write_model(&program.unwrap(), scratch.path(), separate);
        Self {
            name: name.to_owned(),
            recorded,
            scratch,
            program,
            checksum,
        }
    }

    fn model(&self) -> Model {
        Model::open(&self.program, None).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    fn expected(&self, run: usize) -> PathBuf {
        self.recorded.join(format!("expected{run}.npz"))
    }

    /// Fails unless the weights are those with which Paddle has run.
    fn check_weights(&self) {
        let recorded = read_npz(&self.expected(1), &["checksum"]).unwrap();
        assert_eq!(
            recorded[0].to_i64_vec(),
            [self.checksum],
            "{}: other weights than those of fixtures/wild.py",
            self.name
        );
    }
}

/// The names of all programs, sorted.
fn names() -> BTreeSet<String> {
    let entries = fs::read_dir(fixture("wild")).unwrap();
    let folders = entries
        .map(|entry| entry.unwrap())
        .filter(|e| e.path().is_dir());
    folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_rest_is_refused_for_missing_ops_alone() {
    let mut wrong = Vec::new();
    for (name, ops) in REFUSED {
        let model = Wild::new(name).model();
        let summary = model.summary();
        assert!(
            !summary.inputs.is_empty() && !summary.outputs.is_empty(),
            "{name}"
        );
        let known: BTreeSet<&str> = ops.iter().copied().collect();
        let obstacles = model.obstacles(DEFAULT_OPSET).unwrap();
        let found: BTreeSet<&str> = obstacles.iter().map(|o| o.op.as_str()).collect();
        for op in known.difference(&found) {
            wrong.push(format!(
                "{name}: `{op}` is converted now: remove it from the list"
            ));
        }
        let others = obstacles.iter().filter(|o| !known.contains(o.op.as_str()));
        wrong.extend(others.map(|o| format!("{name}: `{}`: {}", o.op, o.reason)));
        // Some have a definition that does not take what the program has.
        let mut named = summary.unsupported.iter();
        if !named.all(|op| known.contains(op.as_str())) || summary.unsupported.is_empty() {
            wrong.push(format!("{name}: inspect names {:?}", summary.unsupported));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_stands_in_the_way_of_what_is_not_recorded() {
    let model = Wild::new(UNRECORDED).model();
    let obstacles = model.obstacles(DEFAULT_OPSET).unwrap();
    let found: Vec<&str> = obstacles.iter().map(|o| o.reason.as_str()).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_converts_agrees_with_paddle() {
    let refused = REFUSED.map(|(name, _)| name);
    let names = names();
    for name in refused {
        assert!(
            names.contains(name),
            "there is no {name}: remove it from the list"
        );
    }
    let converted: Vec<&String> = names
        .iter()
        .filter(|name| !refused.contains(&name.as_str()) && *name != UNRECORDED)
        .collect();
    assert!(converted.len() >= 10, "{converted:?}");
    for name in converted {
        let wild = Wild::new(name);
        wild.check_weights();
        let model = wild.model();
        let summary = model.summary();
        assert_eq!(
            (summary.problem, summary.unsupported),
            (None, vec![]),
            "{name}"
        );
        let onnx = wild.scratch.path().join("model.onnx");
        model
            .convert(&onnx, &ConvertOptions::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let desc = program_desc(&wild.program);
        let inputs = RUNS.map(|run| wild.scratch.path().join(format!("inputs{run}.npz")));
        let mut expected = RUNS.map(|run| wild.expected(run)).to_vec();
        for (run, inputs) in RUNS.iter().zip(&inputs) {
            let names = write_inputs(&desc, *run, inputs);
            let is_whole =
                compare_with_onnx_runtime(&model, &onnx, inputs, &names, &wild.expected(*run));
            if !is_whole {
                expected.clear();
            }
        }
        if !COSTLY.contains(&name.as_str()) {
            compare_with_reference(&wild, &model, &onnx, inputs.to_vec(), expected);
        }
    }
}

/// Compares what ONNX Runtime computes with what Paddle has recorded. Returns whether that is all of it.
fn compare_with_onnx_runtime(
    model: &Model,
    onnx: &Path,
    inputs: &Path,
    input_names: &[String],
    expected: &Path,
) -> bool {
    let input_names: Vec<&str> = input_names.iter().map(String::as_str).collect();
    let tensors = read_npz(inputs, &input_names).unwrap();
    let given = input_names.iter().map(|name| (*name).to_owned());
    let given: Vec<(String, Tensor)> = given.zip(tensors).collect();
    let runtime = OnnxRuntime::load(Some(onnx_runtime())).unwrap();
    let outputs = runtime.open(onnx).unwrap().run(&given).unwrap();
    let names = model.program().outputs().iter();
    let names: Vec<&str> = names.map(|output| output.name.as_str()).collect();
    let recorded = read_npz(expected, &names).unwrap();
    let mut is_whole = true;
    for ((name, output), recorded) in outputs.iter().zip(recorded) {
        let place = format!("{}, {name}", expected.display());
        let mut found = output.to_f64_vec();
        if output.len() > LARGEST {
            is_whole = false;
            found = found
                .into_iter()
                .step_by((output.len() / SAMPLE) | 1)
                .collect();
            assert_eq!(recorded.shape(), [found.len()], "{place}");
        } else {
            assert_eq!(recorded.shape(), output.shape(), "{place}");
        }
        let recorded = recorded.to_f64_vec();
        let largest = recorded.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let distance = if let [_, DETECTION] = output.shape() {
            distance_of_detections(&found, &recorded)
        } else {
            distance(&found, &recorded)
        };
        assert!(
            largest > 0.0 && distance <= TOLERANCE * largest,
            "{place}: {distance:.1e} apart, where {largest:.1e} is the largest element"
        );
    }
    is_whole
}

/// The largest distance between elements in the same place.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// The largest distance between scores in the same place, or of a row from the one that is nearest to it. The order of
/// rows is that of their scores, which rounding decides where two are nearly the same.
fn distance_of_detections(a: &[f64], b: &[f64]) -> f64 {
    let rows =
        |of: &[f64]| -> Vec<Vec<f64>> { of.chunks(DETECTION).map(<[f64]>::to_vec).collect() };
    let (a, b) = (rows(a), rows(b));
    let scores = a.iter().zip(&b).map(|(a, b)| (a[1] - b[1]).abs());
    let nearest = |row: &Vec<f64>, others: &[Vec<f64>]| {
        let distances = others.iter().map(|other| distance(row, other));
        distances.fold(f64::INFINITY, f64::min)
    };
    let of_a = a.iter().map(|row| nearest(row, &b));
    let of_b = b.iter().map(|row| nearest(row, &a));
    scores.chain(of_a).chain(of_b).fold(0.0, f64::max)
}

/// Compares the reference with ONNX Runtime, and, where outputs are recorded as a whole, both with Paddle.
fn compare_with_reference(
    wild: &Wild,
    model: &Model,
    onnx: &Path,
    inputs: Vec<PathBuf>,
    expected: Vec<PathBuf>,
) {
    let options = VerifyOptions {
        inputs: Inputs::Files(inputs),
        expected,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = verify(model, onnx, &options, &|_| {}).unwrap();
    assert!(report.verdict.is_pass(), "{}: {report:#?}", wild.name);
}
