//! Damaged programs give an error or a result, but never a panic.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::{ConvertOptions, ErrorKind, Model, OPSETS};
use proptest::prelude::*;
use support::files::names_in;
use support::onnx::decode;
use support::{fixture, mutate, mutate_pir};

/// A program that was cut short gives an error, or, where the cut took nothing of importance, the
/// same model.
#[test]
fn truncated_programs() {
    for (source, weights, step) in [
        (
            "paddle-2.6.2/layouts/folder_combined/__model__",
            "paddle-2.6.2/layouts/folder_combined/__params__",
            1,
        ),
        (
            "paddle-2.6.2/vit/ViT_base_patch16_224/inference.pdmodel",
            "paddle-2.6.2/vit/ViT_base_patch16_224/inference.pdiparams",
            131,
        ),
        (
            "paddle-3.3.1/vit/ViT_base_patch16_224/inference.json",
            "paddle-3.3.1/vit/ViT_base_patch16_224/inference.pdiparams",
            131,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (program, output) = (
            folder.path().join("m.pdmodel"),
            folder.path().join("m.onnx"),
        );
        let convert = || {
            let model = Model::open(&program, Some(&fixture(weights)))?;
            model.convert(&output, &ConvertOptions::default())
        };
        let whole = fs::read(fixture(source)).unwrap();
        fs::write(&program, &whole).unwrap();
        convert().unwrap();
        // The metadata have a hash of the program.
        let expected = decode(&output).graph;
        for length in (0..whole.len()).step_by(step) {
            let _ = fs::remove_file(&output);
            fs::write(&program, &whole[..length]).unwrap();
            match convert() {
                Ok(_) => assert!(
                    decode(&output).graph == expected,
                    "{source}: {length} bytes"
                ),
                Err(e) => {
                    assert_ne!(
                        e.kind(),
                        ErrorKind::Internal,
                        "{source}: {length} bytes: {e}"
                    );
                    assert!(e.to_string().contains("m.pdmodel"), "{length} bytes: {e}");
                    assert_eq!(names_in(folder.path()), ["m.pdmodel"]);
                }
            }
        }
    }
}

/// The programs whose damaged copies must not make anything panic.
fn sources() -> Vec<PathBuf> {
    let versions = support::PADDLE_VERSIONS.into_iter();
    let mut programs: Vec<PathBuf> = versions.flat_map(support::programs).collect();
    programs.push(fixture("paddle-2.6.2/layouts/folder_combined/__model__"));
    programs
}

/// Inspects and converts a program of these bytes, with the weights of `source`.
fn use_damaged(source: &Path, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("damaged.pdmodel");
    fs::write(&program, bytes).unwrap();
    let weights = [
        source.with_extension("pdiparams"),
        source.with_file_name("__params__"),
    ];
    let weights = weights.iter().find(|path| path.exists());
    let is_defect = |e: &paddle2onnx::Error| e.kind() == ErrorKind::Internal;
    let model = match Model::open(&program, weights.map(PathBuf::as_path)) {
        Ok(model) => model,
        Err(e) => return assert!(!is_defect(&e), "{}: {e}", source.display()),
    };
    let _ = model.summary();
    for opset in [*OPSETS.start(), *OPSETS.end()] {
        let options = ConvertOptions {
            opset,
            ..ConvertOptions::default()
        };
        if let Err(e) = model.convert(&folder.path().join("m.onnx"), &options) {
            assert!(!is_defect(&e), "{}: {e}", source.display());
        }
    }
}

/// Well-formed files whose fields contradict each other. The seed is in the message of a panic.
#[test]
fn programs_that_make_no_sense() {
    let sources: Vec<(PathBuf, Vec<u8>)> = sources()
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for seed in 0..8000_u64 {
        let (source, bytes) = &sources[usize::try_from(seed).unwrap() % sources.len()];
        let mutated = if source
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            mutate_pir::mutated(bytes, seed)
        } else {
            mutate::mutated(bytes, seed)
        };
        let result = std::panic::catch_unwind(|| use_damaged(source, &mutated));
        assert!(result.is_ok(), "seed {seed}, {}", source.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn damaged_programs_never_panic(
        program in proptest::sample::select(sources()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = fs::read(&program).unwrap();
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        use_damaged(&program, &bytes);
    }
}
