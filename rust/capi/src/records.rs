//! Conversion of records, keys and heads, and the verification of chains.

use std::ffi::c_char;

use edgesentry_chain::{
    AuditRecord, Checks, Hash, Head, Heads, KeyRing, PublicKey, RecordRef, RingKey, SLICE_RECORDS, Scheme,
    Segments, SignerError, Verdict,
};
use edgesentry_device::limits::{MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE, is_valid_id};

use crate::border::Border;
use crate::codes::{
    EDGESENTRY_CHAIN_FULL, EDGESENTRY_FINDINGS, EDGESENTRY_INTERNAL, EDGESENTRY_INVALID_ARGUMENT,
    EDGESENTRY_NOTHING_TO_VERIFY, EDGESENTRY_SCHEME_PAYLOAD_HASH, EDGESENTRY_SCHEME_RECORD,
    EDGESENTRY_SIGNER, EDGESENTRY_WEAK_KEY, Status, finding_number,
};
use crate::last_error::fail;
use crate::types;

pub(crate) fn scheme(number: u32) -> Result<Scheme, Status> {
    match number {
        EDGESENTRY_SCHEME_RECORD => Ok(Scheme::Record),
        EDGESENTRY_SCHEME_PAYLOAD_HASH => Ok(Scheme::PayloadHash),
        _ => {
            let text =
                format_args!("scheme: expected EDGESENTRY_SCHEME_RECORD or _PAYLOAD_HASH, got {number}");
            Err(fail(EDGESENTRY_INVALID_ARGUMENT, text))
        }
    }
}

pub(crate) fn public_key(bytes: [u8; 32]) -> Result<PublicKey, Status> {
    PublicKey::from_bytes(bytes)
        .map_err(|error| fail(EDGESENTRY_WEAK_KEY, format_args!("public key: {error}")))
}

/// Returns the record of a structure; its text is that of the caller.
pub(crate) fn record<'b>(border: &'b Border, record: &types::Record) -> Result<RecordRef<'b>, Status> {
    reserved("record", record.reserved)?;
    Ok(RecordRef {
        device_id: border.text("device_id", record.device_id, record.device_id_size)?,
        sequence: record.sequence,
        timestamp_ms: record.timestamp_ms,
        payload_hash: Hash(record.payload_hash),
        signature: record.signature,
        prev_record_hash: Hash(record.prev_record_hash),
        object_ref: border.text("object_ref", record.object_ref, record.object_ref_size)?,
    })
}

/// Returns the structure of a record. Its text pointers are those of the text of the record.
pub(crate) fn structure(record: &RecordRef<'_>) -> types::Record {
    types::Record {
        struct_size: 0,
        reserved: 0,
        sequence: record.sequence,
        timestamp_ms: record.timestamp_ms,
        device_id: text(record.device_id),
        device_id_size: record.device_id.len(),
        object_ref: text(record.object_ref),
        object_ref_size: record.object_ref.len(),
        payload_hash: record.payload_hash.0,
        signature: record.signature,
        prev_record_hash: record.prev_record_hash.0,
    }
}

fn text(text: &str) -> *const c_char {
    if text.is_empty() { std::ptr::null() } else { text.as_ptr().cast() }
}

pub(crate) fn reserved(name: &str, value: u32) -> Result<(), Status> {
    if value == 0 {
        return Ok(());
    }
    Err(fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("{name}: reserved is {value}, expected 0")))
}

/// Returns the head; all zero is the start of a chain.
pub(crate) fn head(head: types::Head) -> Result<Option<Head>, Status> {
    let hash = Hash(head.hash);
    match (head.sequence, hash == Hash::ZERO) {
        (0, true) => Ok(None),
        (0, false) => {
            Err(fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("head: has a hash, and the sequence 0")))
        }
        (sequence, _) => Ok(Some(Head { sequence, hash })),
    }
}

/// Checks the fields of a record to sign. No ledger takes other records, and the chain could not go on behind one.
pub(crate) fn check_limits(
    device_id: &str,
    object_ref: &str,
    timestamp_ms: u64,
    payload: &[u8],
) -> Result<(), Status> {
    if !is_valid_id(device_id) || !is_valid_id(object_ref) {
        let text = format_args!(
            "record: expected a device id and an object reference of 1 to {MAX_ID_BYTES} bytes without U+0000"
        );
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    if timestamp_ms > MAX_SEQUENCE || payload.len() > MAX_PAYLOAD_BYTES {
        let text = format_args!(
            "record: expected a timestamp_ms of at most {MAX_SEQUENCE} and a payload of at most {MAX_PAYLOAD_BYTES} bytes"
        );
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    Ok(())
}

/// Returns the status of a signer that failed, and keeps its text.
pub(crate) fn signer_failed(error: &SignerError) -> Status {
    fail(EDGESENTRY_SIGNER, format_args!("{error}"))
}

/// Completes a record that continues `head`, and passes it to `sign`. The device id, the time and the object reference are
/// in it.
pub(crate) fn sign<'a>(
    unsigned: &RecordRef<'a>,
    head: Option<Head>,
    payload: &[u8],
    sign: impl FnOnce(&mut RecordRef<'a>) -> Result<(), Status>,
) -> Result<RecordRef<'a>, Status> {
    check_limits(unsigned.device_id, unsigned.object_ref, unsigned.timestamp_ms, payload)?;
    let (sequence, prev_record_hash) =
        Head::next_link(head).ok().filter(|(sequence, _)| *sequence <= MAX_SEQUENCE).ok_or_else(|| {
            fail(EDGESENTRY_CHAIN_FULL, format_args!("the sequence of the chain is at its maximum"))
        })?;
    let mut record = RecordRef { sequence, prev_record_hash, payload_hash: Hash::of(payload), ..*unsigned };
    sign(&mut record)?;
    Ok(record)
}

/// Verifies a chain, and passes each finding to `found`.
pub(crate) fn verify_chain(
    border: &Border,
    chain: &types::Chain,
    mut found: impl FnMut(types::Finding) -> Result<(), Status>,
) -> Result<(), Status> {
    reserved("chain", chain.reserved)?;
    if chain.record_count == 0 {
        return Err(fail(EDGESENTRY_NOTHING_TO_VERIFY, format_args!("chain: has no record")));
    }
    if chain.key_count == 0 {
        let text = format_args!("chain: has no key; without one, signatures prove nothing");
        return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
    }
    let first = border.read("records", chain.records)?;
    let device_id = border.text("device_id", first.device_id, first.device_id_size)?;
    let keys = key_ring(border, chain, device_id)?;
    let heads = |name: &str, pointer| -> Result<Heads, Status> {
        let given = border.read_optional(name, pointer)?.map(head).transpose()?.flatten();
        Ok(given.map(|head| (device_id.into(), head)).into_iter().collect())
    };
    let (start, last) = (heads("start", chain.start)?, heads("head", chain.head)?);
    let checks = Checks {
        keys: Some(&keys),
        start_heads: Some(&start),
        heads: (!last.is_empty()).then_some(&last),
        ..Checks::default()
    };

    // In slices, so that the copies of the records need little memory.
    let mut segments = Segments::default();
    let mut slice: Vec<AuditRecord> = Vec::with_capacity(chain.record_count.min(SLICE_RECORDS));
    let mut index = 0;
    let mut verify = |slice: &mut Vec<AuditRecord>| -> Result<(), Status> {
        let verified = checks.verify(slice, index).map_err(|error| {
            fail(EDGESENTRY_INTERNAL, format_args!("a bug in EdgeSentry, please report it: {error}"))
        })?;
        index += slice.len() as u64;
        slice.clear();
        segments = std::mem::take(&mut segments).merge(verified);
        Ok(())
    };
    border.each("records", chain.records, chain.record_count, |given| {
        slice.push(record(border, &given)?.to_record());
        if slice.len() == SLICE_RECORDS { verify(&mut slice) } else { Ok(()) }
    })?;
    verify(&mut slice)?;

    let report = checks.report(segments);
    for finding in &report.findings {
        found(types::Finding {
            code: finding_number(finding.code),
            reserved: 0,
            index: finding.index.unwrap_or(u64::MAX),
            sequence: finding.sequence.unwrap_or(0),
        })?;
    }
    match (report.verdict, report.findings.first()) {
        (Verdict::Valid, _) => Ok(()),
        (Verdict::NothingToVerify, _) => {
            Err(fail(EDGESENTRY_NOTHING_TO_VERIFY, format_args!("chain: has no record")))
        }
        (Verdict::Findings, Some(first)) => Err(fail(EDGESENTRY_FINDINGS, format_args!("{first}"))),
        (Verdict::Findings, None) => Err(fail(EDGESENTRY_FINDINGS, format_args!("chain: has findings"))),
    }
}

fn key_ring(border: &Border, chain: &types::Chain, device_id: &str) -> Result<KeyRing, Status> {
    let mut keys = KeyRing::new();
    border.each("keys", chain.keys, chain.key_count, |given| {
        reserved("key", given.reserved)?;
        let key = RingKey {
            key: public_key(given.public_key)?,
            scheme: scheme(given.scheme)?,
            valid_from: given.valid_from,
        };
        keys.insert(device_id, key)
            .map_err(|error| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("keys: {error}")))
    })?;
    Ok(keys)
}
