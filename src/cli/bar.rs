//! The progress bar on the terminal, of which the process has one at a time.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar that is, or may come to be, on the terminal.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Makes `bar` the one that [`clear`] clears.
pub(super) fn set(bar: ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
}

/// Takes the bar off the terminal. A process that ends without unwinding must call this before.
pub(super) fn clear() {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
