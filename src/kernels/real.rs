//! The floating-point types that kernels are generic over.

use num_traits::Float;

use crate::tensor::Element;

/// f32, in which Paddle computes, or f64, to know how far rounding takes the f32 results from the truth.
///
/// The functions here are for loops over many elements. Those of f32 are computed in f64 and rounded once. They have
/// neither branches nor calls, so that such a loop is compiled to vector instructions.
pub(crate) trait Real: Element + Float + std::iter::Sum + std::ops::AddAssign {
    /// The exponential function, `eˣ`.
    fn exponential(self) -> Self;

    /// The error function, `2/√π ∫₀ˣ exp(-t²) dt`.
    fn erf(self) -> Self;

    /// Of the two versions of a function, the one for this type.
    fn version(single: fn(f32) -> f32, double: fn(f64) -> f64) -> fn(Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn exponential(self) -> Self {
        exponential(self)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        erf(self)
    }

    fn version(single: fn(f32) -> f32, _: fn(f64) -> f64) -> fn(f32) -> f32 {
        single
    }
}

impl Real for f64 {
    fn exponential(self) -> Self {
        self.exp()
    }

    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn version(_: fn(f32) -> f32, double: fn(f64) -> f64) -> fn(f64) -> f64 {
        double
    }
}

/// `eˣ` as `2ⁿ · eʳ`, where `n` is the integer nearest to `x / ln 2`, and `eʳ` the first terms of its Taylor series,
/// whose relative error is below 10⁻⁸ for `|r| ≤ ln 2 / 2`.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    /// From here on, `eˣ` is infinite in f32, and 0 below the opposite.
    const LIMIT: f64 = 110.0;
    /// A number of this size has no digits behind the point, and ends in those of the integer that was added to it.
    const SHIFT: f64 = 1.5 * (1_u64 << 52) as f64;
    let clipped = f64::from(x).clamp(-LIMIT, LIMIT);
    let shifted = clipped * std::f64::consts::LOG2_E + SHIFT;
    let r = clipped - (shifted - SHIFT) * std::f64::consts::LN_2;
    let terms = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // The integer is moved to where f64 has its exponent.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    (polynomial(terms, r) * power) as f32
}

/// The error function as a quotient of polynomials, fitted to a relative error of 3 · 10⁻⁹ for `|x| ≤ 4`. Beyond, it
/// rounds to ±1.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = f64::from(x).clamp(-4.0, 4.0);
    let numerator = [
        6.790_824_402_692_973e-6,
        4.112_645_172_689_852e-4,
        4.226_479_327_698_819e-3,
        5.574_933_708_407_731e-2,
        1.928_794_810_577_598_4e-1,
        1.128_379_169_949_622_8,
    ];
    let denominator = [
        2.604_565_354_054_55e-7,
        7.255_997_139_147_818e-5,
        1.421_187_621_901_282_4e-3,
        1.629_507_477_734_197e-2,
        1.174_953_904_374_206_3e-1,
        5.042_684_230_485_873e-1,
        1.0,
    ];
    (x * polynomial(numerator, x * x) / polynomial(denominator, x * x)) as f32
}

/// The polynomial of `x` with these coefficients, the one of the highest power first.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, term| sum * x + term)
}

/// Runs one generic expression, which gives a result, on the array of f32 or f64 in a tensor.
macro_rules! on_real {
    ($tensor:expr, $array:ident => $body:expr) => {
        match $tensor {
            $crate::tensor::Tensor::F32($array) => $body,
            $crate::tensor::Tensor::F64($array) => $body,
            other => Err($crate::error::Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    };
}
pub(crate) use on_real;

/// Runs a generic kernel on a tensor of f32 or f64. The array that the kernel returns becomes a tensor.
macro_rules! with_real {
    ($tensor:expr, $array:ident => $kernel:expr) => {
        $crate::kernels::on_real!($tensor, $array => Ok($crate::tensor::Element::tensor($kernel.into())))
    };
}
pub(crate) use with_real;

/// Runs a generic kernel on two tensors, both of f32 or both of f64. The array that the kernel returns
/// becomes a tensor.
macro_rules! with_reals {
    ($x:expr, $y:expr, ($a:ident, $b:ident) => $kernel:expr) => {
        match ($x, $y) {
            ($crate::tensor::Tensor::F32($a), $crate::tensor::Tensor::F32($b)) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            ($crate::tensor::Tensor::F64($a), $crate::tensor::Tensor::F64($b)) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            (x, y) => Err($crate::error::Error::unsupported(format!(
                "the reference has no kernel for {} with {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    };
}
pub(crate) use with_reals;

#[cfg(test)]
mod tests {
    use super::*;

    /// How far `f` is from `exact`, as a multiple of the distance between neighbouring numbers, at most. Tried on
    /// numbers of all magnitudes.
    fn worst(f: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let steps = (0..u32::MAX).step_by(9973).map(f32::from_bits);
        let numbers = steps.filter(|x| !x.is_nan());
        numbers.fold(0.0, |worst: f64, x| {
            let expected = exact(x.into());
            let rounded = expected as f32;
            let result = f(x);
            if result == rounded {
                return worst;
            }
            let spacing = f64::from(rounded.abs().next_up()) - f64::from(rounded.abs());
            worst.max((f64::from(result) - expected).abs() / spacing)
        })
    }

    #[test]
    fn functions_are_as_exact_as_their_type() {
        assert!(worst(exponential, f64::exp) < 0.6);
        assert!(worst(erf, libm::erf) < 0.6);
    }

    #[test]
    fn functions_keep_what_is_not_finite() {
        assert_eq!(exponential(f32::INFINITY), f32::INFINITY);
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(erf), [1.0, -1.0]);
        assert!(exponential(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
    }
}
