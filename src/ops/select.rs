//! Element-wise ops that are neither arithmetic of two tensors nor comparisons: `where`, `lerp`,
//! `atan2`, `copysign`.
//!
//! Paddle: `phi/kernels/{where,lerp,atan2,copysign}_kernel.h`. ONNX: Where, Atan.

use super::broadcast::Pair;
use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef, WIDE};
use super::elementwise::{binary, late};
use super::join::merge;
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map, with_reals};
use crate::tensor::DType::{self, Bool, F64, I64};
use crate::tensor::{Array, Element, Tensor, broadcast_dims, with_arrays};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "where",
        &[Arg::Tensor("condition"), Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(
            &["where"],
            &[From::Slot("Condition"), From::Slot("X"), From::Slot("Y")],
            &["Out"],
        )],
        Where::parse,
    )
    .taking(&[Bool]),
    OpDef::new(
        "lerp",
        &[Arg::Tensor("x"), Arg::Tensor("y"), Arg::Tensor("weight")],
        &[Form::legacy(
            &["lerp"],
            &[From::Slot("X"), From::Slot("Y"), From::Slot("Weight")],
            &["Out"],
        )],
        Lerp::parse,
    )
    .taking(FLOATS)
    .with_accuracy(Accuracy::Rounded),
    binary("atan2", &[ATAN2], Atan2::parse)
        .taking(WIDE)
        .with_accuracy(Accuracy::Accumulated),
    binary("copysign", &[late(&["copysign"])], CopySign::parse)
        .taking(WIDE)
        .with_accuracy(Accuracy::Exact),
];

const ATAN2: Form = Form::legacy(&["atan2"], &[From::Slot("X1"), From::Slot("X2")], &["Out"]);

/// `x` where a condition holds, `y` elsewhere.
struct Where {
    condition: ValueId,
    x: ValueId,
    y: ValueId,
}

impl Where {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            condition: op.operand("condition")?,
            x: op.operand("x")?,
            y: op.operand("y")?,
        }))
    }
}

impl Function for Where {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        if facts.dtype(self.x) != facts.dtype(self.y) {
            let (x, y) = (facts.dtype(self.x), facts.dtype(self.y));
            return Err(Error::unsupported(format!(
                "operands of two types, {x} and {y}"
            )));
        }
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let shape = broadcast_dims(facts.shape(self.condition), &shape)?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let wide = dtype.widened();
        let condition = g.value(self.condition)?;
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let (x, y) = (g.cast(x, dtype, wide), g.cast(y, dtype, wide));
        let chosen = g.node("Where", &[condition, x, y], []);
        Ok(g.cast(chosen, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let Tensor::Bool(condition) = values.get(self.condition)? else {
            return Err(Error::malformed("a condition that is not of bools"));
        };
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_arrays!(x, y, (x, y) => choose(condition, x, y))
    }
}

fn choose<T: Element>(condition: &Array<bool>, x: &Array<T>, y: &Array<T>) -> Result<Tensor> {
    let shape = map::broadcast_shape(x.shape(), y.shape())?;
    let shape = map::broadcast_shape(condition.shape(), &shape)?;
    let fail = || Error::internal("broadcasting failed");
    let condition = condition.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let x = x.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let y = y.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let chosen = ndarray::Zip::from(&condition).and(&x).and(&y);
    let chosen = chosen.map_collect(|condition, x, y| if *condition { *x } else { *y });
    Ok(T::tensor(chosen.into()))
}

/// `x + weight · (y - x)`
struct Lerp {
    x: ValueId,
    y: ValueId,
    weight: ValueId,
}

impl Lerp {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            weight: op.operand("weight")?,
        }))
    }
}

fn lerp<T: Real>(x: &Array<T>, y: &Array<T>, weight: &Array<T>) -> Result<Tensor> {
    let difference = map::zip(y, x, |y, x| y - x)?.into();
    let step = map::zip(weight, &difference, |weight, step| weight * step)?.into();
    Ok(T::tensor(map::zip(x, &step, |x, step| x + step)?.into()))
}

impl Function for Lerp {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let shape = broadcast_dims(&shape, facts.shape(self.weight))?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let weight = g.value(self.weight)?;
        let difference = g.node("Sub", &[y, x], []);
        let step = g.node("Mul", &[weight, difference], []);
        Ok(g.node("Add", &[x, step], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        match (
            values.get(self.x)?,
            values.get(self.y)?,
            values.get(self.weight)?,
        ) {
            (Tensor::F32(x), Tensor::F32(y), Tensor::F32(weight)) => lerp(x, y, weight),
            (Tensor::F64(x), Tensor::F64(y), Tensor::F64(weight)) => lerp(x, y, weight),
            _ => Err(Error::unsupported("operands of several types")),
        }
    }
}

/// The angle of the point (`y`, `x`) to the first axis, in (-π, π]; of integers in f64.
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
        // The angle in the half plane to the right, and from there to the left. On a diagonal both may be infinite,
        // which have no quotient.
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

/// The size of `x` with the sign of `y`, of which -0 has one.
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

/// Whether numbers, with zeros among them, have a minus.
fn is_negative(g: &mut Lowering<'_>, x: TensorId, zero: TensorId) -> TensorId {
    let is_zero = g.node("Equal", &[x, zero], []);
    let inverse = g.node("Reciprocal", &[x], []);
    let signed = g.node("Where", &[is_zero, inverse, x], []);
    g.node("Less", &[signed, zero], [])
}
