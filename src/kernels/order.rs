//! Sorting, and the positions of the largest and smallest elements.

use std::cmp::Ordering;
use std::ops::Range;

use ndarray::{Axis, IxDyn};

use super::reduce::reduce;
use crate::error::Result;
use crate::tensor::{Array, Element};

/// The order of two elements, where NaN counts as equal to every element.
fn compare<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// The position, along some axes, of the largest element if `due` is `Greater`, or of the smallest if it is
/// `Less`; of the first one if there are several. The result has the other axes. With several `axes`,
/// positions count in row-major order.
pub(crate) fn position<T: Element + PartialOrd>(
    x: &Array<T>,
    axes: &[usize],
    due: Ordering,
) -> Result<Array<i64>> {
    let positions = reduce(x, axes, |lane: &[T]| {
        let mut best = 0;
        for (position, element) in lane.iter().enumerate() {
            if compare(element, &lane[best]) == due {
                best = position;
            }
        }
        best as i64
    })?;
    Ok(positions.into())
}

/// Sorts positions by a comparison of what is there. Positions of equal things stay in their order. As it takes a
/// `dyn Fn`, it is compiled once for all element types.
pub(crate) fn sort_positions(positions: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    positions.sort_by(|a, b| compare(*a, *b));
}

/// The order of two elements in a sort, where NaN is greater than all others.
fn rank<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let is_nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b)
        .unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}

/// The elements along an axis, sorted, of which only those in `range` are returned, with their positions in `x`.
/// The order is descending if `due` is `Greater`, else ascending. Equal elements keep their order, and NaN is
/// greater than all others.
pub(crate) fn select<T: Element + PartialOrd>(
    x: &Array<T>,
    axis: usize,
    range: Range<usize>,
    due: Ordering,
) -> Result<(Array<T>, Array<i64>)> {
    let mut shape = x.shape().to_vec();
    shape[axis] = range.len();
    let mut found = Array::from_elem(IxDyn(&shape), T::default());
    let mut positions = Array::from_elem(IxDyn(&shape), 0_i64);
    let lanes = x.lanes(Axis(axis)).into_iter();
    let results = found.lanes_mut(Axis(axis)).into_iter();
    let results = results.zip(positions.lanes_mut(Axis(axis)));
    for (lane, (mut found, mut positions)) in lanes.zip(results) {
        let mut order: Vec<usize> = (0..lane.len()).collect();
        sort_positions(&mut order, &|a, b| match due {
            Ordering::Greater => rank(&lane[b], &lane[a]),
            _ => rank(&lane[a], &lane[b]),
        });
        for (to, from) in order[range.clone()].iter().enumerate() {
            found[to] = lane[*from];
            positions[to] = *from as i64;
        }
    }
    Ok((found, positions))
}
