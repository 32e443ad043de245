//! Elements kept between two limits: `clip`.
//!
//! Paddle: `phi/kernels/clip_kernel.h`. ONNX: Clip.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};
use crate::tensor::{Array, DType, Element, Tensor};

/// The element types that `clip` and `increment` take.
pub(super) const TYPES: &[DType] = &[I32, I64, F16, BF16, F32, F64];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "clip",
    &[Arg::Tensor("x"), Arg::Scalar("min"), Arg::Scalar("max")],
    &[Form::legacy(
        &["clip"],
        &[
            Binding::Slot("X"),
            Binding::Scalar {
                attr: "min",
                slots: &["Min"],
            },
            Binding::Scalar {
                attr: "max",
                slots: &["Max"],
            },
        ],
        &["Out"],
    )],
    Clip::parse,
)
.with_dtypes(TYPES)];

/// `min` where `x` is below `min`, `max` where `x` is above `max`, else `x`. Each limit is a tensor of one element.
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
            // Integers are read as int64, since float64 does not hold all of them.
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

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.x]
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
