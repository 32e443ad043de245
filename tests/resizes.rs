//! Resizes are judged by their noise: the positions between elements, which are rounded to float32 by Paddle and by ONNX
//! Runtime, each in its own way.

mod support;

use paddle2onnx::verify::{Inputs, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model};
use support::{OP_FOLDERS, goldens, onnx_runtime, programs};

/// Cases of so few elements that their noise is luck, in which ONNX Runtime's own rounding is taken for an error. One that
/// agrees after all fails the test, so that this list stays true.
const ALARMS: [&str; 1] = ["linear_interp/last"];

#[test]
fn no_blend_is_a_false_alarm() {
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    let (mut compared, mut alarms) = (0, Vec::new());
    for program in OP_FOLDERS.into_iter().flat_map(programs) {
        let op = program
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if !matches!(
            op.as_str(),
            "linear_interp" | "bilinear_interp" | "trilinear_interp" | "bicubic_interp"
        ) {
            continue;
        }
        let model = Model::open(&program, None).unwrap();
        model.convert(&onnx, &ConvertOptions::default()).unwrap();
        let recorded = goldens(&program);
        let options = VerifyOptions {
            inputs: Inputs::Files(recorded.clone()),
            expected: recorded,
            per_op: true,
            ort_lib: Some(onnx_runtime().to_path_buf()),
            ..VerifyOptions::default()
        };
        compared += 1;
        let is_known = ALARMS
            .iter()
            .any(|case| program.with_extension("").ends_with(case));
        match verify(&model, &onnx, &options, &|_| {}) {
            Ok(report) if report.parity && is_known => {
                alarms.push(format!("{}: agrees now", program.display()));
            }
            Ok(report) if report.parity != is_known => {}
            Ok(report) => {
                let culprit = report.per_op.and_then(|found| found.culprit);
                alarms.push(format!(
                    "{}: {:?}",
                    program.display(),
                    culprit.map(|c| c.report)
                ));
            }
            Err(e) => alarms.push(format!("{}: {e}", program.display())),
        }
    }
    assert!(compared > 100, "{compared} programs");
    assert!(
        alarms.is_empty(),
        "{} of {compared}:\n{}",
        alarms.len(),
        alarms.join("\n")
    );
}
