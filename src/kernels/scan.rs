//! Reductions of all elements up to each position of an axis.

use ndarray::{Axis, IxDyn};

use crate::tensor::{Array, Element};

/// Which elements count at each position of an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Those behind it, not those before.
    pub reverse: bool,
    /// Not the one at the position itself.
    pub exclusive: bool,
}

/// At each position, what `finish` makes of a state that took in one element after the other.
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

/// The sums, taken in f64 or with wrapping.
pub(crate) fn sums<T: Element>(x: &Array<T>, axis: usize, span: Span) -> Array<T> {
    if T::DTYPE.is_float() {
        scan(x, axis, span, 0.0, |sum, x| sum + x.to_f64(), T::from_f64)
    } else {
        let add = |sum: i64, x: T| sum.wrapping_add(x.to_i64());
        scan(x, axis, span, 0, add, T::from_i64)
    }
}

/// The products, taken in f64 or with wrapping.
pub(crate) fn products<T: Element>(x: &Array<T>, axis: usize, span: Span) -> Array<T> {
    if T::DTYPE.is_float() {
        let multiply = |product, x: T| product * x.to_f64();
        scan(x, axis, span, 1.0, multiply, T::from_f64)
    } else {
        let multiply = |product: i64, x: T| product.wrapping_mul(x.to_i64());
        scan(x, axis, span, 1, multiply, T::from_i64)
    }
}

/// `ln Σ exp(x)`, by exponentials of differences to the largest so far.
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

/// The elements that go before all others up to each position, and where the last of them is.
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
            // The best stays where it was found, since nothing up to it goes before.
            found[position] = found[best];
            positions[position] = best as i64;
        }
    }
    (found, positions)
}
