//! An ONNX Runtime for the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::verify::{Inputs, VerifyOptions};

/// The version of ONNX Runtime that is installed if none is found.
const ONNX_RUNTIME: &str = "onnxruntime==1.32.0";

/// ONNX Runtime's library: found as `verify` finds it, else installed once into `target/`.
///
/// # Panics
/// When there is none and it can't be installed. A test without it would prove nothing.
pub fn onnx_runtime() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| match OnnxRuntime::load(None) {
        Ok(runtime) => runtime.library().to_path_buf(),
        Err(missing) => {
            let runtime = OnnxRuntime::load(Some(&installed(&missing)));
            runtime.unwrap().library().to_path_buf()
        }
    })
}

/// A comparison with what Paddle recorded of an op case.
pub fn against_recorded(program: &Path) -> VerifyOptions {
    let recorded = super::goldens(program);
    VerifyOptions {
        inputs: Inputs::Files(recorded.clone()),
        expected: recorded,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    }
}

fn installed(missing: &paddle2onnx::Error) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let packages = target.join(ONNX_RUNTIME.replace("==", "-"));
    let library = packages.join("onnxruntime/capi");
    if library.is_dir() {
        return library;
    }
    // The package goes into a temporary folder first, so that a broken installation is never taken for a
    // whole one.
    let partial = target.join(format!("onnxruntime-{}.partial", std::process::id()));
    let install = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&partial)
        .arg(ONNX_RUNTIME)
        .output();
    match install {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "{missing}\ninstalling it failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(e) => panic!("{missing}\ninstalling it failed: python3: {e}"),
    }
    // If another test process was faster, its installation is used.
    let _ = fs::rename(&partial, &packages);
    let _ = fs::remove_dir_all(&partial);
    library
}
