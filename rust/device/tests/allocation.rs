//! A device that has started signs, hashes, encodes and verifies without allocation.
#![allow(clippy::unwrap_used)]
// The allocator counts; it is the one of the system.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use edgesentry_device::{Device, RecordRef, Scheme, sign_ref};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness has threads of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Signs a record into `buffer`, decodes and verifies it; the next one continues it.
fn round(device: &mut Device, key: &edgesentry_device::PublicKey, buffer: &mut [u8], at: u64) {
    let scheme = device.scheme();
    let before = device.head();
    let record =
        sign_ref(device, 1_700_000_000_000 + at, b"door closed", "s3://bucket/lift-01/1.bin").unwrap();
    let size = record.write_canonical_bytes(buffer).unwrap();
    assert_eq!(size, record.canonical_size());
    let read = RecordRef::from_canonical_bytes(&buffer[..size]).unwrap();
    assert!(read == record && read.has_valid_signature(key, scheme));
    assert_eq!(read.prev_record_hash, before.map(|head| head.hash).unwrap_or_default());
    let head = read.head();
    assert_eq!(device.head(), Some(head));
    assert!(device.sign_ref(0, b"", "").unwrap().write_canonical_bytes(&mut buffer[..99]).is_err());
}

#[test]
fn a_device_that_has_started_allocates_nothing() {
    for scheme in [Scheme::Record, Scheme::PayloadHash] {
        let mut device = Device::from_seed("lift-01", [7; 32], scheme);
        let key = device.public_key().unwrap();
        let mut buffer = [0; 512];
        round(&mut device, &key, &mut buffer, 0);
        let counted = allocations(|| {
            for at in 1..100 {
                round(&mut device, &key, &mut buffer, at);
            }
        });
        assert_eq!(counted, 0, "scheme {scheme}");
    }
    assert!(allocations(|| drop(std::hint::black_box(vec![1; 10]))) > 0, "the allocator counts");
}
