//! What the allocator does with freed memory.

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

/// Does nothing: other allocators have other rules.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_freed() {}
