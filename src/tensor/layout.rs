//! Elements in row-major order, and in other types, made in parallel: an iterator over the axes of an array takes many
//! times as long.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{Array, Element};

/// The fewest elements that are worth a thread.
const WORTH_A_THREAD: usize = 1 << 14;

/// The elements in row-major order, shared if they are stored so.
pub(crate) fn row_major<T: Element>(array: &Array<T>) -> Cow<'_, [T]> {
    match array.as_slice() {
        Some(elements) => elements.into(),
        None => to_row_major(array).into(),
    }
}

/// A copy of the elements in row-major order.
pub(crate) fn to_row_major<T: Element>(array: &Array<T>) -> Vec<T> {
    if array.is_empty() {
        return Vec::new();
    }
    let rows: Vec<_> = array.rows().into_iter().collect();
    let row_len = array.shape().last().copied().unwrap_or(1);
    let mut elements = Vec::with_capacity(array.len());
    let room: &mut [MaybeUninit<T>] = &mut elements.spare_capacity_mut()[..array.len()];
    let copies = room.par_chunks_mut(row_len).zip(&rows);
    let copies = copies.with_min_len(WORTH_A_THREAD.div_ceil(row_len));
    copies.for_each(|(to, row)| {
        for (to, from) in to.iter_mut().zip(row) {
            to.write(*from);
        }
    });
    // SAFETY: the rows are all elements, and each has as many as there is room for.
    unsafe { elements.set_len(array.len()) };
    elements
}

/// `f` of each element, in row-major order.
pub(super) fn mapped<T: Element, U: Send>(
    array: &Array<T>,
    f: impl Fn(T) -> U + Sync + Send,
) -> Vec<U> {
    let elements = row_major(array);
    let elements = elements.par_iter().with_min_len(WORTH_A_THREAD);
    elements.map(|x| f(*x)).collect()
}
