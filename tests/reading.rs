//! Programs and files as people have them: weights that are missing, named otherwise or in part; parameters that are in
//! no file; what is not supported, all of it at once.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::operator::Precision;
use paddle2onnx::tensor::{DType, Dim};
use paddle2onnx::verify::{Inputs, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, WeightFiles};
use support::command::{Ran, command, copy_of, is_refusal, run};
use support::{PADDLE_VERSIONS, fixture, goldens, onnx_runtime};
use tempfile::TempDir;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";

/// One of the networks of `fixtures/unusual.py`.
fn unusual(version: &str, name: &str) -> PathBuf {
    let folder = fixture(&format!("{version}/unusual/{name}"));
    let program = folder.join("inference.json");
    if program.exists() {
        program
    } else {
        folder.join("inference.pdmodel")
    }
}

fn inspect(model: &Path) -> Ran {
    run(command([Path::new("inspect"), model]))
}

fn check(model: &Path) -> Ran {
    run(command([Path::new("convert"), Path::new("--check"), model]))
}

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
}

/// Converts a model and compares it with the reference, and with what Paddle has recorded if that is given.
fn agrees(program: &Path, recorded: Option<Vec<PathBuf>>) {
    let model = Model::open(program, None).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let mut options = VerifyOptions {
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    if let Some(recorded) = recorded {
        options.inputs = Inputs::Files(recorded.clone());
        options.expected = recorded;
    }
    let report = verify(&model, &onnx, &options, &|_| {}).unwrap();
    assert!(
        report.verdict.is_pass(),
        "{}: {report:?}",
        program.display()
    );
}

/// The state of an RNN's dropout is a parameter that is not persistable: the parameters behind it keep their places.
#[test]
fn parameters_that_are_in_no_file() {
    for version in PADDLE_VERSIONS {
        let program = unusual(version, "lstm");
        let ran = inspect(&program);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        has(&ran.stdout, &["1  rnn", "2  transpose", "1  matmul"]);
        let model = Model::open(&program, None).unwrap();
        // Two layers of four gates, and the head.
        let layers = 16 * (3 + 4 + 2) + 16 * (4 + 4 + 2);
        assert_eq!(model.summary().parameters, layers + 4 * 2 + 2, "{version}");
    }
}

#[test]
fn the_file_knows_the_open_extents_of_weights() {
    for version in PADDLE_VERSIONS {
        let program = unusual(version, "open_weight");
        let model = Model::open(&program, None).unwrap();
        let mut values = model.program().values();
        let weight = values.find(|(_, value)| value.name == "positions").unwrap();
        assert_eq!(weight.1.shape, [1, 6, 4].map(Dim::Known), "{version}");
        let recorded = version.contains("2.6.2").then(|| goldens(&program));
        agrees(&program, recorded);
    }
}

/// A model can be inspected and checked without its weights, which only a conversion needs.
#[test]
fn inspecting_needs_no_weights() {
    let layouts = ["2.6.2/layouts/separate", "2.6.2/layouts/folder_combined"];
    let vits = PADDLE_VERSIONS.map(|version| format!("{version}/vit/ViT_base_patch16_224"));
    let layouts = layouts.map(|layout| format!("paddle-{layout}"));
    for model in vits.iter().chain(&layouts) {
        let scratch = tempfile::tempdir().unwrap();
        let model = copy_of(model, scratch.path());
        let whole = Model::open(&model, None).unwrap().summary();
        let is_program = |name: &str| name == "__model__" || name.starts_with("inference.json");
        for entry in fs::read_dir(&model).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !is_program(name) && name != "inference.pdmodel" {
                fs::remove_file(path).unwrap();
            }
        }
        let ran = inspect(&model);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        has(&ran.stdout, &["Weights     missing: the program has "]);
        let ran = check(&model);
        assert_eq!(ran.code, Some(0), "{ran}");
        has(&ran.stdout, &["The weights are missing: the program has "]);
        assert_eq!(Model::open(&model, None).unwrap().summary(), whole);
        let ran = run(command([Path::new("convert"), &model]));
        is_refusal(&ran, &["the program has ", " weights, but ", "--params"]);
    }
}

/// Gives the files of `layouts/folder_combined` these names.
fn named(program: &str, weights: &str) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let source = fixture("paddle-2.6.2/layouts/folder_combined");
    let folder = scratch.path().join("model-folder");
    fs::create_dir(&folder).unwrap();
    fs::copy(source.join("__model__"), folder.join(program)).unwrap();
    fs::copy(source.join("__params__"), folder.join(weights)).unwrap();
    (scratch, folder)
}

#[test]
fn names_of_old_programs_and_weights() {
    for (program, weights) in [
        ("__model__", "__params__"),
        ("__model__", "params"),
        ("model", "params"),
        ("model", "__params__"),
        ("model", "model.pdiparams"),
    ] {
        let (_scratch, folder) = named(program, weights);
        for path in [folder.clone(), folder.join(program)] {
            let model = Model::open(&path, None).unwrap();
            let found = &model.files().weights;
            assert_eq!(*found, WeightFiles::Combined(folder.join(weights)));
            model.reference(Precision::Single).unwrap();
        }
    }
    // Any other name is found, but not taken for granted.
    for program in ["__model__", "model", "net.pdmodel"] {
        let (_scratch, folder) = named(program, "weights.bin");
        let ran = run(command([Path::new("convert"), &folder]));
        let words = ["--params", "model-folder/weights.bin may be it"];
        is_refusal(&ran, &words);
        let mut convert = command([Path::new("convert"), &folder, Path::new("--check")]);
        convert.arg("--params").arg(folder.join("weights.bin"));
        assert_eq!(run(convert).code, Some(0));
    }
    // A `model` that is no program, such as one of another tool, is none.
    let (_scratch, folder) = named("__model__", "__params__");
    fs::write(folder.join("model"), "binf of another tool").unwrap();
    assert!(Model::open(&folder, None).is_ok());
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let scratch = tempfile::tempdir().unwrap();
    let model = copy_of("paddle-3.3.1/vit/ViT_base_patch16_224", scratch.path());
    let program = model.join("inference.json");
    let marked = [b"\xef\xbb\xbf".to_vec(), fs::read(&program).unwrap()].concat();
    fs::write(&program, &marked).unwrap();
    for path in [&model, &program] {
        assert_eq!(check(path).code, Some(0));
    }
    // Places in the file are counted with the mark.
    fs::write(&program, b"\xef\xbb\xbf{\"base_code\": {}}").unwrap();
    is_refusal(&inspect(&program), &["missing field `magic`", "byte 18"]);
}

#[test]
fn pointers_of_git_lfs() {
    for version in PADDLE_VERSIONS {
        let path = format!("{version}/vit/ViT_base_patch16_224");
        let program = unusual(version, "lstm");
        let program = program.file_name().unwrap();
        let words = ["this is a Git LFS pointer", "git lfs pull"];
        for file in [program.to_str().unwrap(), "inference.pdiparams"] {
            let scratch = tempfile::tempdir().unwrap();
            let model = copy_of(&path, scratch.path());
            fs::write(model.join(file), POINTER).unwrap();
            for given in [model.clone(), model.join(program)] {
                let ran = run(command([Path::new("convert"), &given]));
                is_refusal(&ran, &[&[file], words.as_slice()].concat());
            }
        }
    }
    for (program, weights) in [("__model__", "__params__"), ("model", "params")] {
        for file in [program, weights] {
            let (_scratch, folder) = named(program, weights);
            fs::write(folder.join(file), POINTER).unwrap();
            let ran = run(command([Path::new("convert"), &folder]));
            is_refusal(&ran, &[file, "this is a Git LFS pointer"]);
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let model = copy_of("paddle-2.6.2/layouts/separate", scratch.path());
    fs::write(model.join("fc_1.b_0"), POINTER).unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    is_refusal(&ran, &["fc_1.b_0", "this is a Git LFS pointer"]);
}

#[test]
fn files_that_are_no_program() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("files");
    fs::create_dir(&folder).unwrap();
    for (name, words) in [
        ("m.tar", &["an archive", "unpack it"][..]),
        ("m.tar.gz", &["an archive", "unpack it"]),
        ("M.ZIP", &["an archive", "unpack it"]),
        ("m.pth", &["PyTorch", "torch.onnx.export"]),
        ("m.onnx", &["an ONNX model already"]),
        ("m.nb", &["Paddle Lite", "inference model"]),
        ("m.pdopt", &["optimizer", "paddle.jit.save"]),
        ("m.pdparams", &["a training checkpoint", "paddle.jit.save"]),
        ("m.pdiparams.info", &["name the program"]),
        ("inference.yml", &["name the program"]),
    ] {
        let path = folder.join(name);
        fs::write(&path, "whatever").unwrap();
        is_refusal(&inspect(&path), &[&[name], words].concat());
        // A folder that holds nothing else says so.
        let words = [&["holds no Paddle model", name], words].concat();
        is_refusal(&inspect(&folder), &words);
        fs::remove_file(&path).unwrap();
    }
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, words) in [
        (&b"PK\x03\x04"[..], &["a zip archive", "unpack it"][..]),
        (b"\x1f\x8b\x08", &["a gzip archive", "unpack it"]),
        (&tar, &["a tar archive", "unpack it"]),
        (b"\x80\x02}q\x00", &["pickle", "training checkpoint"]),
        (b"<!DOCTYPE html>", &["HTML", "download"]),
        (b"\xff\xfe{\x00", &["UTF-16"]),
    ] {
        let path = folder.join("inference.pdmodel");
        fs::write(&path, bytes).unwrap();
        is_refusal(&inspect(&path), words);
        // The same in place of the weights.
        let vit = copy_of("paddle-3.3.1/vit/ViT_base_patch16_224", scratch.path());
        fs::write(vit.join("inference.pdiparams"), bytes).unwrap();
        is_refusal(&inspect(&vit), &[&["inference.pdiparams"], words].concat());
        fs::remove_dir_all(&vit).unwrap();
    }
}

#[test]
fn a_checkpoint_is_not_the_weights() {
    let scratch = tempfile::tempdir().unwrap();
    let model = copy_of("paddle-2.6.2/vit/ViT_base_patch16_224", scratch.path());
    let checkpoint = model.join("best.pdparams");
    fs::write(&checkpoint, b"\x80\x02}q\x00").unwrap();
    let mut convert = command([Path::new("convert"), &model]);
    convert.arg("--params").arg(&checkpoint);
    let words = ["best.pdparams", "a training checkpoint", "paddle.jit.save"];
    is_refusal(&run(convert), &words);
    // Nor is it beside the program, where the weights are missing.
    fs::remove_file(model.join("inference.pdiparams")).unwrap();
    fs::rename(&checkpoint, model.join("inference.pdparams")).unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    is_refusal(&ran, &["inference.pdparams is a training checkpoint"]);
}

/// A list whose items are known to differ in shape is refused, with both shapes.
#[test]
fn lists_of_unequal_tensors() {
    for version in PADDLE_VERSIONS {
        let program = unusual(version, "unequal_list");
        let ran = run(command([Path::new("convert"), &program]));
        let words = [
            "a list of tensors of the shape",
            "8]",
            "2] is written",
            "have to be alike",
        ];
        is_refusal(&ran, &words);
    }
}

/// An output of complex numbers is shown by name, and refused with what to do. Inside of a program, they are real ones.
#[test]
fn complex_outputs_are_refused() {
    for version in PADDLE_VERSIONS {
        let program = unusual(version, "complex");
        let ran = inspect(&program);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        let words = ["complex64 [?, 5]", "1  dft", "1  irfft"];
        has(&ran.stdout, &words);
        let summary = Model::open(&program, None).unwrap().summary();
        assert_eq!(summary.outputs[0].dtype, DType::C64);
        let ran = check(&program);
        assert_eq!(ran.code, Some(1), "{ran}");
        has(&ran.stdout, &["fetch (1 ×): the output", "paddle.as_real"]);
        let ran = run(command([Path::new("convert"), &program]));
        let words = ["the output", "complex64", "`paddle.as_real`"];
        is_refusal(&ran, &words);
    }
}

/// Ops inside of bodies of control flow are counted along with the rest.
#[test]
fn ops_in_blocks_are_counted() {
    for version in PADDLE_VERSIONS {
        for (name, op) in [("if", "if"), ("while", "while")] {
            let folder = fixture(&format!("{version}/control_flow/{name}"));
            let summary = Model::open(&folder, None).unwrap().summary();
            assert_eq!(summary.unsupported, [""; 0], "{version}");
            let count = |op: &str| summary.ops.get(op).copied().unwrap_or_default();
            assert_eq!(count(op), 1, "{version} {name}: {:?}", summary.ops);
            assert!(count("scale") >= 2, "{version} {name}: {:?}", summary.ops);
        }
    }
}

/// An op that a file spells in a way that is not known does not hide what else is not supported.
#[test]
fn what_is_not_known_of_an_op_is_listed() {
    let scratch = tempfile::tempdir().unwrap();
    let source = fixture("paddle-3.3.1/control_flow/if/inference.json");
    let text = fs::read_to_string(source).unwrap();
    // In a block, and behind it: `scale` gets an attribute of an unknown type and an unknown op follows.
    let strange = r##"{"AT":{"#":"0.a_strange","D":1},"N":"strange"},{"AT":{"#":"0.a_f32""##;
    let text = text.replace(r##"{"AT":{"#":"0.a_f32""##, strange);
    let path = scratch.path().join("if.json");
    fs::write(&path, &text).unwrap();
    let ran = check(&path);
    assert_eq!(ran.code, Some(1), "{ran}\n{text}");
    let words = ["scale (", "not known here: 0.a_strange"];
    has(&ran.stdout, &words);
    assert_eq!(inspect(&path).code, Some(0));
}

/// Paddle calculates with the -1 of open extents: what it declares of results is not taken for true.
#[test]
fn declared_results_are_not_trusted() {
    for version in PADDLE_VERSIONS {
        let program = unusual(version, "reflect");
        agrees(&program, Some(goldens(&program)));
        let summary = Model::open(&program, None).unwrap().summary();
        assert_eq!(summary.problem, None);
    }
}
