//! Finding ONNX Runtime's library.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// The folders in which systems keep libraries.
const SYSTEM_FOLDERS: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
];

/// Prints the folder of the Python package without importing it, which would take a second.
const FIND_PACKAGE: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                            print(s.submodule_search_locations[0] if s else '')";

/// The file of the library to load: `given`, if it is a path, or else the first that is found in the
/// order that the module `runtime` describes.
pub(super) fn library(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return chosen(path, "--ort-lib");
    }
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return chosen(Path::new(&path), "ORT_DYLIB_PATH");
    }
    let executable = env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let folders = beside
        .into_iter()
        .chain(SYSTEM_FOLDERS.iter().map(Path::new));
    folders
        .filter_map(in_folder)
        .next()
        .or_else(in_python)
        .ok_or_else(|| {
            Error::invalid(
                "ONNX Runtime was not found; install it with `pip install onnxruntime`, or name \
                 its library with --ort-lib FILE or in ORT_DYLIB_PATH",
            )
        })
}

/// The library at a path that the user chose, which is a file or a folder. `origin` is the option or variable
/// that names it.
fn chosen(path: &Path, origin: &str) -> Result<PathBuf> {
    let found = if path.is_dir() {
        in_folder(path)
    } else {
        path.is_file().then(|| path.to_path_buf())
    };
    found.ok_or_else(|| {
        Error::invalid(format!(
            "there is no ONNX Runtime library where {origin} points"
        ))
        .in_file(path)
    })
}

/// The library in a folder; of several versions, the last by name.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let entries = folder.read_dir().ok()?.flatten();
    let names = entries.filter(|entry| is_library(&entry.file_name().to_string_lossy()));
    names.map(|entry| entry.path()).max()
}

fn is_library(name: &str) -> bool {
    name == "onnxruntime.dll"
        || name.starts_with("libonnxruntime.so")
        || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
}

/// The library in the `onnxruntime` package of the Python on the path.
fn in_python() -> Option<PathBuf> {
    ["python3", "python"].into_iter().find_map(|python| {
        let output = Command::new(python)
            .args(["-c", FIND_PACKAGE])
            .output()
            .ok()?;
        let folder = String::from_utf8(output.stdout).ok()?;
        let folder = folder.trim();
        if folder.is_empty() {
            return None;
        }
        in_folder(&Path::new(folder).join("capi"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_their_companions() {
        for name in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.32.0",
            "onnxruntime.dll",
        ] {
            assert!(is_library(name), "{name}");
        }
        assert!(is_library("libonnxruntime.1.20.0.dylib"));
        for name in [
            "libonnxruntime_providers_shared.so",
            "onnxruntime.lib",
            "libonnx.so",
        ] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn a_wrong_path_is_an_error() {
        let error = library(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
        assert!(error.to_string().contains("--ort-lib"), "{error}");
    }
}
