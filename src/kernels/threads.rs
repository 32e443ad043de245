//! How kernels are distributed to threads. No result depends on their number.

use std::mem::MaybeUninit;

use pulp::Arch;
use rayon::prelude::*;

/// The number of simple operations on elements, such as multiplications, that take about as long as it takes to wake
/// another thread. Less work is left to the calling thread.
const WORTH_A_THREAD: usize = 1 << 16;

/// Calls `f`, which is compiled for the widest vectors that this processor has as well as for those that all have. Only
/// what is inlined into `f`, and `f` itself, is: where it is large, it says `#[inline(always)]`. The results are the same.
#[inline(always)]
pub(super) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(f)
}

/// Calls `f` for each `len` consecutive elements, with their position in units of `len`. The calls are distributed to
/// threads if they take `work` operations altogether, and those are worth it.
///
/// # Panics
/// When `len` is 0.
pub(super) fn for_each_chunk<T: Send>(
    elements: &mut [T],
    len: usize,
    work: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    if work < 2 * WORTH_A_THREAD {
        let chunks = elements.chunks_mut(len).enumerate();
        return chunks.for_each(|(index, chunk)| f(index, chunk));
    }
    let count = elements.len().div_ceil(len);
    let least = (count * WORTH_A_THREAD).div_ceil(work);
    let chunks = elements.par_chunks_mut(len).enumerate();
    let chunks = chunks.with_min_len(least);
    chunks.for_each(|(index, chunk)| f(index, chunk));
}

/// `len` new elements, which `fill` makes as [`for_each_chunk`] calls it. They are not set to anything before, since to
/// write them twice takes as long as many kernels do.
///
/// # Safety
/// `fill` has to write all elements that it is given.
pub(super) unsafe fn filled<T: Send>(
    len: usize,
    chunk_len: usize,
    work: usize,
    fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    let mut elements = Vec::with_capacity(len);
    for_each_chunk(
        &mut elements.spare_capacity_mut()[..len],
        chunk_len,
        work,
        fill,
    );
    // SAFETY: the chunks are all of these elements, and the caller promises that each is written.
    unsafe { elements.set_len(len) };
    elements
}
