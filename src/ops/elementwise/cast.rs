//! Conversion to another element type: `cast`.
//!
//! Paddle: `phi/kernels/cast_kernel.h`. ONNX: Cast.

use super::complex;
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "cast",
    &[Arg::Tensor("x")],
    &[Form::legacy(&["cast"], &[Binding::Slot("X")], &["Out"])
        .renaming(&[("out_dtype", "dtype")])
        // It repeats the type of the operand.
        .ignoring(&["in_dtype"])],
    Cast::parse,
)
.on_complex(complex::cast)
.speculatable()];

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

    fn passes_on(&self, facts: &Facts<'_>) -> Option<ValueId> {
        (facts.dtype(self.x) == self.dtype).then_some(self.x)
    }

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.x]
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

/// `x` truncated to an integer. C leaves the conversion of NaN, and of numbers beyond the range of the integers,
/// undefined: they become the `least` integer, as on x86. The caller makes the result wrap to narrower types.
fn truncated(x: f64, least: i64) -> i64 {
    let (low, cut) = (least as f64, x.trunc());
    if (low..-low).contains(&cut) {
        cut as i64
    } else {
        least
    }
}

#[cfg(test)]
mod tests {
    use super::truncated;

    /// The expected numbers were recorded from casts to int32 and uint8 by Paddle 3.3.1 and ONNX Runtime 1.32.
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
