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

/// A result of such an op.
struct Kept {
    /// Its value, computed in float64.
    exact: Tensor,
    rounding: OpRounding,
    /// The op, and those without a tensor that its operands come from, as users read them. Ops that only move elements are
    /// left out.
    ops: Vec<String>,
}

/// The results of such ops that are alive.
#[derive(Default)]
pub(super) struct Absorbed(HashMap<ValueId, Kept>);

impl Absorbed {
    /// Keeps the results of an op without a tensor.
    ///
    /// # Errors
    /// When the reference can't compute the op in float64.
    pub fn add(&mut self, step: &Step<'_>, accuracy: Option<Accuracy>) -> Result<()> {
        let rounding = self.rounding(step, accuracy);
        let mut ops = self.ops(step);
        if accuracy != Some(Accuracy::Exact) {
            ops.push(format!(
                "op {} `{}`",
                step.op.source.index,
                step.op.kind.name()
            ));
        }
        let results = step.exact_results(&|id| self.exact(id))?;
        for (id, exact) in step.op.results.iter().zip(results) {
            let ops = ops.clone();
            self.0.insert(
                *id,
                Kept {
                    exact,
                    rounding,
                    ops,
                },
            );
        }
        Ok(())
    }

    /// The exact value of a result without a tensor.
    pub fn exact(&self, id: ValueId) -> Option<Tensor> {
        self.0.get(&id).map(|kept| kept.exact.clone())
    }

    /// The rounding of an op of this accuracy, and of those without a tensor that its operands come from.
    pub fn rounding(&self, step: &Step<'_>, accuracy: Option<Accuracy>) -> OpRounding {
        let rounding = OpRounding {
            accuracy,
            largest_operand: step.largest_operand(),
        };
        self.read_by(step)
            .fold(rounding, |rounding, kept| rounding.after(kept.rounding))
    }

    /// The ops without a tensor that the operands of an op come from.
    pub fn ops(&self, step: &Step<'_>) -> Vec<String> {
        let mut ops: Vec<String> = Vec::new();
        for op in self.read_by(step).flat_map(|kept| &kept.ops) {
            if !ops.contains(op) {
                ops.push(op.clone());
            }
        }
        ops
    }

    fn read_by(&self, step: &Step<'_>) -> impl Iterator<Item = &Kept> {
        let mut read = Vec::new();
        step.op.each_read(&mut |id| read.extend(self.0.get(&id)));
        read.into_iter()
    }

    /// Drops what is not read any more.
    pub fn remove(&mut self, dead: &[ValueId]) {
        for id in dead {
            self.0.remove(id);
        }
    }
}
