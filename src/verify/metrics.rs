//! How far apart two tensors are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tensor::Tensor;

/// When two numbers agree: `|a - b| ≤ atol + rtol · |b|`, as NumPy's `allclose`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f64,
    /// The relative part.
    pub rtol: f64,
}

impl Default for Tolerance {
    /// What float32 networks of some hundred layers keep with a margin.
    fn default() -> Self {
        Self {
            atol: 1e-5,
            rtol: 1e-3,
        }
    }
}

impl Tolerance {
    fn allows(&self, a: f64, b: f64) -> bool {
        // Equal infinities have no difference, and two NaN are the same answer.
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= self.atol + self.rtol * b.abs()
    }
}

/// Relative errors are taken on values above this: below, rounding makes them meaningless.
const SMALLEST_RELATIVE: f64 = 1e-6;

/// The distance between a tensor and the one that it is held against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The largest `|a - b|`.
    pub max_abs: f64,
    /// The largest `|a - b| / |b|` where `|b|` is above 1e-6.
    pub max_rel: f64,
    /// The mean `|a - b|`.
    pub mean_abs: f64,
    /// The cosine of the angle between both, 1 for the same direction.
    pub cosine: f64,
    /// How many elements are out of tolerance.
    pub disagreeing: usize,
    /// How many elements there are.
    pub elements: usize,
    /// Where the largest value of each row is; for floating-point tensors with rows.
    pub argmax: Option<Argmax>,
    /// How many elements are off by 10ⁿ to 10ⁿ⁺¹, by n. Those that are not off at all are left out.
    pub decades: BTreeMap<i32, usize>,
}

/// Whether rows, along the last axis, have their largest value in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Argmax {
    /// Rows that do.
    pub same: usize,
    /// Rows that don't, but only because the values in both places are within tolerance.
    pub tied: usize,
    /// All rows.
    pub rows: usize,
}

impl Metrics {
    /// Compares `a` with `b`; None if their shapes or element types differ.
    pub fn of(a: &Tensor, b: &Tensor, tolerance: &Tolerance) -> Option<Self> {
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
        let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
        let mut metrics = Self::elementwise(&a, &b, tolerance);
        if is_float && width > 1 {
            metrics.argmax = Some(Argmax::of(&a, &b, width, tolerance));
        }
        Some(metrics)
    }

    fn elementwise(a: &[f64], b: &[f64], tolerance: &Tolerance) -> Self {
        let mut metrics = Self {
            max_abs: 0.0,
            max_rel: 0.0,
            mean_abs: 0.0,
            cosine: 1.0,
            disagreeing: 0,
            elements: a.len(),
            argmax: None,
            decades: BTreeMap::new(),
        };
        let (mut dot, mut a_squares, mut b_squares) = (0.0, 0.0, 0.0);
        for (&a, &b) in a.iter().zip(b) {
            let same = a == b || (a.is_nan() && b.is_nan());
            let error = if same { 0.0 } else { (a - b).abs() };
            // NaN on one side alone is as far away as can be.
            let error = if error.is_nan() { f64::INFINITY } else { error };
            metrics.max_abs = metrics.max_abs.max(error);
            metrics.mean_abs += error;
            if error > 0.0 {
                *metrics.decades.entry(decade(error)).or_default() += 1;
            }
            if b.abs() > SMALLEST_RELATIVE && error > 0.0 {
                metrics.max_rel = metrics.max_rel.max(error / b.abs());
            }
            metrics.disagreeing += usize::from(!tolerance.allows(a, b));
            if a.is_finite() && b.is_finite() {
                dot += a * b;
                a_squares += a * a;
                b_squares += b * b;
            }
        }
        if !a.is_empty() {
            metrics.mean_abs /= a.len() as f64;
        }
        let norms = f64::sqrt(a_squares) * f64::sqrt(b_squares);
        if norms > 0.0 {
            metrics.cosine = (dot / norms).clamp(-1.0, 1.0);
        } else if a_squares != b_squares {
            metrics.cosine = 0.0;
        }
        metrics
    }

    /// Whether every element is within tolerance, and every row has its largest value in the same
    /// place or one that ties with it.
    pub fn agrees(&self) -> bool {
        let argmax_agrees = |argmax: Argmax| argmax.same + argmax.tied == argmax.rows;
        self.disagreeing == 0 && self.argmax.is_none_or(argmax_agrees)
    }
}

impl Argmax {
    fn of(a: &[f64], b: &[f64], width: usize, tolerance: &Tolerance) -> Self {
        let mut argmax = Self {
            same: 0,
            tied: 0,
            rows: 0,
        };
        for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
            argmax.rows += 1;
            let (in_a, in_b) = (position_of_max(a), position_of_max(b));
            if in_a == in_b {
                argmax.same += 1;
            } else if tolerance.allows(b[in_a], b[in_b]) {
                argmax.tied += 1;
            }
        }
        argmax
    }
}

/// The power of ten at or below a positive number.
fn decade(number: f64) -> i32 {
    // Saturates at infinity.
    number.log10().floor() as i32
}

/// The first position of the largest value; NaN counts as the largest, as in NumPy.
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
    fn errors_are_counted_by_decade() {
        let m = metrics(&[1.0, 1.5, 2.03, 2.02, 4.0], &[1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(m.decades, BTreeMap::from([(-2, 2), (-1, 1), (0, 1)]));
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
}
