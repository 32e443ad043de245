//! The positions of the elements that are not zero: `nonzero`.
//!
//! Paddle: `phi/kernels/nonzero_kernel.h`. ONNX: NonZero.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "nonzero",
    &[Arg::Tensor("condition")],
    &[Form::legacy(
        &["where_index"],
        &[Binding::Slot("Condition")],
        &["Out"],
    )],
    NonZero::parse,
)
.with_opset(9)];

/// The positions of all elements of `condition` that are not zero, in row-major order, as an int64 matrix: a
/// row for each position, with a column for each axis. Refuses a tensor of rank 0.
struct NonZero {
    condition: ValueId,
}

impl NonZero {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            condition: op.operand("condition")?,
        }))
    }
}

impl Function for NonZero {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.condition);
        if rank == 0 {
            return Err(Error::unsupported("the positions in a tensor of rank 0"));
        }
        Ok(Fact::new(DType::I64, vec![Dim::Unknown, Dim::from(rank)]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let condition = g.value(self.condition)?;
        let condition = g.cast(condition, g.dtype(self.condition), DType::Bool);
        let positions = g.node("NonZero", &[condition], []);
        Ok(g.transpose(positions, &[1, 0]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let condition = values.get(self.condition)?.cast(DType::Bool);
        let Tensor::Bool(condition) = condition else {
            return Err(Error::internal("a cast gave another type"));
        };
        let columns = positions(&condition);
        let count = columns.first().map_or(0, Vec::len);
        let rows = (0..count).flat_map(|row| columns.iter().map(move |column| column[row]));
        Tensor::from_elements(&[count, columns.len()], rows.collect())
    }
}

/// Where a mask is true, in row-major order: for each axis, the positions along it.
pub(super) fn positions(mask: &Array<bool>) -> Vec<Vec<i64>> {
    let mut columns = vec![Vec::new(); mask.ndim()];
    for (place, _) in mask.indexed_iter().filter(|(_, holds)| **holds) {
        for (axis, column) in columns.iter_mut().enumerate() {
            column.push(place[axis] as i64);
        }
    }
    columns
}
