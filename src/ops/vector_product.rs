//! Products of vectors and of blocks that are no matrix products.
//!
//! Paddle: `phi/kernels/{cross,kron}_kernel.h`.

use ndarray::Axis;

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::{Values, map};
use crate::tensor::DType::{self, F16, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, broadcast_dims, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    binary(
        "cross",
        &[form(&["cross"]).renaming(&[("dim", "axis")])],
        &[I32, I64, F32, F64],
        Cross::parse,
    ),
    binary(
        "kron",
        &[form(&["kron"])],
        &[I32, I64, F16, F32, F64],
        |op| {
            Ok(Box::new(Kron {
                x: op.operand("x")?,
                y: op.operand("y")?,
            }))
        },
    ),
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[From::Slot("X"), From::Slot("Y")], &["Out"])
}

const fn binary(
    name: &'static str,
    legacy: &'static [Form],
    dtypes: &'static [DType],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x"), Arg::Tensor("y")], legacy, parse)
        .taking(dtypes)
        .with_accuracy(Accuracy::Rounded)
}

/// Runs a generic kernel on two tensors of one type.
macro_rules! with_numbers {
    ($x:expr, $y:expr, ($a:ident, $b:ident) => $kernel:expr) => {
        match ($x, $y) {
            (Tensor::F32($a), Tensor::F32($b)) => Ok(Element::tensor($kernel)),
            (Tensor::F64($a), Tensor::F64($b)) => Ok(Element::tensor($kernel)),
            (Tensor::I32($a), Tensor::I32($b)) => Ok(Element::tensor($kernel)),
            (Tensor::I64($a), Tensor::I64($b)) => Ok(Element::tensor($kernel)),
            (x, y) => Err(Error::unsupported(format!(
                "the reference has no kernel for {} with {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    };
}

/// Arithmetic of a type, which wraps on integers.
trait Number: Element {
    fn times(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

macro_rules! number {
    ($($type:ty: $times:expr, $minus:expr;)*) => {
        $(impl Number for $type {
            fn times(self, other: Self) -> Self {
                $times(self, other)
            }

            fn minus(self, other: Self) -> Self {
                $minus(self, other)
            }
        })*
    };
}

number! {
    f32: |x, y| x * y, |x, y| x - y;
    f64: |x, y| x * y, |x, y| x - y;
    i32: i32::wrapping_mul, i32::wrapping_sub;
    i64: i64::wrapping_mul, i64::wrapping_sub;
}

/// The cross product along an axis of extent 3, which is the first such axis if none is named.
struct Cross {
    x: ValueId,
    y: ValueId,
    axis: i64,
}

/// No axis is named.
const NO_AXIS: i64 = 9;

impl Cross {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            axis: op.attr_or("axis", NO_AXIS)?,
        }))
    }

    fn axis(&self, x: &[Dim]) -> Result<usize> {
        if self.axis != NO_AXIS {
            return normalize_axis(self.axis, x.len());
        }
        for (axis, dim) in x.iter().enumerate() {
            match dim {
                Dim::Known(3) => return Ok(axis),
                Dim::Known(_) => {}
                Dim::Symbol(_) | Dim::Computed { .. } | Dim::Unknown => {
                    return Err(Error::unsupported(
                        "which axis is the first of extent 3 depends on the inputs",
                    ));
                }
            }
        }
        Err(Error::malformed(
            "a cross product without an axis of extent 3",
        ))
    }
}

/// Which elements of the operands meet: `x[1] y[2] - x[2] y[1]` and so on around.
const NEXT: [usize; 3] = [1, 2, 0];
const LAST: [usize; 3] = [2, 0, 1];

impl Function for Cross {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let axis = self.axis(&shape)?;
        if shape[axis].known().is_some_and(|extent| extent != 3) {
            return Err(Error::malformed(
                "a cross product along an axis that is not 3 long",
            ));
        }
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(&self.infer(g)?.shape)? as i64;
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let mut turned = |x, order: [usize; 3]| {
            let order = g.vector(&order.map(|position| position as i64));
            g.node("Gather", &[x, order], [("axis", NodeAttr::Int(axis))])
        };
        let (x_next, y_last) = (turned(x, NEXT), turned(y, LAST));
        let (x_last, y_next) = (turned(x, LAST), turned(y, NEXT));
        let plus = g.node("Mul", &[x_next, y_last], []);
        let minus = g.node("Mul", &[x_last, y_next], []);
        Ok(g.node("Sub", &[plus, minus], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_numbers!(x, y, (x, y) => self.product(x, y)?)
    }
}

impl Cross {
    fn product<T: Number>(&self, x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
        let dims: Vec<Dim> = x.shape().iter().map(|extent| Dim::from(*extent)).collect();
        let axis = self.axis(&dims)?;
        if x.shape()[axis] != 3 || y.shape() != x.shape() {
            return Err(Error::malformed(
                "a cross product along an axis that is not 3 long",
            ));
        }
        let turned = |x: &Array<T>, order| x.select(Axis(axis), order).into();
        let plus = map::zip(&turned(x, &NEXT), &turned(y, &LAST), T::times)?;
        let minus = map::zip(&turned(x, &LAST), &turned(y, &NEXT), T::times)?;
        Ok(map::zip(&plus.into(), &minus.into(), T::minus)?.into())
    }
}

/// The Kronecker product: each element of `x` times the whole of `y`, as a block in its place. The
/// operand of lower rank gets axes in front.
struct Kron {
    x: ValueId,
    y: ValueId,
}

/// The shape with axes of extent 1 in front, up to `rank`.
fn padded<T: Clone>(shape: &[T], rank: usize, one: &T) -> Vec<T> {
    let missing = vec![one.clone(); rank.saturating_sub(shape.len())];
    [missing.as_slice(), shape].concat()
}

/// Emits an operand with an axis of extent 1 before (`first` = 0) or behind each of its own.
fn lower_apart(g: &mut Lowering<'_>, id: ValueId, rank: usize, first: i64) -> Result<TensorId> {
    let x = g.value(id)?;
    let missing = rank.saturating_sub(g.rank(id)) as i64;
    let kept = |axis: &i64| axis % 2 != first && axis / 2 >= missing;
    let added: Vec<i64> = (0..2 * rank as i64).filter(|axis| !kept(axis)).collect();
    Ok(g.unsqueeze(x, &added))
}

/// Emits the extents of an operand with axes in front.
fn lower_extents(g: &mut Lowering<'_>, id: ValueId, rank: usize) -> Result<TensorId> {
    let x = g.value(id)?;
    let own = g.rank(id);
    let extents = g.shape_slice(x, 0, own as i64);
    if own == rank {
        return Ok(extents);
    }
    let front = g.vector(&vec![1; rank - own]);
    Ok(g.concat(&[front, extents], 0))
}

impl Function for Kron {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x).max(facts.rank(self.y));
        let one = Dim::Known(1);
        let x = padded(facts.shape(self.x), rank, &one);
        let y = padded(facts.shape(self.y), rank, &one);
        let product = |(x, y): (Dim, Dim)| match (x, y) {
            (Dim::Known(1), dim) | (dim, Dim::Known(1)) => dim,
            (Dim::Known(x), Dim::Known(y)) => x.checked_mul(y).map_or(Dim::Unknown, Dim::Known),
            _ => Dim::Unknown,
        };
        let shape = x.into_iter().zip(y).map(product).collect();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x).max(g.rank(self.y));
        let shape = self.infer(g)?.shape;
        let x = lower_apart(g, self.x, rank, 1)?;
        let y = lower_apart(g, self.y, rank, 0)?;
        let product = g.node("Mul", &[x, y], []);
        if let Some(result) = g.reshape(product, &shape) {
            return Ok(result);
        }
        let (x, y) = (
            lower_extents(g, self.x, rank)?,
            lower_extents(g, self.y, rank)?,
        );
        let shape = g.node("Mul", &[x, y], []);
        Ok(g.node("Reshape", &[product, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_numbers!(x, y, (x, y) => kron(x, y)?)
    }
}

fn kron<T: Number>(x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
    let rank = x.ndim().max(y.ndim());
    let (x_shape, y_shape) = (padded(x.shape(), rank, &1), padded(y.shape(), rank, &1));
    let outer: Vec<usize> = x_shape.iter().flat_map(|extent| [*extent, 1]).collect();
    let inner: Vec<usize> = y_shape.iter().flat_map(|extent| [1, *extent]).collect();
    let product = map::zip(
        &map::reshape(x, &outer)?,
        &map::reshape(y, &inner)?,
        T::times,
    )?;
    let shape: Vec<usize> = x_shape.iter().zip(&y_shape).map(|(x, y)| x * y).collect();
    map::reshape(&product.into(), &shape)
}
