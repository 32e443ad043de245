//! The functions of mathematics, element by element: `abs`, `sign`, `ceil`, `floor`, `rint`, `trunc`, `round`,
//! `square`, `sqrt`, `rsqrt`, `reciprocal`, `exp`, `expm1`, `log`, `log2`, `log10`, `log1p`, `sin`, `cos`, `tan`,
//! `asin`, `acos`, `atan`, `sinh`, `cosh`, `tanh`, `asinh`, `acosh`, `atanh`, `erf`, `logit`.
//!
//! Paddle: `phi/kernels/{activation,abs,sign,trunc,erf}_kernel.h`, functors in
//! `phi/kernels/funcs/activation_functor.h`. ONNX: the operator of the same name where there is one, Round for `rint`;
//! the others, and `round` with halves away from zero, are composed of Mul, Div, Sqrt, Exp, Log, Floor and the like.

use super::complex;
use crate::error::Error;
use crate::graph::{Lowering, TensorId};
use crate::kernels::Real;
use crate::operator::{Accuracy, Form, NUMBERS, OpDef, OpReader, Parse, Parsed, WIDE};
use crate::ops::shared::pointwise::{Curve, Integers, Lower, Plain, of_x, plain, pointwise};
use crate::ops::shared::rounding::lower_round_away;
use crate::tensor::DType;

pub(super) const OPS: &[OpDef] = &[
    exact("abs", &[plain(&["abs"])], |op| {
        let abs = Plain::node("Abs", f32::abs, f64::abs);
        pointwise(op, abs.on_integers(Integers::Made(i64::wrapping_abs)))
    })
    .on_complex(complex::abs),
    exact("sign", &[plain(&["sign"])], |op| {
        let sign = Plain::node("Sign", sign, sign);
        pointwise(op, sign.on_integers(Integers::Made(i64::signum)))
    })
    .with_opset(9)
    .with_dtypes(NUMBERS),
    exact("ceil", &[plain(&["ceil"])], |op| {
        whole(op, Plain::node("Ceil", f32::ceil, f64::ceil))
    })
    .with_dtypes(NUMBERS),
    exact("floor", &[plain(&["floor"])], |op| {
        whole(op, Plain::node("Floor", f32::floor, f64::floor))
    })
    .with_dtypes(NUMBERS),
    // Halves are rounded to the even neighbour.
    exact("rint", &[], |op| {
        whole(
            op,
            Plain::node("Round", f32::round_ties_even, f64::round_ties_even),
        )
    })
    .with_opset(11),
    exact("trunc", &[plain(&["trunc"])], |op| {
        whole(op, Plain::nodes(lower_trunc, f32::trunc, f64::trunc))
    }),
    wide("round", &[plain(&["round"])], Round::parse).with_accuracy(Accuracy::Rounded),
    wide("square", &[plain(&["square"])], |op| {
        let square = Plain::nodes(lower_square, |x| x * x, |x| x * x);
        pointwise(
            op,
            square.on_integers(Integers::Made(|x| x.wrapping_mul(x))),
        )
    })
    .on_complex(complex::square),
    of_x("sqrt", &[plain(&["sqrt"])], |op| {
        node(op, "Sqrt", f32::sqrt, f64::sqrt)
    }),
    of_x("rsqrt", &[plain(&["rsqrt"])], |op| {
        nodes(op, lower_rsqrt, rsqrt, rsqrt)
    }),
    of_x("reciprocal", &[plain(&["reciprocal"])], |op| {
        node(op, "Reciprocal", f32::recip, f64::recip)
    })
    .on_complex(complex::reciprocal),
    wide("exp", &[plain(&["exp"])], |op| {
        node(op, "Exp", f32::exp, f64::exp)
    })
    .on_complex(complex::exp),
    wide("expm1", &[plain(&["expm1"])], |op| {
        nodes(op, lower_expm1, f32::exp_m1, f64::exp_m1)
    }),
    wide("log", &[plain(&["log"])], |op| {
        node(op, "Log", f32::ln, f64::ln)
    })
    .on_complex(complex::log),
    wide("log2", &[plain(&["log2"])], |op| {
        nodes(op, lower_log2, f32::log2, f64::log2)
    }),
    wide("log10", &[plain(&["log10"])], |op| {
        nodes(op, lower_log10, f32::log10, f64::log10)
    }),
    wide("log1p", &[plain(&["log1p"])], |op| {
        nodes(op, lower_log1p, f32::ln_1p, f64::ln_1p)
    })
    .with_opset(11),
    of_x("sin", &[plain(&["sin"])], |op| {
        node(op, "Sin", f32::sin, f64::sin)
    })
    .on_complex(complex::sin),
    of_x("cos", &[plain(&["cos"])], |op| {
        node(op, "Cos", f32::cos, f64::cos)
    })
    .on_complex(complex::cos),
    of_x("tan", &[plain(&["tan"])], |op| {
        node(op, "Tan", f32::tan, f64::tan)
    }),
    of_x("asin", &[plain(&["asin"])], |op| {
        node(op, "Asin", f32::asin, f64::asin)
    }),
    of_x("acos", &[plain(&["acos"])], |op| {
        node(op, "Acos", f32::acos, f64::acos)
    }),
    of_x("atan", &[plain(&["atan"])], |op| {
        node(op, "Atan", f32::atan, f64::atan)
    }),
    of_x("sinh", &[plain(&["sinh"])], |op| {
        node(op, "Sinh", f32::sinh, f64::sinh)
    })
    .on_complex(complex::sinh),
    of_x("cosh", &[plain(&["cosh"])], |op| {
        node(op, "Cosh", f32::cosh, f64::cosh)
    })
    .on_complex(complex::cosh),
    of_x("tanh", &[plain(&["tanh"])], |op| {
        node(op, "Tanh", f32::tanh, f64::tanh)
    }),
    of_x("asinh", &[plain(&["asinh"])], |op| {
        node(op, "Asinh", f32::asinh, f64::asinh)
    })
    .with_opset(9),
    of_x("acosh", &[plain(&["acosh"])], |op| {
        node(op, "Acosh", f32::acosh, f64::acosh)
    })
    .with_opset(9),
    of_x("atanh", &[plain(&["atanh"])], |op| {
        node(op, "Atanh", f32::atanh, f64::atanh)
    }),
    of_x("erf", &[plain(&["erf"])], |op| {
        node(op, "Erf", Real::erf, Real::erf)
    })
    .with_opset(9),
    of_x("logit", &[plain(&["logit"])], |op| {
        let epsilon = op.attr_or("eps", 1e-6)?;
        pointwise(op, Logit { epsilon })
    }),
];

/// An op that takes floats, int32 and int64.
const fn wide(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    of_x(name, legacy, parse).with_dtypes(WIDE)
}

/// An op that takes floats, int32 and int64, and whose results are exact.
const fn exact(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    wide(name, legacy, parse).with_accuracy(Accuracy::Exact)
}

/// A function for which ONNX has an operator.
fn node(
    op: &mut OpReader<'_>,
    operator: &'static str,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
) -> Parsed {
    pointwise(op, Plain::node(operator, single, double))
}

/// A function without an ONNX operator of its own, whose nodes `lower` emits.
fn nodes(
    op: &mut OpReader<'_>,
    lower: Lower,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
) -> Parsed {
    pointwise(op, Plain::nodes(lower, single, double))
}

/// A function that rounds floats to whole numbers, and leaves integers as they are.
fn whole(op: &mut OpReader<'_>, function: Plain) -> Parsed {
    pointwise(op, function.on_integers(Integers::Kept))
}

/// -1, 0 or 1, by the sign of `x`.
fn sign<T: Real>(x: T) -> T {
    if x == T::zero() { x } else { x.signum() }
}

fn rsqrt<T: Real>(x: T) -> T {
    x.sqrt().recip()
}

/// `sign(x) · ⌊|x|⌋`
pub(super) fn lower_trunc(g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
    let sign = g.node("Sign", &[x], []);
    let abs = g.node("Abs", &[x], []);
    let floor = g.node("Floor", &[abs], []);
    g.node("Mul", &[sign, floor], [])
}

fn lower_square(g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
    g.node("Mul", &[x, x], [])
}

fn lower_rsqrt(g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
    let root = g.node("Sqrt", &[x], []);
    g.node("Reciprocal", &[root], [])
}

/// `exp(x) - 1` as `tanh(x / 2) · (exp(x) + 1)`, which is as precise near 0 as elsewhere.
fn lower_expm1(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    let (half, one) = (g.scalar(dtype, 0.5), g.scalar(dtype, 1.0));
    let inner = g.node("Mul", &[x, half], []);
    let tanh = g.node("Tanh", &[inner], []);
    let exp = g.node("Exp", &[x], []);
    let sum = g.node("Add", &[exp, one], []);
    g.node("Mul", &[tanh, sum], [])
}

fn lower_log2(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    lower_log(g, x, dtype, std::f64::consts::LN_2)
}

fn lower_log10(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    lower_log(g, x, dtype, std::f64::consts::LN_10)
}

/// The logarithm to another base, where `base` is the natural logarithm of that base.
fn lower_log(g: &mut Lowering<'_>, x: TensorId, dtype: DType, base: f64) -> TensorId {
    let base = g.scalar(dtype, base);
    let log = g.node("Log", &[x], []);
    g.node("Div", &[log, base], [])
}

/// `ln(1 + x)` as `ln(u) · x / (u - 1)`, where `u` is `1 + x` after rounding. The factor `x / (u - 1)` makes up for the
/// rounding; it is 1 where `1 + x` is exact or `x` is infinite. Where `u` is 1, the result is `x`.
fn lower_log1p(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    let one = g.scalar(dtype, 1.0);
    let sum = g.node("Add", &[x, one], []);
    let rounded = g.node("Sub", &[sum, one], []);
    let is_exact = g.node("Equal", &[rounded, x], []);
    let factor = g.node("Div", &[x, rounded], []);
    let factor = g.node("Where", &[is_exact, one, factor], []);
    let log = g.node("Log", &[sum], []);
    let log = g.node("Mul", &[log, factor], []);
    let is_lost = g.node("Equal", &[sum, one], []);
    g.node("Where", &[is_lost, x, log], [])
}

/// `x` rounded to a number of decimal places, which may be negative. Without `decimals`, as in Paddle 2, halves are
/// rounded away from zero. Paddle 3 states `decimals`, and rounds halves to the even neighbour.
struct Round {
    decimals: Option<i32>,
}

impl Round {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let decimals: Option<i64> = op.optional_attr("decimals")?;
        let decimals = decimals.map(i32::try_from).transpose();
        let decimals = decimals.map_err(|_| Error::malformed("decimals beyond all digits"))?;
        pointwise(op, Self { decimals })
    }
}

impl Curve for Round {
    fn at<T: Real>(&self, x: T) -> T {
        let Some(decimals) = self.decimals else {
            return x.round();
        };
        let round = T::version(f32::round_ties_even, f64::round_ties_even);
        let power = T::from_f64(10_f64.powi(decimals.saturating_abs()));
        match decimals {
            _ if !x.is_finite() => x,
            0 => round(x),
            1.. => round(x * power) / power,
            _ => round(x / power) * power,
        }
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let Some(decimals) = self.decimals else {
            return lower_round_away(g, x, dtype);
        };
        if decimals == 0 {
            return g.node("Round", &[x], []);
        }
        let power = g.scalar(dtype, 10_f64.powi(decimals.saturating_abs()));
        let [before, after] = if decimals > 0 {
            ["Mul", "Div"]
        } else {
            ["Div", "Mul"]
        };
        let inner = g.node(before, &[x, power], []);
        let round = g.node("Round", &[inner], []);
        g.node(after, &[round, power], [])
    }

    fn integers(&self) -> Integers {
        Integers::Kept
    }
}

/// `ln(x / (1 - x))` of `x` clipped to `[epsilon, 1 - epsilon]`; with an epsilon of 0, `x` is not clipped.
struct Logit {
    epsilon: f64,
}

impl Curve for Logit {
    fn at<T: Real>(&self, x: T) -> T {
        let x = if self.epsilon == 0.0 {
            x
        } else {
            let low = T::from_f64(self.epsilon);
            x.min(T::from_f64(1.0 - self.epsilon)).max(low)
        };
        (x / (T::one() - x)).ln()
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let one = g.scalar(dtype, 1.0);
        let mut x = x;
        if self.epsilon != 0.0 {
            let low = g.scalar(dtype, self.epsilon);
            let high = g.scalar(dtype, 1.0 - self.epsilon);
            x = g.clip(x, dtype, low, high);
        }
        let rest = g.node("Sub", &[one, x], []);
        let odds = g.node("Div", &[x, rest], []);
        g.node("Log", &[odds], [])
    }
}
