//! How far apart two tensors are, and whether they agree within a tolerance.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rayon::prelude::*;
use serde::Serialize;

use crate::tensor::Tensor;

/// When two numbers agree: if `|a - b| ≤ atol + rtol · |b|`, as in NumPy's `allclose`. Two NaN agree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute tolerance.
    pub atol: f64,
    /// The relative tolerance.
    pub rtol: f64,
}

impl Default for Tolerance {
    /// A tolerance that the outputs of float32 networks of some hundred layers keep with a margin.
    fn default() -> Self {
        Self {
            atol: 1e-5,
            rtol: 1e-3,
        }
    }
}

impl Tolerance {
    fn allows(&self, a: f64, b: f64) -> bool {
        // The difference of equal infinities is NaN, and two NaN are the same answer.
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= self.atol + self.rtol * b.abs()
    }
}

/// The error of an element: `|a - b|`, 0 for two NaN or equal infinities, and infinite for NaN on one side alone.
pub(crate) fn distance(a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() {
        f64::INFINITY
    } else {
        distance
    }
}

/// Relative errors are taken of values whose magnitude is above this: below it, rounding makes them
/// meaningless.
const SMALLEST_RELATIVE: f64 = 1e-6;

/// The distance of a tensor `a` from the tensor `b` that it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The largest error.
    pub max_abs: f64,
    /// The largest error divided by `|b|`, of elements whose `|b|` is above 1e-6.
    pub max_rel: f64,
    /// The mean error.
    pub mean_abs: f64,
    /// The cosine of the angle between both as vectors, from their finite elements: 1 for the same
    /// direction.
    pub cosine: f64,
    /// The number of elements that are out of tolerance, and that rounding does not explain.
    pub disagreeing: usize,
    /// The number of elements that are out of tolerance because rounding has decided them: the exact run, moved by as
    /// much as rounding may move it, gives such elements, too.
    #[serde(skip_serializing_if = "is_zero")]
    pub borderline: usize,
    /// The number of elements.
    pub elements: usize,
    /// Whether rows have their largest elements in the same places. None if the tensors are not
    /// floating-point, or have fewer than two elements along the last axis.
    pub argmax: Option<Argmax>,
    /// By n, the number of elements whose error is at least 10ⁿ and below 10ⁿ⁺¹. Elements without an
    /// error are left out; infinite errors count under [`i32::MAX`].
    pub decades: BTreeMap<i32, usize>,
}

/// How many rows, along the last axis, have their largest element in the same place in both tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Argmax {
    /// The number of rows that have it in the same place.
    pub same: usize,
    /// The number of rows that don't, but where the elements of `b` at both places are within
    /// tolerance of each other.
    pub tied: usize,
    /// The number of all rows.
    pub rows: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A floating-point element may be this many times further from `b` than the furthest answer of a run that was moved
/// by rounding.
const ANSWER_MULTIPLE: f64 = 2.0;

/// Threads compare parts of this length, whatever their number, so that sums are the same everywhere.
pub(super) const PART: usize = 1 << 16;

/// Of so many elements that other answers allow, one more may be borderline although no answer has shown it.
const MOST_MISSED: usize = 16;

impl Metrics {
    /// Compares `a` with `b`; None if their shapes or element types differ. Only floating-point
    /// elements have a tolerance: others agree if they are equal.
    pub fn of(a: &Tensor, b: &Tensor, tolerance: &Tolerance) -> Option<Self> {
        Self::allowing(a, b, tolerance, &[])
    }

    /// Compares as [`Metrics::of`] does. Elements that are out of tolerance are borderline, if the answers of other
    /// runs allow them.
    pub(super) fn allowing(
        a: &Tensor,
        b: &Tensor,
        tolerance: &Tolerance,
        answers: &[&Tensor],
    ) -> Option<Self> {
        if a.shape() != b.shape() || a.dtype() != b.dtype() {
            return None;
        }
        let is_float = a.dtype().is_float();
        let width = a.shape().last().copied().unwrap_or(1);
        let exact = Tolerance {
            atol: 0.0,
            rtol: 0.0,
        };
        let tolerance = if is_float { tolerance } else { &exact };
        let answers = answers.iter().filter(|answer| answer.shape() == a.shape());
        let answers: Vec<Vec<f64>> = answers.map(|answer| answer.to_f64_vec()).collect();
        let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
        let mut metrics = Self::elementwise(&a, &b, tolerance);
        if metrics.disagreeing > 0 {
            let is_borderline = |position: usize| {
                let (a, b) = (a[position], b[position]);
                let mut answers = answers.iter().map(|answer| answer[position]);
                !tolerance.allows(a, b)
                    && answers.any(|answer| {
                        a == answer
                            || is_float && (a - b).abs() <= ANSWER_MULTIPLE * (answer - b).abs()
                    })
            };
            metrics.borderline = (0..a.len()).filter(|i| is_borderline(*i)).count();
            metrics.disagreeing -= metrics.borderline;
            if metrics.disagreeing * MOST_MISSED <= metrics.borderline {
                metrics.borderline += std::mem::take(&mut metrics.disagreeing);
            }
        }
        if is_float && width > 1 {
            metrics.argmax = Some(Argmax::of(&a, &b, width, tolerance));
        }
        Some(metrics)
    }

    fn elementwise(a: &[f64], b: &[f64], tolerance: &Tolerance) -> Self {
        let parts = a.par_chunks(PART).zip(b.par_chunks(PART));
        let parts: Vec<Sums> = parts.map(|(a, b)| Sums::of(a, b, tolerance)).collect();
        let all = parts.into_iter().fold(Sums::new(), Sums::and);
        let norms = f64::sqrt(all.a_squares) * f64::sqrt(all.b_squares);
        Self {
            max_abs: all.max_abs,
            max_rel: all.max_rel,
            mean_abs: all.abs / a.len().max(1) as f64,
            cosine: if norms > 0.0 {
                (all.dot / norms).clamp(-1.0, 1.0)
            } else if all.a_squares != all.b_squares {
                0.0
            } else {
                1.0
            },
            disagreeing: all.disagreeing,
            borderline: 0,
            elements: a.len(),
            argmax: None,
            decades: all.decades.counted(),
        }
    }

    /// Whether every element is within tolerance or borderline, and every row has its largest element in the same
    /// place or in one that ties with it. The latter can't be asked where elements are borderline.
    pub fn agrees(&self) -> bool {
        let argmax_agrees = |argmax: Argmax| argmax.same + argmax.tied == argmax.rows;
        self.disagreeing == 0 && (self.borderline > 0 || self.argmax.is_none_or(argmax_agrees))
    }
}

/// What is added up, or the largest, over pairs of elements `a` and `b`.
struct Sums {
    max_abs: f64,
    max_rel: f64,
    abs: f64,
    disagreeing: usize,
    dot: f64,
    a_squares: f64,
    b_squares: f64,
    decades: Decades,
}

impl Sums {
    fn new() -> Self {
        Self {
            max_abs: 0.0,
            max_rel: 0.0,
            abs: 0.0,
            disagreeing: 0,
            dot: 0.0,
            a_squares: 0.0,
            b_squares: 0.0,
            decades: Decades::new(),
        }
    }

    fn of(a: &[f64], b: &[f64], tolerance: &Tolerance) -> Self {
        let mut sums = Self::new();
        for (&a, &b) in a.iter().zip(b) {
            let error = distance(a, b);
            sums.max_abs = sums.max_abs.max(error);
            sums.abs += error;
            if error > 0.0 {
                sums.decades.count(error);
            }
            if b.abs() > SMALLEST_RELATIVE && error > 0.0 {
                sums.max_rel = sums.max_rel.max(error / b.abs());
            }
            sums.disagreeing += usize::from(!tolerance.allows(a, b));
            if a.is_finite() && b.is_finite() {
                sums.dot += a * b;
                sums.a_squares += a * a;
                sums.b_squares += b * b;
            }
        }
        sums
    }

    /// Those of both.
    fn and(mut self, other: Self) -> Self {
        self.max_abs = self.max_abs.max(other.max_abs);
        self.max_rel = self.max_rel.max(other.max_rel);
        self.abs += other.abs;
        self.disagreeing += other.disagreeing;
        self.dot += other.dot;
        self.a_squares += other.a_squares;
        self.b_squares += other.b_squares;
        self.decades.add(&other.decades);
        self
    }
}

impl Argmax {
    fn of(a: &[f64], b: &[f64], width: usize, tolerance: &Tolerance) -> Self {
        let rows = a.par_chunks_exact(width).zip(b.par_chunks_exact(width));
        let rows = rows.with_min_len(PART.div_ceil(width));
        let of_row = |(a, b): (&[f64], &[f64])| {
            let (in_a, in_b) = (position_of_max(a), position_of_max(b));
            let same = in_a == in_b;
            Self {
                same: usize::from(same),
                tied: usize::from(!same && tolerance.allows(b[in_a], b[in_b])),
                rows: 1,
            }
        };
        rows.map(of_row).reduce(Self::default, |x, y| Self {
            same: x.same + y.same,
            tied: x.tied + y.tied,
            rows: x.rows + y.rows,
        })
    }
}

/// How many numbers there are by decade. An array is counted in, since a map or a logarithm for each number would take
/// longer than all else.
struct Decades {
    /// By decade, from the first on.
    counts: [usize; Decades::POWERS],
    infinite: usize,
}

/// The powers of ten at which decades start, to the bit.
static STARTS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let powers = (Decades::FIRST..).take(Decades::POWERS);
    powers
        .filter_map(|power| format!("1e{power}").parse().ok())
        .collect()
});

impl Decades {
    /// The first decade, in which smaller numbers are counted as well, and the number of decades to the last.
    const FIRST: i32 = -308;
    const POWERS: usize = 617;

    fn new() -> Self {
        Self {
            counts: [0; Self::POWERS],
            infinite: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().zip(&other.counts);
        counts.for_each(|(count, other)| *count += other);
        self.infinite += other.infinite;
    }

    /// Counts a positive number.
    fn count(&mut self, number: f64) {
        if number.is_infinite() {
            self.infinite += 1;
            return;
        }
        // The exponent of base 2 tells the decade, or the one before it.
        let exponent = (number.to_bits() >> 52) as i32 - 1023;
        let decade = (f64::from(exponent) * std::f64::consts::LOG10_2).floor() as i32;
        let mut position = usize::try_from(decade - Self::FIRST).unwrap_or(0);
        let next = STARTS.get(position + 1);
        position += usize::from(next.is_some_and(|start| number >= *start));
        self.counts[position.min(Self::POWERS - 1)] += 1;
    }

    fn counted(&self) -> BTreeMap<i32, usize> {
        let decades = (Self::FIRST..).zip(self.counts);
        let all = decades.chain([(i32::MAX, self.infinite)]);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// The first position of the largest element; NaN counts as the largest, as in NumPy's `argmax`.
fn position_of_max(row: &[f64]) -> usize {
    let mut best = 0;
    for (position, value) in row.iter().enumerate() {
        if row[best].is_nan() {
            break;
        }
        if value.is_nan() || *value > row[best] {
            best = position;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    fn metrics(a: &[f64], b: &[f64]) -> Metrics {
        let tensor = |elements: &[f64]| Tensor::vector(elements.to_vec());
        Metrics::of(&tensor(a), &tensor(b), &Tolerance::default()).unwrap()
    }

    #[test]
    fn distances_are_those_of_their_definitions() {
        let m = metrics(&[1.0, -2.0, 3.5], &[1.0, -2.5, 3.0]);
        assert_relative_eq!(m.max_abs, 0.5);
        assert_relative_eq!(m.max_rel, 0.2);
        assert_relative_eq!(m.mean_abs, 1.0 / 3.0);
        let cosine = 16.5 / (f64::sqrt(17.25) * f64::sqrt(16.25));
        assert_relative_eq!(m.cosine, cosine);
        assert_eq!((m.disagreeing, m.elements), (2, 3));
        assert!(!m.agrees());
    }

    #[test]
    fn values_that_are_not_finite_agree_only_with_themselves() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        assert!(metrics(&[nan, infinity, 1.0], &[nan, infinity, 1.0]).agrees());
        for (a, b) in [
            ([1.0, nan], [1.0, 2.0]),
            ([1.0, 2.0], [1.0, nan]),
            ([1.0, infinity], [1.0, -infinity]),
            ([1.0, infinity], [1.0, 2.0]),
        ] {
            assert!(!metrics(&a, &b).agrees(), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_swapped_argmax_counts_unless_it_is_a_tie() {
        let swapped = Metrics::of(
            &Tensor::vector(vec![0.5004_f32, 0.5]),
            &Tensor::vector(vec![0.5_f32, 0.5003]),
            &Tolerance {
                atol: 0.0,
                rtol: 1e-3,
            },
        )
        .unwrap();
        let expected = Argmax {
            same: 0,
            tied: 1,
            rows: 1,
        };
        assert_eq!(swapped.argmax, Some(expected));
        assert!(swapped.agrees());
        let m = metrics(&[2.0, 1.0], &[1.0, 2.0]);
        assert_eq!(m.argmax.map(|a| a.same + a.tied), Some(0));
    }

    #[test]
    fn elements_are_borderline_if_another_answer_allows_them() {
        let none = Tolerance {
            atol: 0.0,
            rtol: 0.0,
        };
        let integers = |elements: &[i64]| Tensor::vector(elements.to_vec());
        let (a, b) = (integers(&[1, 5, 9]), integers(&[1, 4, 8]));
        let answer = integers(&[1, 5, 8]);
        let m = Metrics::allowing(&a, &b, &none, &[&answer]).unwrap();
        assert_eq!((m.borderline, m.disagreeing, m.agrees()), (1, 1, false));
        let floats = |elements: &[f64]| Tensor::vector(elements.to_vec());
        let (a, b) = (floats(&[1.0, 2.3]), floats(&[1.0, 2.0]));
        for (answer, allows) in [(2.2, true), (1.8, true), (2.1, false)] {
            let answer = floats(&[1.0, answer]);
            let m = Metrics::allowing(&a, &b, &none, &[&answer]).unwrap();
            assert_eq!(m.agrees(), allows, "{answer:?}");
        }
    }

    #[test]
    fn errors_are_counted_by_decade() {
        let m = metrics(&[1.0, 1.5, 2.03, 2.02, 4.0], &[1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(m.decades, BTreeMap::from([(-2, 2), (-1, 1), (0, 1)]));
        let numbers = [
            1e-7,
            9.99e-8,
            0.1,
            1.0,
            10.0,
            99.9,
            1e300,
            2.5e-310,
            f64::INFINITY,
        ];
        let mut decades = Decades::new();
        numbers.iter().for_each(|number| decades.count(*number));
        let expected = [
            (-308, 1),
            (-8, 1),
            (-7, 1),
            (-1, 1),
            (0, 1),
            (1, 2),
            (300, 1),
            (i32::MAX, 1),
        ];
        assert_eq!(decades.counted(), BTreeMap::from(expected));
    }

    #[test]
    fn other_shapes_and_types_are_not_compared() {
        let tolerance = Tolerance::default();
        let vector = Tensor::vector(vec![1.0_f32]);
        assert!(Metrics::of(&vector, &Tensor::scalar(1.0_f32), &tolerance).is_none());
        assert!(Metrics::of(&vector, &Tensor::vector(vec![1.0_f64]), &tolerance).is_none());
    }

    #[test]
    fn integers_have_no_tolerance() {
        let (a, b) = (
            Tensor::vector(vec![1_000_000_i64]),
            Tensor::vector(vec![1_000_001_i64]),
        );
        assert!(!Metrics::of(&a, &b, &Tolerance::default()).unwrap().agrees());
    }

    #[test]
    fn distances_of_what_is_no_number() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        let pairs = [
            (nan, nan, 0.0),
            (nan, 1.0, infinity),
            (infinity, infinity, 0.0),
            (1.0, 0.5, 0.5),
        ];
        for (a, b, expected) in pairs {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
