//! ONNX Runtime, found and loaded when it is needed.
//!
//! Conversion needs none. It is looked for in this order: the path that the caller gives,
//! `ORT_DYLIB_PATH`, the folder of the executable, the system's library folders, and the
//! `onnxruntime` package of the Python on the path.

mod find;
mod session;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;

use crate::error::{Error, Result};
pub use session::Session;

/// ONNX Runtime allows one environment in a process, and can't be unloaded.
static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// A loaded ONNX Runtime.
#[derive(Clone)]
pub struct OnnxRuntime {
    environment: Environment,
    library: PathBuf,
    version: String,
}

impl OnnxRuntime {
    /// Finds and loads ONNX Runtime, or returns the one that this process has loaded already.
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
        let library = find::library(library)?;
        let fail = |e: &dyn std::fmt::Display| {
            Error::invalid(format!("could not load ONNX Runtime: {e}")).in_file(&library)
        };
        let environment = ort::init_from(&library)
            .map_err(|e| fail(&e))?
            .with_name("paddle2onnx-rs")
            .with_telemetry(false)
            .build()
            .map_err(|e| fail(&e))?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        let runtime = Self {
            environment,
            version: version(ort::info()),
            library,
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Its version, as in `1.32.0`, or what it says of its build.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Opens a model.
    ///
    /// # Errors
    /// When ONNX Runtime refuses it.
    pub fn open(&self, model: &Path) -> Result<Session> {
        Session::open(&self.environment, model)
    }
}

/// The version in a build description such as `ORT Build Info: git-branch=rel-1.19.0, …`.
fn version(info: &str) -> String {
    info.split_once("git-branch=rel-")
        .and_then(|(_, rest)| rest.split(',').next())
        .unwrap_or(info)
        .to_owned()
}
