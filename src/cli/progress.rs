//! Progress on the terminal, for work that takes longer than a moment.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use paddle2onnx::Progress;

use super::loudness::{is_quiet, is_verbose};
use super::stderr::tell;
use super::{bar, interrupt};

/// Work that is quicker than this shows no progress: a bar that flashes up tells nobody anything.
const MOMENT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// A line on stderr that appears after a [`MOMENT`] and vanishes at the end. It is never shown where
/// stderr is no terminal.
pub(super) struct Line {
    bar: ProgressBar,
    appearing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Line {
    /// A bar with the bytes that are done, their total, and an estimate of the time left.
    pub fn bytes() -> Self {
        Self::new("{bar:30} {decimal_bytes} of {decimal_total_bytes}, {eta} left")
    }

    /// A spinner with the name of what is being done and the time since the line was made.
    pub fn stages() -> Self {
        Self::new("{spinner} {msg} ({elapsed})")
    }

    /// A bar with the number of pictures that are done, and an estimate of the time left.
    pub fn pictures() -> Self {
        Self::new("{bar:30} {pos} of {len} pictures, {eta} left {msg}")
    }

    fn new(template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.expect("the templates are constants of this file"));
        let is_shown = io::stderr().is_terminal() && !is_quiet();
        let appearing = is_shown.then(|| appear_later(bar.clone()));
        bar::set(bar.clone());
        Self { bar, appearing }
    }

    /// Says what is being done now.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        let what = what.into();
        if is_verbose() && self.bar.message() != what {
            self.aside(|| tell(&what));
        }
        self.bar.set_message(what);
    }

    /// Says how much is done.
    pub fn count(&self, done: usize, total: usize) {
        self.bar.set_message("");
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    /// Runs `print`, which writes lines to stdout, without the line in between.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

fn appear_later(bar: ProgressBar) -> (Sender<()>, JoinHandle<()>) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        if is_done.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    });
    (done, thread)
}

impl Progress for Line {
    fn step(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.set_length(total);
        self.bar.set_position(done);
        interrupt::flow()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.appearing.take() {
            drop(done);
            // An error says that the thread has panicked; the line is cleared all the same.
            let _ = thread.join();
        }
        bar::clear();
    }
}
