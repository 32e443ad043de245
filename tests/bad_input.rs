//! What people pass by mistake, what is damaged, and what the system refuses gives one clear paragraph,
//! exit code 2, and leaves no file behind. Nothing that a file holds makes the program panic.

#![cfg(feature = "cli")]

mod support;

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use paddle2onnx::{ConvertOptions, ErrorKind, Model, Weights};
use support::command::{command, copy_of, is_refusal, names_in, run};
use support::fixture;
use tempfile::TempDir;

const VIT: &str = "paddle-2.6.2/vit/ViT_base_patch16_224";

/// A copy of a small model to damage, and an empty folder for the output.
struct Workshop {
    folder: TempDir,
    model: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        let model = copy_of(VIT, folder.path());
        Self { folder, model }
    }

    fn program(&self) -> PathBuf {
        self.model.join("inference.pdmodel")
    }

    fn weights(&self) -> PathBuf {
        self.model.join("inference.pdiparams")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Writes a file beside the others.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.model.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Gives every op of this type another one, of the same length.
    fn retype(&self, from: &str, to: &str) {
        let (from, to) = (op_type(from), op_type(to));
        self.patch(&from, &from, &to);
    }

    /// Replaces the first `from` after each `anchor` in the program. Sizes in the file stay right.
    fn patch(&self, anchor: &[u8], from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        let mut bytes = fs::read(self.program()).unwrap();
        let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
        let mut start = 0;
        while let Some(place) = find(&bytes[start..], anchor) {
            let place = start + place;
            let target = place + find(&bytes[place..], from).unwrap();
            bytes[target..target + to.len()].copy_from_slice(to);
            start = target + to.len();
        }
        assert!(start > 0, "nothing to patch");
        fs::write(self.program(), bytes).unwrap();
    }

    /// Converts `model`, and expects a refusal with these words in it.
    fn refuses(&self, model: &Path, words: &[&str]) {
        let output = self.out().join("m.onnx");
        let ran = run(command([
            Path::new("convert"),
            model,
            Path::new("-o"),
            &output,
        ]));
        is_refusal(&ran, words);
        assert_eq!(names_in(&self.out()), [""; 0], "{ran}");
    }
}

/// The type of an op as it stands in a file: field 3 of its message.
fn op_type(name: &str) -> Vec<u8> {
    [&[0x1a, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat()
}

#[test]
fn truncated_weights() {
    let shop = Workshop::new();
    let whole = fs::read(shop.weights()).unwrap();
    let (middle, last) = (whole.len() / 2, whole.len() - 1);
    for length in [
        0,
        1,
        3,
        4,
        11,
        15,
        20,
        21,
        30,
        100,
        middle,
        middle + 3,
        last - 60,
        last,
    ] {
        fs::write(shop.weights(), &whole[..length]).unwrap();
        let words = [
            "inference.pdiparams",
            "byte ",
            "weight `",
            " of ",
            "the file ends",
        ];
        shop.refuses(&shop.program(), &words);
    }
}

#[test]
fn oversized_weights() {
    let shop = Workshop::new();
    let mut bytes = fs::read(shop.weights()).unwrap();
    bytes.extend([0; 17]);
    fs::write(shop.weights(), bytes).unwrap();
    let words = [
        "inference.pdiparams",
        "17 bytes follow the last",
        "another program?",
    ];
    shop.refuses(&shop.program(), &words);
}

#[test]
fn weights_of_another_model() {
    let shop = Workshop::new();
    let other = fixture("paddle-2.6.2/vit/ViT_large_patch32_384/inference.pdiparams");
    fs::copy(other, shop.weights()).unwrap();
    let words = [
        "inference.pdiparams",
        "weight `",
        "the program expects",
        "another program?",
    ];
    shop.refuses(&shop.program(), &words);
    // Or no weights at all.
    fs::copy(shop.program(), shop.weights()).unwrap();
    shop.refuses(
        &shop.program(),
        &["inference.pdiparams", "not a weight of a Paddle model"],
    );
}

#[test]
fn missing_weights() {
    let shop = Workshop::new();
    fs::remove_file(shop.weights()).unwrap();
    let words = [
        "inference.pdmodel",
        " weights, but there is no ",
        "inference.pdiparams",
        "--params",
    ];
    shop.refuses(&shop.program(), &words);
    let output = shop.out().join("m.onnx");
    let mut convert = command([
        Path::new("convert"),
        &shop.program(),
        Path::new("-o"),
        &output,
    ]);
    convert
        .arg("--params")
        .arg(shop.model.join("none.pdiparams"));
    is_refusal(
        &run(convert),
        &["none.pdiparams: could not open the weights: "],
    );
}

#[test]
fn one_missing_weight_of_many_files() {
    let shop = Workshop::new();
    let model = copy_of("paddle-2.6.2/layouts/separate", shop.folder.path());
    fs::remove_file(model.join("fc_1.b_0")).unwrap();
    shop.refuses(&model, &["but there is no ", "fc_1.b_0; put it there"]);
}

#[test]
fn files_of_other_kinds() {
    let shop = Workshop::new();
    let random: Vec<u8> = (0..5000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let cases: [(&str, &[u8], &[&str]); 10] = [
        ("notes.pdmodel", b"not a model at all\n", &["text file"]),
        (
            "zip.pdmodel",
            b"PK\x03\x04\x14\x00\x00\x00",
            &["zip archive", "unpack"],
        ),
        (
            "gzip.pdmodel",
            b"\x1f\x8b\x08\x00\x00\x00",
            &["gzip archive", "unpack"],
        ),
        (
            "pointer.pdmodel",
            b"version https://git-lfs.github.com/spec/v1\n",
            &["git lfs pull"],
        ),
        (
            "model.json",
            b"{\"base_code\": {}}",
            &["Paddle 3", "missing field `magic`", "byte 15"],
        ),
        (
            "renamed.pdmodel",
            b"{\"version\": 3}",
            &["Paddle 3", "missing field `base_code`"],
        ),
        (
            "checkpoint.pdparams",
            b"\x80\x02}q\x00",
            &["training checkpoint", "paddle.jit.save"],
        ),
        ("model.onnx", b"\x08\x08", &["ONNX model already"]),
        ("empty.pdmodel", b"", &["the file is empty"]),
        ("random.pdmodel", &random, &["not a Paddle program"]),
    ];
    for (name, bytes, words) in cases {
        let path = shop.file(name, bytes);
        shop.refuses(&path, &[&[name], words].concat());
    }
    let words = [
        "inference.pdiparams",
        "these are the weights",
        "inference.pdmodel",
    ];
    shop.refuses(&shop.weights(), &words);
    // Under the name of a program, the weights are no protobuf.
    let path = shop.file("weights.pdmodel", fs::read(shop.weights()).unwrap());
    shop.refuses(&path, &["weights.pdmodel", "not a Paddle program"]);
}

#[test]
fn what_is_not_there() {
    let shop = Workshop::new();
    shop.refuses(
        &shop.model.join("none.pdmodel"),
        &["none.pdmodel: could not open the model: "],
    );
    shop.refuses(
        Path::new("/none/none"),
        &["/none/none: could not open the model: "],
    );
    shop.refuses(
        &shop.out(),
        &["the folder holds no Paddle model", "*.pdmodel", "__model__"],
    );
    let words = ["inference.pdmodel/x.pdmodel", "could not open the model"];
    shop.refuses(&shop.program().join("x.pdmodel"), &words);
}

/// `--check` lists unknown ops and known ones that can't be read, but not the obstacles that only follow
/// from these.
#[test]
fn a_check_lists_every_obstacle() {
    let shop = Workshop::new();
    let check = |options: &[&str]| {
        let mut command = command([Path::new("convert"), Path::new("--check")]);
        command.args(options).arg(shop.program());
        run(command)
    };
    let ran = check(&[]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(ran.stdout, "Nothing stands in the way of opset 17\n");

    shop.retype("softmax", "zoftmax");
    shop.retype("gelu", "relu");
    let ran = check(&["--opset", "20"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    for words in [
        "zoftmax (3 ×): not supported; --custom-op zoftmax=DOMAIN::NAME would pass it through to an operator of your own\n    op ",
        "relu (2 ×): these attributes are not known: `approximate` = ",
        "\n5 ops stand in the way of opset 20\n",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
    let ran = check(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &json["convertible"]), (Some(1), &false.into()));
    let obstacles = json["obstacles"].as_array().unwrap();
    let zoftmax = obstacles
        .iter()
        .find(|obstacle| obstacle["op"] == "zoftmax");
    let places = zoftmax.unwrap()["places"].as_array().unwrap();
    assert_eq!(places.len(), 3);
    assert_eq!(names_in(&shop.out()), [""; 0]);
}

/// Where it is known why an op can't be converted, the message says so, and no custom op is advised.
#[test]
fn ops_on_sequences_by_lod_are_refused_with_the_reason() {
    let shop = Workshop::new();
    shop.retype("matmul_v2", "lod_reset");
    let words = "which takes sequences by LoD, the offsets that Paddle 1 keeps beside a tensor";
    shop.refuses(&shop.program(), &["`lod_reset` (", words]);
    let ran = run(command([
        Path::new("convert"),
        &shop.program(),
        Path::new("--check"),
    ]));
    assert!(
        ran.stdout
            .contains("not supported: it takes sequences by LoD"),
        "{ran}"
    );
    assert!(!ran.stdout.contains("--custom-op"), "{ran}");
}

#[test]
fn unknown_ops_are_all_listed() {
    let shop = Workshop::new();
    shop.retype("softmax", "zoftmax");
    shop.retype("conv2d", "conv9d");
    let words = [
        "inference.pdmodel",
        "2 kinds of ops that are not supported",
        "`zoftmax` (3 ×, first at op ",
        "`conv9d` (1 ×, first at op ",
    ];
    shop.refuses(&shop.program(), &words);
    // A model that can't be converted can be inspected.
    let ran = run(command([Path::new("inspect"), &shop.program()]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    for words in [
        "       3  zoftmax (not supported)\n",
        "       1  conv9d (not supported)\n",
        "MACs        - in layers\n",
        "\nThis model can't be converted: 2 of its kinds of ops are not supported\n",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
    let ran = run(command([
        Path::new("inspect"),
        &shop.program(),
        Path::new("--json"),
    ]));
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["macs"], serde_json::Value::Null);
    let ops = json["ops"].as_array().unwrap();
    let unsupported = ops.iter().filter(|op| op["supported"] == false);
    let names: Vec<&str> = unsupported.filter_map(|op| op["name"].as_str()).collect();
    assert_eq!(names, ["zoftmax", "conv9d"]);
}

#[test]
fn an_attribute_of_the_wrong_type() {
    let shop = Workshop::new();
    // The axis, an integer, becomes a bool: both are a varint.
    shop.patch(
        &op_type("softmax"),
        b"\x04axis\x10\x00\x18",
        b"\x04axis\x10\x06\x50",
    );
    let words = [
        "inference.pdmodel",
        "`softmax`",
        "`axis`",
        "a bool",
        "an integer",
    ];
    shop.refuses(&shop.program(), &words);
    let ran = run(command([Path::new("inspect"), &shop.program()]));
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(
        ran.stdout.contains("This model can't be converted: "),
        "{ran}"
    );
    // An attribute without a value is refused, too.
    let shop = Workshop::new();
    shop.patch(
        &op_type("softmax"),
        b"\x04axis\x10\x00",
        b"\x04axis\x10\x01",
    );
    let words = ["inference.pdmodel", "`softmax`", "`axis`", "no value"];
    shop.refuses(&shop.program(), &words);
}

#[test]
fn outputs_that_can_not_be_written() {
    let shop = Workshop::new();
    let text = shop.file("text", "");
    let before = names_in(&shop.model);
    for (output, words) in [
        (
            shop.out().join("none/m.onnx"),
            &["out/none: could not open the output folder: "][..],
        ),
        (text.join("m.onnx"), &["text: the output folder is a file"]),
        (
            shop.program(),
            &["inference.pdmodel: the output would replace the model itself"],
        ),
        (
            shop.weights(),
            &["inference.pdiparams: the output would replace the model itself"],
        ),
        // The model's file by another path.
        (
            shop.out().join("../ViT_base_patch16_224/inference.pdmodel"),
            &["would replace"],
        ),
        #[cfg(target_os = "linux")]
        // Not even root may write there.
        (
            PathBuf::from("/proc/m.onnx"),
            &["/proc: could not create a file in the output folder"],
        ),
    ] {
        let convert = command([
            Path::new("convert"),
            &shop.program(),
            Path::new("-o"),
            &output,
        ]);
        is_refusal(&run(convert), words);
        assert_eq!(names_in(&shop.out()), [""; 0]);
        assert_eq!(names_in(&shop.model), before);
    }
}

/// The file with external weights is an output too.
#[test]
fn external_weights_do_not_replace_the_model() {
    let shop = Workshop::new();
    let weights = shop.model.join("m.onnx.data");
    fs::rename(shop.weights(), &weights).unwrap();
    let mut convert = command([
        Path::new("convert"),
        &shop.program(),
        Path::new("--params"),
        &weights,
    ]);
    convert
        .arg("-o")
        .arg(shop.model.join("m.onnx"))
        .args(["--weights", "external"]);
    is_refusal(
        &run(convert),
        &["m.onnx.data: the output would replace the model itself"],
    );
}

/// A limit on the size of files stands in for a full disk: it needs no privileges, and fails at the same
/// place, when data are written.
#[test]
#[cfg(unix)]
fn a_full_disk() {
    for (placement, limit) in [("inline", 8), ("external", 8), ("inline", 1), ("inline", 0)] {
        let shop = Workshop::new();
        let old = shop.out().join("m.onnx");
        fs::write(&old, "what was there before").unwrap();
        // Without the trap, SIGXFSZ would end the program before it can report the error.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut shell = assert_cmd::Command::new("sh");
        shell
            .args(["-c", &script])
            .arg(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"));
        shell
            .arg("convert")
            .arg(shop.program())
            .args(["--weights", placement, "-o"])
            .arg(&old);
        is_refusal(&run(shell), &["m.onnx", "could not write the "]);
        assert_eq!(names_in(&shop.out()), ["m.onnx"], "{placement}, {limit}");
        assert_eq!(fs::read_to_string(&old).unwrap(), "what was there before");
    }
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let shop = Workshop::new();
    let model = Model::open(&shop.model, None).unwrap();
    for weights in [Weights::Inline, Weights::External] {
        let steps = Cell::new(0);
        let mut total = 0;
        // Breaks after every possible step in turn, until one conversion gets through.
        for last in 0.. {
            steps.set(0);
            let progress = |_, _| {
                steps.set(steps.get() + 1);
                if steps.get() > last {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let options = ConvertOptions {
                weights,
                progress: &progress,
                ..ConvertOptions::default()
            };
            match model.convert(&shop.out().join("m.onnx"), &options) {
                Ok(_) => break,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Interrupted, "{e}"),
            }
            assert_eq!(
                names_in(&shop.out()),
                [""; 0],
                "{weights:?} after {last} steps"
            );
            total += 1;
        }
        // At least that of one thread, and the last.
        assert!(total >= 2, "{total} steps");
        for name in names_in(&shop.out()) {
            fs::remove_file(shop.out().join(name)).unwrap();
        }
    }
}

#[test]
fn opsets_that_can_not_be_written() {
    let shop = Workshop::new();
    for opset in ["0", "6", "1000", "-1", "seventeen"] {
        let mut convert = command([Path::new("convert"), &shop.program()]);
        convert.arg(format!("--opset={opset}"));
        let ran = run(convert);
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(
            ran.stderr.contains("--opset <N|auto>") && ran.stderr.contains(opset),
            "{ran}"
        );
    }
    let model = Model::open(&shop.model, None).unwrap();
    let options = ConvertOptions {
        opset: 6,
        ..ConvertOptions::default()
    };
    let error = model
        .convert(&shop.out().join("m.onnx"), &options)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("opset 6 can't be written; choose one from 7"),
        "{error}"
    );
    assert_eq!(names_in(&shop.out()), [""; 0]);
}
