//! Gather and scatter: kernels that pick elements by their positions, or write elements to positions.
//! Negative positions count from the end. A position out of range is an error.

use ndarray::{ArrayD, IxDyn};

use super::map::PIECE_LEN;
use super::threads::filled;
use crate::error::{Error, Result};
use crate::tensor::{Array, Element, refuse_too_large, row_major};

/// The position, counted from the start, that `index` names on an axis of this extent.
pub(crate) fn position(index: i64, extent: usize) -> Result<usize> {
    let fail = || Error::malformed(format!("the index {index} of {extent} elements"));
    let from_start = if index < 0 {
        i64::try_from(extent)
            .ok()
            .and_then(|e| e.checked_add(index))
    } else {
        Some(index)
    };
    let found = from_start.and_then(|index| usize::try_from(index).ok());
    found.filter(|index| *index < extent).ok_or_else(fail)
}

/// The slices of `x` at `positions` along an axis (ONNX's Gather).
pub(crate) fn select<T: Element>(
    x: &Array<T>,
    axis: usize,
    positions: &[i64],
) -> Result<ArrayD<T>> {
    let extent = x.shape()[axis];
    let mut shape = x.shape().to_vec();
    shape[axis] = positions.len();
    refuse_too_large(&shape)?;
    let positions = positions.iter().map(|index| position(*index, extent));
    picked(x, axis, &positions.collect::<Result<Vec<_>>>()?)
}

/// The slices of `x` at `positions` along an axis, counted from the start.
///
/// # Errors
/// When a position is beyond the end of the axis.
pub(crate) fn picked<T: Element>(
    x: &Array<T>,
    axis: usize,
    positions: &[usize],
) -> Result<ArrayD<T>> {
    let extent = x.shape()[axis];
    if positions.iter().any(|position| *position >= extent) {
        return Err(Error::malformed("an element beyond the end of an axis"));
    }
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut shape = x.shape().to_vec();
    shape[axis] = positions.len();
    let elements = row_major(x);
    let len: usize = shape.iter().product();
    let row_len = (positions.len() * inner).max(1);
    // SAFETY: a row of the result has `inner` elements for each position.
    let picked = unsafe {
        filled(len, row_len, len, |index, room| {
            let row = &elements[index * extent * inner..][..extent * inner];
            for (room, position) in room.chunks_mut(inner).zip(positions) {
                room.write_copy_of_slice(&row[position * inner..][..inner]);
            }
        })
    };
    ArrayD::from_shape_vec(shape, picked).map_err(|_| Error::internal("a selection lost elements"))
}

/// The arrays, joined along an axis. Their other extents must be the same.
///
/// # Errors
/// When they are not.
pub(crate) fn concatenated<T: Element>(arrays: &[&Array<T>], axis: usize) -> Result<ArrayD<T>> {
    let mut shape = arrays[0].shape().to_vec();
    for array in &arrays[1..] {
        let differs = |other: usize| other != axis && array.shape().get(other) != shape.get(other);
        if array.ndim() != shape.len() || (0..shape.len()).any(differs) {
            return Err(Error::malformed(format!(
                "the operands do not fit together: {shape:?} and {:?} along axis {axis}",
                array.shape()
            )));
        }
    }
    shape[axis] = arrays.iter().map(|array| array.shape()[axis]).sum();
    let parts: Vec<_> = arrays.iter().map(|array| row_major(array)).collect();
    let outer: usize = shape[..axis].iter().product();
    // What is joined, in the order of the result, and where each part ends there.
    let slices = (0..outer).flat_map(|index| {
        parts.iter().map(move |part| {
            let len = part.len() / outer;
            &part[len * index..][..len]
        })
    });
    let slices: Vec<&[T]> = slices.collect();
    let ends = slices.iter().scan(0, |end, slice| {
        *end += slice.len();
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let len: usize = shape.iter().product();
    // SAFETY: the slices follow one another without a gap, and the last ends where the result does.
    let joined = unsafe {
        filled(len, PIECE_LEN, len, |piece, mut room| {
            let mut start = piece * PIECE_LEN;
            let mut at = ends.partition_point(|end| *end <= start);
            while !room.is_empty() {
                let slice = &slices[at][slices[at].len() - (ends[at] - start)..];
                let (part, rest) = room.split_at_mut(room.len().min(slice.len()));
                part.write_copy_of_slice(&slice[..part.len()]);
                start += part.len();
                room = rest;
                at += 1;
            }
        })
    };
    ArrayD::from_shape_vec(shape, joined).map_err(|_| Error::internal("a join lost elements"))
}

/// NumPy's `take_along_axis`: for each place in `index`, the element of `x` at the same place, but for the
/// position along `axis`, which is the element of `index`.
pub(crate) fn take_along<T: Element>(
    x: &Array<T>,
    index: &Array<i64>,
    axis: usize,
) -> Result<ArrayD<T>> {
    let extent = x.shape()[axis];
    let elements = index.indexed_iter().map(|(place, index)| {
        let mut place = place;
        place[axis] = position(*index, extent)?;
        x.get(place)
            .copied()
            .ok_or_else(|| Error::malformed("there are more indices than elements"))
    });
    let elements = elements.collect::<Result<Vec<T>>>()?;
    ArrayD::from_shape_vec(index.raw_dim(), elements)
        .map_err(|_| Error::internal("an index lost elements"))
}

/// Where each slice `x[i, j, …]` starts, and how long a slice is, for an `x` of this shape and the index
/// vectors along the last axis of `index`. Both are numbers of elements in row-major order.
pub(crate) fn slice_starts(shape: &[usize], index: &Array<i64>) -> Result<(Vec<usize>, usize)> {
    let depth = index.shape().last().copied().unwrap_or(0);
    if depth == 0 || depth > shape.len() {
        return Err(Error::malformed(format!(
            "indices of {depth} numbers into {} axes",
            shape.len()
        )));
    }
    let length: usize = shape[depth..].iter().product();
    let index: Vec<i64> = index.iter().copied().collect();
    let starts = index.chunks_exact(depth).map(|row| {
        let mut places = row.iter().zip(shape);
        places.try_fold(0, |start, (index, extent)| {
            Ok::<usize, Error>(start * extent + position(*index, *extent)?)
        })
    });
    let starts = starts.map(|start| Ok(start? * length));
    Ok((starts.collect::<Result<_>>()?, length))
}

/// The slices `x[i, j, …]` for the index vectors along the last axis of `index` (ONNX's GatherND).
pub(crate) fn take_slices<T: Element>(x: &Array<T>, index: &Array<i64>) -> Result<ArrayD<T>> {
    let (starts, length) = slice_starts(x.shape(), index)?;
    let depth = index.shape().last().copied().unwrap_or(0);
    let mut shape = index.shape()[..index.ndim() - 1].to_vec();
    shape.extend(&x.shape()[depth..]);
    refuse_too_large(&shape)?;
    let elements: Vec<T> = x.iter().copied().collect();
    let mut taken = Vec::with_capacity(starts.len() * length);
    for start in starts {
        taken.extend_from_slice(&elements[start..start + length]);
    }
    ArrayD::from_shape_vec(IxDyn(&shape), taken)
        .map_err(|_| Error::internal("an index lost elements"))
}

/// How a written element is combined with the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    Assign,
    Add,
    Multiply,
    Min,
    Max,
}

impl Combine {
    pub fn apply<T: Element>(self, old: T, new: T) -> T {
        let (a, b) = (old.to_f64(), new.to_f64());
        if T::DTYPE.is_float() {
            return match self {
                Combine::Assign => new,
                Combine::Add => T::from_f64(a + b),
                Combine::Multiply => T::from_f64(a * b),
                Combine::Min => T::from_f64(a.min(b)),
                Combine::Max => T::from_f64(a.max(b)),
            };
        }
        let (a, b) = (old.to_i64(), new.to_i64());
        match self {
            Combine::Assign => new,
            Combine::Add => T::from_i64(a.wrapping_add(b)),
            Combine::Multiply => T::from_i64(a.wrapping_mul(b)),
            Combine::Min => T::from_i64(a.min(b)),
            Combine::Max => T::from_i64(a.max(b)),
        }
    }
}

/// `x` with the slices of `updates` written, one after the other, to the slices `x[i, j, …]` for the index
/// vectors along the last axis of `index` (ONNX's ScatterND).
pub(crate) fn put_slices<T: Element>(
    x: &Array<T>,
    index: &Array<i64>,
    updates: &Array<T>,
    combine: Combine,
) -> Result<ArrayD<T>> {
    let (starts, length) = slice_starts(x.shape(), index)?;
    let mut elements: Vec<T> = x.iter().copied().collect();
    let updates: Vec<T> = updates.iter().copied().collect();
    if Some(updates.len()) != starts.len().checked_mul(length) {
        return Err(Error::malformed(format!(
            "{} elements for {} slices of {length}",
            updates.len(),
            starts.len()
        )));
    }
    for (start, update) in starts.into_iter().zip(updates.chunks(length.max(1))) {
        for (old, new) in elements[start..start + length].iter_mut().zip(update) {
            *old = combine.apply(*old, *new);
        }
    }
    ArrayD::from_shape_vec(x.raw_dim(), elements)
        .map_err(|_| Error::internal("an update lost elements"))
}

/// `x` with the elements of `updates` written, one after the other, to the places that they have in
/// `updates`, but for the position along `axis`, which is the element of `index` (ONNX's ScatterElements).
/// `updates` broadcasts to the shape of `index`. Without `includes_self`, the first element that is written
/// to a place replaces the one of `x`.
pub(crate) fn put_along<T: Element>(
    x: &Array<T>,
    index: &Array<i64>,
    updates: &Array<T>,
    (axis, combine, includes_self): (usize, Combine, bool),
) -> Result<ArrayD<T>> {
    let updates = updates
        .broadcast(index.raw_dim())
        .ok_or_else(|| Error::malformed("updates that do not fit their indices"))?;
    let mut result = x.to_owned();
    let mut is_written = ArrayD::from_elem(x.raw_dim(), includes_self);
    for ((place, index), new) in index.indexed_iter().zip(&updates) {
        let mut place = place;
        place[axis] = position(*index, x.shape()[axis])?;
        let fail = || Error::malformed("there are more indices than elements");
        let old = result.get_mut(place.clone()).ok_or_else(fail)?;
        let written = is_written.get_mut(place).ok_or_else(fail)?;
        *old = if *written {
            combine.apply(*old, *new)
        } else {
            *new
        };
        *written = true;
    }
    Ok(result.into_owned())
}
