//! The whole numbers that quantisation gives, element by element.

use crate::error::{Error, Result};
use crate::kernels::Real;
use crate::operator::OpReader;

/// The largest whole number of 8 bits with a sign.
pub(super) const INT8: i32 = 127;

/// How a number between two whole numbers becomes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    /// The nearest, and of two the even one (`round_type` 0). The result is clipped to `-qmax - 1 ..= qmax`.
    Even,
    /// The nearest, and of two the one that is further from zero (`round_type` 1). The element is clipped to
    /// `-scale ..= scale` before.
    Away,
}

/// The whole numbers that elements are quantised to: those of a number of bits.
///
/// Paddle: `ClipAndFakeQuantFunctor` and `QuantTensorFunctor` in `phi/kernels/funcs/fake_quantize_functor.{h,cc}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    /// The whole number for an element as large as the scale.
    pub qmax: i32,
    pub rounding: Rounding,
}

impl Levels {
    /// Reads `qmax`, or the `bit_length` from which it follows, and `round_type`.
    ///
    /// # Errors
    /// When they are none that Paddle takes, or stand for floats of 8 bits.
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let qmax = parse_qmax(op)?;
        let round_type: i64 = op.attr_or("round_type", 0)?;
        Self::new(qmax, round_type)
    }

    pub fn new(qmax: i32, round_type: i64) -> Result<Self> {
        let rounding = match round_type {
            0 => Rounding::Even,
            1 => Rounding::Away,
            other => return Err(Error::malformed(format!("round_type {other}"))),
        };
        Ok(Self { qmax, rounding })
    }

    /// What an element is multiplied with before it is rounded. A scale of zero counts as a millionth.
    pub fn multiplier<T: Real>(self, scale: T) -> T {
        let inverse = if scale <= T::from_f64(1e-30) {
            T::one() / (scale + T::from_f64(1e-6))
        } else {
            T::one() / scale
        };
        T::from_f64(self.qmax.into()) * inverse
    }

    /// The whole number for `x` on this scale.
    pub fn level<T: Real>(self, x: T, scale: T) -> T {
        let multiplier = self.multiplier(scale);
        match self.rounding {
            Rounding::Even => {
                let round = T::version(f32::round_ties_even, f64::round_ties_even);
                let (lowest, highest) = (-self.qmax - 1, self.qmax);
                let level = round(multiplier * x);
                level
                    .min(T::from_f64(highest.into()))
                    .max(T::from_f64(lowest.into()))
            }
            Rounding::Away => (multiplier * x.min(scale).max(-scale)).round(),
        }
    }
}

/// The largest level: `qmax`, which Paddle 3 states, or that of `bit_length`.
///
/// # Errors
/// When it stands for floats of 8 bits, or is none of 1 to 16 bits.
pub(super) fn parse_qmax(op: &mut OpReader<'_>) -> Result<i32> {
    let bits: i64 = op.attr_or("bit_length", 8)?;
    let stated: Option<i64> = op.optional_attr("qmax")?;
    // Paddle takes the lowest level from `qmax`, too.
    op.ignore("qmin");
    match stated {
        Some(448 | 57344) if bits == 8 => Err(Error::unsupported(
            "quantisation to floats of 8 bits (float8)",
        )),
        Some(qmax) => i32::try_from(qmax)
            .ok()
            .filter(|qmax| (1..1 << 16).contains(qmax))
            .ok_or_else(|| Error::malformed(format!("qmax {qmax}"))),
        None => largest_level(bits),
    }
}

/// The largest whole number of `bits` bits, one of which is the sign.
///
/// # Errors
/// When these are not 2 to 16.
pub(super) fn largest_level(bits: i64) -> Result<i32> {
    match bits {
        2..=16 => Ok((1 << (bits - 1)) - 1),
        _ => Err(Error::malformed(format!("a bit_length of {bits}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_or_away_from_zero() {
        let even = Levels::new(127, 0).unwrap();
        let away = Levels::new(127, 1).unwrap();
        let levels = |of: Levels| [0.5, 1.5, -0.5, -2.5].map(|x: f32| of.level(x, 127.0));
        assert_eq!(levels(even), [0.0, 2.0, 0.0, -2.0]);
        assert_eq!(levels(away), [1.0, 2.0, -1.0, -3.0]);
    }

    #[test]
    fn the_ends_of_the_range_differ() {
        let ends = |round_type| {
            let levels = Levels::new(7, round_type).unwrap();
            [-9.0_f32, 9.0].map(|x| levels.level(x, 7.0))
        };
        assert_eq!(ends(0), [-8.0, 7.0]);
        assert_eq!(ends(1), [-7.0, 7.0]);
    }

    #[test]
    fn a_scale_of_zero_counts_as_a_millionth() {
        let levels = Levels::new(127, 0).unwrap();
        assert_eq!(levels.level(1e-8_f32, 0.0), 1.0);
    }
}
