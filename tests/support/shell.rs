//! The program as its users run it, on one model.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Ran, command_with_runtime, run, stable};
use super::fixture;

/// One of PaddleClas' vision transformers, cut small.
pub const VIT: &str = "paddle-2.6.2/vit/ViT_base_patch16_224";

/// Runs the program; the arguments are separated by spaces, `VIT` stands for the model of that name,
/// `IMAGES` for the folder of pictures, and `DIR` for `folder`.
pub fn paddle2onnx(arguments: &str, folder: &Path) -> Ran {
    let vit = fixture(VIT).into_os_string().into_string().unwrap();
    let folder = folder.to_str().unwrap();
    let words = arguments.split_ascii_whitespace();
    run(command_with_runtime(words.map(|word| {
        word.replace("VIT", &vit)
            .replace("IMAGES", fixture("images").to_str().unwrap())
            .replace("DIR", folder)
    })))
}

/// Runs the program as [`paddle2onnx`] does, and returns a text that is the same on every machine.
pub fn shown(arguments: &str, folder: &TempDir) -> String {
    let ran = paddle2onnx(arguments, folder.path());
    stable(
        &ran,
        &[(folder.path(), "[DIR]"), (&fixture(""), "[FIXTURES]/")],
    )
}

pub fn json(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "", "{ran}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}
