//! Arithmetic on two tensors, with NumPy's broadcasting.
//!
//! Paddle: `phi/kernels/elementwise_{add,subtract,multiply,divide}_kernel.h`.
//! ONNX: Add, Sub, Mul, Div.

use super::def::{Accuracy, Arg, Form, From, NUMBERS, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map};
use crate::tensor::{Array, Dim, Element, Tensor, broadcast_dims};

pub(super) const OPS: &[OpDef] = &[
    binary("add", &[form(&["elementwise_add"])], parse::<Add>),
    binary("subtract", &[form(&["elementwise_sub"])], parse::<Subtract>),
    binary("multiply", &[form(&["elementwise_mul"])], parse::<Multiply>),
    binary("divide", &[form(&["elementwise_div"])], parse::<Divide>),
];

type Parse = fn(&mut OpReader<'_>) -> Parsed;

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[From::Slot("X"), From::Slot("Y")], &["Out"])
}

const fn binary(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef {
        name,
        operands: &[Arg::Tensor("x"), Arg::Tensor("y")],
        results: &["out"],
        legacy,
        pir: &[],
        dtypes: NUMBERS,
        opset: 11,
        accuracy: Accuracy::Rounded,
        parse,
    }
}

/// What tells one of these ops from the others.
trait Kernel: Send + Sync + 'static {
    const ONNX: &'static str;

    fn real<T: Real>(x: T, y: T) -> T;

    /// On integers of any width: the result is cut to it.
    fn integer(x: i64, y: i64) -> i64;
}

struct Add;
impl Kernel for Add {
    const ONNX: &'static str = "Add";

    fn real<T: Real>(x: T, y: T) -> T {
        x + y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_add(y)
    }
}

struct Subtract;
impl Kernel for Subtract {
    const ONNX: &'static str = "Sub";

    fn real<T: Real>(x: T, y: T) -> T {
        x - y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_sub(y)
    }
}

struct Multiply;
impl Kernel for Multiply {
    const ONNX: &'static str = "Mul";

    fn real<T: Real>(x: T, y: T) -> T {
        x * y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_mul(y)
    }
}

struct Divide;
impl Kernel for Divide {
    const ONNX: &'static str = "Div";

    fn real<T: Real>(x: T, y: T) -> T {
        x / y
    }

    /// Towards zero, as C does. A divisor of zero has no meaning; Paddle crashes on it.
    fn integer(x: i64, y: i64) -> i64 {
        if y == 0 { 0 } else { x.wrapping_div(y) }
    }
}

struct Binary<K> {
    x: ValueId,
    y: ValueId,
    /// Where the operand of lower rank starts in the other; -1 lines up the last axes. A legacy
    /// attribute: PHI has no such operand, and programs of Paddle 3 reshape instead.
    axis: i64,
    kernel: std::marker::PhantomData<K>,
}

fn parse<K: Kernel>(op: &mut OpReader<'_>) -> Parsed {
    Ok(Box::new(Binary::<K> {
        x: op.operand("x")?,
        y: op.operand("y")?,
        axis: op.attr_or("axis", -1)?,
        kernel: std::marker::PhantomData,
    }))
}

/// How the operand of lower rank is made to line up: trailing axes of extent 1 are removed while
/// it reaches beyond the other, then axes are added until both end together.
#[derive(Debug, PartialEq, Eq)]
struct Alignment {
    removed: usize,
    added: usize,
}

fn align(axis: i64, high_rank: usize, low: &[Dim]) -> Result<Alignment> {
    if axis == -1 || high_rank == low.len() {
        return Ok(Alignment {
            removed: 0,
            added: 0,
        });
    }
    let start = usize::try_from(axis).ok().filter(|axis| *axis <= high_rank);
    let start = start.ok_or_else(|| {
        Error::malformed(format!("axis {axis} is out of range for rank {high_rank}"))
    })?;
    let room = high_rank - start;
    let removed = low.len().saturating_sub(room);
    if low
        .iter()
        .rev()
        .take(removed)
        .any(|dim| *dim != Dim::Known(1))
    {
        return Err(Error::malformed(format!(
            "an operand of rank {} does not fit at axis {axis} of one of rank {high_rank}",
            low.len()
        )));
    }
    Ok(Alignment {
        removed,
        added: room - (low.len() - removed),
    })
}

impl Alignment {
    fn is_trivial(&self) -> bool {
        self.removed == 0 && self.added == 0
    }

    fn apply(&self, low: &[Dim]) -> Vec<Dim> {
        let mut dims = low[..low.len() - self.removed].to_vec();
        dims.resize(dims.len() + self.added, Dim::Known(1));
        dims
    }
}

impl<K> Binary<K> {
    /// The operands' shapes, lined up.
    fn shapes(&self, x: &[Dim], y: &[Dim]) -> Result<(Vec<Dim>, Vec<Dim>)> {
        Ok(if x.len() >= y.len() {
            (x.to_vec(), align(self.axis, x.len(), y)?.apply(y))
        } else {
            (align(self.axis, y.len(), x)?.apply(x), y.to_vec())
        })
    }

    /// Emits what lines up an operand.
    fn lower_operand(&self, g: &mut Lowering<'_>, id: ValueId, other: ValueId) -> Result<TensorId> {
        let tensor = g.value(id)?;
        let (rank, high_rank) = (g.rank(id), g.rank(other));
        if rank >= high_rank {
            return Ok(tensor);
        }
        let alignment = align(self.axis, high_rank, g.shape(id))?;
        if alignment.is_trivial() {
            return Ok(tensor);
        }
        let mut aligned = alignment.apply(g.shape(id));
        let leading = high_rank.saturating_sub(aligned.len());
        aligned.splice(..0, vec![Dim::Known(1); leading]);
        if let Some(reshaped) = g.reshape(tensor, &aligned) {
            return Ok(reshaped);
        }
        let kept = rank - alignment.removed;
        let removed: Vec<i64> = (kept..rank).map(|axis| axis as i64).collect();
        let added: Vec<i64> = (kept..kept + alignment.added)
            .map(|axis| axis as i64)
            .collect();
        let tensor = g.squeeze(tensor, &removed);
        Ok(g.unsqueeze(tensor, &added))
    }
}

impl<K: Kernel> Function for Binary<K> {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, y) = self.shapes(facts.shape(self.x), facts.shape(self.y))?;
        Ok(Fact::new(facts.dtype(self.x), broadcast_dims(&x, &y)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if g.dtype(self.x) != g.dtype(self.y) {
            return Err(mixed_types(g.dtype(self.x), g.dtype(self.y)));
        }
        let x = self.lower_operand(g, self.x, self.y)?;
        let y = self.lower_operand(g, self.y, self.x)?;
        Ok(g.node(K::ONNX, &[x, y], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        let dims = |tensor: &Tensor| -> Vec<Dim> {
            tensor
                .shape()
                .iter()
                .map(|extent| Dim::from(*extent))
                .collect()
        };
        let (x_shape, y_shape) = self.shapes(&dims(x), &dims(y))?;
        match (x, y) {
            (Tensor::F32(x), Tensor::F32(y)) => real::<K, f32>(x, y, &x_shape, &y_shape),
            (Tensor::F64(x), Tensor::F64(y)) => real::<K, f64>(x, y, &x_shape, &y_shape),
            (Tensor::I64(x), Tensor::I64(y)) => integer::<K, i64>(x, y, &x_shape, &y_shape),
            (Tensor::I32(x), Tensor::I32(y)) => integer::<K, i32>(x, y, &x_shape, &y_shape),
            (x, y) if x.dtype() == y.dtype() => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                x.dtype()
            ))),
            (x, y) => Err(mixed_types(x.dtype(), y.dtype())),
        }
    }
}

fn mixed_types(x: crate::tensor::DType, y: crate::tensor::DType) -> Error {
    Error::unsupported(format!("operands of two types, {x} and {y}"))
}

fn real<K: Kernel, T: Real>(
    x: &Array<T>,
    y: &Array<T>,
    x_shape: &[Dim],
    y_shape: &[Dim],
) -> Result<Tensor> {
    let result = map::zip(&lined_up(x, x_shape)?, &lined_up(y, y_shape)?, K::real)?;
    Ok(T::tensor(result.into()))
}

fn integer<K: Kernel, T: Element>(
    x: &Array<T>,
    y: &Array<T>,
    x_shape: &[Dim],
    y_shape: &[Dim],
) -> Result<Tensor> {
    let kernel = |x: T, y: T| T::from_i64(K::integer(x.to_i64(), y.to_i64()));
    let result = map::zip(&lined_up(x, x_shape)?, &lined_up(y, y_shape)?, kernel)?;
    Ok(T::tensor(result.into()))
}

fn lined_up<T: Element>(x: &Array<T>, shape: &[Dim]) -> Result<Array<T>> {
    if x.ndim() == shape.len() {
        return Ok(x.clone());
    }
    let extents = shape.iter().filter_map(Dim::extent);
    map::reshape(x, &extents.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_operands_line_up_at_their_axis() {
        let dims = |extents: &[i64]| extents.iter().map(|e| Dim::Known(*e)).collect::<Vec<_>>();
        let cases: [(i64, usize, &[i64], &[i64]); 6] = [
            (-1, 3, &[5], &[5]),
            (1, 4, &[3], &[3, 1, 1]),
            (1, 4, &[3, 4, 1], &[3, 4, 1]),
            (0, 3, &[2], &[2, 1, 1]),
            (2, 3, &[5, 1], &[5]),
            (3, 3, &[1], &[]),
        ];
        for (axis, rank, low, expected) in cases {
            let low = dims(low);
            assert_eq!(align(axis, rank, &low).unwrap().apply(&low), dims(expected));
        }
        assert!(align(2, 3, &dims(&[2, 5])).is_err());
        assert!(align(4, 3, &dims(&[2])).is_err());
    }
}
