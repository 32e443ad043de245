//! Program → ONNX graph, op by op.

mod check;

pub(crate) use check::obstacles;

use crate::analyse::Analysis;
use crate::error::{Error, Result};
use crate::graph::{Lowering, OPSETS, OnnxModel, finish};
use crate::program::Program;
use crate::tensor::DType;

/// Lowers a program.
///
/// # Errors
/// When an op can't be expressed in `opset`.
pub(crate) fn lower(analysis: &Analysis<'_>, opset: u32) -> Result<OnnxModel> {
    let mut lowering = Lowering::new(&analysis.facts, opset);
    for (op, parsed) in analysis.ops() {
        lowering.op(op, |g| parsed.operator().lower(g))?;
    }
    finish(lowering)
}

/// # Errors
/// When `opset` can't be written, or does not have a type of the program.
pub(crate) fn refuse_opset(program: &Program, opset: u32) -> Result<()> {
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
