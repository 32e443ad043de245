//! Linear functions of one tensor: `scale`, `increment`.
//!
//! Paddle: `phi/kernels/{scale,increment}_kernel.h`. ONNX: Mul, Add.

use super::clip::TYPES;
use super::complex;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    of_x(
        "increment",
        &[plain(&["increment"]).renaming(&[("step", "value")])],
        Increment::parse,
    )
    .with_dtypes(TYPES)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "scale",
        &[Arg::Tensor("x"), Arg::Scalar("scale")],
        &[Form::legacy(
            &["scale"],
            &[
                Binding::Slot("X"),
                Binding::Scalar {
                    attr: "scale",
                    slots: &["ScaleTensor"],
                },
            ],
            &["Out"],
        )],
        Scale::parse,
    )
    .on_complex(complex::scale)
    .speculatable()
    .with_accuracy(Accuracy::Rounded),
];

/// `x + step`. For integers, the step is truncated to an integer.
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

/// `x · scale + bias`, or `(x + bias) · scale`. For integers, scale and bias are truncated to integers first.
struct Scale {
    x: ValueId,
    scale: ValueId,
    bias: f64,
    bias_after_scale: bool,
}

impl Scale {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scale: op.operand("scale")?,
            bias: op.attr_or("bias", 0.0)?,
            bias_after_scale: op.attr_or("bias_after_scale", true)?,
        }))
    }

    /// The type in which the nodes compute: runtimes have no kernels for narrow integers. The cast of the result back
    /// to these wraps, as their arithmetic does.
    fn computing(&self, facts: &Facts<'_>) -> DType {
        match facts.dtype(self.x) {
            DType::Bool | DType::U8 | DType::I8 | DType::I16 => DType::I64,
            dtype => dtype,
        }
    }

    fn lower_scale(&self, g: &mut Lowering<'_>, x: TensorId) -> Result<TensorId> {
        let dtype = self.computing(g);
        let scale = match g.constant_value(self.scale) {
            Some(constant) => {
                let [scale] = constant.cast(dtype).to_f64_vec()[..] else {
                    return Err(Error::malformed("a scale with several elements"));
                };
                if scale == 1.0 {
                    return Ok(x);
                }
                g.scalar(dtype, scale)
            }
            None => {
                let mut scale = g.value(self.scale)?;
                if g.rank(self.scale) > g.rank(self.x) {
                    // A scale of shape [1] would add an axis to a scalar.
                    scale = g.squeeze(scale, &[0]);
                }
                g.cast(scale, g.dtype(self.scale), dtype)
            }
        };
        Ok(g.node("Mul", &[x, scale], []))
    }

    fn lower_bias(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        let bias = Tensor::scalar_of(self.computing(g), self.bias);
        if bias.to_f64_vec() == [0.0] {
            return x;
        }
        let bias = g.constant(bias);
        g.node("Add", &[x, bias], [])
    }

    /// An element of an integer tensor after the op, as far as it is known.
    fn scaled(&self, dim: &Dim, scale: i64) -> Dim {
        let bias = self.bias as i64;
        if (scale, bias) == (1, 0) {
            return dim.clone();
        }
        let scaled = dim.known().and_then(|x| {
            if self.bias_after_scale {
                x.checked_mul(scale)?.checked_add(bias)
            } else {
                x.checked_add(bias)?.checked_mul(scale)
            }
        });
        // What wraps in 32 bits is left unknown.
        let scaled = scaled.filter(|x| i32::try_from(*x).is_ok());
        scaled.map_or(Dim::Unknown, Dim::Known)
    }

    fn real<T: Real>(&self, x: &Array<T>, scale: f64) -> Result<Tensor> {
        let (scale, bias) = (T::from_f64(scale), T::from_f64(self.bias));
        let result = if self.bias_after_scale {
            map::map(x, |x| x * scale + bias)?
        } else {
            map::map(x, |x| (x + bias) * scale)?
        };
        Ok(T::tensor(result.into()))
    }

    fn integer<T: Element>(&self, x: &Array<T>, scale: f64) -> Result<Tensor> {
        let (scale, bias) = (scale as i64, self.bias as i64);
        let result = map::map(x, |x| {
            let x = x.to_i64();
            T::from_i64(if self.bias_after_scale {
                x.wrapping_mul(scale).wrapping_add(bias)
            } else {
                x.wrapping_add(bias).wrapping_mul(scale)
            })
        })?;
        Ok(T::tensor(result.into()))
    }
}

impl Function for Scale {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let scale = facts
            .constant_value(self.scale)
            .map(|scale| scale.to_f64_vec());
        let content = match (scale.as_deref(), &x.content) {
            (Some([scale]), Some(content)) => {
                let scaled = content.iter().map(|dim| self.scaled(dim, *scale as i64));
                Some(scaled.collect())
            }
            _ => None,
        };
        Ok(Fact::new(x.dtype, x.shape.clone()).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, dtype, wide) = (g.value(self.x)?, g.dtype(self.x), self.computing(g));
        let widened = g.cast(x, dtype, wide);
        let y = if self.bias_after_scale {
            let scaled = self.lower_scale(g, widened)?;
            self.lower_bias(g, scaled)
        } else {
            let biased = self.lower_bias(g, widened);
            self.lower_scale(g, biased)?
        };
        // Paddle puts a scale by 1 before each output, for which no node is needed.
        Ok(if y == widened {
            x
        } else {
            g.cast(y, wide, dtype)
        })
    }

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.x]
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let scale = match values.get(self.scale)?.to_f64_vec().as_slice() {
            [scale] => *scale,
            _ => return Err(Error::malformed("a scale with several elements")),
        };
        match values.get(self.x)? {
            Tensor::F32(x) => self.real(x, scale),
            Tensor::F64(x) => self.real(x, scale),
            integers => with_array!(integers, x => self.integer(x, scale)),
        }
    }

    fn affine_in(&self) -> Vec<ValueId> {
        vec![self.x]
    }
}
