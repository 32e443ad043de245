//! Functions of two tensors that look at the signs of their elements: `atan2`, `copysign`.
//!
//! Paddle: `phi/kernels/{atan2,copysign}_kernel.h`. ONNX: Div, Atan, Sub and Where; Abs, Neg and Where.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{map, with_reals};
use crate::operator::{Accuracy, Binding, Form, Function, OpDef, OpReader, Parsed, Values, WIDE};
use crate::ops::shared::axes::merge;
use crate::ops::shared::binary::{binary, late};
use crate::ops::shared::broadcast::Pair;
use crate::program::{Fact, Facts};
use crate::tensor::DType::{F64, I64};
use crate::tensor::{DType, Element, Tensor};

const ATAN2: Form = Form::legacy(
    &["atan2"],
    &[Binding::Slot("X1"), Binding::Slot("X2")],
    &["Out"],
);

pub(super) const OPS: &[OpDef] = &[
    binary("atan2", &[ATAN2], Atan2::parse)
        .with_opset(11)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Accumulated),
    binary("copysign", &[late(&["copysign"])], CopySign::parse)
        .with_opset(9)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Exact),
];

/// The angle, from -π to π, of the point with the abscissa `y` and the ordinate `x`; for integers, in float64. Paddle
/// does not broadcast here, and operands of different shapes are refused.
struct Atan2 {
    pair: Pair,
}

impl Atan2 {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pair = Pair::parse(op)?;
        Ok(Box::new(Self { pair }))
    }
}

fn angle_type(x: DType) -> DType {
    if x.is_float() { x } else { F64 }
}

impl Function for Atan2 {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = angle_type(facts.dtype(self.pair.x));
        let [x, y] = [self.pair.x, self.pair.y].map(|id| facts.shape(id));
        merge(&mut x.to_vec(), y, None).map_err(|_| {
            Error::unsupported(
                "operands of two shapes, which Paddle takes element by element as they lie in memory",
            )
        })?;
        Ok(Fact::new(dtype, self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let from = self.pair.dtype(g)?;
        let dtype = angle_type(from);
        let (rise, run) = self.pair.lower(g)?;
        let (rise, run) = (g.cast(rise, from, dtype), g.cast(run, from, dtype));
        let zero = g.scalar(dtype, 0.0);
        let pi = g.scalar(dtype, std::f64::consts::PI);
        let minus_pi = g.scalar(dtype, -std::f64::consts::PI);
        // The angle in the right half-plane, with |run|; for a negative run it is mirrored. On a diagonal the slope is
        // the sign, since both sides may be infinite, whose quotient is NaN.
        let width = g.node("Abs", &[run], []);
        let height = g.node("Abs", &[rise], []);
        let is_diagonal = g.node("Equal", &[height, width], []);
        let sign = g.node("Sign", &[rise], []);
        let quotient = g.node("Div", &[rise, width], []);
        let slope = g.node("Where", &[is_diagonal, sign, quotient], []);
        let steep = g.node("Atan", &[slope], []);
        let rise_is_zero = g.node("Equal", &[rise, zero], []);
        let right = g.node("Where", &[rise_is_zero, rise, steep], []);
        let is_below = is_negative(g, rise, zero);
        let half_turn = g.node("Where", &[is_below, minus_pi, pi], []);
        let left = g.node("Sub", &[half_turn, right], []);
        let is_left = is_negative(g, run, zero);
        Ok(g.node("Where", &[is_left, left, right], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        let dtype = angle_type(x.dtype());
        with_reals!(&x.cast(dtype), &y.cast(dtype), (x, y) => map::zip(x, y, |x, y| x.atan2(y))?)
    }
}

/// The magnitude of `x` with the sign of `y`; -0 counts as negative.
struct CopySign {
    pair: Pair,
}

impl CopySign {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pair = Pair::parse(op)?;
        Ok(Box::new(Self { pair }))
    }
}

impl Function for CopySign {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.pair.dtype(facts)?;
        Ok(Fact::new(dtype, self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let zero = g.scalar(dtype, 0.0);
        let size = g.node("Abs", &[x], []);
        let opposite = g.node("Neg", &[size], []);
        let has_minus = if dtype.is_float() {
            is_negative(g, y, zero)
        } else {
            g.node("Less", &[y, zero], [])
        };
        Ok(g.node("Where", &[has_minus, opposite, size], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        let dtype = x.dtype();
        if let (false, Tensor::I64(x), Tensor::I64(y)) =
            (dtype.is_float(), x.cast(I64), y.cast(I64))
        {
            let signed = map::zip(&x, &y, |x, y| {
                let size = x.wrapping_abs();
                if y < 0 { size.wrapping_neg() } else { size }
            })?;
            return Ok(i64::tensor(signed.into()).cast(dtype));
        }
        with_reals!(&x, &y, (x, y) => map::zip(x, y, |x, y| {
            let size = x.abs();
            if y.is_sign_negative() { -size } else { size }
        })?)
    }
}

/// Whether each float is negative. -0 counts as negative: its reciprocal is -∞.
fn is_negative(g: &mut Lowering<'_>, x: TensorId, zero: TensorId) -> TensorId {
    let is_zero = g.node("Equal", &[x, zero], []);
    let inverse = g.node("Reciprocal", &[x], []);
    let signed = g.node("Where", &[is_zero, inverse, x], []);
    g.node("Less", &[signed, zero], [])
}
