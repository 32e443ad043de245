//! Ctrl-C and SIGTERM, without leaving half a file behind.
//!
//! While an output is written, a signal only sets a flag: the writer looks at it, stops, and removes
//! its temporary files. At any other time, the process removes its scratch folder and ends at once.

use std::ffi::c_int;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::bar;
use super::outcome::{Failure, Result};
use super::stderr::complain;

/// The exit code that shells report for a process that was ended by Ctrl-C.
pub(super) const EXIT_CODE: u8 = 130;

struct State {
    /// Whether a signal has come.
    requested: bool,
    /// Whether an output is being written.
    writing: bool,
    scratch: Option<TempDir>,
}

static STATE: Mutex<State> = Mutex::new(State {
    requested: false,
    writing: false,
    scratch: None,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to handle signals.
pub(super) fn install() -> Result<()> {
    ctrlc::set_handler(on_signal)
        .map_err(|e| Failure::new(format!("could not install the handler of Ctrl-C: {e}")))
}

/// Handles a signal, on a thread of its own. It keeps the lock until the process ends, so that no
/// writing can begin after it has looked at the state.
fn on_signal() {
    let mut state = state();
    state.requested = true;
    if state.writing {
        return;
    }
    state.scratch = None;
    bar::clear();
    complain("interrupted");
    exit(EXIT_CODE)
}

/// Ends the process without running the destructors of loaded libraries: ONNX Runtime's crash
/// while its threads are still at work.
fn exit(code: u8) -> ! {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    // SAFETY: this is the C library's function, which takes any number. Nothing of this process
    // runs after it, and all that was written to stdout was flushed.
    unsafe { _exit(code.into()) }
}

/// Fails if a signal came while an output was written.
pub(super) fn check() -> Result<()> {
    if state().requested {
        return Err(Failure::interrupted());
    }
    Ok(())
}

/// Whether to go on writing.
pub(super) fn flow() -> ControlFlow<()> {
    if state().requested {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Runs `work`, which writes an output and looks at [`flow`] meanwhile.
pub(super) fn while_writing<T>(work: impl FnOnce() -> T) -> T {
    state().writing = true;
    let result = work();
    state().writing = false;
    result
}

/// Runs `work` with a temporary folder, which is removed when it has succeeded or failed, or a signal
/// ends it.
pub(super) fn with_scratch<T>(work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    with_scratch_in(None, work)
}

/// Like [`with_scratch`], but makes the folder in `parent` where that is given, instead of in the
/// system's folder for temporary files.
pub(super) fn with_scratch_in<T>(
    parent: Option<&Path>,
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let folder = tempfile::Builder::new()
        .prefix("paddle2onnx-")
        .tempdir_in(parent);
    let folder =
        folder.map_err(|e| Failure::new(format!("could not create a temporary folder: {e}")))?;
    let path = folder.path().to_path_buf();
    state().scratch = Some(folder);
    let result = work(&path);
    state().scratch = None;
    result
}
