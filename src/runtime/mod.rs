//! ONNX Runtime, found and loaded when it is needed.
//!
//! Conversion does not need it. Its library is looked for in this order: the path that the caller gives,
//! the environment variable `ORT_DYLIB_PATH`, the folder of the executable, the system's library folders,
//! and the `onnxruntime` package of the Python on the path.

mod find;
mod session;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::{Environment, GlobalThreadPoolOptions};

use crate::error::{Error, Result};
pub use session::{Prepared, Session};

/// The ONNX Runtime of this process: it allows one environment in a process, and can't be unloaded.
static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// A loaded ONNX Runtime.
#[derive(Clone)]
pub struct OnnxRuntime {
    environment: Environment,
    library: PathBuf,
    version: String,
}

impl OnnxRuntime {
    /// Finds and loads ONNX Runtime, or returns the one that this process has loaded already, whatever
    /// `library` says. `library` is its file or the folder of that, if it is not to be looked for.
    ///
    /// # Errors
    /// When there is none, or it can't be loaded. The message says how to get one.
    pub fn load(library: Option<&Path>) -> Result<Self> {
        let mut loaded = LOADED
            .lock()
            .map_err(|_| Error::internal("loading ONNX Runtime failed before"))?;
        if let Some(runtime) = loaded.as_ref() {
            return Ok(runtime.clone());
        }
        // Absolute, since `ort` looks for relative paths beside the executable first.
        let library = find::library(library)?;
        let library = library.canonicalize().unwrap_or(library);
        let fail = |e: &dyn std::fmt::Display| {
            Error::invalid(format!("could not load ONNX Runtime: {e}")).in_file(&library)
        };
        let environment = ort::init_from(&library).map_err(|e| fail(&e))?;
        // Threads that spin while they wait for work would slow down whatever runs between the parts of a model.
        let pool = GlobalThreadPoolOptions::default().with_spin_control(false);
        let environment = environment
            .with_global_thread_pool(pool.map_err(|e| fail(&e))?)
            .with_name("paddle2onnx-rs")
            .with_telemetry(false)
            .build()
            .map_err(|e| fail(&e))?;
        // What ONNX Runtime refuses comes back as an error, which says all that its log does.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        let runtime = Self {
            environment,
            version: version(&library, ort::info()),
            library,
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// Has ONNX Runtime write its warnings and errors to stderr, in words of its own.
    pub fn show_log(&self) {
        let level = ort::logging::LogLevel::Warning;
        self.environment.set_log_level(level);
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The version, such as `1.32.0`, or the library's description of its build if that names none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Opens a model, with threads of its own, as ONNX Runtime does by default.
    ///
    /// # Errors
    /// When ONNX Runtime refuses it.
    pub fn open(&self, model: &Path) -> Result<Session> {
        Session::open(&self.environment, model)
    }

    /// Opens part of a model, whose bytes, with those of its weights, are in memory. All parts share their threads.
    pub(crate) fn open_bytes(&self, model: &[u8]) -> Result<Session> {
        Session::open_bytes(&self.environment, model)
    }
}

/// The version in a library's file name such as `libonnxruntime.so.1.32.0`, or in a build description
/// such as `ORT Build Info: git-branch=rel-1.19.0, …`. If neither names one, the description.
fn version(library: &Path, info: &str) -> String {
    let name = library
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    if number.split('.').count() == 3 && number.chars().all(|c| c == '.' || c.is_ascii_digit()) {
        return number.to_owned();
    }
    info.split_once("git-branch=rel-")
        .and_then(|(_, rest)| rest.split(',').next())
        .unwrap_or(info)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name_or_in_the_description() {
        let info = "ORT Build Info: git-branch=rel-1.19.0, git-commit-id=26250ae";
        let other = "ORT Build Info: git-branch=HEAD, git-commit-id=fab30a4";
        for (name, info, expected) in [
            ("libonnxruntime.so.1.32.0", other, "1.32.0"),
            ("libonnxruntime.1.20.1.dylib", other, "1.20.1"),
            ("libonnxruntime.so.1", info, "1.19.0"),
            ("onnxruntime.dll", info, "1.19.0"),
            ("libonnxruntime.so", other, other),
        ] {
            assert_eq!(version(Path::new(name), info), expected, "{name}");
        }
    }
}
