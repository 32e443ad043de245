//! Linear functions of one tensor, and conversion.
//!
//! Paddle: `phi/kernels/{scale,cast,dropout}_kernel.h`.

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map, with_real};
use crate::tensor::{Array, DType, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "scale",
        &[Arg::Tensor("x"), Arg::Scalar("scale")],
        &[Form::legacy(
            &["scale"],
            &[
                From::Slot("X"),
                From::Scalar {
                    attr: "scale",
                    slots: &["ScaleTensor"],
                },
            ],
            &["Out"],
        )],
        Scale::parse,
    )
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "cast",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["cast"], &[From::Slot("X")], &["Out"])
            .renaming(&[("out_dtype", "dtype")])
            // The operand has its type itself.
            .ignoring(&["in_dtype"])],
        Cast::parse,
    ),
    OpDef::new(
        "dropout",
        &[
            Arg::Tensor("x"),
            Arg::Optional("seed_tensor"),
            Arg::Scalar("p"),
        ],
        &[Form::legacy(
            &["dropout"],
            &[
                From::Slot("X"),
                From::Optional("Seed"),
                From::Scalar {
                    attr: "dropout_prob",
                    slots: &[],
                },
            ],
            &["Out"],
        )
        .renaming(&[("dropout_implementation", "mode")])],
        Dropout::parse,
    )
    .with_accuracy(Accuracy::Rounded),
];

/// `x · scale + bias`, or `(x + bias) · scale`. On integers, both are cut to integers first.
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

    /// The type in which a runtime computes: it has no narrow integers, and casting wraps as they do.
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
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
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
        // Before each output, Paddle scales by 1.
        Ok(if y == widened {
            x
        } else {
            g.cast(y, wide, dtype)
        })
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
}

/// Conversion to another element type, as C's casts do.
struct Cast {
    x: ValueId,
    dtype: DType,
}

impl Cast {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            dtype: op.attr("dtype")?,
        }))
    }
}

impl Function for Cast {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        Ok(Fact::new(self.dtype, x.shape.clone()).with_content(x.content.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.cast(x, g.dtype(self.x), self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, dtype) = (values.get(self.x)?, values.dtype(self.dtype));
        if !x.dtype().is_float() || dtype.is_float() || dtype == DType::Bool {
            return Ok(x.cast(dtype));
        }
        let least = match dtype {
            DType::I64 => i64::MIN,
            _ => i32::MIN.into(),
        };
        let cut = with_array!(x, x => x.mapv(|x| truncated(x.to_f64(), least)));
        Ok(i64::tensor(cut.into()).cast(dtype))
    }
}

/// The integer without the fraction of `x`. C leaves open what is beyond the range of its integers, and
/// NaN: it is their `least` one as on x86, where Paddle runs. Narrow types then wrap.
fn truncated(x: f64, least: i64) -> i64 {
    let (low, cut) = (least as f64, x.trunc());
    if (low..-low).contains(&cut) {
        cut as i64
    } else {
        least
    }
}

/// At inference, the identity; in the mode `downgrade_in_infer`, `x · (1 - p)`.
struct Dropout {
    x: ValueId,
    p: ValueId,
    is_downgraded: bool,
}

impl Dropout {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // Only training draws numbers.
        op.ignore("seed");
        op.ignore("fix_seed");
        if !op.attr_or("is_test", false)? {
            return Err(Error::unsupported(
                "dropout in training mode; call eval() on the model before it is exported",
            ));
        }
        let mode: String = op.attr_or("mode", "downgrade_in_infer".to_owned())?;
        let is_downgraded = match mode.as_str() {
            "upscale_in_train" => false,
            "downgrade_in_infer" => true,
            other => return Err(Error::unsupported(format!("the dropout mode {other:?}"))),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            p: op.operand("p")?,
            is_downgraded,
        }))
    }

    /// What `x` is multiplied with, if anything, from the probability `p`.
    fn factor(&self, p: Option<&Tensor>) -> Result<Option<f64>> {
        if !self.is_downgraded {
            return Ok(None);
        }
        let p = p.ok_or_else(|| Error::unsupported("a probability that is computed"))?;
        let [p] = p.to_f64_vec()[..] else {
            return Err(Error::malformed("a probability with several elements"));
        };
        // Paddle subtracts in f32, whatever the type of x.
        let factor = f64::from(1.0 - p as f32);
        Ok(Some(factor).filter(|factor| *factor != 1.0))
    }
}

impl Function for Dropout {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let Some(factor) = self.factor(g.constant_value(self.p))? else {
            return Ok(x);
        };
        let factor = g.scalar(g.dtype(self.x), factor);
        Ok(g.node("Mul", &[x, factor], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let Some(factor) = self.factor(Some(values.get(self.p)?))? else {
            return Ok(x.clone());
        };
        with_real!(x, x => multiplied(x, factor)?)
    }
}

fn multiplied<T: Real>(x: &Array<T>, factor: f64) -> Result<ndarray::ArrayD<T>> {
    let factor = T::from_f64(factor);
    map::map(x, |x| x * factor)
}

#[cfg(test)]
mod tests {
    use super::truncated;

    /// As recorded from Paddle 3.3.1 and ONNX Runtime 1.32, with int32 and uint8 as results.
    #[test]
    fn numbers_beyond_the_integers_become_what_paddle_makes_of_them() {
        let least = i64::from(i32::MIN);
        for x in [
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            3e9,
            2_147_483_648.0,
        ] {
            assert_eq!(truncated(x, least), least, "{x}");
            assert_eq!(truncated(x, least) as u8, 0, "{x}");
        }
        for (x, byte) in [(-1.0, 255), (-104.9, 152), (90.9, 90), (-0.5, 0)] {
            assert_eq!(truncated(x, least) as u8, byte, "{x}");
        }
        assert_eq!(truncated(-2_147_483_648.9, least), least);
        assert_eq!(truncated(f64::NAN, i64::MIN), i64::MIN);
    }
}
