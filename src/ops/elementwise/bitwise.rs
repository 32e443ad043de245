//! Operations on the bits of integers: `bitwise_and`, `bitwise_or`, `bitwise_xor`, `bitwise_not`,
//! `bitwise_left_shift`, `bitwise_right_shift`.
//!
//! Paddle: `phi/kernels/bitwise_kernel.h`, `phi/kernels/funcs/bitwise_functors.h`. ONNX: BitwiseAnd, BitwiseOr,
//! BitwiseXor, BitwiseNot; And, Or, Xor, Not for bools, and for each bit before opset 18. ONNX's BitShift takes unsigned
//! integers alone, so a shift is a multiplication by a power of two (Mul), or a division by one (Mod, Sub, Div), in int64.

use super::compare::comparison;
use super::logical::Gate;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Accuracy, Form, Function, OpDef, OpReader, Parse, Parsed, Values};
use crate::ops::shared::binary::{binary, form, integers, late};
use crate::ops::shared::broadcast::Pair;
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, I8, I16, I32, I64, U8};
use crate::tensor::{Array, DType, Element, Tensor, with_array};

const INTEGERS_AND_BOOL: &[DType] = &[Bool, U8, I8, I16, I32, I64];

pub(super) const OPS: &[OpDef] = &[
    comparison("bitwise_and", &[form(&["bitwise_and"])], |op| {
        Bitwise::parse(op, Gate::And)
    })
    .with_dtypes(INTEGERS_AND_BOOL),
    comparison("bitwise_or", &[form(&["bitwise_or"])], |op| {
        Bitwise::parse(op, Gate::Or)
    })
    .with_dtypes(INTEGERS_AND_BOOL),
    comparison("bitwise_xor", &[form(&["bitwise_xor"])], |op| {
        Bitwise::parse(op, Gate::Xor)
    })
    .with_dtypes(INTEGERS_AND_BOOL),
    of_x("bitwise_not", &[plain(&["bitwise_not"])], |op| {
        let x = op.operand("x")?;
        Ok(Box::new(BitwiseNot { x }))
    })
    .with_dtypes(INTEGERS_AND_BOOL)
    .with_accuracy(Accuracy::Exact),
    shift(
        "bitwise_left_shift",
        &[late(&["bitwise_left_shift"])],
        |op| Shift::parse(op, true),
    )
    .with_opset(9),
    shift(
        "bitwise_right_shift",
        &[late(&["bitwise_right_shift"])],
        |op| Shift::parse(op, false),
    )
    .with_opset(10),
];

/// A logic gate on the bits of two integers, or on two bools.
struct Bitwise {
    pair: Pair,
    gate: Gate,
}

impl Bitwise {
    fn parse(op: &mut OpReader<'_>, gate: Gate) -> Parsed {
        let pair = Pair::parse(op)?;
        Ok(Box::new(Self { pair, gate }))
    }
}

impl Function for Bitwise {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.pair.x), self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let gate = self.gate.onnx();
        if dtype == Bool {
            return Ok(g.node(gate, &[x, y], []));
        }
        let op_type = match self.gate {
            Gate::And => "BitwiseAnd",
            Gate::Or => "BitwiseOr",
            Gate::Xor => "BitwiseXor",
        };
        let rank = g.rank(self.pair.x).max(g.rank(self.pair.y));
        Ok(g.bitwise([op_type, gate], [x, y], dtype, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        integers(&x, &y, |x, y| self.gate.of(x, y))
    }
}

/// All bits of integers inverted; for bools, the logical negation.
struct BitwiseNot {
    x: ValueId,
}

impl Function for BitwiseNot {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(match g.dtype(self.x) {
            Bool => g.node("Not", &[x], []),
            dtype => g.bitwise_not(x, dtype),
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn not<T: Element>(x: &Array<T>) -> Result<Tensor> {
            Ok(T::tensor(map::map(x, |x| T::from_i64(!x.to_i64()))?.into()))
        }
        match values.get(self.x)? {
            Tensor::Bool(x) => Ok(Tensor::Bool(map::map(x, |x| !x)?.into())),
            x if x.dtype().is_float() => Err(Error::unsupported("bits of floats")),
            x => with_array!(x, x => not(x)),
        }
    }
}

const fn shift(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    binary(name, legacy, parse)
        .with_dtypes(&[U8, I8, I16, I32, I64])
        .with_accuracy(Accuracy::Exact)
}

/// `x` shifted by `y` bits. The bits that are shifted in are 0, or copies of the sign bit in an arithmetic shift to the
/// right. If `y` is negative, or not below the number of bits, all bits of the result are such bits.
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

    /// The shift of an integer of `bits` bits. The caller makes the result wrap to that width.
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

/// A `step` by two to the power of half the counts, and one by two to the power of the rest: no int64 holds 2⁶⁴.
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

/// `⌊x / power⌋` of int64 tensors.
fn quotient(g: &mut Lowering<'_>, x: TensorId, power: TensorId) -> TensorId {
    let rest = g.node("Mod", &[x, power], []);
    let multiple = g.node("Sub", &[x, rest], []);
    g.node("Div", &[multiple, power], [])
}

/// The logical shift to the right. A negative number is shifted as the positive number that has the same bits, which
/// is `2ᵇⁱᵗˢ` more. For int64, the nodes' own type does not hold that, so a first shift by one bit makes the number
/// positive.
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
