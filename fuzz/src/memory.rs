//! The memory of one execution: no allocation beyond a limit, and nothing kept after it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// No single allocation may be larger. Allocating more fails, and the standard library then aborts.
const LARGEST_BYTES: usize = 256 << 20;

/// Bytes allocated and not freed.
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: the system's allocator does everything; where the limit refuses, null says so, as the trait allows.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_BYTES {
            return std::ptr::null_mut();
        }
        LIVE_BYTES.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise about `layout` is handed on.
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

/// Runs one execution. What it allocates it must free; only what is made once and kept, such as a table or a thread,
/// may remain, so an execution is repeated before it is called a leak.
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
