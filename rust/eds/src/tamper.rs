//! Ways of tampering with records, each with the findings that a verification must report.
//!
//! `edgesentry.testing` has a catalogue of its own, written independently in Python: each is an oracle for the verification
//! that does not share the mistakes of the other, so they are kept apart on purpose.
//!
//! `eds demo` and the tests share them. All of them name their victim by device and sequence.
//!
//! # Panics
//!
//! If the records do not contain the victim.

use edgesentry_chain::{AuditRecord, Device, FindingCode, Hash, Report, Scheme};

/// An expected finding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Expected {
    /// The device; none for a malformed entry.
    pub device_id: Option<String>,
    /// The sequence; none for a malformed entry.
    pub sequence: Option<u64>,
    /// The code.
    pub code: FindingCode,
}

impl Expected {
    fn new(code: FindingCode, device_id: &str, sequence: u64) -> Expected {
        Expected { device_id: Some(device_id.to_owned()), sequence: Some(sequence), code }
    }
}

/// Returns the findings of a report in the same form, sorted.
pub fn found(report: &Report) -> Vec<Expected> {
    let findings = report.findings.iter().map(|finding| Expected {
        device_id: finding.device_id.as_deref().map(str::to_owned),
        sequence: finding.sequence,
        code: finding.code,
    });
    let mut found: Vec<Expected> = findings.collect();
    found.sort();
    found
}

type Records = Vec<AuditRecord>;

/// Flips a bit of the payload hash: the signature and the link of the next record no longer hold.
pub fn flip_payload_hash_bit(records: &mut Records, device_id: &str, sequence: u64) -> Vec<Expected> {
    let at = position(records, device_id, sequence);
    records[at].payload_hash.0[7] ^= 0x10;
    broken_signature(device_id, sequence)
}

/// Flips a bit of the signature.
pub fn flip_signature_bit(records: &mut Records, device_id: &str, sequence: u64) -> Vec<Expected> {
    let at = position(records, device_id, sequence);
    records[at].signature[20] ^= 0x01;
    broken_signature(device_id, sequence)
}

/// Removes a record from the middle, or the first one.
pub fn delete(records: &mut Records, device_id: &str, sequence: u64) -> Vec<Expected> {
    records.remove(position(records, device_id, sequence));
    let code = if sequence == 1 { FindingCode::FirstRecordNotGenesis } else { FindingCode::SequenceGap };
    vec![Expected::new(code, device_id, sequence + 1)]
}

/// Swaps a record with the next of its chain.
pub fn swap_with_next(records: &mut Records, device_id: &str, sequence: u64) -> Vec<Expected> {
    let (here, there) = (position(records, device_id, sequence), position(records, device_id, sequence + 1));
    records.swap(here, there);
    vec![
        Expected::new(FindingCode::SequenceOutOfOrder, device_id, sequence),
        Expected::new(FindingCode::SequenceGap, device_id, sequence + 1),
        Expected::new(FindingCode::SequenceGap, device_id, sequence + 2),
    ]
}

/// Inserts a record a second time.
pub fn duplicate(records: &mut Records, device_id: &str, sequence: u64) -> Vec<Expected> {
    let at = position(records, device_id, sequence);
    records.insert(at, records[at].clone());
    vec![Expected::new(FindingCode::SequenceDuplicate, device_id, sequence)]
}

/// Signs a record as it is. The devices of attacks have seeds, with which signing does not fail.
fn resign(device: &Device, record: &mut AuditRecord) {
    let signed = device.sign_record(record);
    debug_assert!(signed.is_ok());
}

/// Inserts a second record at one sequence, correctly signed by the device.
pub fn fork(records: &mut Records, device: &Device, sequence: u64) -> Vec<Expected> {
    let device_id = device.device_id();
    let at = position(records, device_id, sequence);
    let mut other = records[at].clone();
    other.payload_hash = Hash::of(b"another truth");
    resign(device, &mut other);
    records.insert(at + 1, other);
    vec![
        Expected::new(FindingCode::Fork, device_id, sequence),
        Expected::new(FindingCode::PrevHashMismatch, device_id, sequence + 1),
    ]
}

/// Changes the time of a record and re-links every record after it. Under scheme `payload-hash` no check of links and
/// signatures detects that; only trusted heads do. Under scheme `record` every signature from there on breaks.
pub fn edit_time_and_relink(
    records: &mut Records,
    device_id: &str,
    sequence: u64,
    scheme: Scheme,
) -> Vec<Expected> {
    let edited = position(records, device_id, sequence);
    records[edited].timestamp_ms += 3_600_000;
    let mut before = records[edited].hash();
    let mut expected = vec![Expected::new(FindingCode::SignatureInvalid, device_id, sequence)];
    for record in records[edited + 1..].iter_mut().filter(|record| record.device_id == device_id) {
        record.prev_record_hash = before;
        before = record.hash();
        expected.push(Expected::new(FindingCode::SignatureInvalid, device_id, record.sequence));
    }
    match scheme {
        Scheme::PayloadHash => Vec::new(),
        Scheme::Record => expected,
    }
}

/// Signs a record with another key of the device.
pub fn sign_with_other_key(records: &mut Records, other: &Device, sequence: u64) -> Vec<Expected> {
    let device_id = other.device_id();
    let at = position(records, device_id, sequence);
    resign(other, &mut records[at]);
    vec![
        Expected::new(FindingCode::KeyNotValidAtSequence, device_id, sequence),
        Expected::new(FindingCode::PrevHashMismatch, device_id, sequence + 1),
    ]
}

/// Adds a record of an unknown device.
pub fn add_stranger(records: &mut Records) -> Vec<Expected> {
    let mut stranger = Device::from_seed("stranger", [9; 32], Scheme::Record);
    let record = stranger.sign(1, b"I belong here", "s3://demo/stranger/1.csv");
    records.extend(record);
    vec![Expected::new(FindingCode::UnknownDevice, "stranger", 1)]
}

/// Removes the last `count` records of a chain: only trusted heads reveal it.
pub fn truncate(records: &mut Records, device_id: &str, count: u64) -> Vec<Expected> {
    let last =
        records.iter().filter(|record| record.device_id == device_id).map(|record| record.sequence).max();
    let last = last.expect("the device has records");
    records.retain(|record| record.device_id != device_id || record.sequence + count <= last);
    vec![Expected::new(FindingCode::HeadMismatch, device_id, last)]
}

/// Removes all records of a device: only trusted heads reveal it.
pub fn remove_device(records: &mut Records, device_id: &str) -> Vec<Expected> {
    let last =
        records.iter().filter(|record| record.device_id == device_id).map(|record| record.sequence).max();
    let last = last.expect("the device has records");
    records.retain(|record| record.device_id != device_id);
    vec![Expected::new(FindingCode::DeviceMissing, device_id, last)]
}

/// Returns the findings if the entry of a record is unreadable.
pub fn unreadable_entry(device_id: &str, sequence: u64) -> Vec<Expected> {
    vec![
        Expected { device_id: None, sequence: None, code: FindingCode::RecordMalformed },
        Expected::new(FindingCode::SequenceGap, device_id, sequence + 1),
    ]
}

/// Returns the findings if a payload was replaced or is missing.
pub fn payload_tampered(device_id: &str, sequence: u64, gone: bool) -> Vec<Expected> {
    let code = if gone { FindingCode::PayloadMissing } else { FindingCode::PayloadHashMismatch };
    vec![Expected::new(code, device_id, sequence)]
}

/// Returns the additional finding if a changed chain is compared with the trusted head that it no longer reaches.
pub fn head_missed(device_id: &str, sequence: u64) -> Vec<Expected> {
    vec![Expected::new(FindingCode::HeadMismatch, device_id, sequence)]
}

/// Returns the finding if a log was rebuilt from other records, against a checkpoint from before.
pub fn log_rebuilt() -> Vec<Expected> {
    vec![Expected { device_id: None, sequence: None, code: FindingCode::CheckpointInconsistent }]
}

/// Returns the index of the record.
pub fn position(records: &[AuditRecord], device_id: &str, sequence: u64) -> usize {
    let here = |record: &AuditRecord| record.device_id == device_id && record.sequence == sequence;
    records.iter().position(here).expect("the victim is among the records")
}

fn broken_signature(device_id: &str, sequence: u64) -> Vec<Expected> {
    vec![
        Expected::new(FindingCode::SignatureInvalid, device_id, sequence),
        Expected::new(FindingCode::PrevHashMismatch, device_id, sequence + 1),
    ]
}
