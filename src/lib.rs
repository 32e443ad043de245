//! Converts PaddlePaddle inference models to ONNX, without Paddle or Python, and proves the
//! result.
//!
//! Three steps: [`Model::open`] reads a program and finds its weights, [`Model::convert`] writes
//! ONNX, and [`verify::verify`] runs the program in the
//! [reference interpreter](crate::reference) and the ONNX model in ONNX Runtime, and compares their
//! outputs.
//!
//! ```
//! use paddle2onnx::{ConvertOptions, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = "fixtures/paddle-3.3.1/vit/ViT_base_patch16_224".as_ref();
//! # let output = folder.path().join("model.onnx");
//! let model = Model::open(path, None)?;
//! for port in model.summary().inputs {
//!     println!("{}: {}", port.name, port.dtype);
//! }
//! let options = ConvertOptions { opset: 20, ..ConvertOptions::default() };
//! for obstacle in model.obstacles(options.opset)? {
//!     println!("{}: {}", obstacle.op, obstacle.reason);
//! }
//! let conversion = model.convert(&output, &options)?;
//! println!("{} nodes", conversion.nodes);
//! # Ok(())
//! # }
//! ```
//!
//! The examples `convert`, `verify` and `custom_op` are whole programs.
//!
//! Ops that this crate does not know can be added: [`operator`] has the vocabulary in which ops are
//! defined, [`program`] that of the Paddle side, and [`graph`] that of the ONNX side.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `cli` (default) | [`cli`], the command line, and with it `verify` |
//! | `verify` | [`verify`], [`accuracy`], [`mod@bench`], [`zoo`] and [`runtime`], with ONNX Runtime's bindings and the readers of pictures and arrays |
//! | none | everything else: models are opened, inspected, run in the reference interpreter and converted |

// What verifying alone needs of the other modules stays where it belongs.
#![cfg_attr(not(feature = "verify"), allow(dead_code, unused_imports))]

// The command line has the paths that other programs have, since it uses what is public alone.
extern crate self as paddle2onnx;

#[cfg(feature = "verify")]
pub mod accuracy;
mod alike;
mod analyse;
#[cfg(feature = "verify")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod graph;
#[cfg(feature = "verify")]
mod html;
mod kernels;
mod lower;
mod model;
mod normalise;
pub mod operator;
mod ops;
pub mod program;
mod proto;
mod read;
pub mod reference;
#[cfg(feature = "verify")]
pub mod runtime;
mod simplify;
mod target;
pub mod tensor;
#[cfg(feature = "verify")]
pub mod verify;
mod write;
#[cfg(feature = "verify")]
pub mod zoo;

/// The guides whose blocks are Rust, which are tested as documentation.
#[cfg(all(doctest, feature = "verify"))]
#[doc = include_str!("../docs/vit.md")]
struct Guides;

pub use error::{Error, ErrorKind, Place, Result};
pub use graph::{DEFAULT_OPSET, OPSETS};
pub use model::{
    Conversion, ConvertOptions, LowestOpset, MacCount, Model, Note, Obstacle, Port, Streamed,
    Summary,
};
pub use operator::{Accuracy, Registry, SupportedOp};
pub use read::{ByteRange, Format, ModelFiles, Tree, WeightFiles, programs_below};
pub use simplify::{
    HalfPrecision, InputShape, KEPT_IN_FLOAT32, KeptOps, REWRITES, Renaming, Rewrite,
};
pub use target::{TARGETS, Target, TargetNeed};
pub use write::{Progress, Snapshot, Weights, Written};
