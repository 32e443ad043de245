//! A tensor as the list of its slices along an axis.
//!
//! Paddle: `phi/kernels/{unbind,unstack}_kernel.h`. ONNX: Split and Squeeze.

use ndarray::Axis;

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Macs, Operator, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::{Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "unbind",
        &[Arg::Tensor("input")],
        &[Form::legacy(&["unbind"], &[From::Slot("X")], &["Out"])],
        |op| Unbind::parse(op, "input"),
    ),
    OpDef::new(
        "unstack",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["unstack"], &[From::Slot("X")], &["Y"])],
        |op| {
            // It repeats the extent.
            op.ignore("num");
            Unbind::parse(op, "x")
        },
    ),
];

/// The slices along an axis, without it.
struct Unbind {
    x: ValueId,
    axis: i64,
}

impl Unbind {
    fn parse(op: &mut OpReader<'_>, x: &str) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand(x)?,
            axis: op.attr_or("axis", 0)?,
        }))
    }

    fn axis_and_count(&self, facts: &Facts<'_>) -> Result<(usize, usize)> {
        /// No program has more results.
        const LARGEST_COUNT: usize = u16::MAX as usize;
        let shape = facts.shape(self.x);
        let axis = normalize_axis(self.axis, shape.len())?;
        let count = shape[axis].extent().ok_or_else(|| {
            Error::unsupported(
                "the number of results depends on the inputs, which ONNX can't express",
            )
        })?;
        if count > LARGEST_COUNT {
            return Err(Error::malformed(format!("{count} results")));
        }
        Ok((axis, count))
    }
}

impl Operator for Unbind {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (axis, count) = self.axis_and_count(facts)?;
        let mut shape = facts.shape(self.x).to_vec();
        shape.remove(axis);
        let content = facts.content(self.x).filter(|_| shape.is_empty());
        let fact = |position: usize| {
            let content = content.and_then(|content| Some(vec![content.get(position)?.clone()]));
            Fact::new(facts.dtype(self.x), shape.clone()).with_content(content)
        };
        Ok((0..count).map(fact).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (axis, count) = self.axis_and_count(g)?;
        let axis = axis as i64;
        let x = g.value(self.x)?;
        let parts = if count == 1 {
            vec![x]
        } else {
            g.split(x, &vec![1; count], axis)
        };
        let parts = parts.into_iter();
        Ok(parts.map(|part| g.squeeze(part, &[axis])).collect())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        Ok(with_array!(x, x => {
            let slices = x.axis_iter(Axis(axis));
            slices.map(|slice| Element::tensor(slice.to_owned().into())).collect()
        }))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
