//! What the file says → one [`Program`].
//!
//! Names and slots of legacy ops become those of PHI, variables that are written several times
//! become several values, and what may be an attribute or a tensor becomes an operand. An op
//! without a definition is kept as it is, so that a program can be inspected whatever it holds.
//! Refused are programs that contradict themselves, and weights that don't match.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod attrs;
mod builder;
mod legacy;
mod variables;

pub(crate) use builder::{Builder, Draft};
pub(crate) use legacy::program;
