//! Memory limits of one execution: no allocation beyond the limit, and no leak.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Maximum size of a single allocation. A larger one fails, and the standard library then aborts.
const LARGEST_BYTES: usize = 256 << 20;

/// Bytes allocated and not freed.
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: all calls go to the system allocator; an allocation beyond the limit returns null, as the trait allows.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_BYTES {
            return std::ptr::null_mut();
        }
        LIVE_BYTES.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's guarantee for `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_BYTES {
            return std::ptr::null_mut();
        }
        LIVE_BYTES.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LARGEST_BYTES {
            return std::ptr::null_mut();
        }
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs one execution, which must free all its memory. Only data created once and kept, such as a table or a thread,
/// may remain, so an execution is repeated before it is reported as a leak.
pub fn bounded(execution: impl Fn()) {
    let leaks = || {
        let before = LIVE_BYTES.load(Relaxed);
        execution();
        LIVE_BYTES.load(Relaxed) - before
    };
    if leaks() <= 0 {
        return;
    }
    let again = [leaks(), leaks(), leaks(), leaks()];
    assert!(again.iter().any(|bytes| *bytes <= 0), "memory leaks with every execution: {again:?} bytes");
}
