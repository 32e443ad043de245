//! Ops that hold blocks: branches and loops.
//!
//! Such an op says when its blocks run, with which arguments, and what its results are then. How a block is inferred,
//! lowered or run is the same for all of them, and handed in by the stage.

use super::interface::Macs;
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::Tensor;

/// Infers what is known of the results of the block of this number, where that is known of its arguments.
pub(crate) type InferBlock<'a> =
    dyn FnMut(&mut Facts<'_>, usize, &[Fact]) -> Result<Vec<Fact>> + 'a;

/// Emits the nodes of the block of this number into the body that is under construction, where these tensors hold its
/// arguments, and returns those that hold its results.
pub(crate) type LowerBlock<'a> =
    dyn FnMut(&mut Lowering<'_>, usize, &[TensorId]) -> Result<Vec<TensorId>> + 'a;

/// A run, as an op with blocks sees it.
pub(crate) trait Run {
    /// The tensor of an operand.
    ///
    /// # Errors
    /// When it is not computed yet, which is a defect of the caller.
    fn value(&self, id: ValueId) -> Result<Tensor>;

    /// Runs the block of this number with these arguments, and returns its results.
    ///
    /// # Errors
    /// When an op of the block can't be computed.
    fn block(&mut self, number: usize, arguments: Vec<Tensor>) -> Result<Vec<Tensor>>;
}

/// One occurrence of an op that holds blocks. Its methods are those of [`Operator`](super::Operator), which get the
/// means to deal with the blocks.
pub(crate) trait Control: Send + Sync {
    /// What is known of each result before a run.
    ///
    /// # Errors
    /// When the operands or the results of the blocks don't fit the op, or each other.
    fn infer(&self, facts: &mut Facts<'_>, block: &mut InferBlock<'_>) -> Result<Vec<Fact>>;

    /// Emits ONNX nodes, and returns the tensors that hold the results.
    ///
    /// # Errors
    /// When ONNX can't express what Paddle computes, or not in the opset that is written.
    fn lower(&self, g: &mut Lowering<'_>, block: &mut LowerBlock<'_>) -> Result<Vec<TensorId>>;

    /// Computes the results as Paddle does.
    ///
    /// # Errors
    /// When Paddle would refuse the operands, or an op of a block.
    fn evaluate(&self, run: &mut dyn Run) -> Result<Vec<Tensor>>;

    /// Whether the op may run its block several times.
    fn is_loop(&self) -> bool {
        false
    }

    /// The multiply-accumulates of one run. Those of a block that may run once, never or often are not known.
    fn macs(&self) -> Macs {
        Macs::Unknown
    }
}
