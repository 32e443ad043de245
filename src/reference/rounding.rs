//! Numbers moved at random, as far as rounding may have moved them, to learn which answers rounding allows.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::operator::Accuracy;
use crate::tensor::{DType, Tensor};

/// A source of random movements, the same for the same seed on every machine.
pub(crate) struct Rounding {
    rng: ChaCha8Rng,
    /// The largest movement, in multiples of the unit roundoff of an element type.
    multiple: f64,
}

impl Rounding {
    /// Movements of up to `multiple` unit roundoffs.
    pub fn new(seed: u64, multiple: f64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            multiple,
        }
    }

    /// An exact result whose type in the program is `dtype`, moved. Numbers that this type holds exactly stay, since
    /// rounding does not move them: sizes, counts and whatever else is made without error. Results that are computed
    /// from larger numbers, by the `accuracy` of their op, move as far as these do, and sums as far as [`roundings`] says.
    pub fn result(
        &mut self,
        exact: Tensor,
        dtype: DType,
        accuracy: Option<Accuracy>,
        largest_operand: usize,
    ) -> Tensor {
        let Some(unit) = dtype.unit_roundoff() else {
            return exact;
        };
        let mut elements = exact.to_f64_vec();
        let hidden = match accuracy {
            Some(Accuracy::Positions) => {
                let extent = exact.shape().iter().max().copied().unwrap_or(0);
                let finite = elements.iter().map(|x| x.abs()).filter(|x| x.is_finite());
                finite.fold(0.0, f64::max) * extent as f64
            }
            accuracy => accuracy.map_or(0.0, Accuracy::hidden_magnitude),
        };
        let reach = unit
            * self
                .multiple
                .max(roundings(accuracy, largest_operand, &exact));
        for x in &mut elements {
            if x.is_finite() && !holds(dtype, *x) {
                *x += x.abs().max(hidden) * reach * self.share();
            }
        }
        Tensor::from_elements(exact.shape(), elements).unwrap_or(exact)
    }

    /// An operand with other numbers: of the same signs, and at least half as large. Whole numbers stay, which may be
    /// sizes.
    pub fn other_operand(&mut self, operand: &Tensor) -> Tensor {
        if !operand.dtype().is_float() {
            return operand.clone();
        }
        let mut elements = operand.to_f64_vec();
        for x in elements.iter_mut().filter(|x| x.fract() != 0.0) {
            *x *= 0.75 + 0.25 * self.share();
        }
        let other = Tensor::from_elements(operand.shape(), elements);
        other.map_or_else(|_| operand.clone(), |other| other.cast(operand.dtype()))
    }

    /// A uniform number between -1 and 1.
    fn share(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

/// How many roundings take the sums in a result from the exact ones: the reference adds up in float64 and rounds once, but
/// runtimes and Paddle add up in float32, where the errors of `n` sums grow like a random walk, with `√n`. `largest_operand` is
/// the number of elements of the largest operand.
pub(crate) fn roundings(
    accuracy: Option<Accuracy>,
    largest_operand: usize,
    result: &Tensor,
) -> f64 {
    let terms = match accuracy {
        Some(Accuracy::Accumulated) => largest_operand / result.len().max(1),
        Some(Accuracy::AlongAxis) => result.shape().iter().max().copied().unwrap_or(1),
        _ => 1,
    };
    (terms.max(1) as f64).sqrt()
}

/// Whether an element type holds a number exactly.
fn holds(dtype: DType, x: f64) -> bool {
    match dtype {
        DType::F32 => f64::from(x as f32) == x,
        DType::F16 => half::f16::from_f64(x).to_f64() == x,
        DType::BF16 => half::bf16::from_f64(x).to_f64() == x,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_are_rounded_move_and_no_further_than_asked() {
        let exact = Tensor::vector(vec![0.1_f64, 64.0, 0.5, f64::INFINITY, -3.3]);
        let moved = Rounding::new(0, 10.0).result(exact.clone(), DType::F32, None, 5);
        let pairs = moved.to_f64_vec().into_iter().zip(exact.to_f64_vec());
        let shifts: Vec<f64> = pairs
            .map(|(a, b)| if a == b { 0.0 } else { (a / b - 1.0).abs() })
            .collect();
        assert_eq!((shifts[1], shifts[2], shifts[3]), (0.0, 0.0, 0.0));
        for shift in [shifts[0], shifts[4]] {
            assert!(shift > 0.0 && shift < 10.0 * 2_f64.powi(-24), "{shifts:?}");
        }
    }

    #[test]
    fn sums_in_float32_are_within_their_roundings() {
        for terms in [1, 100, 25_600, 1_000_000] {
            // Numbers between 26 and 27, in no order.
            let numbers = (0..terms).map(|i: u32| {
                26.0 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32
            });
            let (mut lanes, mut exact) = ([0.0_f32; 8], 0.0_f64);
            for (i, number) in numbers.enumerate() {
                lanes[i % 8] += number;
                exact += f64::from(number);
            }
            let error = (f64::from(lanes.iter().sum::<f32>()) - exact).abs() / exact;
            let sum = Tensor::vector(vec![exact]);
            let roundings = roundings(Some(Accuracy::Accumulated), terms as usize, &sum);
            let unit = f64::from(f32::EPSILON) / 2.0;
            assert!(
                error <= unit * roundings.max(10.0),
                "{terms} terms: {error:e}, {roundings} roundings"
            );
        }
    }

    #[test]
    fn other_operands_keep_signs_and_whole_numbers() {
        let operand = Tensor::vector(vec![0.5_f32, 2.0, -1.25]);
        let other = Rounding::new(0, 1.0).other_operand(&operand).to_f64_vec();
        assert!((0.25..0.5).contains(&other[0]), "{other:?}");
        assert_eq!(other[1], 2.0);
        assert!((-1.25..-0.625).contains(&other[2]), "{other:?}");
        let integers = Tensor::vector(vec![3_i64]);
        assert_eq!(
            Rounding::new(0, 1.0).other_operand(&integers).to_f64_vec(),
            [3.0]
        );
    }
}
