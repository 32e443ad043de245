//! Files → what they say: bounds-checked, and without knowledge of what any op means.
//!
//! In goes a path, out come the files of a model ([`locate`]), a decoded program
//! ([`program_desc`] or [`pir`]) and the place of every weight ([`params`]). Files that are truncated,
//! oversized or of another format are refused here; the error names the file and, where there is one, the
//! offset.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod file;
mod kinds;
mod locate;
pub(crate) mod params;
mod pieces;
pub(crate) mod pir;
pub(crate) mod program_desc;
mod settings;
mod tree;

pub use file::Format;
pub(crate) use file::program;
pub(crate) use locate::{MEANINGLESS_NAMES, weights_in};
pub use locate::{ModelFiles, WeightFiles, locate};
pub use params::ByteRange;
pub(crate) use pieces::pieces;
pub(crate) use settings::{Settings, settings};
pub use tree::{Tree, programs_below};
