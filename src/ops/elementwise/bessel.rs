//! Modified Bessel functions of the first kind (`i0`, `i0e`, `i1`, `i1e`), and the derivatives of digamma
//! (`polygamma`).
//!
//! Paddle: `phi/kernels/{i0,i0e,i1,i1e,polygamma}_kernel.h`. ONNX has no operators for them: the nodes (Add, Mul, Div,
//! Exp, Pow, Where and others) compute series in float64.

use std::f64::consts::PI;

use super::special::{in_double, offset_and_sine, polynomial};
use crate::error::Error;
use crate::graph::{Lowering, TensorId};
use crate::kernels::Real;
use crate::operator::{Form, OpDef, OpReader, Parse, Parsed};
use crate::ops::shared::pointwise::{Curve, Lower, lowercase, of_x, pointwise};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{DType, Element};

const REALS: &[DType] = &[F32, F64];

pub(super) const OPS: &[OpDef] = &[
    bessel("i0", &[lowercase(&["i0"])], |op| {
        curve(op, |g, x, _| lower(g, x, 0, false), |x| at(x, 0, false))
    })
    .with_opset(9),
    bessel("i0e", &[lowercase(&["i0e"])], |op| {
        curve(op, |g, x, _| lower(g, x, 0, true), |x| at(x, 0, true))
    })
    .with_opset(9),
    bessel("i1", &[lowercase(&["i1"])], |op| {
        curve(op, |g, x, _| lower(g, x, 1, false), |x| at(x, 1, false))
    })
    .with_opset(9),
    bessel("i1e", &[lowercase(&["i1e"])], |op| {
        curve(op, |g, x, _| lower(g, x, 1, true), |x| at(x, 1, true))
    })
    .with_opset(9),
    bessel("polygamma", &[lowercase(&["polygamma"])], Polygamma::parse)
        .with_opset(11)
        .with_limits(&["high orders"]),
];

const fn bessel(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    of_x(name, legacy, parse).with_dtypes(REALS)
}

fn curve(op: &mut OpReader<'_>, lower: Lower, function: fn(f64) -> f64) -> Parsed {
    pointwise(op, in_double(lower, function))
}

/// The largest `|x|` for which the series in powers of `x` is used; above it, that in powers of `1 / x` is.
const BORDER: f64 = 16.0;

/// The highest power of `x²/4`. With this and [`INVERSE_POWERS`], both series are right to 13 digits at the border.
const POWERS: i32 = 32;

/// The highest power of `1 / x`.
const INVERSE_POWERS: i32 = 20;

/// Emits `Iₙ(x)`, where n is the `order`, 0 or 1; it is multiplied by `exp(-|x|)` if it is `scaled`. Up to the border
/// it is `(x/2)ⁿ Σ (x²/4)ᵏ / (k! (k+n)!)`, beyond it `exp(|x|) / √(2π|x|) · Σ cₖ / |x|ᵏ`.
fn lower(g: &mut Lowering<'_>, x: TensorId, order: i32, scaled: bool) -> TensorId {
    let [border, one, two, four] = [BORDER, 1.0, 2.0, 4.0].map(|number| g.scalar(F64, number));
    let circle = g.scalar(F64, 2.0 * PI);
    let size = g.node("Abs", &[x], []);
    let is_large = g.node("Greater", &[size, border], []);
    let exp = g.node("Exp", &[size], []);

    let low = g.node("Where", &[is_large, border, size], []);
    let square = g.node("Mul", &[low, low], []);
    let square = g.node("Div", &[square, four], []);
    let mut small = polynomial(g, square, &power_series(order));
    if order == 1 {
        let half = g.node("Div", &[low, two], []);
        small = g.node("Mul", &[small, half], []);
    }
    let high = g.node("Where", &[is_large, size, border], []);
    let inverse = g.node("Div", &[one, high], []);
    let large = polynomial(g, inverse, &inverse_series(order));
    let width = g.node("Mul", &[high, circle], []);
    let root = g.node("Sqrt", &[width], []);
    let large = g.node("Div", &[large, root], []);

    let (small, large) = if scaled {
        (g.node("Div", &[small, exp], []), large)
    } else {
        (small, g.node("Mul", &[large, exp], []))
    };
    let result = g.node("Where", &[is_large, large, small], []);
    if order == 0 {
        return result;
    }
    let sign = g.node("Sign", &[x], []);
    g.node("Mul", &[result, sign], [])
}

/// The coefficients `1 / (k! (k + order)!)` of the powers of `x²/4`, the highest power first.
fn power_series(order: i32) -> Vec<f64> {
    let mut coefficient = 1.0;
    let mut series = vec![coefficient];
    for k in 1..=POWERS {
        coefficient /= f64::from(k) * f64::from(k + order);
        series.push(coefficient);
    }
    series.reverse();
    series
}

/// The coefficients `cₖ = Π ((2j-1)² - 4 order²) / (k! 8ᵏ)` of the powers of `1 / |x|`, where j goes from 1 to k; the
/// highest power first.
fn inverse_series(order: i32) -> Vec<f64> {
    let mut coefficient = 1.0;
    let mut series = vec![coefficient];
    for k in 1..=INVERSE_POWERS {
        coefficient *= f64::from((2 * k - 1).pow(2) - 4 * order * order) / f64::from(8 * k);
        series.push(coefficient);
    }
    series.reverse();
    series
}

/// `Iₙ(x)` by its definition, `1/π ∫₀^π exp(x cos t) cos(n t) dt`, where n is the `order`; it is multiplied by
/// `exp(-|x|)` if it is `scaled`. The trapezium rule is all but exact for periodic functions. With `exp(-|x|)` inside
/// the integral, no term overflows.
fn at(x: f64, order: i32, scaled: bool) -> f64 {
    /// Beyond this, two terms of the series in `1 / |x|` are enough.
    const FARTHEST: f64 = 1e6;
    let size = x.abs();
    let factor = if scaled { 1.0 } else { size.exp() };
    let sign = if order == 1 && x < 0.0 { -1.0 } else { 1.0 };
    if size.is_nan() {
        return x;
    }
    if size > FARTHEST {
        let first = f64::from(4 * order * order - 1) / (8.0 * size);
        return sign * factor * (1.0 - first) / (2.0 * PI * size).sqrt();
    }
    let steps = 64 + (10.0 * size.sqrt()) as u32;
    let terms = (0..steps).map(|step| {
        let cosine = (2.0 * PI * f64::from(step) / f64::from(steps)).cos();
        if order == 0 {
            (size * (cosine - 1.0)).exp()
        } else if size < 1.0 {
            // The even part of exp adds nothing to the integral, and would cost the odd part digits for small x.
            (-size).exp() * (size * cosine).sinh() * cosine
        } else {
            (size * (cosine - 1.0)).exp() * cosine
        }
    });
    sign * factor * terms.sum::<f64>() / f64::from(steps)
}

/// The derivative of order `n` of digamma. At its poles, which are 0 and the negative integers, it is infinite, with
/// the sign that it has for positive numbers.
struct Polygamma {
    n: i32,
}

/// The largest order for which the series is precise enough.
const LARGEST_ORDER: i32 = 10;

/// How much the argument is increased for the series in `1 / x`, which is right to 12 digits from there on.
const SHIFT: i32 = 16;

/// The Bernoulli numbers `B₂ⱼ`, for j from 1.
const BERNOULLI: [f64; 8] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
];

impl Polygamma {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let n: i64 = op.attr("n")?;
        let n = i32::try_from(n)
            .ok()
            .filter(|n| (1..=LARGEST_ORDER).contains(n));
        let n = n.ok_or_else(|| {
            Error::unsupported(format!(
                "polygamma of an order that is not 1 to {LARGEST_ORDER}"
            ))
        })?;
        pointwise(op, Self { n })
    }

    /// `n!`, with the sign of the function at positive numbers.
    fn factor(&self) -> f64 {
        let factorial: f64 = (1..=self.n).map(f64::from).product();
        if self.n % 2 == 0 {
            -factorial
        } else {
            factorial
        }
    }

    /// The function at `x`: the signed `n!` times `Σ (x + k)^-(n+1)` over all `k ≥ 0`. The terms between -100 and 100
    /// are summed. Those below are replaced by an integral, those above by the Euler-Maclaurin formula.
    fn of(&self, x: f64) -> f64 {
        const FARTHEST: f64 = 100.0;
        let power = -(self.n + 1);
        if x <= 0.0 && x == x.floor() {
            return self.factor() * f64::INFINITY;
        }
        let n = f64::from(self.n);
        let (mut x, mut sum) = (x, 0.0);
        if x < -FARTHEST {
            let skipped = (-FARTHEST - x).floor();
            let ends = [0.5 - x - skipped, 0.5 - x].map(|end| end.powi(-self.n) / n);
            sum = if self.n % 2 == 0 {
                ends[1] - ends[0]
            } else {
                ends[0] - ends[1]
            };
            x += skipped;
        }
        while x < FARTHEST {
            sum += x.powi(power);
            x += 1.0;
        }
        let [first, second] = [1.0 / n + 0.5 / x, (n + 1.0) / (12.0 * x * x)];
        let third = (n + 1.0) * (n + 2.0) * (n + 3.0) / (720.0 * x.powi(4));
        self.factor() * (sum + (first + second - third) * x.powi(-self.n))
    }

    /// The coefficients of `1/n + z/2 + Σ B₂ⱼ (n+1)…(n+2j-1) / (2j)! · z²ʲ`, where `z = 1 / x`, without its first two
    /// terms and divided by `z²`: a polynomial in `z²`, the highest power first.
    fn series(&self) -> Vec<f64> {
        let n = f64::from(self.n);
        let mut ratio = 1.0;
        let series = BERNOULLI.iter().zip(1..).map(|(bernoulli, j)| {
            let j = f64::from(2 * j);
            // From `(n+1)…(n+2j-3) / (2j-2)!` to `(n+1)…(n+2j-1) / (2j)!`; the variable holds 2j.
            ratio *= if j == 2.0 {
                1.0 / 2.0 * (n + 1.0)
            } else {
                (n + j - 2.0) * (n + j - 1.0) / ((j - 1.0) * j)
            };
            bernoulli * ratio
        });
        let mut series: Vec<f64> = series.collect();
        series.reverse();
        series
    }

    /// The coefficients of `dⁿ/dxⁿ cot(πx) / πⁿ` as a polynomial in `cot(πx)`, the highest power first. They follow
    /// from the derivative of `cot`, which is `-(1 + cot²)`.
    fn cotangents(&self) -> Vec<f64> {
        let mut polynomial = vec![0.0, 1.0];
        for _ in 0..self.n {
            let slopes: Vec<f64> = (1..)
                .zip(polynomial.iter().skip(1))
                .map(|(k, c)| f64::from(k) * c)
                .collect();
            polynomial = vec![0.0; slopes.len() + 2];
            for (k, slope) in slopes.into_iter().enumerate() {
                polynomial[k] -= slope;
                polynomial[k + 2] -= slope;
            }
        }
        polynomial.reverse();
        polynomial
    }

    /// Emits the function of `x` above 0: the first terms of the sum, and the series for the others.
    fn lower_positive(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        let (one, half) = (g.scalar(F64, 1.0), g.scalar(F64, 0.5));
        let power = g.scalar(F64, -f64::from(self.n + 1));
        let mut sum = g.node("Pow", &[x, power], []);
        for step in 1..SHIFT {
            let step = g.scalar(F64, f64::from(step));
            let moved = g.node("Add", &[x, step], []);
            let term = g.node("Pow", &[moved, power], []);
            sum = g.node("Add", &[sum, term], []);
        }
        let shift = g.scalar(F64, f64::from(SHIFT));
        let far = g.node("Add", &[x, shift], []);
        let inverse = g.node("Div", &[one, far], []);
        let square = g.node("Mul", &[inverse, inverse], []);
        let rest = polynomial(g, square, &self.series());
        let rest = g.node("Mul", &[rest, square], []);
        let second = g.node("Mul", &[inverse, half], []);
        let rest = g.node("Add", &[rest, second], []);
        let first = g.scalar(F64, 1.0 / f64::from(self.n));
        let rest = g.node("Add", &[rest, first], []);
        let power = g.scalar(F64, f64::from(self.n));
        let power = g.node("Pow", &[inverse, power], []);
        let rest = g.node("Mul", &[rest, power], []);
        let sum = g.node("Add", &[sum, rest], []);
        let factor = g.scalar(F64, self.factor());
        g.node("Mul", &[sum, factor], [])
    }
}

impl Curve for Polygamma {
    fn at<T: Real>(&self, x: T) -> T {
        T::from_f64(self.of(Element::to_f64(x)))
    }

    /// At 0 and below, the function is `(-1)ⁿ` times the function of `1 - x`, minus `π dⁿ/dxⁿ cot(πx)`.
    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let x = g.cast(x, dtype, F64);
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|number| g.scalar(F64, number));
        let is_positive = g.node("Greater", &[x, zero], []);
        let mirrored = g.node("Sub", &[one, x], []);
        let positive = g.node("Where", &[is_positive, x, mirrored], []);
        let result = self.lower_positive(g, positive);

        let (offset, sine) = offset_and_sine(g, x);
        let size = g.node("Abs", &[offset], []);
        let angle = g.node("Sub", &[half, size], []);
        let pi = g.scalar(F64, PI);
        let angle = g.node("Mul", &[angle, pi], []);
        let cosine = g.node("Sin", &[angle], []);
        let cotangent = g.node("Div", &[cosine, sine], []);
        let slope = polynomial(g, cotangent, &self.cotangents());
        let power = g.scalar(F64, PI.powi(self.n + 1));
        let slope = g.node("Mul", &[slope, power], []);
        let sign = g.scalar(F64, if self.n % 2 == 0 { 1.0 } else { -1.0 });
        let reflected = g.node("Mul", &[result, sign], []);
        let reflected = g.node("Sub", &[reflected, slope], []);
        let pole = g.scalar(F64, self.factor() * f64::INFINITY);
        let is_pole = g.node("Equal", &[offset, zero], []);
        let reflected = g.node("Where", &[is_pole, pole, reflected], []);
        let result = g.node("Where", &[is_positive, result, reflected], []);
        g.cast(result, F64, dtype)
    }
}
