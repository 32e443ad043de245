//! Program → ONNX graph, op by op; and all that stands in the way of it.
//!
//! Refuses opsets that are not written, element types that the opset lacks, and ops that ONNX or the opset can't
//! express.

mod check;

pub(crate) use check::obstacles;

use crate::analyse::Analysis;
use crate::error::{Error, Result};
use crate::graph::{Lowering, OPSETS, OnnxModel, finish};
use crate::program::Program;
use crate::tensor::DType;

/// The ONNX model of a program whose ops are read, in `opset`.
///
/// # Errors
/// When ONNX can't express an op, or not in `opset`. The first such op is named.
pub(crate) fn lower(analysis: &Analysis<'_>, opset: u32) -> Result<OnnxModel> {
    let mut lowering = Lowering::new(&analysis.facts, opset);
    for (source, text) in &analysis.facts.program().remarks {
        lowering.note_on(source, text.as_ref());
    }
    for (op, parsed) in analysis.ops() {
        parsed.lower(op, &mut lowering, &mut |_, e| Err(e))?;
    }
    finish(lowering)
}

/// Refuses an opset in which the program can't be written, whatever its ops are.
///
/// # Errors
/// When `opset` is not one of [`OPSETS`], or is below 13, the first with bfloat16, and the program has values of that
/// type.
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
