//! Many models at once: a manifest → each converted and verified in a process of its own → a
//! report.
//!
//! [`Manifest::read`] turns a TOML file into [`Task`]s, one per model and opset. [`run`] gives each
//! to a process of its own, so that a crash, a lack of memory or an endless loop fails that model
//! alone, and judges what comes back. A [`Report`] serialises as JSON, which is also what
//! [`Report::compare`] reads as a baseline, and is shown as [`junit`] XML and as a page in
//! [`html`](fn@html).
//!
//! Where one machine would take too long, each of several runs a [`Shard`] of the manifest, and
//! [`merge`](fn@merge) makes one report of theirs.
//!
//! The program that these processes run is [`Options::program`], which must have the `convert`
//! subcommand of `paddle2onnx-rs`.

mod baseline;
mod html;
mod judge;
mod junit;
mod manifest;
mod memory;
mod merge;
mod regression;
mod report;
mod run;
mod settings;
mod shard;
mod worker;

pub use html::html;
pub use junit::junit;
pub use manifest::{Expectation, Manifest, Source, Task};
pub use memory::available as available_memory;
pub use merge::merge;
pub use regression::{Regression, RegressionKind};
pub use report::{Agreement, Machine, ModelResult, Pair, Report, Status};
pub use run::{Options, Progress, run};
pub use settings::{BaselineLimits, Limits};
pub use shard::Shard;
