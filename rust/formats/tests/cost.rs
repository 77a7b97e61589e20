//! The memory and work for malformed entries and findings, counted in bytes and allocations.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use edgesentry_chain::{Checks, FindingCode as Code, Report};
use edgesentry_formats::{Options, Progress, Source, verify};

static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);
static PEAK_BYTES: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: all calls go to the system allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        let live = LIVE_BYTES.fetch_add(layout.size() as u64, Relaxed) + layout.size() as u64;
        PEAK_BYTES.fetch_max(live, Relaxed);
        // SAFETY: the caller's guarantee for `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct Cost {
    allocations: u64,
    peak_bytes: u64,
}

/// Verifies text on two threads.
fn cost(text: Vec<u8>, options: &Options) -> (Report, Cost) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let source = Source::Reader { name: "text".into(), reader: Box::new(Cursor::new(text)) };
    PEAK_BYTES.store(LIVE_BYTES.load(Relaxed), Relaxed);
    let (live, allocations) = (LIVE_BYTES.load(Relaxed), ALLOCATIONS.load(Relaxed));
    let checks = Checks::default();
    let report =
        pool.install(|| verify(vec![source], &checks, options, &Arc::new(Progress::default()))).unwrap();
    let allocations = ALLOCATIONS.load(Relaxed) - allocations;
    (report, Cost { allocations, peak_bytes: PEAK_BYTES.load(Relaxed) - live })
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// Returns lines of one letter, two kilobytes of gzip.
fn letters(lines: usize) -> Vec<u8> {
    gzipped(format!("{{}}\n{}", "x\n".repeat(lines)).as_bytes())
}

/// A single test, because the counters are those of the whole process.
#[test]
fn malformed_entries_cost_linear_work_and_bounded_memory() {
    const LINES: usize = 1 << 18;
    for (options, most_bytes) in [
        (Options { max_findings: 0, ..Options::default() }, 64 << 20),
        (Options { max_findings: 1000, ..Options::default() }, 64 << 20),
        (Options::default(), 160 << 20),
    ] {
        let [small, large] = [LINES, 4 * LINES].map(|lines| {
            let (report, cost) = cost(letters(lines), &options);
            assert_eq!(report.counts[&Code::RecordMalformed], lines as u64 + 1);
            assert_eq!(report.findings.len(), options.max_findings.min(lines + 1));
            assert!(cost.peak_bytes < most_bytes, "{options:?}: {} bytes at the peak", cost.peak_bytes);
            cost
        });
        let (few, many) = (small.allocations, large.allocations);
        assert!(
            many < 5 * few,
            "{options:?}: {few} allocations for {LINES} lines, {many} for four times as many"
        );
        let (low, high) = (small.peak_bytes, large.peak_bytes);
        assert!(high < 3 * low + (32 << 20), "{options:?}: {low} bytes at the peak, then {high}");
    }
}
