//! Every op against what real Paddle gives: the reference interpreter, and the converted model in
//! ONNX Runtime, on the programs of `fixtures/paddle-*/ops/`.

#![cfg(feature = "cli")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use paddle2onnx::operator::Precision;
use paddle2onnx::verify::{Metrics, Side, Tolerance, VerifyOptions, read_npz, verify};
use paddle2onnx::{Accuracy, ConvertOptions, DEFAULT_OPSET, Format, Model, OPSETS, Registry};
use support::shell::paddle2onnx;

/// Cases, or folders of them, that ONNX Runtime has no kernel for, the opsets for which it has none, and what it says.
/// Only the reference is checked on these. If ONNX Runtime runs one of them after all, the test fails, so that this list
/// stays true.
const REFUSED: &[(&str, RangeInclusive<u32>, &str)] = &[
    ("conv2d/f64", 7..=25, "Conv"),
    ("conv2d_transpose/f64", 7..=25, "ConvTranspose"),
    ("pool2d/avg_adaptive_f64", 7..=25, "AveragePool"),
    ("spp/f64", 7..=7, "MaxPool"),
    ("determinant/f64", 7..=25, "Det"),
    ("bernoulli", 22..=25, "RandomUniformLike"),
    ("gaussian", 22..=25, "RandomNormal"),
    ("multinomial", 22..=25, "Multinomial"),
    ("randint", 22..=25, "RandomUniform"),
    ("roi_align", 22..=25, "RoiAlign"),
    ("roi_pool", 22..=25, "MaxRoiPool"),
    ("uniform", 22..=25, "RandomUniform"),
];

/// The op that a case is about, after which its folder is named.
fn about(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name).unwrap();
    folder.to_string_lossy().into_owned()
}

/// That of the op that a case is about. A folder that is not named after an op has cases that combine several.
fn accuracy(program: &Path) -> Option<Accuracy> {
    let (name, ops) = (about(program), Registry::standard().supported_ops());
    let op = ops.iter().find(|op| name == op.name);
    op.map(|op| op.accuracy)
}

fn tolerance(program: &Path) -> Tolerance {
    let limit = match accuracy(program) {
        Some(Accuracy::Exact) => 0.0,
        Some(Accuracy::Rounded) => 1e-6,
        _ => 1e-5,
    };
    Tolerance {
        atol: limit,
        rtol: limit,
    }
}

/// What is wrong with a case; empty if all sides agree. If the case needs a higher opset than `opset`, it is
/// raised to that.
fn failures(program: &Path, opset: &mut u32, folder: &Path) -> Vec<String> {
    let options = VerifyOptions {
        tolerance: Some(tolerance(program)),
        ..support::against_recorded(program)
    };
    let output = folder.join("model.onnx");
    let mut notes = Vec::new();
    let report = Model::open(program, None).and_then(|model| {
        *opset = model.lowest_opset()?.max(*opset);
        let convert = ConvertOptions {
            opset: *opset,
            ..ConvertOptions::default()
        };
        notes = model.convert(&output, &convert)?.notes;
        verify(&model, &output, &options, &|_| {})
    });
    let (case, folder) = (program.with_extension(""), program.parent().unwrap());
    let mut refused = REFUSED
        .iter()
        .filter(|(_, opsets, _)| opsets.contains(opset));
    let refused = refused.find(|(name, ..)| match name.contains('/') {
        true => case.ends_with(name),
        false => folder.ends_with(name),
    });
    let mut said = notes.iter().map(|note| note.text.as_str());
    if said.any(|text| text.contains("can't run the model")) != refused.is_some() {
        return vec![format!("the notes on it are wrong: {notes:?}")];
    }
    let report = match (report, refused) {
        (Ok(report), None) => report,
        (Ok(_), Some(_)) => return vec!["ONNX Runtime runs it now".to_owned()],
        (Err(e), Some((.., operator))) => {
            let words = format!("Could not find an implementation for {operator}");
            if e.to_string().contains(&words) {
                return reference_failures(program);
            }
            return vec![e.to_string()];
        }
        (Err(e), _) => return vec![e.to_string()],
    };
    let mut failures = Vec::new();
    for run in &report.runs {
        for output in &run.outputs {
            for c in output.comparisons.iter().filter(|c| !c.agrees) {
                // Paddle is the truth: sides that agree with it need not agree with each other.
                if c.against == Side::Expected {
                    failures.push(format!(
                        "{} {}: {} against {}: {:?}",
                        run.inputs,
                        output.name,
                        c.side.label(),
                        c.against.label(),
                        c.metrics
                    ));
                }
            }
        }
    }
    failures
}

/// Where the reference does not agree with Paddle, without ONNX Runtime. Of random numbers, the shapes are compared.
fn reference_failures(program: &Path) -> Vec<String> {
    let model = Model::open(program, None).unwrap();
    let reference = model.reference(Precision::Single).unwrap();
    let program_inputs = model.program().inputs().iter();
    let inputs: Vec<&str> = program_inputs
        .map(|id| model.program()[*id].name.as_str())
        .collect();
    let program_outputs = model.program().outputs().iter();
    let outputs: Vec<&str> = program_outputs.map(|output| output.name.as_str()).collect();
    let is_random = accuracy(program) == Some(Accuracy::Random);
    let mut failures = Vec::new();
    for golden in support::goldens(program) {
        let tensors = read_npz(&golden, &inputs).unwrap();
        let names = inputs.iter().map(|name| (*name).to_owned());
        let results = reference
            .run(&names.zip(tensors).collect::<Vec<_>>())
            .unwrap();
        for (result, expected) in results.iter().zip(read_npz(&golden, &outputs).unwrap()) {
            if is_random && result.shape() == expected.shape() {
                continue;
            }
            let metrics = Metrics::of(result, &expected, &tolerance(program));
            if !metrics.as_ref().is_some_and(Metrics::agrees) {
                failures.push(format!("{}: {metrics:?}", golden.display()));
            }
        }
    }
    failures
}

#[test]
fn what_has_no_result_is_refused_by_the_reference() {
    let mut refused = 0;
    for program in programs() {
        let inputs = program.with_extension("refused.npz");
        if !inputs.exists() {
            continue;
        }
        let model = Model::open(&program, None).unwrap();
        let reference = model.reference(Precision::Single).unwrap();
        let names = model.program().inputs().iter();
        let names: Vec<String> = names.map(|id| model.program()[*id].name.clone()).collect();
        let given: Vec<&str> = names.iter().map(String::as_str).collect();
        let tensors = read_npz(&inputs, &given).unwrap();
        let run = reference.run(&names.into_iter().zip(tensors).collect::<Vec<_>>());
        let Err(e) = run else {
            panic!("{} has a result", program.display());
        };
        let place = format!("`{}`", about(&program));
        assert!(
            e.message().contains("elements"),
            "{}: {e}",
            program.display()
        );
        assert!(e.to_string().contains(&place), "{}: {e}", program.display());
        refused += 1;
    }
    assert_eq!(refused, 14);
}

/// The programs of all cases of all versions of Paddle.
fn programs() -> impl Iterator<Item = PathBuf> {
    support::OP_FOLDERS.into_iter().flat_map(support::programs)
}

/// The programs of the cases to run: all, or those of the op that the environment variable `OP` names.
fn selected() -> Vec<PathBuf> {
    let all = programs();
    let Ok(op) = std::env::var("OP") else {
        return all.collect();
    };
    let selected: Vec<PathBuf> = all.filter(|program| about(program) == op).collect();
    assert!(!selected.is_empty(), "no cases of the op {op}");
    selected
}

/// Runs every case at opset `wanted`, or at the lowest higher one that it can be converted to. Returns, for
/// each folder, the lowest opset that its cases took.
fn check_all(wanted: u32) -> BTreeMap<String, u32> {
    let folder = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    let mut opsets = BTreeMap::new();
    for program in selected() {
        let mut opset = wanted;
        let failures = failures(&program, &mut opset, folder.path());
        if !failures.is_empty() {
            failed.push(format!(
                "{} (opset {opset})\n    {}",
                program.display(),
                failures.join("\n    ")
            ));
        }
        let lowest = opsets.entry(about(&program)).or_insert(opset);
        *lowest = opset.min(*lowest);
    }
    assert!(
        failed.is_empty(),
        "{} cases fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
    opsets
}

#[test]
fn every_case_gives_what_paddle_gives() {
    check_all(DEFAULT_OPSET);
}

#[test]
fn every_case_gives_what_paddle_gives_at_the_newest_opset() {
    let opsets = check_all(*OPSETS.end());
    assert!(opsets.values().all(|opset| opset == OPSETS.end()));
}

/// From opset 11 on, lists and bounds are inputs, so that nodes are spelled in another way than at the oldest.
#[test]
fn every_case_gives_what_paddle_gives_at_opset_11() {
    check_all(11);
}

#[test]
fn every_case_gives_what_paddle_gives_at_its_oldest_opset() {
    let opsets = check_all(*OPSETS.start());
    let ops = Registry::standard().supported_ops();
    let wrong = ops.iter().filter_map(|op| {
        let lowest = opsets.get(op.name).filter(|lowest| **lowest != op.opset)?;
        Some(format!("{}: {lowest}, not {}", op.name, op.opset))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "opsets that are enough:\n{}",
        wrong.join("\n")
    );
}

/// Names that no case in the PIR format has, since only older programs have these ops, or Paddle 3 can't run them.
const OLDER_ALONE: [&str; 16] = [
    "data_norm",
    "density_prior_box",
    "determinant",
    "fake_channel_wise_quantize_abs_max",
    "flatten2",
    "fused_elementwise_add",
    "fused_elementwise_div",
    "fused_elementwise_mul",
    "fused_elementwise_sub",
    "iou_similarity",
    "lstm_unit",
    "moving_average_abs_max_scale",
    "pad2d",
    "soft_relu",
    "spp",
    "tril_triu",
];

/// The names of the ops in a program's file; for a `ProgramDesc`, among other texts. They are not taken from
/// the opened program, where some ops have become constants.
fn names(program: &Path, format: Format) -> Vec<String> {
    let bytes = fs::read(program).unwrap();
    if matches!(format, Format::ProgramDesc { .. }) {
        // The tag of the field `type` of an op, which a length and the text follow.
        let fields = bytes
            .windows(2)
            .enumerate()
            .filter(|(_, field)| field[0] == 0x1a);
        let texts =
            fields.filter_map(|(at, field)| bytes.get(at + 2..at + 2 + usize::from(field[1])));
        return texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
    }
    let text = String::from_utf8(bytes).unwrap();
    let names = text.split("\"#\":\"1.").skip(1);
    let names = names.filter_map(|name| name.split_once('"'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_op_has_a_case_in_each_spelling() {
    let (mut legacy, mut pir) = (BTreeSet::new(), BTreeSet::new());
    let folders = support::PADDLE_VERSIONS.map(|version| format!("{version}/control_flow"));
    let control_flow = folders.iter().flat_map(|folder| support::programs(folder));
    for program in programs().chain(control_flow) {
        let format = Model::open(&program, None).unwrap().format();
        let used = if matches!(format, Format::ProgramDesc { .. }) {
            &mut legacy
        } else {
            &mut pir
        };
        used.extend(names(&program, format));
    }
    let mut untested = Vec::new();
    for op in Registry::standard().supported_ops() {
        let in_pir = |name: &&str| pir.contains(*name) || pir.contains(&format!("{name}_"));
        untested.extend(op.legacy.into_iter().filter(|name| !legacy.contains(*name)));
        untested.extend(op.pir.into_iter().filter(|name| !in_pir(name)));
    }
    untested.sort_unstable();
    assert_eq!(untested, OLDER_ALONE, "ops without a case");
}

#[test]
fn the_list_in_docs_is_current() {
    let listed = paddle2onnx("ops --markdown", Path::new(""));
    assert_eq!(listed.code, Some(0), "{listed}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ops.md"));
    assert!(
        page.unwrap() == listed.stdout,
        "docs/ops.md is not current: cargo run -- ops --markdown > docs/ops.md"
    );
}
