//! Arithmetic on two tensors that are broadcast: `add`, `subtract`, `multiply`, `divide`, `floor_divide`,
//! `trunc_divide`, `remainder`, `elementwise_pow`, `pow`, `maximum`, `minimum`, `fmax`, `fmin`, `heaviside`.
//!
//! Paddle: `phi/kernels/elementwise_{add,subtract,multiply,divide}_kernel.h`, `phi/kernels/elementwise_kernel.h`,
//! for `pow` `phi/kernels/activation_kernel.h`; functors in `phi/kernels/funcs/elementwise_functor.h`.
//! ONNX: Add, Sub, Mul, Div, Mod, Pow, Max, Min; `heaviside` and rounded quotients take several operators.

use std::marker::PhantomData;

use super::complex;
use super::unary::lower_trunc;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, map};
use crate::operator::{
    ANY, Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values, WIDE,
};
use crate::ops::shared::binary::{binary, form, integers};
use crate::ops::shared::broadcast::Pair;
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::DType::{F64, I32, I64};
use crate::tensor::{DType, Dim, Element, Tensor};

const X_AND_Y: &[&str] = &["x", "y"];

pub(super) const OPS: &[OpDef] = &[
    binary("add", &[form(&["elementwise_add"])], parse::<Add>)
        .with_dtypes(ANY)
        .part_by_part(X_AND_Y)
        .speculatable(),
    binary(
        "subtract",
        &[form(&["elementwise_sub", "minus"])],
        parse::<Subtract>,
    )
    .part_by_part(X_AND_Y)
    .speculatable(),
    binary("multiply", &[form(&["elementwise_mul"])], parse::<Multiply>)
        .with_dtypes(ANY)
        .on_complex(complex::multiply)
        .speculatable(),
    binary("divide", &[form(&["elementwise_div"])], parse::<Divide>).on_complex(complex::divide),
    binary(
        "floor_divide",
        &[form(&["elementwise_floordiv"])],
        |op| match op.is_before(2, 5) {
            true => parse::<TruncDivide>(op),
            false => parse::<FloorDivide>(op),
        },
    )
    .with_opset(10),
    binary("trunc_divide", &[], parse::<TruncDivide>),
    binary("remainder", &[form(&["elementwise_mod"])], |op| {
        match (op.is_before(1, 7), op.is_before(2, 0)) {
            (true, _) => parse::<OldRemainder<true>>(op),
            (false, true) => parse::<OldRemainder<false>>(op),
            (false, false) => parse::<Remainder>(op),
        }
    })
    .with_opset(10)
    .with_dtypes(WIDE),
    binary(
        "elementwise_pow",
        &[form(&["elementwise_pow"])],
        parse::<Power>,
    )
    .with_dtypes(WIDE)
    .with_accuracy(Accuracy::Accumulated),
    binary("maximum", &[form(&["elementwise_max"])], parse::<Maximum>)
        .with_opset(8)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Exact),
    binary("minimum", &[form(&["elementwise_min"])], parse::<Minimum>)
        .with_opset(8)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Exact),
    binary("fmax", &[form(&["elementwise_fmax"])], parse::<FMax>)
        .with_opset(9)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Exact),
    binary("fmin", &[form(&["elementwise_fmin"])], parse::<FMin>)
        .with_opset(9)
        .with_dtypes(WIDE)
        .with_accuracy(Accuracy::Exact),
    binary(
        "heaviside",
        &[form(&["elementwise_heaviside"])],
        parse::<Heaviside>,
    )
    .with_opset(9)
    .with_dtypes(WIDE)
    .with_accuracy(Accuracy::Exact),
    decomposed(
        "pow",
        &[Arg::Tensor("x"), Arg::Scalar("y")],
        &[Form::legacy(
            &["pow"],
            &[
                Binding::Slot("X"),
                Binding::Scalar {
                    attr: "factor",
                    slots: &["FactorTensor"],
                },
            ],
            &["Out"],
        )],
        WIDE,
        power,
    ),
];

/// What one of these ops computes, and how it is lowered.
trait Kernel: Send + Sync + 'static {
    /// Whether the op is an affine function of either operand.
    const IS_AFFINE: bool = false;

    /// Emits the op on two tensors of type `dtype`, which is int32, int64 or a float: bools and narrow integers
    /// have been cast.
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId;

    /// The op on two floats.
    fn real<T: Real>(x: T, y: T) -> T;

    /// The op on two integers of any width. The caller makes the result wrap to that width. Bools are 0 and 1, and any
    /// other result than 0 is true.
    fn integer(x: i64, y: i64) -> i64;
}

struct Add;

impl Kernel for Add {
    const IS_AFFINE: bool = true;

    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, _: DType) -> TensorId {
        g.node("Add", &[x, y], [])
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        x + y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_add(y)
    }
}

struct Subtract;

impl Kernel for Subtract {
    const IS_AFFINE: bool = true;

    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, _: DType) -> TensorId {
        g.node("Sub", &[x, y], [])
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        x - y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_sub(y)
    }
}

struct Multiply;

impl Kernel for Multiply {
    const IS_AFFINE: bool = true;

    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, _: DType) -> TensorId {
        g.node("Mul", &[x, y], [])
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        x * y
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.wrapping_mul(y)
    }
}

struct Divide;

impl Kernel for Divide {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, _: DType) -> TensorId {
        g.node("Div", &[x, y], [])
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        x / y
    }

    /// The quotient is truncated towards zero, as in C. Paddle crashes on a divisor of 0; here, the result is 0.
    fn integer(x: i64, y: i64) -> i64 {
        if y == 0 { 0 } else { x.wrapping_div(y) }
    }
}

/// `x / y`, truncated towards zero.
struct TruncDivide;

impl Kernel for TruncDivide {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        let quotient = g.node("Div", &[x, y], []);
        if dtype.is_float() {
            lower_trunc(g, quotient, dtype)
        } else {
            quotient
        }
    }

    fn real<T: Real>(x: T, y: T) -> T {
        (x / y).trunc()
    }

    fn integer(x: i64, y: i64) -> i64 {
        Divide::integer(x, y)
    }
}

/// The remainder of `x / y`, with the sign of the divisor.
struct Remainder;

impl Kernel for Remainder {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        if !dtype.is_float() {
            return g.node("Mod", &[x, y], []);
        }
        let (rest, differs) = c_remainder(g, x, y, dtype);
        let moved = g.node("Add", &[rest, y], []);
        g.node("Where", &[differs, moved, rest], [])
    }

    fn real<T: Real>(x: T, y: T) -> T {
        let rest = x % y;
        if rest != T::zero() && (rest < T::zero()) != (y < T::zero()) {
            rest + y
        } else {
            rest
        }
    }

    fn integer(x: i64, y: i64) -> i64 {
        let rest = if y == 0 { 0 } else { x.wrapping_rem(y) };
        if rest != 0 && (rest < 0) != (y < 0) {
            rest + y
        } else {
            rest
        }
    }
}

/// The remainder of `x / y` by Paddle 1: with the sign of the dividend, as in C, for integers, and up to 1.6, `FLOATS`,
/// for all numbers.
struct OldRemainder<const FLOATS: bool>;

impl<const FLOATS: bool> Kernel for OldRemainder<FLOATS> {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        if dtype.is_float() && !FLOATS {
            return Remainder::lower(g, x, y, dtype);
        }
        g.node("Mod", &[x, y], [("fmod", NodeAttr::Int(1))])
    }

    fn real<T: Real>(x: T, y: T) -> T {
        if FLOATS { x % y } else { Remainder::real(x, y) }
    }

    fn integer(x: i64, y: i64) -> i64 {
        if y == 0 { 0 } else { x.wrapping_rem(y) }
    }
}

/// The largest integer that is not above the exact quotient. For floats it is computed from the remainder, as in
/// Python: `1.0 // 0.1` is 9, though `1.0 / 0.1` rounds to 10. A float divided by 0 gives infinity or NaN.
struct FloorDivide;

impl Kernel for FloorDivide {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        if dtype.is_float() {
            return floor_divide_floats(g, x, y, dtype);
        }
        // In int64, since `x - rest` may overflow int32.
        let (x, y) = (g.cast(x, dtype, I64), g.cast(y, dtype, I64));
        let rest = g.node("Mod", &[x, y], []);
        let multiple = g.node("Sub", &[x, rest], []);
        let quotient = g.node("Div", &[multiple, y], []);
        g.cast(quotient, I64, dtype)
    }

    fn real<T: Real>(x: T, y: T) -> T {
        if y == T::zero() {
            return x / y;
        }
        let rest = x % y;
        let mut quotient = (x - rest) / y;
        if rest != T::zero() && (rest < T::zero()) != (y < T::zero()) {
            quotient = quotient - T::one();
        }
        if quotient == T::zero() {
            // A zero with the sign of the quotient.
            return (x / y) * T::zero();
        }
        let floor = quotient.floor();
        if quotient - floor > T::from_f64(0.5) {
            floor + T::one()
        } else {
            floor
        }
    }

    fn integer(x: i64, y: i64) -> i64 {
        if y == 0 {
            return 0;
        }
        let quotient = x.wrapping_div(y);
        if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) {
            quotient - 1
        } else {
            quotient
        }
    }
}

/// The remainder of floats with the sign of the dividend, as C's `fmod` gives it, and a tensor of bools: whether the
/// remainder is not 0 and its sign differs from that of the divisor.
fn c_remainder(
    g: &mut Lowering<'_>,
    x: TensorId,
    y: TensorId,
    dtype: DType,
) -> (TensorId, TensorId) {
    let rest = g.node("Mod", &[x, y], [("fmod", NodeAttr::Int(1))]);
    let zero = g.scalar(dtype, 0.0);
    let is_negative = g.node("Less", &[rest, zero], []);
    let is_positive = g.node("Greater", &[rest, zero], []);
    let divides_negative = g.node("Less", &[y, zero], []);
    let divides_positive = g.node("Greater", &[y, zero], []);
    let first = g.node("And", &[is_negative, divides_positive], []);
    let second = g.node("And", &[is_positive, divides_negative], []);
    let differs = g.node("Or", &[first, second], []);
    (rest, differs)
}

fn floor_divide_floats(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
    let (rest, differs) = c_remainder(g, x, y, dtype);
    let one = g.scalar(dtype, 1.0);
    let multiple = g.node("Sub", &[x, rest], []);
    let quotient = g.node("Div", &[multiple, y], []);
    let less = g.node("Sub", &[quotient, one], []);
    let quotient = g.node("Where", &[differs, less, quotient], []);
    // The quotient is an integer up to rounding, so the nearest integer is the exact one.
    let floor = g.node("Floor", &[quotient], []);
    let fraction = g.node("Sub", &[quotient, floor], []);
    let half = g.scalar(dtype, 0.5);
    let is_above = g.node("Greater", &[fraction, half], []);
    let next = g.node("Add", &[floor, one], []);
    let rounded = g.node("Where", &[is_above, next, floor], []);
    let zero = g.scalar(dtype, 0.0);
    let divides_by_zero = g.node("Equal", &[y, zero], []);
    let infinite = g.node("Div", &[x, y], []);
    g.node("Where", &[divides_by_zero, infinite, rounded], [])
}

/// `xʸ`. Powers of integers are computed in float64 and truncated.
struct Power;

impl Kernel for Power {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        if dtype.is_float() {
            return g.node("Pow", &[x, y], []);
        }
        let (x, y) = (g.cast(x, dtype, F64), g.cast(y, dtype, F64));
        let power = g.node("Pow", &[x, y], []);
        let power = g.cast(power, F64, I64);
        g.cast(power, I64, dtype)
    }

    fn real<T: Real>(x: T, y: T) -> T {
        x.powf(y)
    }

    /// Powers that are not integers lie between -1 and 1, and are truncated to 0.
    fn integer(x: i64, y: i64) -> i64 {
        (x as f64).powf(y as f64) as i64
    }
}

/// The larger element of each pair, or NaN if either is NaN, as in Paddle 3. (Paddle 2 gives `y` then.)
struct Maximum;

impl Kernel for Maximum {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        g.extreme("Max", x, y, dtype)
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        if x > y || x.is_nan() { x } else { y }
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.max(y)
    }
}

/// The smaller element of each pair, or NaN if either is NaN, as in Paddle 3. (Paddle 2 gives `y` then.)
struct Minimum;

impl Kernel for Minimum {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        g.extreme("Min", x, y, dtype)
    }

    #[inline]
    fn real<T: Real>(x: T, y: T) -> T {
        if x < y || x.is_nan() { x } else { y }
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.min(y)
    }
}

/// The larger element of each pair; if one is NaN, the other.
struct FMax;

impl Kernel for FMax {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        unless_nan(g, "Max", x, y, dtype)
    }

    fn real<T: Real>(x: T, y: T) -> T {
        x.max(y)
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.max(y)
    }
}

/// The smaller element of each pair; if one is NaN, the other.
struct FMin;

impl Kernel for FMin {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        unless_nan(g, "Min", x, y, dtype)
    }

    fn real<T: Real>(x: T, y: T) -> T {
        x.min(y)
    }

    fn integer(x: i64, y: i64) -> i64 {
        x.min(y)
    }
}

/// Max or Min of two tensors, as `op_type` says; where one element is NaN, the other.
fn unless_nan(
    g: &mut Lowering<'_>,
    op_type: &'static str,
    x: TensorId,
    y: TensorId,
    dtype: DType,
) -> TensorId {
    let extreme = g.extreme(op_type, x, y, dtype);
    if !dtype.is_float() {
        return extreme;
    }
    let x_is_number = g.node("Equal", &[x, x], []);
    let y_is_number = g.node("Equal", &[y, y], []);
    let or_x = g.node("Where", &[y_is_number, extreme, x], []);
    g.node("Where", &[x_is_number, or_x, y], [])
}

/// 0 where `x` is negative, 1 where it is positive, and `y` where it is 0.
struct Heaviside;

impl Kernel for Heaviside {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        let zero = g.scalar(dtype, 0.0);
        let is_zero = g.node("Equal", &[x, zero], []);
        let is_positive = g.node("Greater", &[x, zero], []);
        let step = g.cast(is_positive, DType::Bool, dtype);
        g.node("Where", &[is_zero, y, step], [])
    }

    fn real<T: Real>(x: T, y: T) -> T {
        if x == T::zero() {
            y
        } else if x > T::zero() {
            T::one()
        } else {
            T::zero()
        }
    }

    fn integer(x: i64, y: i64) -> i64 {
        if x == 0 { y } else { (x > 0).into() }
    }
}

/// The op that `K` defines, on a pair of tensors.
struct Binary<K> {
    pair: Pair,
    kernel: PhantomData<K>,
}

fn parse<K: Kernel>(op: &mut OpReader<'_>) -> Parsed {
    Ok(Box::new(Binary::<K> {
        pair: Pair::parse(op)?,
        kernel: PhantomData,
    }))
}

impl<K: Kernel> Binary<K> {
    /// The elements of a result of rank 0 or 1, as far as they are known before a run.
    fn content(&self, facts: &Facts<'_>) -> Option<Vec<Dim>> {
        let (x, y) = (facts.content(self.pair.x)?, facts.content(self.pair.y)?);
        let is_narrow = facts.dtype(self.pair.x) == I32;
        let result = |(x, y): (&Dim, &Dim)| match (x.known(), y.known()) {
            (Some(x), Some(y)) => {
                let fits = |result: &i64| !is_narrow || i32::try_from(*result).is_ok();
                Some(K::integer(x, y))
                    .filter(fits)
                    .map_or(Dim::Unknown, Dim::Known)
            }
            _ => Dim::Unknown,
        };
        let is_single = facts.rank(self.pair.x).max(facts.rank(self.pair.y)) <= 1;
        match (x, y) {
            _ if !is_single => None,
            (x, [y]) => Some(x.iter().map(|x| result((x, y))).collect()),
            ([x], y) => Some(y.iter().map(|y| result((x, y))).collect()),
            (x, y) => Some(x.iter().zip(y).map(result).collect()),
        }
    }
}

impl<K: Kernel> Function for Binary<K> {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = facts.dtype(self.pair.x);
        let fact = Fact::new(dtype, self.pair.shape(facts)?);
        Ok(fact.with_content(self.content(facts)))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let wide = dtype.widened();
        let (x, y) = (g.cast(x, dtype, wide), g.cast(y, dtype, wide));
        let result = K::lower(g, x, y, wide);
        Ok(g.cast(result, wide, dtype))
    }

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.pair.x, self.pair.y]
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        Ok(match (&x, &y) {
            (Tensor::F32(x), Tensor::F32(y)) => f32::tensor(map::zip(x, y, K::real)?.into()),
            (Tensor::F64(x), Tensor::F64(y)) => f64::tensor(map::zip(x, y, K::real)?.into()),
            (x, y) => integers(x, y, K::integer)?,
        })
    }

    fn affine_in(&self) -> Vec<ValueId> {
        match K::IS_AFFINE {
            true => vec![self.pair.x, self.pair.y],
            false => Vec::new(),
        }
    }
}

/// `pow`, whose exponent is a scalar, as `elementwise_pow`. A constant exponent is cast to the type of `x`; one that is
/// computed must have it.
fn power(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let dtype = parts.dtype(x);
    let exponent = match parts.constant_value(y) {
        Some(number) => {
            let number = number.cast(dtype);
            parts.tensor(number)
        }
        None if parts.dtype(y) == dtype => y,
        None => return Err(Error::unsupported("a computed exponent of another type")),
    };
    parts.last("elementwise_pow", &[x, exponent], &[])
}
