//! How much freed memory the allocator of glibc keeps.

/// Bytes of freed memory at the end of a heap that are kept. A body is sent in frames of 128 KiB, which is also the
/// usual threshold. So each frame went back to the system, and each new one cost page faults: pulls over HTTP/2 took
/// half as long again.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 1 << 20;
/// Allocations from this size on are mappings of their own, and go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 256 << 10;

/// Keeps the memory of a few frames. Other allocators have no such thresholds.
pub(super) fn keep_memory_of_frames() {
    #[cfg(target_env = "gnu")]
    for (option, bytes) in [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, MAPPED)] {
        #[expect(unsafe_code, reason = "std has no options of the allocator")]
        // SAFETY: `mallopt` takes two integers by value, and no other thread runs yet.
        let taken = unsafe { libc::mallopt(option, bytes) };
        // Without it the same is done more slowly.
        debug_assert_eq!(taken, 1);
    }
}
