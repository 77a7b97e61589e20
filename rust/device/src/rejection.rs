//! What becomes of a record, and why one is not taken.

use std::sync::Arc;

use edgesentry_chain::AuditRecord;

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
