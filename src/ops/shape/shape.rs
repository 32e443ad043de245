//! The shape of a tensor, `shape` and `shape64`, and the number of its elements, `numel` and `is_empty`.
//!
//! Paddle: `phi/kernels/{shape,numel,is_empty}_kernel.h`. ONNX: Shape; Size, and Equal for `is_empty`.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, Macs, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, I64};
use crate::tensor::{DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "numel",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["size"], &[Binding::Slot("Input")], &["Out"])],
        Numel::parse,
    )
    .on_real_parts()
    .with_results(&["size"]),
    OpDef::new(
        "is_empty",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["is_empty"], &[Binding::Slot("X")], &["Out"])],
        |op| {
            let x = op.operand("x")?;
            Ok(Box::new(IsEmpty { x }))
        },
    )
    .on_real_parts(),
    OpDef::new(
        "shape",
        &[Arg::Tensor("input")],
        &[Form::legacy(
            &["shape"],
            &[Binding::Slot("Input")],
            &["Out"],
        )],
        |op| parse(op, DType::I32),
    )
    .on_real_parts()
    .speculatable(),
    OpDef::new("shape64", &[Arg::Tensor("input")], &[], |op| {
        parse(op, DType::I64)
    })
    .on_real_parts()
    .speculatable(),
];

/// The number of elements of `x`, as an int64 scalar.
struct Numel {
    x: ValueId,
}

impl Numel {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }
}

impl Function for Numel {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let count = Macs::product(facts.shape(self.x)).and_then(|count| i64::try_from(count).ok());
        let content = count.map(|count| vec![Dim::Known(count)]);
        Ok(Fact::new(I64, Vec::new()).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.node("Size", &[x], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(Tensor::scalar(values.get(self.x)?.len() as i64))
    }
}

/// Whether `x` has no elements, as a bool scalar.
struct IsEmpty {
    x: ValueId,
}

impl Function for IsEmpty {
    fn infer(&self, _: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, Vec::new()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let (count, zero) = (g.node("Size", &[x], []), g.scalar(I64, 0.0));
        Ok(g.node("Equal", &[count, zero], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(Tensor::scalar(values.get(self.x)?.is_empty()))
    }
}

/// The extents of a tensor, as a vector of int32 (`shape`) or int64 (`shape64`).
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
