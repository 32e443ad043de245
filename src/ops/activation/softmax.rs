//! Softmax and its logarithm: `softmax`, `log_softmax`.
//!
//! Paddle: `phi/kernels/{softmax,log_softmax}_kernel.h`. ONNX: Softmax, LogSoftmax.

use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::{norm, with_real};
use crate::operator::{Accuracy, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    of_x(
        "softmax",
        // The layout is a hint to oneDNN; `axis` alone says over which elements the sum goes.
        &[plain(&["softmax"]).ignoring(&["data_format"])],
        |op| Softmax::parse(op, false),
    )
    .with_accuracy(Accuracy::AlongAxis),
    of_x("log_softmax", &[plain(&["log_softmax"])], |op| {
        Softmax::parse(op, true)
    })
    .with_accuracy(Accuracy::AlongAxis),
];

/// `exp(x) / Σ exp(x)` along an axis, or the logarithm of that.
struct Softmax {
    x: ValueId,
    axis: i64,
    log: bool,
}

impl Softmax {
    fn parse(op: &mut OpReader<'_>, log: bool) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            log,
        }))
    }
}

impl Function for Softmax {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        if rank > 0 {
            normalize_axis(self.axis, rank)?;
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let operator = if self.log { "LogSoftmax" } else { "Softmax" };
        if rank == 0 {
            // ONNX normalises along an axis, which a scalar lacks. Its softmax is 1, the logarithm of that 0.
            let vector = g.unsqueeze(x, &[0]);
            let softmax = g.softmax(operator, vector, 0, 1);
            return Ok(g.squeeze(softmax, &[0]));
        }
        let axis = normalize_axis(self.axis, rank)?;
        Ok(g.softmax(operator, x, axis, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if x.shape().is_empty() {
            let only = if self.log { 0.0 } else { 1.0 };
            return Ok(Tensor::scalar_of(x.dtype(), only));
        }
        let axis = normalize_axis(self.axis, x.shape().len())?;
        if self.log {
            with_real!(x, x => norm::log_softmax(x, axis)?)
        } else {
            with_real!(x, x => norm::softmax(x, axis)?)
        }
    }
}
