//! Limits, and a step.
//!
//! Paddle: `phi/kernels/{clip,increment}_kernel.h`. ONNX: Clip, Add.

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::unary::{of_x, plain};
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Values, map};
use crate::tensor::DType::{self, BF16, F16, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor};

const TYPES: &[DType] = &[I32, I64, F16, BF16, F32, F64];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "clip",
        &[Arg::Tensor("x"), Arg::Scalar("min"), Arg::Scalar("max")],
        &[Form::legacy(
            &["clip"],
            &[
                From::Slot("X"),
                From::Scalar {
                    attr: "min",
                    slots: &["Min"],
                },
                From::Scalar {
                    attr: "max",
                    slots: &["Max"],
                },
            ],
            &["Out"],
        )],
        Clip::parse,
    )
    .taking(TYPES),
    of_x(
        "increment",
        &[plain(&["increment"]).renaming(&[("step", "value")])],
        Increment::parse,
    )
    .taking(TYPES)
    .with_accuracy(Accuracy::Rounded),
];

/// `min` where `x` is below it, `max` where it is above that, else `x`.
struct Clip {
    x: ValueId,
    min: ValueId,
    max: ValueId,
}

impl Clip {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            min: op.operand("min")?,
            max: op.operand("max")?,
        }))
    }

    /// A limit as a scalar of the type of `x`.
    fn lower_limit(&self, g: &mut Lowering<'_>, id: ValueId) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        if let Some(constant) = g.constant_value(id) {
            // Integers apart, since an f64 does not hold all of them.
            let scalar = match (&constant.to_f64_vec()[..], &constant.to_i64_vec()[..]) {
                ([limit], _) if constant.dtype().is_float() => Tensor::scalar(*limit),
                (_, [limit]) => Tensor::scalar(*limit),
                _ => return Err(Error::malformed("a limit with several elements")),
            };
            return Ok(g.constant(scalar.cast(dtype)));
        }
        let limit = g.value(id)?;
        let limit = g.cast(limit, g.dtype(id), dtype);
        let axes: Vec<i64> = (0..g.rank(id)).map(|axis| axis as i64).collect();
        Ok(g.squeeze(limit, &axes))
    }

    fn clipped<T: Element + PartialOrd>(
        &self,
        x: &Array<T>,
        values: &Values<'_>,
    ) -> Result<Tensor> {
        let limit = |id: ValueId| -> Result<T> {
            let limits = values.get(id)?.cast(T::DTYPE);
            let only = T::array(&limits).filter(|limits| limits.len() == 1);
            let only = only.and_then(|limits| limits.first().copied());
            only.ok_or_else(|| Error::malformed("a limit with several elements"))
        };
        let (min, max) = (limit(self.min)?, limit(self.max)?);
        let clip = |x: T| match x {
            x if x < min => min,
            x if x > max => max,
            x => x,
        };
        Ok(T::tensor(map::map(x, clip)?.into()))
    }
}

impl Function for Clip {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let (min, max) = (
            self.lower_limit(g, self.min)?,
            self.lower_limit(g, self.max)?,
        );
        Ok(g.clip(x, g.dtype(self.x), min, max))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        match values.get(self.x)? {
            Tensor::F32(x) => self.clipped(x, values),
            Tensor::F64(x) => self.clipped(x, values),
            Tensor::I32(x) => self.clipped(x, values),
            Tensor::I64(x) => self.clipped(x, values),
            other => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }
}

/// `x + step`. Of a step on integers, the fraction is cut off.
struct Increment {
    x: ValueId,
    step: f64,
}

impl Increment {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            step: op.attr_or("value", 1.0)?,
        }))
    }
}

impl Function for Increment {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let fact = facts.get(self.x);
        let next = |dim: &Dim| {
            let next = dim.known()?.checked_add(self.step as i64)?;
            Some(Dim::Known(next))
        };
        let content = fact.content.as_ref().map(|content| {
            let next = content.iter().map(|dim| next(dim).unwrap_or(Dim::Unknown));
            next.collect()
        });
        Ok(Fact::new(fact.dtype, fact.shape.clone()).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let step = g.scalar(g.dtype(self.x), self.step);
        Ok(g.node("Add", &[x, step], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let step = self.step;
        Ok(match values.get(self.x)? {
            Tensor::F32(x) => Tensor::F32(map::map(x, |x| x + step as f32)?.into()),
            Tensor::F64(x) => Tensor::F64(map::map(x, |x| x + step)?.into()),
            Tensor::I32(x) => Tensor::I32(map::map(x, |x| x.wrapping_add(step as i32))?.into()),
            Tensor::I64(x) => Tensor::I64(map::map(x, |x| x.wrapping_add(step as i64))?.into()),
            other => {
                return Err(Error::unsupported(format!(
                    "the reference has no kernel for {}",
                    other.dtype()
                )));
            }
        })
    }
}
