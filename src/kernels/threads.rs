//! How kernels are distributed to threads. No result depends on their number.

use pulp::Arch;
use rayon::prelude::*;

/// The number of simple operations on elements, such as multiplications, that take about as long as it takes to wake
/// another thread. Less work is left to the calling thread.
const WORTH_A_THREAD: usize = 1 << 16;

/// Calls `f`, which is compiled for the widest vectors that this processor has as well as for those that all have. Only
/// what is inlined into `f` is; the results are the same.
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
