//! The shape of a tensor as a tensor.
//!
//! Paddle: `phi/kernels/shape_kernel.h`. ONNX: Shape.

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::{DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "shape",
        &[Arg::Tensor("input")],
        &[Form::legacy(&["shape"], &[From::Slot("Input")], &["Out"])],
        |op| parse(op, DType::I32),
    ),
    OpDef::new("shape64", &[Arg::Tensor("input")], &[], |op| {
        parse(op, DType::I64)
    }),
];

/// The extents of a tensor, as a vector of int32 or int64.
struct Shape {
    input: ValueId,
    dtype: DType,
}

fn parse(op: &mut OpReader<'_>, dtype: DType) -> Parsed {
    let input = op.operand("input")?;
    Ok(Box::new(Shape { input, dtype }))
}

impl Function for Shape {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let extents = facts.shape(self.input).to_vec();
        let shape = vec![Dim::from(extents.len())];
        Ok(Fact::new(self.dtype, shape).with_content(Some(extents)))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let input = g.value(self.input)?;
        let shape = g.node("Shape", &[input], []);
        Ok(g.cast(shape, DType::I64, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let extents = values.get(self.input)?.shape().iter();
        let extents = extents.map(|extent| i64::try_from(*extent).ok());
        let extents = extents.collect::<Option<Vec<i64>>>().unwrap_or_default();
        if self.dtype == DType::I32 && extents.iter().any(|e| i32::try_from(*e).is_err()) {
            return Err(Error::unsupported("an extent above 2^31"));
        }
        Ok(Tensor::vector(extents).cast(self.dtype))
    }
}
