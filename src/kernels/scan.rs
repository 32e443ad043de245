//! Cumulative reductions (scans): reductions of all elements up to each position of an axis.

use ndarray::{Axis, IxDyn};

use crate::tensor::{Array, Element};

/// Which elements along the axis are reduced at each position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Take the elements from the position to the end, rather than from the start to the position.
    pub reverse: bool,
    /// Leave out the element at the position itself.
    pub exclusive: bool,
}

/// For each position along `axis`, `finish` of a state that begins as `start`, and into which `step` has taken
/// one after the other of the elements in `span`.
pub(crate) fn scan<T: Element, A: Copy>(
    x: &Array<T>,
    axis: usize,
    span: Span,
    start: A,
    step: impl Fn(A, T) -> A,
    finish: impl Fn(A) -> T,
) -> Array<T> {
    let mut result = Array::from_elem(IxDyn(x.shape()), T::default());
    let results = result.lanes_mut(Axis(axis)).into_iter();
    for (lane, mut result) in x.lanes(Axis(axis)).into_iter().zip(results) {
        let mut state = start;
        for position in 0..lane.len() {
            let position = if span.reverse {
                lane.len() - 1 - position
            } else {
                position
            };
            let next = step(state, lane[position]);
            result[position] = finish(if span.exclusive { state } else { next });
            state = next;
        }
    }
    result
}

/// The cumulative sums: taken in f64 for floating-point numbers; for other types, they wrap on overflow.
pub(crate) fn sums<T: Element>(x: &Array<T>, axis: usize, span: Span) -> Array<T> {
    if T::DTYPE.is_float() {
        scan(x, axis, span, 0.0, |sum, x| sum + x.to_f64(), T::from_f64)
    } else {
        let add = |sum: i64, x: T| sum.wrapping_add(x.to_i64());
        scan(x, axis, span, 0, add, T::from_i64)
    }
}

/// The cumulative products: taken in f64 for floating-point numbers; for other types, they wrap on overflow.
pub(crate) fn products<T: Element>(x: &Array<T>, axis: usize, span: Span) -> Array<T> {
    if T::DTYPE.is_float() {
        let multiply = |product, x: T| product * x.to_f64();
        scan(x, axis, span, 1.0, multiply, T::from_f64)
    } else {
        let multiply = |product: i64, x: T| product.wrapping_mul(x.to_i64());
        scan(x, axis, span, 1, multiply, T::from_i64)
    }
}

/// The cumulative `ln Σ exp(x)`, from exponentials of the differences to the largest element so far.
pub(crate) fn log_sum_exps<T: Element>(x: &Array<T>, axis: usize, span: Span) -> Array<T> {
    let step = |(largest, sum): (f64, f64), x: T| {
        let x = x.to_f64();
        if x == f64::NEG_INFINITY {
            (largest, sum)
        } else if x <= largest {
            (largest, sum + (x - largest).exp())
        } else {
            (x, sum * (largest - x).exp() + 1.0)
        }
    };
    let finish = |(largest, sum): (f64, f64)| {
        T::from_f64(if sum == 0.0 {
            largest
        } else {
            largest + sum.ln()
        })
    };
    scan(x, axis, span, (f64::NEG_INFINITY, 0.0), step, finish)
}

/// For each position along `axis`, the element that goes before all others up to there, and its position; of
/// those that are tied, the position of the last.
pub(crate) fn extremes<T: Element>(
    x: &Array<T>,
    axis: usize,
    goes_before_or_ties: impl Fn(&T, &T) -> bool,
) -> (Array<T>, Array<i64>) {
    let mut found = x.clone();
    let mut positions = Array::from_elem(IxDyn(x.shape()), 0_i64);
    let results = found.lanes_mut(Axis(axis)).into_iter();
    let results = results.zip(positions.lanes_mut(Axis(axis)));
    for (mut found, mut positions) in results {
        let mut best = 0;
        for position in 0..found.len() {
            if goes_before_or_ties(&found[position], &found[best]) {
                best = position;
            }
            // `found[best]` is still the element of `x`: at position `best`, it was replaced by itself.
            found[position] = found[best];
            positions[position] = best as i64;
        }
    }
    (found, positions)
}
