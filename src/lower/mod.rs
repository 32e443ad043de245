//! Program → ONNX graph.
//!
//! Every op lowers itself through a [`Lowering`], which hands out tensors, knows what each opset
//! spells how ([`opset`]), and remembers which op a node comes from. At the end the nodes that
//! nothing needs are dropped and everything gets its name ([`finish`]).

mod check;
mod context;
mod finish;
mod graph;
mod opset;
mod shapes;

pub(crate) use check::obstacles;
pub(crate) use context::Lowering;
pub use finish::OnnxModel;
pub(crate) use finish::{Initializer, InitializerData};
pub(crate) use graph::{NodeAttr, TensorId};

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::ops;
use crate::program::Program;
use crate::simplify::simplify;
use crate::tensor::DType;

/// The versions of ONNX's operator set that can be written.
pub const OPSETS: RangeInclusive<u32> = 11..=21;

/// The version written by default: the first with LayerNormalization.
pub const DEFAULT_OPSET: u32 = 17;

/// Lowers a program.
///
/// # Errors
/// When ops are not supported (all of them are listed), or an op can't be expressed in `opset`.
pub(crate) fn lower(program: &Program, opset: u32) -> Result<OnnxModel> {
    refuse_opset(program, opset)?;
    let program = &simplify(program);
    let operators = ops::resolve(program)?;
    let facts = ops::infer(program, &operators)?;
    let mut lowering = Lowering::new(&facts, opset);
    for (op, operator) in program.ops().iter().zip(&operators) {
        lowering.op(op, &**operator)?;
    }
    finish::finish(lowering)
}

/// # Errors
/// When `opset` can't be written, or does not have a type of the program.
fn refuse_opset(program: &Program, opset: u32) -> Result<()> {
    if !OPSETS.contains(&opset) {
        return Err(Error::invalid(format!(
            "opset {opset} can't be written; choose one from {} to {}",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    if opset < 13
        && program
            .values()
            .any(|(_, value)| value.dtype == DType::BF16)
    {
        return Err(Error::needs_opset(13, "bfloat16"));
    }
    Ok(())
}
