//! How the allocator gets memory, and what it does with freed memory.

/// Has the allocator keep freed memory for the next tensor. By default, glibc returns large blocks to the system, which
/// has to clear each page before it gives it out again: a quarter of the time of a network with large images.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn keep_freed() {
    /// The largest that glibc takes.
    const LARGEST_ON_HEAP: libc::c_int = 32 << 20;
    // SAFETY: no other thread runs yet. Options that glibc refuses stay as they are.
    unsafe {
        // One heap for all threads, since those of other threads are small.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_ON_HEAP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// Has the next GiB of the heap consist of huge pages, if the system has them: the reference interpreter is a few percent
/// faster then, and some of its runs are not a third slower, as with small pages that lie badly. The memory is reserved
/// here, and taken when something is written to it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn use_huge_pages() {
    const RESERVED: libc::c_int = 1 << 30;
    const HUGE_PAGE: usize = 2 << 20;
    /// By how much glibc has the heap grow, unless it is told otherwise.
    const DEFAULT_GROWTH: libc::c_int = 128 << 10;
    // SAFETY: the block is freed as it was allocated, and what is advised changes no memory's contents.
    unsafe {
        let start = libc::sbrk(0).addr();
        libc::mallopt(libc::M_TOP_PAD, RESERVED);
        // A block that the heap has no room for yet, hidden from the compiler, which would drop it otherwise.
        libc::free(std::hint::black_box(libc::malloc(HUGE_PAGE)));
        libc::mallopt(libc::M_TOP_PAD, DEFAULT_GROWTH);
        let end = libc::sbrk(0);
        let start = start.next_multiple_of(HUGE_PAGE);
        if let Some(len) = end.addr().checked_sub(start) {
            libc::madvise(end.with_addr(start), len, libc::MADV_HUGEPAGE);
        }
    }
}

/// Does nothing: other allocators have other rules.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_freed() {}

/// Does nothing, as above.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn use_huge_pages() {}
