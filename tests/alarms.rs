//! Right models raise no alarm: every op case passes `verify --per-op`, on the inputs and outputs that Paddle recorded.
//!
//! Every fifth case is run, which takes a minute. `ALARMS=all cargo test --test alarms` runs all, and
//! `OP=bilinear_interp` those of an op.

#![cfg(feature = "verify")]

mod support;

use std::path::{Path, PathBuf};

use paddle2onnx::verify::{Report, Verdict, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, Note};
use support::{OP_FOLDERS, against_recorded, programs};

/// Cases that are false alarms, or not judged: none, so far. One that passes after all
/// fails the test, so that this list stays true.
const ALARMS: [&str; 0] = [];

/// The op cases to run.
fn cases() -> Vec<PathBuf> {
    let all = OP_FOLDERS.into_iter().flat_map(programs);
    if let Ok(op) = std::env::var("OP") {
        return all
            .filter(|case| name(case).starts_with(&format!("{op}/")))
            .collect();
    }
    let step = if std::env::var_os("ALARMS").is_some() {
        1
    } else {
        5
    };
    all.step_by(step).collect()
}

/// The op and the name of a case: `softmax/rank_3`.
fn name(case: &Path) -> String {
    let stem = case.with_extension("");
    let parts: Vec<_> = stem.iter().rev().take(2).collect();
    format!(
        "{}/{}",
        parts[1].to_string_lossy(),
        parts[0].to_string_lossy()
    )
}

/// What is wrong with a report on a right model.
fn complaint(report: &Report) -> Option<String> {
    let found = report.per_op.as_ref()?;
    if let Some(culprit) = &found.culprit {
        return Some(format!("{:?}", culprit.report));
    }
    if let Some(first) = found.not_compared.first() {
        return Some(format!("{first:?}"));
    }
    let is_right = matches!(
        report.verdict,
        Verdict::Parity | Verdict::ParityByOp | Verdict::PartialParity
    );
    (!is_right
        && !report
            .runs
            .iter()
            .flat_map(|run| &run.outputs)
            .all(|output| output.random))
    .then(|| {
        format!(
            "{:?}: {:?} {:?}",
            report.verdict, report.remarks, report.runs
        )
    })
}

#[test]
fn no_op_is_a_false_alarm() {
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    let (mut compared, mut alarms) = (0, Vec::new());
    for program in cases() {
        let model = Model::open(&program, None).unwrap();
        // Cases that can't be converted, or of which it is noted that ONNX Runtime can't run them, have tests of their own.
        let converted = model.convert(&onnx, &ConvertOptions::default());
        let can_run = |note: &Note| !note.text.contains("can't run the model");
        if !converted.is_ok_and(|converted| converted.notes.iter().all(can_run)) {
            continue;
        }
        let options = VerifyOptions {
            per_op: true,
            ..against_recorded(&program)
        };
        let case = name(&program);
        let complaint = match verify(&model, &onnx, &options, &|_| {}) {
            Ok(report) => complaint(&report),
            Err(e) => Some(e.to_string()),
        };
        compared += 1;
        match complaint {
            Some(complaint) if !ALARMS.contains(&case.as_str()) => {
                alarms.push(format!("{}: {complaint}", program.display()));
            }
            None if ALARMS.contains(&case.as_str()) => alarms.push(format!("{case} passes now")),
            _ => {}
        }
    }
    assert!(compared > 0, "no cases");
    assert!(
        alarms.is_empty(),
        "{} of {compared}:\n{}",
        alarms.len(),
        alarms.join("\n")
    );
}
