//! Parts of matrices.
//!
//! Paddle: `phi/kernels/tril_triu_kernel.h`. ONNX: Trilu.

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::{Array, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    // A name that only older programs of either format have.
    OpDef::new(
        "tril_triu",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["tril_triu"], &[From::Slot("X")], &["Out"])],
        |op| {
            let lower = op.attr_or("lower", true)?;
            Triangle::parse(op, lower)
        },
    ),
    OpDef::new("tril", &[Arg::Tensor("x")], &[], |op| {
        Triangle::parse(op, true)
    }),
    OpDef::new("triu", &[Arg::Tensor("x")], &[], |op| {
        Triangle::parse(op, false)
    }),
];

/// The matrices along the last two axes with zeros above the diagonal, or below it. `diagonal`
/// says how far to the right of the main one it is.
struct Triangle {
    x: ValueId,
    diagonal: i64,
    is_lower: bool,
}

impl Triangle {
    fn parse(op: &mut OpReader<'_>, is_lower: bool) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            diagonal: op.attr_or("diagonal", 0)?,
            is_lower,
        }))
    }
}

impl Function for Triangle {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        if x.shape.len() < 2 {
            return Err(Error::malformed(format!(
                "a matrix of rank {}",
                x.shape.len()
            )));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        Ok(g.triangle(x, (dtype, rank), self.diagonal, self.is_lower))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => Ok(self.of(x)))
    }
}

impl Triangle {
    fn of<T: Element>(&self, x: &Array<T>) -> Tensor {
        let mut result = x.to_owned();
        let rank = x.ndim();
        for (place, element) in result.indexed_iter_mut() {
            let (row, column) = (place[rank - 2] as i64, place[rank - 1] as i64);
            let distance = column - row;
            let stays = match self.is_lower {
                true => distance <= self.diagonal,
                false => distance >= self.diagonal,
            };
            if !stays {
                *element = T::default();
            }
        }
        T::tensor(result.into_owned().into())
    }
}
