//! Ctrl-C and SIGTERM, without leaving half a file behind.
//!
//! While an output is written, a signal only sets a flag: the writing notices, and removes its
//! temporary files. At any other time the process ends at once, after its scratch folder is gone.

use std::ffi::c_int;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::{Failure, Result, progress};

/// What shells give for a process that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

struct State {
    requested: bool,
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
pub fn install() -> Result<()> {
    ctrlc::set_handler(on_signal)
        .map_err(|e| Failure::new(format!("could not install the handler of Ctrl-C: {e}")))
}

/// Runs on a thread of its own. The lock is kept until the end, so that nothing begins to write
/// after the look at the state.
fn on_signal() {
    let mut state = state();
    state.requested = true;
    if state.writing {
        return;
    }
    state.scratch = None;
    progress::clear();
    super::complain("interrupted");
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

/// Ends what was asked to end while something was written.
pub fn check() -> Result<()> {
    if state().requested {
        return Err(Failure::interrupted());
    }
    Ok(())
}

/// Whether to go on with the writing.
pub fn flow() -> ControlFlow<()> {
    if state().requested {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Does `work`, which writes an output and looks at [`flow`] while it does.
pub fn while_writing<T>(work: impl FnOnce() -> T) -> T {
    state().writing = true;
    let result = work();
    state().writing = false;
    result
}

/// Does `work` with a folder that is removed at its end, however that comes.
pub fn with_scratch<T>(work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    with_scratch_in(None, work)
}

/// The same in a folder that is not the system's for temporary files.
pub fn with_scratch_in<T>(
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
