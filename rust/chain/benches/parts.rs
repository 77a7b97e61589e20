//! Benchmarks of the parts of a verification, each on one thread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use curve25519_dalek::edwards::CompressedEdwardsY;
use edgesentry_chain::internals::SUMS_OF_R;
use edgesentry_chain::{
    AuditRecord, Checks, Device, Hash, KeyRing, PublicKey, RingKey, SLICE_RECORDS, Scheme, Signed,
    signed_message, verify_signature, verify_signatures,
};

/// Number of devices in a slice.
const DEVICES: u64 = 10;

/// Returns a slice of interleaved records, as a fleet writes them, and the keys.
fn fleet() -> (Vec<AuditRecord>, KeyRing) {
    let mut ring = KeyRing::new();
    let mut devices: Vec<Device> = (0..DEVICES)
        .map(|at| Device::from_seed(format!("lift-{at:02}"), [at as u8 + 1; 32], Scheme::Record))
        .collect();
    for device in &devices {
        let key = RingKey { key: device.public_key().unwrap(), scheme: Scheme::Record, valid_from: 1 };
        ring.insert(device.device_id(), key).unwrap();
    }
    let records = (0..SLICE_RECORDS as u64)
        .map(|at| {
            let device = &mut devices[(at % DEVICES) as usize];
            let object_ref = format!("s3://telemetry/{}/{at:08}.bin", device.device_id());
            device.sign(1_700_000_000_000 + at, &at.to_le_bytes(), object_ref).unwrap()
        })
        .collect();
    (records, ring)
}

fn record_hash(c: &mut Criterion) {
    let (records, _) = fleet();
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    let mut bytes = Vec::new();
    group.bench_function("canonical bytes", |b| b.iter(|| black_box(&records[7]).canonical_bytes()));
    group.bench_function("hash", |b| b.iter(|| black_box(&records[7]).hash_with(&mut bytes)));
    group.finish();
}

fn signatures(c: &mut Criterion) {
    let (records, ring) = fleet();
    let key = |record: &AuditRecord| -> &PublicKey { &ring.key_at(&record.device_id, 1).unwrap().key };
    let messages: Vec<[u8; 32]> =
        records.iter().map(|record| signed_message(record, Scheme::Record)).collect();
    let signed: Vec<Signed<'_>> = records
        .iter()
        .zip(&messages)
        .map(|(record, message)| Signed { key: key(record), message, signature: &record.signature })
        .collect();

    let mut group = c.benchmark_group("signatures");
    group.throughput(Throughput::Elements(1));
    group.bench_function("single", |b| b.iter(|| assert!(verify_signature(black_box(&signed[7])))));
    for size in [64, 512, SLICE_RECORDS] {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::new("batch", size), &signed[..size], |b, signed| {
            b.iter(|| assert!(verify_signatures(black_box(signed)).is_empty()));
        });
    }
    group.finish();
}

fn sums(c: &mut Criterion) {
    let (records, _) = fleet();
    let encodings: Vec<[u8; 32]> =
        records.iter().map(|record| record.signature[..32].try_into().unwrap()).collect();
    let coefficients: Vec<u128> = records
        .iter()
        .map(|record| u128::from_le_bytes(record.signature[32..48].try_into().unwrap()))
        .collect();
    // A failing decode takes as long as a successful one, but leaves nothing to sum.
    let undecodable: Vec<[u8; 32]> = (0u64..)
        .map(|at| Hash::of(&at.to_le_bytes()).0)
        .filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_none())
        .take(SLICE_RECORDS)
        .collect();

    let mut group = c.benchmark_group("sum of R");
    group.throughput(Throughput::Elements(SLICE_RECORDS as u64));
    for (name, sum) in SUMS_OF_R {
        if sum(&encodings[..1], &coefficients[..1]).is_none() {
            continue;
        }
        group.bench_function(name, |b| b.iter(|| sum(black_box(&encodings), &coefficients)));
        group.bench_function(format!("{name}, decoding alone"), |b| {
            b.iter(|| sum(black_box(&undecodable), &coefficients));
        });
    }
    group.finish();
}

fn slice(c: &mut Criterion) {
    let (records, ring) = fleet();
    let links = Checks::default();
    let all = Checks { keys: Some(&ring), ..Checks::default() };
    let mut group = c.benchmark_group("slice");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("links", |b| b.iter(|| links.verify(black_box(&records), 0).unwrap()));
    group.bench_function("links and signatures", |b| b.iter(|| all.verify(black_box(&records), 0).unwrap()));
    let mut forged = records.clone();
    forged.iter_mut().step_by(10).for_each(|record| record.signature[40] ^= 1);
    group.bench_function("links and signatures, every tenth bad", |b| {
        b.iter(|| all.verify(black_box(&forged), 0).unwrap())
    });
    let halves = records.split_at(records.len() / 2);
    let left = links.verify(halves.0, 0).unwrap();
    let right = links.verify(halves.1, halves.0.len() as u64).unwrap();
    group.bench_function("merge of two halves, copied", |b| b.iter(|| left.clone().merge(right.clone())));
    group.finish();
}

criterion_group!(parts, record_hash, signatures, sums, slice);
criterion_main!(parts);
