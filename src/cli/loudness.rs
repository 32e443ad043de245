//! How much is said beside the results.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nothing is said but errors.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether every step is told.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// How much to say.
#[derive(clap::Args)]
pub(super) struct Loudness {
    /// Say less: no notes, no warnings, no progress, and no report that all is well
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Tell every step, and show what ONNX Runtime logs
    #[arg(short, long)]
    verbose: bool,
}

impl Loudness {
    /// Makes this the rule for all that is said from now on.
    pub fn apply(&self) {
        QUIET.store(self.quiet, Ordering::Relaxed);
        VERBOSE.store(self.verbose, Ordering::Relaxed);
    }
}

/// Whether nothing is to be said but errors, and of what is found only what is wrong.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether every step is to be told.
pub(super) fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}
