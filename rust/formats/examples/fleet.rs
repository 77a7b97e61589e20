//! Writes exports of signed records for the benches, 100 million in minutes.
//!
//! ```text
//! fleet FOLDER/NAME.parquet [records=N] [devices=N] [bad=PERCENT] [file_records=N]
//! ```
//!
//! The records are in files NAME-000.parquet, NAME-001.parquet and so on, in the format of the name; the keys are in
//! NAME.keys.json. Devices take turns. Links hold; of the signatures, `bad` per cent fail.
//!
//! The nonces of the signatures are consecutive numbers, so that a point R costs one addition. They give the keys away,
//! which are public here: nothing but a bench may sign like this.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use curve25519_dalek::{EdwardsPoint, Scalar};
use edgesentry_chain::{AuditRecord, Hash, KeyRing, PublicKey, RingKey, Scheme, signed_message};
use edgesentry_formats::{RecordWriter, write_key_ring};
use rayon::prelude::*;
use sha2::{Digest, Sha512};

/// Records that are signed and written together.
const CHUNK_RECORDS: u64 = 1 << 16;
/// Points that share an inversion.
const POINTS: u64 = 1024;
const START_MS: u64 = 1_700_000_000_000;

/// A device with a key of no secrecy, and the last link of its chain.
struct FleetDevice {
    id: String,
    key: Scalar,
    public_key: PublicKey,
    sequence: u64,
    hash: Hash,
}

impl FleetDevice {
    fn new(number: u64) -> FleetDevice {
        let digest = Sha512::digest(number.to_le_bytes());
        let key = Scalar::from_bytes_mod_order_wide(&digest.into());
        let public_key = PublicKey::from_bytes(EdwardsPoint::mul_base(&key).compress().to_bytes()).unwrap();
        FleetDevice { id: format!("lift-{number:07}"), key, public_key, sequence: 0, hash: Hash::ZERO }
    }

    /// Signs the next record with the nonce of `number`, whose point is `point`.
    fn sign(&mut self, number: u64, point: &[u8; 32], is_bad: bool) -> AuditRecord {
        self.sequence += 1;
        let mut record = AuditRecord {
            device_id: self.id.clone(),
            sequence: self.sequence,
            timestamp_ms: START_MS + self.sequence * 1000,
            payload_hash: Hash::of(&number.to_le_bytes()),
            signature: [0; 64],
            prev_record_hash: self.hash,
            object_ref: format!("s3://telemetry/{}/{:08}.bin", self.id, self.sequence),
        };
        let hasher = Sha512::new().chain_update(point).chain_update(self.public_key.as_bytes());
        let hasher = hasher.chain_update(signed_message(&record, Scheme::Record));
        let challenge = Scalar::from_bytes_mod_order_wide(&hasher.finalize().into());
        let response = nonce(number) + challenge * self.key;
        record.signature[..32].copy_from_slice(point);
        record.signature[32..].copy_from_slice(response.as_bytes());
        if is_bad {
            record.signature[40] ^= 1;
        }
        self.hash = record.hash();
        record
    }
}

fn nonce(number: u64) -> Scalar {
    Scalar::from(number + 1)
}

/// Returns the compressed points of the nonces of some numbers.
fn points(start: u64, end: u64) -> Vec<[u8; 32]> {
    let starts: Vec<u64> = (start..end).step_by(POINTS as usize).collect();
    let of_part = |at: &u64| {
        let first = EdwardsPoint::mul_base(&nonce(*at));
        let step = EdwardsPoint::mul_base(&Scalar::ONE);
        let count = (end - at).min(POINTS) as usize;
        let all: Vec<_> =
            std::iter::successors(Some(first), |point| Some(point + step)).take(count).collect();
        EdwardsPoint::compress_batch_alloc(&all)
    };
    let parts: Vec<_> = starts.par_iter().map(of_part).collect();
    parts.into_iter().flatten().map(|point| point.to_bytes()).collect()
}

/// Spreads `bad` per cent evenly.
fn is_bad(number: u64, bad: u64) -> bool {
    number * bad / 100 != (number + 1) * bad / 100
}

/// Signs the records with the numbers `start..end`.
fn sign(devices: &mut [FleetDevice], start: u64, end: u64, bad: u64) -> Vec<AuditRecord> {
    let points = points(start, end);
    let count = devices.len() as u64;
    let first_number = |device: u64| start + (device + count - start % count) % count;
    let of_device = |(number, device): (usize, &mut FleetDevice)| -> Vec<(u64, AuditRecord)> {
        let numbers = (first_number(number as u64)..end).step_by(count as usize);
        numbers.map(|at| (at, device.sign(at, &points[(at - start) as usize], is_bad(at, bad)))).collect()
    };
    let mut signed: Vec<(u64, AuditRecord)> =
        devices.par_iter_mut().enumerate().flat_map_iter(of_device).collect();
    signed.par_sort_unstable_by_key(|(at, _)| *at);
    signed.into_iter().map(|(_, record)| record).collect()
}

fn write(place: &Path, file_records: u64, chunks: Receiver<Vec<AuditRecord>>) {
    let name = |number: u64| -> PathBuf {
        let stem = place.file_stem().unwrap().to_str().unwrap();
        place.with_file_name(format!("{stem}-{number:03}.{}", place.extension().unwrap().to_str().unwrap()))
    };
    let (mut writer, mut files, mut held) = (RecordWriter::create(&name(0)).unwrap(), 1, 0);
    for chunk in chunks {
        if held >= file_records {
            let next = RecordWriter::create(&name(files)).unwrap();
            std::mem::replace(&mut writer, next).finish().unwrap();
            (files, held) = (files + 1, 0);
        }
        writer.write(&chunk).unwrap();
        held += chunk.len() as u64;
    }
    writer.finish().unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [place, options @ ..] = words.as_slice() else { panic!("expected: fleet FILE [NAME=VALUE]...") };
    let options: BTreeMap<&str, u64> = options
        .iter()
        .map(|option| option.split_once('=').expect("NAME=VALUE"))
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect();
    let number = |name: &str, default: u64| options.get(name).copied().unwrap_or(default);
    let (records, bad) = (number("records", 100_000), number("bad", 0));
    let place = Path::new(place);

    let mut devices: Vec<_> = (0..number("devices", 10)).into_par_iter().map(FleetDevice::new).collect();
    let mut ring = KeyRing::new();
    for device in &devices {
        let key = RingKey { key: device.public_key, scheme: Scheme::Record, valid_from: 1 };
        ring.insert(&device.id, key).unwrap();
    }
    std::fs::write(place.with_extension("keys.json"), write_key_ring(&ring)).unwrap();
    drop(ring);

    let (send, chunks) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| write(place, number("file_records", u64::MAX), chunks));
        for start in (0..records).step_by(CHUNK_RECORDS as usize) {
            let end = records.min(start + CHUNK_RECORDS);
            send.send(sign(&mut devices, start, end, bad)).unwrap();
        }
        drop(send);
    });
}
