//! Exports with deterministic content, written as a stream: memory does not grow with the record count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ed25519_dalek::SigningKey;
use edgesentry_audit::{AuditRecord, Hash32, build_signed_record, compute_payload_hash, sign_payload_hash};
use rayon::prelude::*;

/// Records created, linked and written together.
const BLOCK: u64 = 1 << 16;
const START_MS: u64 = 1_700_000_000_000;

/// The contents of an export.
#[derive(Clone, Copy)]
pub struct Shape {
    pub records: u64,
    /// The records of the devices take turns.
    pub devices: u64,
    /// Every signature is well-formed, but signs another message.
    pub bad_signatures: bool,
}

struct Device {
    id: String,
    key: SigningKey,
}

/// Writes the export and the keys, scheme payload-hash.
pub fn generate(out: &Path, keys: &Path, shape: Shape) -> Result<()> {
    ensure!(shape.records > 0 && shape.devices > 0, "--records and --devices must be at least 1");
    let devices: Vec<Device> = (1..=shape.devices).map(device).collect();
    write_keys(keys, &devices)?;

    let file = File::create(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let mut heads = vec![AuditRecord::zero_hash(); devices.len()];
    writer.write_all(b"[")?;
    for start in (0..shape.records).step_by(BLOCK as usize) {
        let end = (start + BLOCK).min(shape.records);
        // Under payload-hash a signature does not cover the link, so signing needs no order.
        let mut records: Vec<AuditRecord> =
            (start..end).into_par_iter().map(|index| record(index, &devices, shape.bad_signatures)).collect();
        link(&mut records, start, &mut heads);
        write_block(&mut writer, &records, start == 0)?;
    }
    writer.write_all(b"]\n")?;
    writer.flush().with_context(|| format!("cannot write {}", out.display()))
}

fn device(number: u64) -> Device {
    let id = format!("lift-{number:02}");
    let key = SigningKey::from_bytes(&compute_payload_hash(format!("key seed of {id}").as_bytes()));
    Device { id, key }
}

fn write_keys(path: &Path, devices: &[Device]) -> Result<()> {
    let keys: BTreeMap<&str, String> = devices
        .iter()
        .map(|device| (device.id.as_str(), hex::encode(device.key.verifying_key().as_bytes())))
        .collect();
    std::fs::write(path, serde_json::to_string_pretty(&keys)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The record at a position of the export, not yet linked.
fn record(index: u64, devices: &[Device], bad_signature: bool) -> AuditRecord {
    let device = &devices[(index % devices.len() as u64) as usize];
    let sequence = index / devices.len() as u64 + 1;
    let payload = format!("device={},sequence={sequence},check=door,status=ok", device.id);
    let mut record = build_signed_record(
        device.id.as_str(),
        sequence,
        START_MS + index * 1_000,
        payload.as_bytes(),
        AuditRecord::zero_hash(),
        format!("s3://bucket/{}/{sequence}.bin", device.id),
        &device.key,
    );
    if bad_signature {
        let other = compute_payload_hash(format!("{payload},altered").as_bytes());
        record.signature = sign_payload_hash(&device.key, &other);
    }
    record
}

/// Links a block; the chains of the devices are independent and linked in parallel.
fn link(records: &mut [AuditRecord], start: u64, heads: &mut [Hash32]) {
    let devices = heads.len();
    let mut chains: Vec<Vec<&mut AuditRecord>> = (0..devices).map(|_| Vec::new()).collect();
    for (offset, record) in records.iter_mut().enumerate() {
        chains[(start as usize + offset) % devices].push(record);
    }
    heads.par_iter_mut().zip(chains).for_each(|(head, chain)| {
        for record in chain {
            record.prev_record_hash = *head;
            *head = record.hash();
        }
    });
}

fn write_block(writer: &mut impl Write, records: &[AuditRecord], first: bool) -> Result<()> {
    let parts: Vec<Vec<u8>> = records
        .par_chunks(4096)
        .map(|chunk| serde_json::to_vec(chunk).context("a record does not serialize"))
        .collect::<Result<_>>()?;
    for (index, part) in parts.iter().enumerate() {
        if !(first && index == 0) {
            writer.write_all(b",")?;
        }
        writer.write_all(&part[1..part.len() - 1])?; // without the brackets of the chunk
    }
    Ok(())
}
