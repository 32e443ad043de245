//! Reductions along axes.

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::tensor::{Array, Element, display_shape, row_major};

/// As many elements as this are reduced by several threads. Fewer take less time than it takes to wake these.
const FEW: usize = 1 << 15;

/// The results of `f` on the elements along `axes`, for each position on the other axes, which stay in their
/// order. Where an axis of `axes` has no elements, these are the results of `f` on none: a sum of 0, for example.
/// What has no such result calls [`refuse_none`] before.
///
/// # Errors
/// When elements were lost, which is a defect of this crate.
pub(crate) fn reduce<T: Element, U: Send>(
    x: &Array<T>,
    axes: &[usize],
    f: impl Fn(&[T]) -> U + Sync + Send,
) -> Result<ArrayD<U>> {
    reduce_by(x, axes, &f)
}

/// [`reduce`] with a `dyn Fn`, so that it is not compiled anew for each `f`.
fn reduce_by<T: Element, U: Send>(
    x: &Array<T>,
    axes: &[usize],
    f: &(dyn Fn(&[T]) -> U + Sync + Send),
) -> Result<ArrayD<U>> {
    let kept: Vec<usize> = (0..x.ndim()).filter(|axis| !axes.contains(axis)).collect();
    let shape: Vec<usize> = kept.iter().map(|axis| x.shape()[*axis]).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let lanes = x.clone().permuted_axes(order);
    let elements = row_major(&lanes);
    let extent: usize = axes.iter().map(|axis| x.shape()[*axis]).product();
    let results = if extent == 0 {
        (0..shape.iter().product()).map(|_| f(&[])).collect()
    } else if elements.len() < FEW {
        elements.chunks_exact(extent).map(f).collect()
    } else {
        elements.par_chunks_exact(extent).map(f).collect()
    };
    ArrayD::from_shape_vec(IxDyn(&shape), results)
        .map_err(|_| Error::internal("a reduction lost elements"))
}

/// The sum of `f` of each element, taken in f64: as several sums, which don't wait for one another, added up at the end.
#[inline(always)]
pub(crate) fn sum_of<T: Element>(lane: &[T], f: impl Fn(f64) -> f64) -> f64 {
    /// Where a sum starts: 0 would turn a sum of -0 to 0.
    const NOTHING: f64 = -0.0;
    if lane.is_empty() {
        return 0.0;
    }
    let (parts, rest) = lane.as_chunks::<8>();
    let mut sums = [NOTHING; 8];
    for part in parts {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += f(x.to_f64());
        }
    }
    let rest = rest.iter().map(|x| f(x.to_f64()));
    sums.into_iter().chain(rest).sum()
}

/// Refuses a tensor of this shape without elements along `axes`, for a reduction such as `max` that has no result then.
///
/// # Errors
/// When an axis of `axes` has no elements.
pub(crate) fn refuse_none(shape: &[usize], axes: &[usize], reduction: &str) -> Result<()> {
    match axes.iter().find(|axis| shape[**axis] == 0) {
        Some(axis) => Err(Error::invalid(format!(
            "the {reduction} of no elements, which has no result: axis {axis} of {} has extent 0",
            display_shape(shape)
        ))),
        None => Ok(()),
    }
}

/// The sum, taken in f64: the reference should add no noise of its own.
pub(crate) fn sum_real<T: Element>(lane: &[T]) -> T {
    T::from_f64(sum_of(lane, |x| x))
}

/// The mean, from a sum in f64.
pub(crate) fn mean<T: Element>(lane: &[T]) -> T {
    T::from_f64(sum_of(lane, |x| x) / lane.len() as f64)
}

/// The sum of integers, which wraps on overflow.
pub(crate) fn sum_integer<T: Element>(lane: &[T]) -> T {
    let sum = lane.iter().map(|x| x.to_i64());
    T::from_i64(sum.fold(0, i64::wrapping_add))
}

/// The sum: [`sum_real`] of floating-point numbers, [`sum_integer`] of all other types.
pub(crate) fn sum<T: Element>(lane: &[T]) -> T {
    if T::DTYPE.is_float() {
        sum_real(lane)
    } else {
        sum_integer(lane)
    }
}

/// The product: taken in f64 for floating-point numbers; for other types, it wraps on overflow.
pub(crate) fn product<T: Element>(lane: &[T]) -> T {
    if T::DTYPE.is_float() {
        return T::from_f64(lane.iter().map(|x| x.to_f64()).product());
    }
    let factors = lane.iter().map(|x| x.to_i64());
    T::from_i64(factors.fold(1, i64::wrapping_mul))
}

/// `Σ x²`, taken in f64.
pub(crate) fn sum_of_squares<T: Element>(lane: &[T]) -> f64 {
    sum_of(lane, |x| x * x)
}

/// `ln Σ exp(x)`, from exponentials of the differences to the largest element, which can't overflow.
pub(crate) fn log_sum_exp<T: Element>(lane: &[T]) -> T {
    let largest = lane.iter().map(|x| x.to_f64());
    let largest = largest.fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return T::from_f64(largest);
    }
    let sum: f64 = lane.iter().map(|x| (x.to_f64() - largest).exp()).sum();
    T::from_f64(largest + sum.ln())
}

/// Whether all elements are true, as each but 0 is. None are.
pub(crate) fn all<T: Element>(lane: &[T]) -> T {
    T::from_i64(lane.iter().all(|x| x.to_f64() != 0.0).into())
}

/// Whether any element is true, as each but 0 is. Of none, none is.
pub(crate) fn any<T: Element>(lane: &[T]) -> T {
    T::from_i64(lane.iter().any(|x| x.to_f64() != 0.0).into())
}

/// A reduction to the element that goes before all others, or the first of several that are tied.
pub(crate) fn extreme<T: Element>(goes_before: impl Fn(&T, &T) -> bool) -> impl Fn(&[T]) -> T {
    move |lane| {
        let best = lane.iter().copied();
        best.reduce(|best, x| if goes_before(&x, &best) { x } else { best })
            .unwrap_or_default()
    }
}
