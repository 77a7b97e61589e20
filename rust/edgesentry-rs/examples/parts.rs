//! Runs one part of the work in memory, `ROUNDS` times, on one thread: `make bench-quick` counts its instructions.
//!
//! ```text
//! parts PART ROUNDS [plain | avx2]
//! ```
//!
//! The third word limits the instructions that batches use, if the processor has more.
//!
//! The preparation does not depend on the rounds, so the difference of two runs is the cost of the rounds alone. Prints
//! the number of units of a round: records, or slices that are merged.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::internals::Instructions;
use edgesentry_chain::{
    AuditRecord, Checks, Device, Head, KeyRing, PublicKey, RingKey, SLICE_RECORDS, Scheme, Segments, Signed,
    signed_message, verify_signatures,
};
use edgesentry_rs::Submission;
use edgesentry_rs::ingest::verify::{DeviceKeys, RegisteredKey, Registry, admit};

/// As many as the batches of a verification have.
const DEVICES: usize = 10;
/// Slices of a fold.
const SLICES: usize = 16;
const PAYLOAD: [u8; 256] = [0x42; 256];

struct Fleet {
    records: Vec<AuditRecord>,
    keys: Vec<(String, RingKey)>,
}

fn fleet() -> Fleet {
    let mut devices: Vec<Device> = (0..DEVICES)
        .map(|at| Device::from_seed(format!("lift-{at:02}"), [at as u8 + 1; 32], Scheme::Record))
        .collect();
    let key = |device: &Device| RingKey {
        key: device.public_key().unwrap(),
        scheme: Scheme::Record,
        valid_from: 1,
    };
    let keys = devices.iter().map(|device| (device.device_id().to_owned(), key(device))).collect();
    let records = (0..SLICE_RECORDS)
        .map(|at| {
            let device = &mut devices[at % DEVICES];
            let object_ref = format!("s3://telemetry/{}/{at:08}.bin", device.device_id());
            device.sign(1_700_000_000_000 + at as u64, &PAYLOAD, object_ref).unwrap()
        })
        .collect();
    Fleet { records, keys }
}

/// Canonical bytes and hash of each record.
fn record_hash(fleet: &Fleet, rounds: usize) -> usize {
    let mut bytes = Vec::new();
    for record in (0..rounds).flat_map(|_| &fleet.records) {
        black_box(black_box(record).hash_with(&mut bytes));
    }
    fleet.records.len()
}

/// The links of a slice whose records are sorted by device.
fn links(fleet: &Fleet, rounds: usize) -> usize {
    let mut records = fleet.records.clone();
    records.sort_by(AuditRecord::cmp_in_table);
    for _ in 0..rounds {
        black_box(Checks::default().verify(black_box(&records), 0).unwrap());
    }
    records.len()
}

/// A batch of signatures.
fn signatures(fleet: &Fleet, rounds: usize) -> usize {
    let mut ring = KeyRing::new();
    for (device_id, key) in &fleet.keys {
        ring.insert(device_id, *key).unwrap();
    }
    let key = |record: &AuditRecord| -> &PublicKey { &ring.key_at(&record.device_id, 1).unwrap().key };
    let messages: Vec<[u8; 32]> =
        fleet.records.iter().map(|record| signed_message(record, Scheme::Record)).collect();
    let signed: Vec<Signed<'_>> = fleet
        .records
        .iter()
        .zip(&messages)
        .map(|(record, message)| Signed { key: key(record), message, signature: &record.signature })
        .collect();
    for _ in 0..rounds {
        assert!(verify_signatures(black_box(&signed)).is_empty());
    }
    signed.len()
}

/// Verified slices into one result.
fn fold(fleet: &Fleet, rounds: usize) -> usize {
    let links = Checks::default();
    let slices: Vec<Segments> = fleet
        .records
        .chunks(SLICE_RECORDS / SLICES)
        .enumerate()
        .map(|(at, slice)| links.verify(slice, (at * (SLICE_RECORDS / SLICES)) as u64).unwrap())
        .collect();
    for _ in 0..rounds {
        let merged = black_box(&slices).iter().cloned().reduce(Segments::merge).unwrap();
        assert_eq!(merged.records(), SLICE_RECORDS as u64);
    }
    slices.len()
}

/// All checks of a batch that need no ledger.
fn admission(fleet: &Fleet, rounds: usize) -> usize {
    let registered = |(device_id, key): &(String, RingKey)| {
        let head = Head { sequence: 0, hash: edgesentry_chain::Hash::ZERO };
        let keys = [RegisteredKey { key: *key, revoked_from: None }].into();
        (device_id.as_str().into(), DeviceKeys { version: 1, keys, head })
    };
    let registry: Registry = fleet.keys.iter().map(registered).collect();
    let submissions: Vec<Submission> = fleet
        .records
        .iter()
        .map(|record| Submission { record: Arc::new(record.clone()), payload: Bytes::from_static(&PAYLOAD) })
        .collect();
    for _ in 0..rounds {
        assert!(admit(black_box(submissions.clone()), &registry).iter().all(Result::is_ok));
    }
    submissions.len()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (part, rounds) = match words.as_slice() {
        [part, rounds] => (part, rounds),
        [part, rounds, level] => {
            match level.as_str() {
                "plain" => Instructions::Plain.limit(),
                "avx2" => Instructions::Avx2.limit(),
                other => panic!("{other}: expected plain or avx2"),
            }
            (part, rounds)
        }
        _ => panic!("expected: parts PART ROUNDS [plain | avx2]"),
    };
    let rounds = rounds.parse().expect("ROUNDS: a number");
    let run: fn(&Fleet, usize) -> usize = match part.as_str() {
        "record-hash" => record_hash,
        "links" => links,
        "signatures" => signatures,
        "fold" => fold,
        "admission" => admission,
        other => panic!("{other}: expected record-hash, links, signatures, fold or admission"),
    };
    println!("{}", run(&fleet(), rounds));
}
