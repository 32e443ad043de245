//! Special functions: `erfinv`, `lgamma`, `gammaln`, `digamma`.
//!
//! Paddle: `phi/kernels/{erfinv,lgamma,gammaln,digamma}_kernel.h`. ONNX has no operators for them: the nodes (Add,
//! Mul, Div, Log, Where and others) compute approximations in float64, so that float32 results are right to the last
//! digit but one.

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

use crate::graph::{Lowering, TensorId};
use crate::operator::OpDef;
use crate::ops::shared::pointwise::{Curve, Lower, lowercase, of_x, plain, pointwise};
use crate::tensor::DType;
use crate::tensor::DType::F64;

pub(super) const OPS: &[OpDef] = &[
    of_x("erfinv", &[plain(&["erfinv"])], |op| {
        pointwise(op, in_double(lower_inverse_erf, inverse_erf))
    })
    .with_opset(9),
    of_x("lgamma", &[plain(&["lgamma"])], |op| {
        pointwise(op, in_double(lower_log_gamma, libm::lgamma))
    })
    .with_opset(11),
    // The same function as `lgamma`, by the name that it has in SciPy.
    of_x("gammaln", &[lowercase(&["gammaln"])], |op| {
        pointwise(op, in_double(lower_log_gamma, libm::lgamma))
    })
    .with_opset(11),
    of_x("digamma", &[plain(&["digamma"])], |op| {
        pointwise(op, in_double(lower_digamma, digamma))
    })
    .with_opset(11),
];

/// A function whose nodes compute in float64, whatever the type of the operand.
pub(super) struct InDouble {
    lower: Lower,
    function: fn(f64) -> f64,
}

pub(super) fn in_double(lower: Lower, function: fn(f64) -> f64) -> InDouble {
    InDouble { lower, function }
}

impl Curve for InDouble {
    fn at<T: crate::kernels::Real>(&self, x: T) -> T {
        T::from_f64((self.function)(crate::tensor::Element::to_f64(x)))
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let x = g.cast(x, dtype, F64);
        let result = (self.lower)(g, x, F64);
        g.cast(result, F64, dtype)
    }
}

/// The `x` for which `erf(x)` is `y`, by steps of Halley's method from Winitzki's approximation. It is infinite for 1
/// and -1 and, as in Paddle, beyond them.
fn inverse_erf(y: f64) -> f64 {
    let size = y.abs();
    if size >= 1.0 {
        return f64::INFINITY.copysign(y);
    }
    let log = (-size * size).ln_1p();
    let term = 2.0 / (PI * 0.147) + log / 2.0;
    let mut x = ((term * term - log / 0.147).sqrt() - term).sqrt();
    for _ in 0..5 {
        let excess = if size < 0.5 {
            libm::erf(x) - size
        } else {
            (1.0 - size) - libm::erfc(x)
        };
        let step = excess / (FRAC_2_SQRT_PI * (-x * x).exp());
        x -= step / (1.0 + x * step);
    }
    x.copysign(y)
}

/// `d/dx ln |Γ(x)|`. At 0 it is infinite, as in Paddle 3 (Paddle 2 gives NaN). At the other poles, which are the
/// negative integers, it is NaN.
fn digamma(x: f64) -> f64 {
    if x < 0.0 {
        let offset = x - x.round();
        if offset == 0.0 {
            return f64::NAN;
        }
        return digamma(1.0 - x) - PI / (PI * offset).tan();
    }
    // From 40 on, the first terms of the series in 1/x are enough.
    let (mut x, mut sum) = (x, 0.0);
    while x < 40.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// Emits the polynomial in `x` with these coefficients, the highest power first, in float64.
pub(super) fn polynomial(g: &mut Lowering<'_>, x: TensorId, coefficients: &[f64]) -> TensorId {
    let mut sum = None;
    for coefficient in coefficients {
        let constant = g.scalar(F64, *coefficient);
        sum = Some(match sum {
            None => constant,
            Some(sum) => {
                let product = g.node("Mul", &[sum, x], []);
                g.node("Add", &[product, constant], [])
            }
        });
    }
    sum.unwrap_or(x)
}

/// A quotient of two polynomials.
struct Rational {
    numerator: [f64; 8],
    denominator: [f64; 8],
}

impl Rational {
    fn of(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        let numerator = polynomial(g, x, &self.numerator);
        let denominator = polynomial(g, x, &self.denominator);
        g.node("Div", &[numerator, denominator], [])
    }
}

/// Quantiles of the normal distribution by Wichura's algorithm AS 241, right to about 16 digits. In the middle, where
/// the probability is `1/2 + q` with `|q| ≤ 0.425`, the quantile is `q` times this function of `0.180625 - q²`.
const MIDDLE: Rational = Rational {
    numerator: [
        2_509.080_928_730_122_7,
        33_430.575_583_588_13,
        67_265.770_927_008_7,
        45_921.953_931_549_87,
        13_731.693_765_509_46,
        1_971.590_950_306_551_3,
        133.141_667_891_784_38,
        3.387_132_872_796_366_5,
    ],
    denominator: [
        5_226.495_278_852_854,
        28_729.085_735_721_943,
        39_307.895_800_092_71,
        21_213.794_301_586_597,
        5_394.196_021_424_751,
        687.187_007_492_057_9,
        42.313_330_701_600_91,
        1.0,
    ],
};

/// The magnitude of the quantile in the tails as a function of `√(-ln p) - 1.6`, where `p` is the probability of what
/// lies beyond it.
const TAIL: Rational = Rational {
    numerator: [
        7.745_450_142_783_414e-4,
        0.022_723_844_989_269_184,
        0.241_780_725_177_450_6,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ],
    denominator: [
        1.050_750_071_644_416_9e-9,
        5.475_938_084_995_345e-4,
        0.015_198_666_563_616_457,
        0.148_103_976_427_480_08,
        0.689_767_334_985_1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
};

/// The magnitude of the quantile where `√(-ln p)` is above 5, as a function of `√(-ln p) - 5`.
const FAR_TAIL: Rational = Rational {
    numerator: [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        0.001_242_660_947_388_078_4,
        0.026_532_189_526_576_124,
        0.296_560_571_828_504_87,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_104,
    ],
    denominator: [
        2.044_263_103_389_939_8e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_7e-5,
        7.868_691_311_456_133e-4,
        0.014_875_361_290_850_615,
        0.136_929_880_922_735_8,
        0.599_832_206_555_888,
        1.0,
    ],
};

/// Emits the inverse error function: the normal distribution's quantile of `(1 + y) / 2`, divided by √2.
fn lower_inverse_erf(g: &mut Lowering<'_>, y: TensorId, _: DType) -> TensorId {
    let number = |g: &mut Lowering<'_>, value: f64| g.scalar(F64, value);
    let (zero, half, one) = (number(g, 0.0), number(g, 0.5), number(g, 1.0));
    let offset = g.node("Mul", &[y, half], []);
    let square = g.node("Mul", &[offset, offset], []);
    let middle = number(g, 0.180_625);
    let inner = g.node("Sub", &[middle, square], []);
    let inner = MIDDLE.of(g, inner);
    let inner = g.node("Mul", &[offset, inner], []);

    let size = g.node("Abs", &[y], []);
    let rest = g.node("Sub", &[one, size], []);
    let probability = g.node("Mul", &[rest, half], []);
    let log = g.node("Log", &[probability], []);
    let log = g.node("Neg", &[log], []);
    let root = g.node("Sqrt", &[log], []);
    let (start, far_start) = (number(g, 1.6), number(g, 5.0));
    let near = g.node("Sub", &[root, start], []);
    let near = TAIL.of(g, near);
    let far = g.node("Sub", &[root, far_start], []);
    let far = FAR_TAIL.of(g, far);
    let is_far = g.node("Greater", &[root, far_start], []);
    let tail = g.node("Where", &[is_far, far, near], []);
    // The logarithm gives no usable number where |y| is 1 or more.
    let infinity = number(g, f64::INFINITY);
    let is_inside = g.node("Less", &[size, one], []);
    let tail = g.node("Where", &[is_inside, tail, infinity], []);
    let opposite = g.node("Neg", &[tail], []);
    let is_negative = g.node("Less", &[y, zero], []);
    let tail = g.node("Where", &[is_negative, opposite, tail], []);

    let border = number(g, 0.85);
    let is_tail = g.node("Greater", &[size, border], []);
    let quantile = g.node("Where", &[is_tail, tail, inner], []);
    let root = number(g, SQRT_2);
    g.node("Div", &[quantile, root], [])
}

/// An argument increased until the series in its inverse are right to 16 digits.
struct Shifted {
    /// Whether `x` is below 0, so that the function is computed by reflection.
    is_negative: TensorId,
    /// `x`, or `1 - x` if it is negative.
    positive: TensorId,
    /// `positive`, or `positive + SHIFT` if it is small.
    large: TensorId,
    /// Whether `positive` is below `SHIFT`.
    is_small: TensorId,
    /// `1 / large`
    inverse: TensorId,
    /// `1 / large²`
    inverse_square: TensorId,
}

/// How much a small argument is increased.
const SHIFT: usize = 8;

fn shifted(g: &mut Lowering<'_>, x: TensorId) -> Shifted {
    let (zero, one) = (g.scalar(F64, 0.0), g.scalar(F64, 1.0));
    let shift = g.scalar(F64, SHIFT as f64);
    let is_negative = g.node("Less", &[x, zero], []);
    let mirrored = g.node("Sub", &[one, x], []);
    let positive = g.node("Where", &[is_negative, mirrored, x], []);
    let is_small = g.node("Less", &[positive, shift], []);
    let more = g.node("Add", &[positive, shift], []);
    let large = g.node("Where", &[is_small, more, positive], []);
    let inverse = g.node("Div", &[one, large], []);
    let inverse_square = g.node("Mul", &[inverse, inverse], []);
    Shifted {
        is_negative,
        positive,
        large,
        is_small,
        inverse,
        inverse_square,
    }
}

/// Emits `x` minus the nearest integer, and the sine of π times this difference, which is exactly 0 at integers.
pub(super) fn offset_and_sine(g: &mut Lowering<'_>, x: TensorId) -> (TensorId, TensorId) {
    let nearest = g.node("Round", &[x], []);
    let offset = g.node("Sub", &[x, nearest], []);
    let pi = g.scalar(F64, PI);
    let angle = g.node("Mul", &[offset, pi], []);
    (offset, g.node("Sin", &[angle], []))
}

/// Emits `ln |Γ(x)|`: Stirling's series at the increased argument, minus the logarithm of the product `x (x+1) …` by
/// which Γ grows on the way there. Below 0 it is `ln |π / sin(πx)| - ln Γ(1 - x)`.
fn lower_log_gamma(g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
    let s = shifted(g, x);
    let (half, one) = (g.scalar(F64, 0.5), g.scalar(F64, 1.0));
    let mut factors = s.positive;
    for step in 1..SHIFT {
        let step = g.scalar(F64, step as f64);
        let factor = g.node("Add", &[s.positive, step], []);
        factors = g.node("Mul", &[factors, factor], []);
    }
    let factors = g.node("Where", &[s.is_small, factors, one], []);
    let factors = g.node("Log", &[factors], []);
    let log = g.node("Log", &[s.large], []);
    let power = g.node("Sub", &[s.large, half], []);
    // `(z - 1/2) · ln z - z`, as `(z - 1/2) · (ln z - 1) - 1/2`: this overflows only where the result does.
    let log = g.node("Sub", &[log, one], []);
    let main = g.node("Mul", &[power, log], []);
    let constant = g.scalar(F64, (2.0 * PI).ln() / 2.0 - 0.5);
    let main = g.node("Add", &[main, constant], []);
    let series = [
        -3617.0 / 122_400.0,
        1.0 / 156.0,
        -691.0 / 360_360.0,
        1.0 / 1188.0,
        -1.0 / 1680.0,
        1.0 / 1260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ];
    let rest = polynomial(g, s.inverse_square, &series);
    let rest = g.node("Mul", &[rest, s.inverse], []);
    let sum = g.node("Add", &[main, rest], []);
    let log_gamma = g.node("Sub", &[sum, factors], []);
    // At 1 and 2, the difference of two large numbers is not quite 0.
    let two = g.scalar(F64, 2.0);
    let from_one = g.node("Sub", &[x, one], []);
    let from_two = g.node("Sub", &[x, two], []);
    let zeros = g.node("Mul", &[from_one, from_two], []);
    let zero = g.scalar(F64, 0.0);
    let is_zero = g.node("Equal", &[zeros, zero], []);
    let log_gamma = g.node("Where", &[is_zero, zero, log_gamma], []);

    let (_, sine) = offset_and_sine(g, x);
    let pi = g.scalar(F64, PI);
    let quotient = g.node("Div", &[pi, sine], []);
    let quotient = g.node("Abs", &[quotient], []);
    let quotient = g.node("Log", &[quotient], []);
    let reflected = g.node("Sub", &[quotient, log_gamma], []);
    let result = g.node("Where", &[s.is_negative, reflected, log_gamma], []);
    let infinity = g.scalar(F64, f64::INFINITY);
    let size = g.node("Abs", &[x], []);
    let is_infinite = g.node("Equal", &[size, infinity], []);
    g.node("Where", &[is_infinite, infinity, result], [])
}

/// Emits digamma, `ψ(x)`: its series at the increased argument, minus the sum `1/x + 1/(x+1) + …` by which ψ grows on
/// the way there. Below 0 it is `ψ(1 - x) - π / tan(πx)`.
fn lower_digamma(g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
    let s = shifted(g, x);
    let (zero, half, one) = (g.scalar(F64, 0.0), g.scalar(F64, 0.5), g.scalar(F64, 1.0));
    let mut inverses = g.node("Div", &[one, s.positive], []);
    for step in 1..SHIFT {
        let step = g.scalar(F64, step as f64);
        let term = g.node("Add", &[s.positive, step], []);
        let term = g.node("Div", &[one, term], []);
        inverses = g.node("Add", &[inverses, term], []);
    }
    let inverses = g.node("Where", &[s.is_small, inverses, zero], []);
    let log = g.node("Log", &[s.large], []);
    let first = g.node("Mul", &[s.inverse, half], []);
    let series = [
        -3617.0 / 8160.0,
        1.0 / 12.0,
        -691.0 / 32_760.0,
        1.0 / 132.0,
        -1.0 / 240.0,
        1.0 / 252.0,
        -1.0 / 120.0,
        1.0 / 12.0,
    ];
    let rest = polynomial(g, s.inverse_square, &series);
    let rest = g.node("Mul", &[rest, s.inverse_square], []);
    let sum = g.node("Sub", &[log, first], []);
    let sum = g.node("Sub", &[sum, rest], []);
    let psi = g.node("Sub", &[sum, inverses], []);

    let (offset, sine) = offset_and_sine(g, x);
    let size = g.node("Abs", &[offset], []);
    let pi = g.scalar(F64, PI);
    let quarter = g.node("Sub", &[half, size], []);
    let quarter = g.node("Mul", &[quarter, pi], []);
    let cosine = g.node("Sin", &[quarter], []);
    let slope = g.node("Div", &[cosine, sine], []);
    let slope = g.node("Mul", &[slope, pi], []);
    let reflected = g.node("Sub", &[psi, slope], []);
    let nan = g.scalar(F64, f64::NAN);
    let is_pole = g.node("Equal", &[offset, zero], []);
    let reflected = g.node("Where", &[is_pole, nan, reflected], []);
    g.node("Where", &[s.is_negative, reflected, psi], [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_erf_at_its_limits() {
        assert_eq!(inverse_erf(1.0), f64::INFINITY);
        assert_eq!(inverse_erf(-1.5), f64::NEG_INFINITY);
        assert!(inverse_erf(f64::NAN).is_nan());
        for y in [-0.999_999_999, -0.5, -1e-9, 1e-300, 0.3, 0.77, 0.99] {
            let back = libm::erf(inverse_erf(y));
            assert!((back / y - 1.0).abs() < 4e-16, "{y} becomes {back}");
        }
    }

    #[test]
    fn digamma_at_its_poles() {
        assert_eq!(digamma(0.0), f64::NEG_INFINITY);
        assert_eq!(digamma(-0.0), f64::INFINITY);
        assert!(digamma(-3.0).is_nan());
        let euler = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + euler).abs() < 1e-15);
    }
}
