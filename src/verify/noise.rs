//! How far rounding alone takes a result from the exact one, and whether that leaves anything to be judged.

use rayon::prelude::*;
use serde::Serialize;

use super::metrics::{PART, Tolerance};
use crate::tensor::Tensor;

/// How far a side may be away from the exact result, in multiples of the rounding noise.
///
/// Two right implementations differ in the order of their sums, so their largest errors are
/// similar but not equal: over 1400 runs of small vision transformers, ONNX Runtime's was between 0.1
/// and 7 times that of the reference.
pub const NOISE_MULTIPLE: f64 = 10.0;

/// The largest number of elements whose noise is luck: a few roundings may all happen to be small.
pub(super) const FEW: usize = 256;

/// On how many other inputs or operands the noise of few elements is measured.
pub(super) const OTHERS: usize = 16;

/// The largest share of an output's spread that its noise may be, for the output to be judged.
///
/// A side may be [`NOISE_MULTIPLE`] times the noise away, here a thousandth of the spread, and faults that matter are
/// larger: tanh for erf in a GELU, say.
pub const LARGEST_SHARE: f64 = 1e-4;

/// The share of an output's largest element below which noise does not matter, whatever the spread. This is a few
/// times what rounding to float32 takes, so that outputs that are the same number everywhere can be judged.
const NEGLIGIBLE_SHARE: f64 = 1e-6;

/// The share of an output's spread above which its noise leaves little of it. Half precision makes noise of some thousandths.
const COARSE_SHARE: f64 = 0.1;

/// How far rounding alone takes the result of the original program from the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Noise {
    /// The largest `|reference - exact|` of all runs, or the largest error of rounding an exact value
    /// to the output's element type, whichever is more.
    pub floor: f64,
    /// How many times `floor` a side may be away from the exact result.
    pub multiple: f64,
    /// How much the exact results vary: the standard deviation of all their finite elements.
    pub spread: f64,
    /// The largest magnitude of a finite element of the exact results.
    #[serde(skip)]
    pub(super) largest: f64,
}

impl Noise {
    /// The noise of pairs of a rounded tensor and the exact one; None if a rounded tensor is not of
    /// float32, float16 or bfloat16.
    pub(super) fn of<'t>(pairs: impl Iterator<Item = (&'t Tensor, &'t Tensor)>) -> Option<Self> {
        let mut floor = 0.0_f64;
        let mut spread = Spread::default();
        for (rounded, exact) in pairs {
            let unit = rounded.dtype().unit_roundoff()?;
            let (rounded, exact) = (rounded.to_f64_vec(), exact.to_f64_vec());
            let parts: Vec<Spread> = exact.par_chunks(PART).map(Spread::of).collect();
            let own = parts.into_iter().fold(Spread::default(), Spread::and);
            let error = largest_distance(&rounded, &exact);
            floor = floor.max(error).max(unit * own.largest);
            spread = spread.and(own);
        }
        Some(Self {
            floor,
            multiple: NOISE_MULTIPLE,
            spread: spread.deviation(),
            largest: spread.largest,
        })
    }

    /// The noise, or what runs show that were moved by [`NOISE_MULTIPLE`] times the rounding of each number, if that is
    /// more. The pairs are of results of such runs and exact ones.
    pub(super) fn at_least<'t>(
        self,
        moved: impl Iterator<Item = (&'t Tensor, &'t Tensor)>,
    ) -> Self {
        let distance = |(moved, exact): (&Tensor, &Tensor)| {
            largest_distance(&moved.to_f64_vec(), &exact.to_f64_vec())
        };
        let same_shape = moved.filter(|(moved, exact)| moved.shape() == exact.shape());
        Self {
            floor: same_shape
                .map(|pair| distance(pair) / NOISE_MULTIPLE)
                .fold(self.floor, f64::max),
            ..self
        }
    }

    /// Whether the noise leaves something to be judged: whether it is small against what the results vary, or against
    /// the results themselves as far as float32 can tell.
    pub fn is_small(self) -> bool {
        self.floor <= LARGEST_SHARE * self.spread || self.floor <= NEGLIGIBLE_SHARE * self.largest
    }

    /// Whether the noise is of the size of what the results vary, so that little is left of them.
    pub(super) fn is_coarse(self) -> bool {
        self.floor > COARSE_SHARE * self.spread.max(self.largest * COARSE_SHARE)
    }

    /// The tolerance of a comparison with the exact result.
    pub(super) fn tolerance(self) -> Tolerance {
        Tolerance {
            atol: self.multiple * self.floor,
            rtol: 0.0,
        }
    }
}

/// The largest finite distance between numbers in the same place, or 0.
fn largest_distance(a: &[f64], b: &[f64]) -> f64 {
    let parts = a.par_chunks(PART).zip(b.par_chunks(PART));
    let of_part = |(a, b): (&[f64], &[f64])| {
        let distances = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        distances.filter(|d| d.is_finite()).fold(0.0, f64::max)
    };
    parts.map(of_part).reduce(|| 0.0, f64::max)
}

/// Mean, variance and largest magnitude of the finite ones of numbers that come in parts (Chan, Golub and LeVeque 1979).
#[derive(Default)]
struct Spread {
    count: f64,
    mean: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
    largest: f64,
}

impl Spread {
    fn of(numbers: &[f64]) -> Self {
        let finite = || numbers.iter().copied().filter(|number| number.is_finite());
        let count = finite().count() as f64;
        // Numbers are scaled before they are added up, since their sum may be infinite.
        let scale = count.max(1.0).recip();
        let mean: f64 = finite().map(|number| number * scale).sum();
        Self {
            count,
            mean,
            squares: finite().map(|number| (number - mean).powi(2)).sum(),
            largest: finite().map(f64::abs).fold(0.0, f64::max),
        }
    }

    /// That of the numbers of both.
    fn and(self, other: Self) -> Self {
        let count = self.count + other.count;
        let share = other.count / count.max(1.0);
        let distance = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + distance * share,
            squares: self.squares + other.squares + distance.powi(2) * self.count * share,
            largest: self.largest.max(other.largest),
        }
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(elements: &[f32]) -> Tensor {
        Tensor::vector(elements.to_vec())
    }

    fn double(elements: &[f64]) -> Tensor {
        Tensor::vector(elements.to_vec())
    }

    #[test]
    fn noise_is_measured_but_never_below_the_rounding_of_one_number() {
        let (rounded, exact) = (single(&[1.0, -4.0]), double(&[1.0 + 1e-6, -4.0]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert!((noise.floor - 1e-6).abs() < 1e-12, "{noise:?}");
        let (rounded, exact) = (single(&[1.0, -4.0]), double(&[1.0, -4.0]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert_eq!(noise.floor, 4.0 * 2_f64.powi(-24));
    }

    #[test]
    fn noise_is_that_of_all_runs() {
        let tensors = [
            (single(&[1.0]), double(&[1.0 + 1e-6])),
            (single(&[1.0]), double(&[1.0 - 3e-6])),
        ];
        let noise = Noise::of(tensors.iter().map(|(rounded, exact)| (rounded, exact)));
        assert!((noise.unwrap().floor - 3e-6).abs() < 1e-12);
    }

    #[test]
    fn noise_is_small_or_not_against_the_spread() {
        let noise = |error: f64, exact: &[f64]| {
            let rounded: Vec<f32> = exact.iter().map(|x| (x + error) as f32).collect();
            Noise::of([(&single(&rounded), &double(exact))].into_iter()).unwrap()
        };
        let varied = noise(1e-5, &[1.0, 3.0, 5.0]);
        assert!((varied.spread - f64::sqrt(8.0 / 3.0)).abs() < 1e-12);
        assert!(varied.is_small());
        assert!(!noise(1e-2, &[1.0, 3.0, 5.0]).is_small());
        assert!(!noise(1e-5, &[3.0, 3.0, 3.0]).is_small());
        assert!(noise(1e-7, &[3.0, 3.0, 3.0]).is_small());
    }

    #[test]
    fn spreads_of_parts_are_the_spread_of_all() {
        let numbers: Vec<f64> = (0..23).map(|i| f64::from(i * i % 17) - 3.5).collect();
        let whole = Spread::of(&numbers);
        for len in [1, 4, 23] {
            let parts = numbers.chunks(len).map(Spread::of);
            let all = parts.fold(Spread::default(), Spread::and);
            assert!((all.deviation() - whole.deviation()).abs() < 1e-12);
            assert_eq!((all.largest, all.count), (12.5, 23.0));
        }
    }

    #[test]
    fn infinities_make_no_noise() {
        let (rounded, exact) = (single(&[f32::INFINITY]), double(&[1e300]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert!(noise.floor.is_finite());
    }

    #[test]
    fn integers_and_doubles_have_no_noise() {
        let integers = Tensor::vector(vec![1_i64]);
        assert!(Noise::of([(&integers, &integers)].into_iter()).is_none());
        let doubles = double(&[1.0]);
        assert!(Noise::of([(&doubles, &doubles)].into_iter()).is_none());
    }
}
