//! Files → what they say: bounds-checked, with no knowledge of what any op means.
//!
//! In comes a path, out come the files of a model ([`locate`]), a decoded program
//! ([`program_desc`] or [`pir`]) and the place of every weight ([`params`]). What is truncated, oversized
//! or of another format is refused here, with the file and the byte.

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
mod locate;
pub(crate) mod params;
pub(crate) mod pir;
pub(crate) mod program_desc;

pub use file::Format;
pub(crate) use file::program;
pub use locate::{ModelFiles, WeightFiles, locate};
pub use params::ByteRange;
