//! The checks that need no chain, and the proof that a record passed them.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{
    AuditRecord, Evidence, Hash, RingKey, Signed, signed_message, verify_signature, verify_signatures,
};
use rayon::prelude::*;

use super::rotation::succeeding;
use super::{
    CheckedValue, DeviceKeys, MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE, Refusal, RegisteredKey,
    Registry, Rejection, RejectionCode, Rotation, Submission, Succeeding,
};

/// A record that passed every check but those of the chain; only `decide` creates one.
#[derive(Clone, Debug)]
pub struct Admitted {
    record: Arc<AuditRecord>,
    hash: Hash,
    payload: Bytes,
    keys_version: i64,
    succeeding: Option<Arc<Succeeding>>,
}

impl Admitted {
    /// Returns the record.
    pub fn record(&self) -> &Arc<AuditRecord> {
        &self.record
    }

    /// Returns its record hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Returns its payload, whose BLAKE3 is the record's `payload_hash`.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the version of the device's keys that the signature was checked under.
    pub fn keys_version(&self) -> i64 {
        self.keys_version
    }

    /// Returns the new key that the record states, unless the operator has registered it.
    pub(crate) fn succeeding(&self) -> Option<&Succeeding> {
        self.succeeding.as_deref()
    }

    /// Returns the record and payload, to admit them again.
    pub(crate) fn to_submission(&self) -> Submission {
        Submission { record: Arc::clone(&self.record), payload: self.payload.clone() }
    }
}

/// Checks, on all threads, everything that needs no chain: numbers in range, payload hash, key, signature, succession, in
/// this order; the first failure is the rejection. It emits no events: a rejection under stale keys is not final, and
/// workers must not block on the subscriber.
pub(crate) fn decide(
    submissions: Vec<Submission>,
    registry: &Registry,
    rotation: Rotation,
) -> Vec<Result<Admitted, Rejection>> {
    edgesentry_formats::limit_shared_threads();
    // Waking a thread pays from some dozens of signatures on, and so does a batch.
    let share = submissions.len().div_ceil(rayon::current_num_threads()).max(64);
    if submissions.len() <= share {
        return admit_slice(submissions, registry, rotation);
    }
    let mut shares = Vec::new();
    let mut rest = submissions;
    while rest.len() > share {
        let tail = rest.split_off(share);
        shares.push(std::mem::replace(&mut rest, tail));
    }
    shares.push(rest);
    shares.into_par_iter().map(|share| admit_slice(share, registry, rotation)).collect::<Vec<_>>().concat()
}

fn admit_slice(
    submissions: Vec<Submission>,
    registry: &Registry,
    rotation: Rotation,
) -> Vec<Result<Admitted, Rejection>> {
    let mut results: Vec<Result<Admitted, Rejection>> = Vec::with_capacity(submissions.len());
    let mut keys = Vec::with_capacity(submissions.len());
    let mut registered: Vec<&[RegisteredKey]> = Vec::with_capacity(submissions.len());
    for submission in submissions {
        let record = submission.record;
        match key_of(&record, &submission.payload, registry) {
            Ok((key, device)) => {
                let hash = record.hash();
                let (payload, keys_version) = (submission.payload, device.version);
                let admitted = Admitted { hash, record, payload, keys_version, succeeding: None };
                keys.push((results.len(), key, signed_message(&admitted.record, key.scheme)));
                registered.push(&*device.keys);
                results.push(Ok(admitted));
            }
            Err((code, expected, actual)) => {
                results.push(Err(Rejection { code, expected, actual, record }));
            }
        }
    }
    let bad = {
        let signatures: Vec<&[u8; 64]> = keys
            .iter()
            .filter_map(|(at, ..)| results[*at].as_ref().ok().map(|admitted| &admitted.record.signature))
            .collect();
        let batch: Vec<Signed<'_>> = keys
            .iter()
            .zip(signatures)
            .map(|((_, key, message), signature)| Signed { key: &key.key, message, signature })
            .collect();
        verify_signatures(&batch)
    };
    for at in bad {
        let (at, key, _) = &keys[at];
        if let Ok(admitted) = &results[*at] {
            let record = Arc::clone(&admitted.record);
            results[*at] = Err(Rejection {
                code: RejectionCode::SignatureInvalid,
                expected: format!("a signature of the {} scheme by key {}", key.scheme, key.key).into(),
                actual: invalid_signature(&record, key),
                record,
            });
        }
    }
    // Only the holder of the key gets here.
    for ((at, key, _), registered) in keys.iter().zip(registered) {
        let Ok(admitted) = &mut results[*at] else { continue };
        match succeeding(&admitted.record, key, registered, rotation) {
            Ok(succeeding) => admitted.succeeding = succeeding.map(Arc::new),
            Err((code, expected, actual)) => {
                let record = Arc::clone(&admitted.record);
                results[*at] = Err(Rejection { code, expected, actual, record });
            }
        }
    }
    results
}

/// Tries the other scheme to name a likely cause, never to accept a signature.
fn invalid_signature(record: &AuditRecord, key: &RingKey) -> CheckedValue {
    let scheme = key.scheme.other();
    let message = signed_message(record, scheme);
    let signed = Signed { key: &key.key, message: &message, signature: &record.signature };
    if verify_signature(&signed) {
        let evidence = Evidence::OtherScheme { key: *key.key.as_bytes(), scheme };
        return CheckedValue::Text(evidence.to_string());
    }
    CheckedValue::Signature(Box::new(record.signature))
}

fn key_of<'a>(
    record: &AuditRecord,
    payload: &[u8],
    registry: &'a Registry,
) -> Result<(&'a RingKey, &'a DeviceKeys), Refusal> {
    in_range(record, payload)?;
    let payload_hash = Hash::of(payload);
    if payload_hash != record.payload_hash {
        let code = RejectionCode::PayloadHashMismatch;
        return Err((code, record.payload_hash.into(), payload_hash.into()));
    }
    let Some(device) = registry.get(record.device_id.as_str()) else {
        let actual = format!("{:?}", record.device_id);
        return Err((RejectionCode::UnknownDevice, "a registered device".into(), actual.into()));
    };
    let not_valid = |expected: String| {
        let actual = format!("sequence {}", record.sequence);
        (RejectionCode::KeyNotValidAtSequence, expected.into(), actual.into())
    };
    let keys = &device.keys;
    let Some(key) = keys.iter().rev().find(|key| key.key.valid_from <= record.sequence) else {
        let first = keys.first().map_or(0, |key| key.key.valid_from);
        return Err(not_valid(format!("sequence {first} or later, where the first key begins")));
    };
    match key.revoked_from {
        Some(revoked_from) if record.sequence >= revoked_from => {
            Err(not_valid(format!("a sequence below {revoked_from}, from which the key is revoked")))
        }
        _ => Ok((&key.key, device)),
    }
}

fn in_range(record: &AuditRecord, payload: &[u8]) -> Result<(), Refusal> {
    let refuse = |expected: String, actual| Err((RejectionCode::OutOfRange, expected.into(), actual));
    if payload.len() > MAX_PAYLOAD_BYTES {
        let expected = format!("a payload of at most {MAX_PAYLOAD_BYTES} bytes");
        return refuse(expected, CheckedValue::SizeBytes(payload.len()));
    }
    if record.sequence == 0 || record.sequence > MAX_SEQUENCE {
        let expected = format!("a sequence from 1 to {MAX_SEQUENCE}");
        return refuse(expected, CheckedValue::Sequence(record.sequence));
    }
    if record.timestamp_ms > MAX_SEQUENCE {
        let expected = format!("a timestamp_ms of at most {MAX_SEQUENCE}");
        return refuse(expected, CheckedValue::TimestampMs(record.timestamp_ms));
    }
    for (name, text) in [("device_id", &record.device_id), ("object_ref", &record.object_ref)] {
        if text.is_empty() || text.len() > MAX_ID_BYTES {
            let expected = format!("{name} of 1 to {MAX_ID_BYTES} bytes");
            return refuse(expected, CheckedValue::SizeBytes(text.len()));
        }
        if text.contains('\0') {
            return refuse(format!("{name} without the character U+0000"), "U+0000".into());
        }
    }
    Ok(())
}
