//! Ops that have no tensor of their own in the ONNX model, since the nodes of a later op compute what they do: a convolution
//! into whose weights a batch normalisation was folded.
//!
//! The nodes of the later op are compared with what both compute, and may be off by as much as the rounding of both.

use std::collections::HashMap;

use crate::error::Result;
use crate::operator::Accuracy;
use crate::program::ValueId;
use crate::reference::Step;
use crate::tensor::Tensor;

/// How the results of an op are rounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpRounding {
    pub accuracy: Option<Accuracy>,
    /// The number of elements of its largest operand.
    pub largest_operand: usize,
}

impl OpRounding {
    /// The rounding of two ops, the second of which reads the first.
    fn after(self, first: Self) -> Self {
        let sums = [Some(Accuracy::Accumulated), Some(Accuracy::AlongAxis)];
        let is_sum = sums.contains(&first.accuracy) && self.accuracy != Some(Accuracy::Stepped);
        Self {
            accuracy: if is_sum {
                first.accuracy
            } else {
                self.accuracy
            },
            largest_operand: self.largest_operand.max(first.largest_operand),
        }
    }
}

/// The results of such ops that are alive, computed in float64.
#[derive(Default)]
pub(super) struct Absorbed(HashMap<ValueId, (Tensor, OpRounding)>);

impl Absorbed {
    /// Keeps the results of an op without a tensor.
    ///
    /// # Errors
    /// When the reference can't compute the op in float64.
    pub fn add(&mut self, step: &Step<'_>, accuracy: Option<Accuracy>) -> Result<()> {
        let rounding = self.rounding(step, accuracy);
        let results = step.exact_results(&|id| self.exact(id))?;
        let results = step.op.results.iter().copied().zip(results);
        self.0
            .extend(results.map(|(id, tensor)| (id, (tensor, rounding))));
        Ok(())
    }

    /// The exact value of a result without a tensor.
    pub fn exact(&self, id: ValueId) -> Option<Tensor> {
        self.0.get(&id).map(|(tensor, _)| tensor.clone())
    }

    /// The rounding of an op of this accuracy, and of those without a tensor that its operands come from.
    pub fn rounding(&self, step: &Step<'_>, accuracy: Option<Accuracy>) -> OpRounding {
        let mut rounding = OpRounding {
            accuracy,
            largest_operand: step.largest_operand(),
        };
        step.op.each_read(&mut |id| {
            if let Some((_, first)) = self.0.get(&id) {
                rounding = rounding.after(*first);
            }
        });
        rounding
    }

    /// Drops what is not read any more.
    pub fn remove(&mut self, dead: &[ValueId]) {
        for id in dead {
            self.0.remove(id);
        }
    }
}
