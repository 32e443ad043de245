//! Elementwise kernels, with NumPy's broadcasting.
//!
//! They are compiled for each of the hundreds of functions that they apply. So no more of them knows the function
//! than loops over slices: what cuts arrays into slices, and hands those to threads, sees a `dyn Fn`.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::tensor::{Array, Element};

/// How many elements a thread takes at once.
const PIECE_LEN: usize = 1 << 14;

/// `f` of each element.
pub(crate) fn map<T: Element>(x: &Array<T>, f: impl Fn(T) -> T + Sync) -> Result<ArrayD<T>> {
    let elements = elements(x);
    in_pieces(x.shape(), &|start, result| {
        for (result, x) in result.iter_mut().zip(&elements[start..]) {
            *result = f(*x);
        }
    })
}

/// `f` of each pair of elements.
///
/// # Errors
/// When the shapes do not broadcast.
pub(crate) fn zip<T: Element, U: Element>(
    x: &Array<T>,
    y: &Array<T>,
    f: impl Fn(T, T) -> U + Sync,
) -> Result<ArrayD<U>> {
    zip_rows(x, y, &|x, y, result| match (x, y) {
        (x, [y]) => {
            for (result, x) in result.iter_mut().zip(x) {
                *result = f(*x, *y);
            }
        }
        ([x], y) => {
            for (result, y) in result.iter_mut().zip(y) {
                *result = f(*x, *y);
            }
        }
        (x, y) => {
            for ((result, x), y) in result.iter_mut().zip(x).zip(y) {
                *result = f(*x, *y);
            }
        }
    })
}

/// Computes part of a row of a result from parts of rows of two operands, of which one element may stand for all
/// of its row.
type OfRows<'f, T, U> = dyn Fn(&[T], &[T], &mut [U]) + Sync + 'f;

/// What `f` makes of each row.
fn zip_rows<T: Element, U: Element>(
    x: &Array<T>,
    y: &Array<T>,
    f: &OfRows<'_, T, U>,
) -> Result<ArrayD<U>> {
    let shape = broadcast_shape(x.shape(), y.shape())?;
    let [x_shape, y_shape] = [x, y].map(|operand| padded(operand.shape(), shape.len()));
    // On the axes of a row, an operand has all elements or one.
    let makes_row = |operand: &[usize], axis: usize| {
        let inner = &operand[axis..];
        *inner == shape[axis..] || inner.iter().all(|extent| *extent == 1)
    };
    let is_inner = |axis: &usize| makes_row(&x_shape, *axis) && makes_row(&y_shape, *axis);
    let inner = (0..shape.len()).find(is_inner).unwrap_or(shape.len());
    let len: usize = shape[inner..].iter().product();
    let x = Rows::of(x, &x_shape, &shape[..inner]);
    let y = Rows::of(y, &y_shape, &shape[..inner]);
    in_pieces(&shape, &|mut start, mut result| {
        while !result.is_empty() {
            let (row, at) = (start / len, start % len);
            let (part, rest) = result.split_at_mut(result.len().min(len - at));
            let range = at..at + part.len();
            start += part.len();
            f(x.part(row, range.clone()), y.part(row, range), part);
            result = rest;
        }
    })
}

/// An operand as rows, which are repeated where it is broadcast.
struct Rows<'a, T: Element> {
    elements: Cow<'a, [T]>,
    len: usize,
    /// The axes that number the rows, the last one first: the extent of the result, and the distance between
    /// rows of the operand, which is 0 if it is broadcast.
    axes: Vec<(usize, usize)>,
}

impl<'a, T: Element> Rows<'a, T> {
    /// Those of `x`, of shape `x_shape`, for a result whose rows are numbered by axes of shape `outer`.
    fn of(x: &'a Array<T>, x_shape: &[usize], outer: &[usize]) -> Self {
        let len = x_shape[outer.len()..].iter().product();
        let mut distance = len;
        let axes = outer.iter().zip(x_shape).rev().map(|(extent, own)| {
            let step = if *own == 1 { 0 } else { distance };
            distance *= own;
            (*extent, step)
        });
        Self {
            axes: axes.collect(),
            elements: elements(x),
            len,
        }
    }

    fn part(&self, mut row: usize, range: Range<usize>) -> &[T] {
        let mut start = 0;
        for (extent, distance) in &self.axes {
            start += row % extent * distance;
            row /= extent;
        }
        let row = &self.elements[start..start + self.len];
        if self.len == 1 { row } else { &row[range] }
    }
}

/// The elements in row-major order.
pub(crate) fn elements<T: Element>(x: &Array<T>) -> Cow<'_, [T]> {
    if let Some(elements) = x.as_slice() {
        return elements.into();
    }
    // Collecting an iterator would take twenty times as long.
    let copy = x.as_standard_layout().into_owned();
    copy.into_raw_vec_and_offset().0.into()
}

/// An array of this shape that `f` fills piece by piece, each from its first position on.
fn in_pieces<T: Element>(
    shape: &[usize],
    f: &(dyn Fn(usize, &mut [T]) + Sync),
) -> Result<ArrayD<T>> {
    let mut elements = vec![T::default(); shape.iter().product()];
    if elements.len() <= PIECE_LEN {
        f(0, &mut elements);
    } else {
        let pieces = elements.par_chunks_mut(PIECE_LEN).enumerate();
        pieces.for_each(|(piece, elements)| f(piece * PIECE_LEN, elements));
    }
    ArrayD::from_shape_vec(IxDyn(shape), elements)
        .map_err(|_| Error::internal("a map lost elements"))
}

/// The shape that two arrays broadcast to.
pub(crate) fn broadcast_shape(x: &[usize], y: &[usize]) -> Result<Vec<usize>> {
    let rank = x.len().max(y.len());
    let extents = padded(x, rank).into_iter().zip(padded(y, rank));
    extents
        .map(|extents| match extents {
            (1, extent) | (extent, 1) => Ok(extent),
            (a, b) if a == b => Ok(a),
            _ => Err(Error::malformed(format!(
                "shapes {x:?} and {y:?} do not broadcast"
            ))),
        })
        .collect()
}

/// A shape with axes of extent 1 before it, for `rank` in all.
fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let missing = std::iter::repeat_n(1, rank - shape.len());
    missing.chain(shape.iter().copied()).collect()
}

/// The array with another shape of as many elements, in row-major order.
pub(crate) fn reshape<T: Element>(x: &Array<T>, shape: &[usize]) -> Result<Array<T>> {
    let from = x.shape().to_vec();
    x.to_shape((IxDyn(shape), ndarray::Order::RowMajor))
        .map(|array| array.into_owned().into())
        .map_err(|_| Error::malformed(format!("can't reshape {from:?} to {shape:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Different numbers, as a view that need not be contiguous.
    fn numbers(shape: &[usize], is_turned: bool) -> Array<i64> {
        let numbered = |shape: &[usize]| {
            let mut next = 0;
            ArrayD::from_shape_simple_fn(shape, || {
                next += 1;
                next
            })
        };
        if !is_turned {
            return numbered(shape).into();
        }
        let turned: Vec<usize> = shape.iter().rev().copied().collect();
        numbered(&turned).reversed_axes().into()
    }

    /// The extent of each axis, and whether either operand has it; `x` has those that neither has.
    fn extents() -> impl Strategy<Value = Vec<(usize, bool, bool)>> {
        prop::collection::vec((0usize..40, any::<bool>(), any::<bool>()), 0..5)
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_a_broadcast(axes in extents(), dropped in 0usize..5, turned: bool) {
            let of = |has: fn(&(usize, bool, bool)) -> bool| -> Vec<usize> {
                axes.iter().map(|axis| if has(axis) { axis.0 } else { 1 }).collect()
            };
            let x = numbers(&of(|axis| axis.1 || !axis.2), turned);
            let y = of(|axis| axis.2);
            let ones = y.iter().take_while(|extent| **extent == 1).count();
            let y = numbers(&y[dropped.min(ones)..], !turned);
            let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
            let result = zip(&x, &y, |x, y| x * 3 - y).unwrap();
            let at = |operand: &Array<i64>| operand.broadcast(shape.as_slice()).unwrap().to_owned();
            prop_assert_eq!(result, at(&x) * 3 - at(&y));
        }

        #[test]
        fn a_map_keeps_order(shape in prop::collection::vec(0usize..70, 0..4), turned: bool) {
            let x = numbers(&shape, turned);
            prop_assert_eq!(map(&x, |x| -x).unwrap(), x.mapv(|x| -x));
        }
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_refused() {
        let [x, y] = [[2, 3], [3, 2]].map(|shape| numbers(&shape, false));
        assert!(zip(&x, &y, |x, _| x).is_err());
    }
}
