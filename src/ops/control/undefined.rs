//! The value of a variable before anything has written it (`undefined`).
//!
//! A variable that one branch alone writes, or that only the rounds of a loop write, needs a value all the same where
//! that is not so. Paddle's `to_static` makes one up, of whatever type and shape; nothing reads it but copies, branches and
//! loops, which hand it on. So it takes on the type and the rank of what it is handed on with.

use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Tensor};

pub(super) const OPS: &[OpDef] =
    &[
        OpDef::new("undefined", &[Arg::Tensor("x")], &[], Undefined::parse)
            .part_by_part(&["x"])
            .in_no_file(),
    ];

struct Undefined {
    /// What Paddle has in its place.
    x: ValueId,
}

impl Undefined {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }
}

impl Function for Undefined {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(facts.get(self.x).clone().undefined())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        g.value(self.x)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        values.get(self.x).cloned()
    }
}

/// The tensor that holds a value where it is handed on as one of what `as_what` says: its own, or, if it is undefined,
/// one of that type and rank.
///
/// A list without items has the shape of such items, with extents of 1 where they are known in a run alone.
pub(super) fn handed_on(g: &mut Lowering<'_>, id: ValueId, as_what: &Fact) -> Result<TensorId> {
    let fact = g.get(id);
    if fact.is_undefined && fact.shape.first() == Some(&Dim::Known(0)) && !as_what.is_undefined {
        let mut shape = as_what.shape.clone();
        shape[0] = Dim::Known(0);
        let Some(shape) = g.dims(&shape) else {
            let extents = shape.iter().map(|dim| dim.known().unwrap_or(1) as usize);
            let empty = Tensor::from_elements(&extents.collect::<Vec<_>>(), Vec::<i64>::new())?;
            return Ok(g.constant(empty.cast(as_what.dtype)));
        };
        let value = Tensor::vector(vec![0_i64]).cast(as_what.dtype);
        return Ok(g.node(
            "ConstantOfShape",
            &[shape],
            [("value", NodeAttr::Tensor(value))],
        ));
    }
    let is_alike = fact.dtype == as_what.dtype && fact.shape.len() == as_what.shape.len();
    if is_alike || !fact.is_undefined {
        return g.value(id);
    }
    let shape = vec![1; as_what.shape.len()];
    let zero = Tensor::from_elements(&shape, vec![0_i64])?;
    Ok(g.constant(zero.cast(as_what.dtype)))
}
