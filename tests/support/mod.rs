//! What the integration tests share: the fixtures, and an ONNX Runtime.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses its own part"
)]

#[cfg(feature = "cli")]
pub mod command;
pub mod files;
pub mod large;
pub mod mutate;
pub mod mutate_onnx;
pub mod mutate_pir;
pub mod onnx;
mod packs;
pub mod retype;
#[cfg(feature = "verify")]
mod runtime;
#[cfg(feature = "cli")]
pub mod shell;
#[cfg(feature = "verify")]
pub mod wild;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(feature = "verify")]
pub use runtime::{against_recorded, onnx_runtime};

/// The schema of programs, as the build script compiles it for the library.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod framework {
    include!(concat!(env!("OUT_DIR"), "/paddle.framework.proto.rs"));
}

/// A file or folder below `fixtures/`. Those of op cases, `VERSION/ops/OP/CASE…`, are unpacked first.
pub fn fixture(path: &str) -> PathBuf {
    static UNPACKED: OnceLock<PathBuf> = OnceLock::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let is_packed = Path::new(path).iter().nth(1) == Some("ops".as_ref());
    if is_packed {
        UNPACKED
            .get_or_init(|| packs::unpacked(&fixtures))
            .join(path)
    } else {
        fixtures.join(path)
    }
}

/// The versions of Paddle that fixtures come from: the last that writes ProgramDesc, and one that
/// writes PIR.
pub const PADDLE_VERSIONS: [&str; 2] = ["paddle-2.6.2", "paddle-3.3.1"];

/// The folders of op cases: one of each version, and one of Paddle 3 in the older format.
pub const OP_FOLDERS: [&str; 3] = [
    "paddle-2.6.2/ops",
    "paddle-3.3.1/ops",
    "paddle-3.3.1-pdmodel/ops",
];

/// All programs below a folder of `fixtures/`, in either format, sorted.
pub fn programs(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path
                .extension()
                .is_some_and(|e| e == "pdmodel" || e == "json")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&fixture(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no programs in fixtures/{folder}");
    found
}

/// The recorded inputs and outputs of a program: `NAME.0.npz`, `NAME.1.npz`, …
pub fn goldens(program: &Path) -> Vec<PathBuf> {
    let numbered = (0..).map(|number| program.with_extension(format!("{number}.npz")));
    let goldens: Vec<PathBuf> = numbered.take_while(|path| path.exists()).collect();
    assert!(!goldens.is_empty(), "no goldens of {}", program.display());
    goldens
}
