//! Long work: on a thread of its own, without Python's lock, with progress, and with an end by Ctrl-C.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use paddle2onnx::Result;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::failure;

/// The time between two looks at Python's signals: a delay that nobody notices.
const PERIOD: Duration = Duration::from_millis(50);

/// What the work tells the thread that waits for it, and is told by it.
pub struct Reporter<M> {
    sender: Sender<M>,
    /// Whether anybody wants to know how far the work is.
    is_heard: bool,
    stop: Arc<AtomicBool>,
}

impl<M> Reporter<M> {
    /// Tells how far the work is.
    pub fn tell(&self, message: M) {
        if self.is_heard {
            // The other side listens until this one is dropped.
            let _ = self.sender.send(message);
        }
    }

    /// What is set when the work shall end.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }
}

/// Runs `job`. `progress` is called with each message, the arguments of the call. When it raises an exception, or a signal
/// handler of Python does, as after Ctrl-C, the work is told to end, and the exception is returned when it has.
///
/// # Errors
/// Those of `job`, as exceptions, and those that end it.
pub fn run<T, M>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    job: impl FnOnce(&Reporter<M>) -> Result<T> + Send,
) -> PyResult<T>
where
    T: Send,
    M: Send + for<'py> PyCallArgs<'py>,
{
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let reporter = Reporter {
        sender,
        is_heard: progress.is_some(),
        stop: stop.clone(),
    };
    let (ended, interruption) = thread::scope(|scope| {
        // The reporter is dropped at the end, which is what the other side waits for.
        let worker = scope.spawn(move || job(&reporter));
        let interruption = wait(py, progress, receiver, &stop);
        (py.detach(|| worker.join()), interruption)
    });
    match (ended, interruption) {
        (Err(panic), _) => panic::resume_unwind(panic),
        (Ok(_), Some(exception)) => Err(exception),
        (Ok(result), None) => result.map_err(|e| failure::exception(py, &e)),
    }
}

/// Waits for the end of the work, and calls `progress` meanwhile. The exception that ended the work early, if one did.
fn wait<M>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    mut receiver: Receiver<M>,
    stop: &AtomicBool,
) -> Option<PyErr>
where
    M: Send + for<'py> PyCallArgs<'py>,
{
    let mut interruption = None;
    loop {
        let message;
        (message, receiver) = py.detach(move || (receiver.recv_timeout(PERIOD), receiver));
        let told = match (message, progress) {
            (Err(RecvTimeoutError::Disconnected), _) => return interruption,
            (Ok(message), Some(progress)) if interruption.is_none() => {
                progress.call1(message).map(drop)
            }
            _ => Ok(()),
        };
        if let Err(exception) = told.and_then(|()| py.check_signals()) {
            stop.store(true, Ordering::Relaxed);
            interruption.get_or_insert(exception);
        }
    }
}
