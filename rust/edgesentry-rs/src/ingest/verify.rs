//! Admission: everything that is asked of a record before a ledger takes it.
//!
//! What can be decided from the record, its payload and the device registry is decided by [`admit`]; only it makes
//! an [`Admitted`], and stores accept nothing else. What needs the chain's head is decided by [`Chain::decide`]
//! inside the ledger's transaction, under the lock on that head.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash, Head, RingKey, Signed, signed_message, verify_signatures};
use rayon::prelude::*;
use tracing::debug;

/// The largest `sequence` and `timestamp_ms` that a ledger holds: they are signed 64-bit there.
pub const LARGEST_NUMBER: u64 = i64::MAX as u64;
/// The longest `device_id` and `object_ref`, in bytes.
pub const LONGEST_TEXT: usize = 1024;
/// The largest payload, in bytes.
pub const LARGEST_PAYLOAD: usize = 64 << 20;

/// A record and its payload, as somebody sent them.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The signed record.
    pub record: Arc<AuditRecord>,
    /// The bytes that it commits to.
    pub payload: Bytes,
}

/// Why a record is not taken; the names are part of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejectionCode {
    /// The payload is not the one that the record commits to.
    PayloadHashMismatch,
    /// No key of the device is registered.
    UnknownDevice,
    /// The signature does not hold under the device's key.
    SignatureInvalid,
    /// Records before this one are missing.
    SequenceGap,
    /// The sequence lies behind the head, where the ledger holds no record to compare with.
    SequenceDuplicate,
    /// The record does not name the ledger's last record of the device as its previous one.
    PrevHashMismatch,
    /// Another record is already at this sequence.
    Fork,
    /// No key of the device is valid at this sequence, or the one that was is revoked.
    KeyNotValidAtSequence,
    /// A number or a text that the ledger cannot hold.
    OutOfRange,
    /// Another payload is already stored under the object reference. Services of earlier releases say so; this one gives
    /// each record a place of its own.
    ObjectConflict,
    /// The payload store cannot keep anything under the object reference. Services of earlier releases say so; this one
    /// does not store under object references.
    ObjectRefInvalid,
    /// A store can never keep the record or its payload, because of its size or a name in it.
    StoreRefused,
}

impl RejectionCode {
    /// Every code.
    pub const ALL: [RejectionCode; 12] = [
        RejectionCode::PayloadHashMismatch,
        RejectionCode::UnknownDevice,
        RejectionCode::SignatureInvalid,
        RejectionCode::SequenceGap,
        RejectionCode::SequenceDuplicate,
        RejectionCode::PrevHashMismatch,
        RejectionCode::Fork,
        RejectionCode::KeyNotValidAtSequence,
        RejectionCode::OutOfRange,
        RejectionCode::ObjectConflict,
        RejectionCode::ObjectRefInvalid,
        RejectionCode::StoreRefused,
    ];

    /// The stable name, such as `sequence_gap`.
    pub fn name(self) -> &'static str {
        match self {
            RejectionCode::PayloadHashMismatch => "payload_hash_mismatch",
            RejectionCode::UnknownDevice => "unknown_device",
            RejectionCode::SignatureInvalid => "signature_invalid",
            RejectionCode::SequenceGap => "sequence_gap",
            RejectionCode::SequenceDuplicate => "sequence_duplicate",
            RejectionCode::PrevHashMismatch => "prev_hash_mismatch",
            RejectionCode::Fork => "fork",
            RejectionCode::KeyNotValidAtSequence => "key_not_valid_at_sequence",
            RejectionCode::OutOfRange => "out_of_range",
            RejectionCode::ObjectConflict => "object_conflict",
            RejectionCode::ObjectRefInvalid => "object_ref_invalid",
            RejectionCode::StoreRefused => "store_refused",
        }
    }

    /// Whether it is certain that the device has signed the record: the checks that come before say nothing of that.
    pub fn is_signed(self) -> bool {
        match self {
            RejectionCode::OutOfRange
            | RejectionCode::PayloadHashMismatch
            | RejectionCode::UnknownDevice
            | RejectionCode::KeyNotValidAtSequence
            | RejectionCode::SignatureInvalid => false,
            RejectionCode::SequenceGap
            | RejectionCode::SequenceDuplicate
            | RejectionCode::PrevHashMismatch
            | RejectionCode::Fork
            | RejectionCode::ObjectConflict
            | RejectionCode::ObjectRefInvalid
            | RejectionCode::StoreRefused => true,
        }
    }

    /// The code of a name.
    pub fn by_name(name: &str) -> Option<RejectionCode> {
        RejectionCode::ALL.into_iter().find(|code| code.name() == name)
    }
}

/// A record that is not taken, and why: an entry of the operation log, with the record as evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Why.
    pub code: RejectionCode,
    /// What the check expected.
    pub expected: String,
    /// What it found.
    pub actual: String,
    /// The record.
    pub record: Arc<AuditRecord>,
}

/// What became of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is in the ledger, durably.
    Accepted,
    /// It was in the ledger already, the same record; success to the sender.
    Duplicate,
    /// It is not taken, and will not be.
    Rejected(Rejection),
}

impl Outcome {
    /// `accepted`, `duplicate` or `rejected`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Rejected(_) => "rejected",
        }
    }

    /// Whether the ledger holds the record.
    pub fn is_success(&self) -> bool {
        !matches!(self, Outcome::Rejected(_))
    }

    /// The reason of a rejection.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Outcome::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}

/// A key of the device registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisteredKey {
    /// The key, its scheme and the first sequence that it signs.
    pub key: RingKey,
    /// The first sequence at which it is no longer accepted, whatever the signature.
    pub revoked_from: Option<u64>,
}

/// The keys of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceKeys {
    /// Grows with every change of the device's keys.
    pub version: i64,
    /// By first valid sequence.
    pub keys: Arc<[RegisteredKey]>,
    /// The last link of its chain when the keys were read: it says where a record may belong, and decides nothing.
    pub head: Head,
}

/// The keys of some devices.
pub type Registry = HashMap<Arc<str>, DeviceKeys>;

/// A record that passed every check but those of the chain; only [`admit`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    record: Arc<AuditRecord>,
    hash: Hash,
    payload: Bytes,
    keys_version: i64,
}

impl Admitted {
    /// The record.
    pub fn record(&self) -> &Arc<AuditRecord> {
        &self.record
    }

    /// Its record hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its payload, whose BLAKE3 is the record's `payload_hash`.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The version of the device's keys that the signature was checked under.
    pub fn keys_version(&self) -> i64 {
        self.keys_version
    }

    /// The record and payload again, to be admitted anew.
    pub(crate) fn to_submission(&self) -> Submission {
        Submission { record: Arc::clone(&self.record), payload: self.payload.clone() }
    }
}

/// Decides, on all threads, everything that needs no chain: numbers in range, payload hash, key, signature, in
/// this order; the first that fails is the rejection.
pub fn admit(submissions: Vec<Submission>, registry: &Registry) -> Vec<Result<Admitted, Rejection>> {
    let results = decide(submissions, registry);
    for rejection in results.iter().filter_map(|result| result.as_ref().err()) {
        tell_rejection(rejection);
    }
    results
}

/// [`admit`] without a word: what old keys reject is not rejected yet, and threads that work in parallel do not wait
/// for whoever listens.
pub(super) fn decide(submissions: Vec<Submission>, registry: &Registry) -> Vec<Result<Admitted, Rejection>> {
    edgesentry_formats::limit_shared_threads();
    // A thread is worth waking for some dozens of signatures, and a batch pays from some dozens on.
    let share = submissions.len().div_ceil(rayon::current_num_threads()).max(64);
    if submissions.len() <= share {
        return admit_slice(submissions, registry);
    }
    let mut shares = Vec::new();
    let mut rest = submissions;
    while rest.len() > share {
        let tail = rest.split_off(share);
        shares.push(std::mem::replace(&mut rest, tail));
    }
    shares.push(rest);
    shares.into_par_iter().map(|share| admit_slice(share, registry)).collect::<Vec<_>>().concat()
}

fn admit_slice(submissions: Vec<Submission>, registry: &Registry) -> Vec<Result<Admitted, Rejection>> {
    let mut results: Vec<Result<Admitted, Rejection>> = Vec::with_capacity(submissions.len());
    let mut keys = Vec::with_capacity(submissions.len());
    for submission in submissions {
        let record = submission.record;
        match key_of(&record, &submission.payload, registry) {
            Ok((key, keys_version)) => {
                let hash = record.hash();
                let admitted = Admitted { hash, record, payload: submission.payload, keys_version };
                keys.push((results.len(), key, signed_message(&admitted.record, key.scheme)));
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
                expected: format!("a signature of the {} scheme by key {}", key.scheme, key.key),
                actual: hex::encode(record.signature),
                record,
            });
        }
    }
    results
}

type Refusal = (RejectionCode, String, String);

fn key_of<'a>(
    record: &AuditRecord,
    payload: &[u8],
    registry: &'a Registry,
) -> Result<(&'a RingKey, i64), Refusal> {
    in_range(record, payload)?;
    let payload_hash = Hash::of(payload);
    if payload_hash != record.payload_hash {
        let code = RejectionCode::PayloadHashMismatch;
        return Err((code, record.payload_hash.to_string(), payload_hash.to_string()));
    }
    let Some(DeviceKeys { version, keys, .. }) = registry.get(record.device_id.as_str()) else {
        let expected = "a registered device".to_owned();
        return Err((RejectionCode::UnknownDevice, expected, format!("{:?}", record.device_id)));
    };
    let not_valid =
        |expected| (RejectionCode::KeyNotValidAtSequence, expected, format!("sequence {}", record.sequence));
    let Some(key) = keys.iter().rev().find(|key| key.key.valid_from <= record.sequence) else {
        let first = keys.first().map_or(0, |key| key.key.valid_from);
        return Err(not_valid(format!("sequence {first} or later, where the first key begins")));
    };
    match key.revoked_from {
        Some(revoked_from) if record.sequence >= revoked_from => {
            Err(not_valid(format!("a sequence below {revoked_from}, from which the key is revoked")))
        }
        _ => Ok((&key.key, *version)),
    }
}

/// Whether a device id or an object reference can be this.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TEXT && !text.contains('\0')
}

fn in_range(record: &AuditRecord, payload: &[u8]) -> Result<(), Refusal> {
    let refuse = |expected: String, actual: String| Err((RejectionCode::OutOfRange, expected, actual));
    if payload.len() > LARGEST_PAYLOAD {
        return refuse(
            format!("a payload of at most {LARGEST_PAYLOAD} bytes"),
            format!("{} bytes", payload.len()),
        );
    }
    if record.sequence == 0 || record.sequence > LARGEST_NUMBER {
        return refuse(format!("a sequence from 1 to {LARGEST_NUMBER}"), record.sequence.to_string());
    }
    if record.timestamp_ms > LARGEST_NUMBER {
        return refuse(
            format!("a timestamp_ms of at most {LARGEST_NUMBER}"),
            record.timestamp_ms.to_string(),
        );
    }
    for (name, text) in [("device_id", &record.device_id), ("object_ref", &record.object_ref)] {
        if text.is_empty() || text.len() > LONGEST_TEXT {
            let expected = format!("{name} of 1 to {LONGEST_TEXT} bytes");
            return refuse(expected, format!("{} bytes", text.len()));
        }
        if text.contains('\0') {
            return refuse(format!("{name} without the character U+0000"), "U+0000".to_owned());
        }
    }
    Ok(())
}

/// One chain as a ledger sees it inside its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The last link; sequence 0 and a zero hash before the first record.
    pub head: Head,
}

impl Chain {
    /// A chain without records.
    pub const EMPTY: Chain = Chain { head: Head { sequence: 0, hash: Hash::ZERO } };

    /// Decides whether `admitted` continues the chain, and if so, moves the head onto it.
    ///
    /// `held` is the hash of the record that the ledger holds at this sequence. The service tells of it when it is
    /// committed.
    pub fn decide(&mut self, admitted: &Admitted, held: Option<Hash>) -> Outcome {
        let outcome = self.judge(admitted, held);
        if outcome == Outcome::Accepted {
            self.head = Head { sequence: admitted.record.sequence, hash: admitted.hash };
        }
        outcome
    }

    /// [`Chain::decide`], and the head stays.
    pub fn judge(&self, admitted: &Admitted, held: Option<Hash>) -> Outcome {
        let record = &admitted.record;
        let next = self.head.sequence + 1;
        let reject = |code, expected: &dyn fmt::Display, actual: &dyn fmt::Display| {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            Outcome::Rejected(Rejection { code, expected, actual, record: Arc::clone(record) })
        };
        match (record.sequence.cmp(&next), held) {
            (Ordering::Greater, _) => reject(RejectionCode::SequenceGap, &next, &record.sequence),
            (Ordering::Less, Some(hash)) if hash == admitted.hash => Outcome::Duplicate,
            (Ordering::Less, Some(hash)) => reject(RejectionCode::Fork, &hash, &admitted.hash),
            (Ordering::Less, None) => reject(RejectionCode::SequenceDuplicate, &next, &record.sequence),
            (Ordering::Equal, _) if record.prev_record_hash != self.head.hash => {
                reject(RejectionCode::PrevHashMismatch, &self.head.hash, &record.prev_record_hash)
            }
            (Ordering::Equal, _) => Outcome::Accepted,
        }
    }
}

/// Tells what the verification has found, once it is certain that it stands.
pub(super) fn tell(record: &AuditRecord, outcome: &Outcome) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match outcome {
        Outcome::Accepted => debug!(device_id, sequence, "record verified and accepted"),
        Outcome::Duplicate => debug!(device_id, sequence, "duplicate record rejected"),
        Outcome::Rejected(rejection) => tell_rejection(rejection),
    }
}

fn tell_rejection(Rejection { code, expected, record, .. }: &Rejection) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match code {
        RejectionCode::SignatureInvalid => debug!(device_id, sequence, "signature verification failed"),
        RejectionCode::Fork => debug!(device_id, sequence, "duplicate record rejected"),
        RejectionCode::SequenceGap | RejectionCode::SequenceDuplicate => {
            // The next sequence of the chain, as `judge` has written it.
            let expected = expected.parse::<u64>().unwrap_or_default();
            debug!(device_id, expected, actual = sequence, "sequence out of order");
        }
        RejectionCode::PrevHashMismatch => {
            debug!(device_id, sequence, "prev_record_hash mismatch — chain broken");
        }
        _ => {}
    }
}
