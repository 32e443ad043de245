//! The colours of text on the terminal. They are written out in full; `anstream` drops them where
//! they can't be shown.

use anstyle::{AnsiColor, Style};

/// Errors, and answers that are no.
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// Warnings, and results that need a look without being wrong.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();

/// Answers that are yes.
pub(super) const NOTE: Style = AnsiColor::Cyan.on_default();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// Names of what follows.
pub(super) const HEADING: Style = Style::new().bold();
