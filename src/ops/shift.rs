//! Shifts of the bits of integers.
//!
//! Paddle: `phi/kernels/funcs/bitwise_functors.h`. ONNX's BitShift takes unsigned integers alone, so
//! these are products with powers of two and quotients by them, in int64.

use super::broadcast::Pair;
use super::def::{Accuracy, Form, OpDef};
use super::elementwise::{Parse, binary, integers, late};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::Result;
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::reference::Values;
use crate::tensor::DType::{self, I8, I16, I32, I64, U8};
use crate::tensor::Tensor;

pub(super) const OPS: &[OpDef] = &[
    shift(
        "bitwise_left_shift",
        &[late(&["bitwise_left_shift"])],
        |op| Shift::parse(op, true),
    ),
    shift(
        "bitwise_right_shift",
        &[late(&["bitwise_right_shift"])],
        |op| Shift::parse(op, false),
    ),
];

const fn shift(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    binary(name, legacy, parse)
        .taking(&[U8, I8, I16, I32, I64])
        .with_accuracy(Accuracy::Exact)
}

/// The bits of `x` moved by `y`. What moves out is lost; what moves in is 0, or the sign in an
/// arithmetic shift to the right. So is all if `y` is negative, or not below the number of bits.
struct Shift {
    pair: Pair,
    is_left: bool,
    is_arithmetic: bool,
}

impl Shift {
    fn parse(op: &mut OpReader<'_>, is_left: bool) -> Parsed {
        Ok(Box::new(Self {
            pair: Pair::parse(op)?,
            is_left,
            is_arithmetic: op.attr_or("is_arithmetic", true)?,
        }))
    }

    /// On integers of `bits` bits. The result is cut to them.
    fn shifted(&self, x: i64, y: i64, bits: i64) -> i64 {
        let is_inside = (0..bits).contains(&y);
        match (self.is_left, self.is_arithmetic) {
            (true, _) if is_inside => x << y,
            (false, true) => x >> if is_inside { y } else { 63 },
            (false, false) if is_inside => (x.cast_unsigned() & (u64::MAX >> (64 - bits)))
                .unbounded_shr(y as u32)
                .cast_signed(),
            _ => 0,
        }
    }
}

fn bits(dtype: DType) -> i64 {
    8 * dtype.size() as i64
}

impl Function for Shift {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = facts.dtype(self.pair.x);
        Ok(Fact::new(dtype, self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let (x, y) = (g.cast(x, dtype, I64), g.cast(y, dtype, I64));
        let (zero, bits) = (integer(g, 0), integer(g, bits(dtype)));
        let is_negative = g.node("Less", &[y, zero], []);
        let is_small = g.node("Less", &[y, bits], []);
        let counts = g.node("Where", &[is_negative, bits, y], []);
        let counts = g.node("Where", &[is_small, counts, bits], []);
        let result = if self.is_left {
            // Two steps, since no int64 is 2⁶⁴.
            in_two_steps(g, x, counts, |g, x, power| g.node("Mul", &[x, power], []))
        } else if self.is_arithmetic {
            in_two_steps(g, x, counts, quotient)
        } else {
            lower_logical(g, x, counts, dtype)
        };
        Ok(g.cast(result, I64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        let bits = bits(x.dtype());
        integers(&x, &y, |x, y| self.shifted(x, y, bits))
    }
}

fn integer(g: &mut Lowering<'_>, value: i64) -> TensorId {
    g.constant(Tensor::scalar(value))
}

/// A step by two to the power of half the counts, and one by the other half.
fn in_two_steps(
    g: &mut Lowering<'_>,
    x: TensorId,
    counts: TensorId,
    step: fn(&mut Lowering<'_>, TensorId, TensorId) -> TensorId,
) -> TensorId {
    let powers: Vec<i64> = (0..=32).map(|exponent| 1 << exponent).collect();
    let powers = g.vector(&powers);
    let two = integer(g, 2);
    let half = g.node("Div", &[counts, two], []);
    let rest = g.node("Sub", &[counts, half], []);
    [half, rest].into_iter().fold(x, |x, counts| {
        let power = g.node("Gather", &[powers, counts], [("axis", NodeAttr::Int(0))]);
        step(g, x, power)
    })
}

/// `⌊x / power⌋`
fn quotient(g: &mut Lowering<'_>, x: TensorId, power: TensorId) -> TensorId {
    let rest = g.node("Mod", &[x, power], []);
    let multiple = g.node("Sub", &[x, rest], []);
    g.node("Div", &[multiple, power], [])
}

/// Moves the bits of negative numbers as those of the positive ones that have the same: `2ᵇⁱᵗˢ` more.
/// In int64 the first step, by which they become positive, is apart.
fn lower_logical(g: &mut Lowering<'_>, x: TensorId, counts: TensorId, dtype: DType) -> TensorId {
    let zero = integer(g, 0);
    let is_negative = g.node("Less", &[x, zero], []);
    if dtype != I64 {
        let offset = integer(g, 1 << bits(dtype));
        let more = g.node("Add", &[x, offset], []);
        let positive = g.node("Where", &[is_negative, more, x], []);
        return in_two_steps(g, positive, counts, quotient);
    }
    let (one, two, quarter) = (integer(g, 1), integer(g, 2), integer(g, 1 << 62));
    let half = quotient(g, x, two);
    let more = g.node("Add", &[half, quarter], []);
    let more = g.node("Add", &[more, quarter], []);
    let positive = g.node("Where", &[is_negative, more, half], []);
    let is_none = g.node("Equal", &[counts, zero], []);
    let left = g.node("Sub", &[counts, one], []);
    let left = g.node("Where", &[is_none, zero, left], []);
    let shifted = in_two_steps(g, positive, left, quotient);
    g.node("Where", &[is_none, x, shifted], [])
}
