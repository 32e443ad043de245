//! Branches and loops against what real Paddle gives: the reference interpreter and ONNX Runtime, on the networks of
//! `fixtures/paddle-*/control_flow/`, with inputs that take different branches and numbers of rounds.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::verify::{Inputs, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model, OPSETS};
use support::{PADDLE_VERSIONS, onnx_runtime, programs};

fn name(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name).unwrap();
    folder.to_string_lossy().into_owned()
}

fn goldens(program: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(program.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut goldens: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "npz"))
        .collect();
    goldens.sort();
    assert!(goldens.len() >= 3, "{} goldens", goldens.len());
    goldens
}

fn agrees(program: &Path, opset: u32) -> Result<(), String> {
    let goldens = goldens(program);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let options = VerifyOptions {
        inputs: Inputs::Files(goldens.clone()),
        expected: goldens,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = Model::open(program, None).and_then(|model| {
        let opset = model.lowest_opset()?.max(opset);
        let convert = ConvertOptions {
            opset,
            ..ConvertOptions::default()
        };
        model.convert(&output, &convert)?;
        verify(&model, &output, &options, &|_| {})
    });
    match report {
        Ok(report) if report.verdict.is_pass() => Ok(()),
        Ok(report) => Err(format!("{report:?}")),
        Err(e) => Err(e.to_string()),
    }
}

/// Every network at the lowest, the default and the highest opset.
#[test]
fn networks() {
    let mut failures = Vec::new();
    for version in PADDLE_VERSIONS {
        for program in programs(&format!("{version}/control_flow")) {
            for opset in [*OPSETS.start(), DEFAULT_OPSET, *OPSETS.end()] {
                if let Err(e) = agrees(&program, opset) {
                    failures.push(format!("{version} {} {opset}: {e}", name(&program)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
