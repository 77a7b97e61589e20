//! Benchmarks of the parts of a log, each on one thread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgesentry_chain::{Device, Hash, Scheme};
use edgesentry_log::{Appender, CompactRange, HeadEntry, HeadsRoot, HeadsTree, leaf_hash_of_record};

const LEAVES: u64 = 1 << 16;
const DEVICES: u64 = 1_000_000;

/// Returns the canonical bytes of a record.
fn record() -> Vec<u8> {
    let mut device = Device::from_seed("lift-01", [1; 32], Scheme::Record);
    device.sign(1_700_000_000_000, b"door closed", "s3://telemetry/lift-01/1.bin").unwrap().canonical_bytes()
}

fn entry(at: u64) -> HeadEntry {
    HeadEntry {
        device_id: format!("lift-{at:07}"),
        sequence: at + 1,
        record_hash: Hash([at as u8; 32]),
        start_sequence: 0,
        start_hash: Hash::ZERO,
    }
}

fn leaves(c: &mut Criterion) {
    let record = record();
    let leaf = [&[1], record.as_slice()].concat();
    let mut group = c.benchmark_group("leaves");
    group.throughput(Throughput::Elements(LEAVES));
    group.bench_function("compact range", |b| {
        b.iter(|| {
            let mut range = CompactRange::default();
            (0..LEAVES).for_each(|_| range.push(leaf_hash_of_record(black_box(&record))));
            range
        });
    });
    group.bench_function("tiles and bundles", |b| {
        b.iter(|| {
            let mut appender = Appender::default();
            (0..LEAVES).for_each(|_| appender.push(black_box(&leaf)).unwrap());
            appender.take_full()
        });
    });
    group.finish();
}

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("heads");
    group.throughput(Throughput::Elements(DEVICES)).sample_size(10);
    group.bench_function("root of 1,000,000 devices", |b| {
        b.iter(|| {
            let mut root = HeadsRoot::default();
            (0..DEVICES).for_each(|at| root.push(&entry(at)).unwrap());
            root.root()
        });
    });
    group.bench_function("tree of 1,000,000 devices", |b| {
        b.iter(|| HeadsTree::new((0..DEVICES).map(entry).collect()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, leaves, heads);
criterion_main!(benches);
