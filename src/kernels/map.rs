//! Elementwise kernels, with NumPy's broadcasting.
//!
//! `map` and `zip` are generic in the function that they apply, so that they are compiled anew for each of hundreds
//! of functions. To keep that small, only their loops over slices know the function: the code that cuts arrays into
//! slices and distributes these to threads takes a `dyn Fn`.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{ArrayD, IxDyn};

use super::threads::{filled, vectorised};
use crate::error::{Error, Result};
use crate::tensor::{Array, Element, row_major, to_row_major};

/// The number of elements that a thread computes at once.
pub(super) const PIECE_LEN: usize = 1 << 14;

/// How many simple operations an element takes, as a rule.
const OPERATIONS: usize = 4;

/// Applies `f` to each element.
pub(crate) fn map<T: Element>(x: &Array<T>, f: impl Fn(T) -> T + Sync) -> Result<ArrayD<T>> {
    let elements = row_major(x);
    in_pieces(x.shape(), &|start, result| {
        let elements = &elements[start..][..result.len()];
        vectorised(
            #[inline(always)]
            || {
                for (result, x) in result.iter_mut().zip(elements) {
                    result.write(f(*x));
                }
            },
        );
    })
}

/// Applies `f` to each pair of elements of `x` and `y`, which are broadcast against each other.
///
/// # Errors
/// When the shapes do not broadcast.
pub(crate) fn zip<T: Element, U: Element>(
    x: &Array<T>,
    y: &Array<T>,
    f: impl Fn(T, T) -> U + Sync,
) -> Result<ArrayD<U>> {
    zip_rows(x, y, &|x, y, result| {
        vectorised(
            #[inline(always)]
            || match (x, y) {
                (x, [y]) => {
                    let x = &x[..result.len()];
                    for (result, x) in result.iter_mut().zip(x) {
                        result.write(f(*x, *y));
                    }
                }
                ([x], y) => {
                    let y = &y[..result.len()];
                    for (result, y) in result.iter_mut().zip(y) {
                        result.write(f(*x, *y));
                    }
                }
                (x, y) => {
                    let (x, y) = (&x[..result.len()], &y[..result.len()]);
                    for ((result, x), y) in result.iter_mut().zip(x).zip(y) {
                        result.write(f(*x, *y));
                    }
                }
            },
        );
    })
}

/// Computes part of a row of a result from the same part of a row of each operand. A slice of one element stands for
/// a whole row of equal elements. It has to write all elements of the result.
type OfRows<'f, T, U> = dyn Fn(&[T], &[T], &mut [MaybeUninit<U>]) + Sync + 'f;

/// Broadcasts `x` and `y`, and computes the result row by row. A row consists of the elements along as many of the
/// innermost axes as possible, such that each operand has on them either all extents of the result or only extents of
/// 1.
///
/// # Errors
/// When the shapes do not broadcast.
fn zip_rows<T: Element, U: Element>(
    x: &Array<T>,
    y: &Array<T>,
    f: &OfRows<'_, T, U>,
) -> Result<ArrayD<U>> {
    let shape = broadcast_shape(x.shape(), y.shape())?;
    let [x_shape, y_shape] = [x, y].map(|operand| padded(operand.shape(), shape.len()));
    // Whether the operand has all elements or a single one on the axes from `axis` on.
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

/// An operand, cut into rows that are repeated where it is broadcast.
struct Rows<'a, T: Element> {
    elements: Cow<'a, [T]>,
    len: usize,
    /// For each axis outside of a row, the innermost first: the extent of the result, and the stride of the operand in
    /// elements, which is 0 where it is broadcast.
    axes: Vec<(usize, usize)>,
}

impl<'a, T: Element> Rows<'a, T> {
    /// The rows of `x`, whose shape is padded to `x_shape`, for a result whose extents outside of a row are `outer`.
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
            elements: row_major(x),
            len,
        }
    }

    /// The elements at `range` of the row with the number `row` in the result, or the row's only element.
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

/// An array of this shape, which `f` fills piece by piece, in parallel. `f` gets the position of the piece's first
/// element in row-major order, and the piece, all of which it has to write.
fn in_pieces<T: Element>(
    shape: &[usize],
    f: &(dyn Fn(usize, &mut [MaybeUninit<T>]) + Sync),
) -> Result<ArrayD<T>> {
    let len = shape.iter().product();
    // SAFETY: `f` writes all of the piece.
    let elements = unsafe {
        filled(len, PIECE_LEN, len * OPERATIONS, |piece, elements| {
            f(piece * PIECE_LEN, elements);
        })
    };
    ArrayD::from_shape_vec(IxDyn(shape), elements)
        .map_err(|_| Error::internal("a map lost elements"))
}

/// The shape to which two shapes broadcast.
///
/// # Errors
/// When they do not broadcast.
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

/// `shape` with axes of extent 1 put before it, so that its rank is `rank`.
fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let missing = std::iter::repeat_n(1, rank - shape.len());
    missing.chain(shape.iter().copied()).collect()
}

/// The array with another shape, in row-major order. Elements that are in this order already are shared, not copied.
///
/// # Errors
/// When the numbers of elements differ.
pub(crate) fn reshape<T: Element>(x: &Array<T>, shape: &[usize]) -> Result<Array<T>> {
    let reshaped = if x.is_standard_layout() {
        x.clone().into_shape_with_order(IxDyn(shape))
    } else {
        Array::from_shape_vec(IxDyn(shape), to_row_major(x))
    };
    reshaped.map_err(|_| {
        let from = x.shape();
        Error::malformed(format!("can't reshape {from:?} to {shape:?}"))
    })
}

/// `part` of an array of `whole` elements. It shares them if it has a quarter of them or more, and is a copy otherwise,
/// since a few shared elements keep all of them in memory.
pub(crate) fn part_of<T: Element>(whole: usize, part: Array<T>) -> Result<Array<T>> {
    if part.len() >= whole / 4 {
        return Ok(part);
    }
    Array::from_shape_vec(part.raw_dim(), to_row_major(&part))
        .map_err(|_| Error::internal("a copy lost elements"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An array of distinct numbers. If `is_turned`, it is stored in column-major order.
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

    /// For each axis: its extent, and whether `x` and `y` have this extent rather than 1. Where neither has, `x` does.
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
