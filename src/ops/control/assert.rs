//! Conditions that a run checks (`assert`).
//!
//! Paddle: `fluid/operators/assert_op.cc`, which ends the run with the tensors of `data` in its message. ONNX can't
//! express it, so the ONNX model takes the condition for granted.

use super::condition;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "assert",
    &[Arg::Tensor("cond"), Arg::List("data")],
    // Paddle drops it from the programs that it writes in the older format.
    &[],
    Assert::parse,
)
.with_results(&[])
// How many elements of `data` the message has.
.ignoring(&["summarize"])
.with_dtypes(&[DType::Bool])
.with_limits(&["the check: an ONNX model goes on where the condition does not hold"])];

struct Assert {
    condition: ValueId,
}

impl Assert {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            condition: op.operand("cond")?,
        }))
    }
}

impl Operator for Assert {
    fn infer(&self, _: &Facts<'_>) -> Result<Vec<Fact>> {
        Ok(Vec::new())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        g.note("goes on where the condition does not hold, while Paddle ends the run");
        Ok(Vec::new())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        if condition::holds(values.get(self.condition)?)? {
            return Ok(Vec::new());
        }
        Err(Error::invalid(
            "the condition of an assertion does not hold",
        ))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
