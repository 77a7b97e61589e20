//! The outcome of a record, and the reasons of a rejection.

use std::sync::Arc;

use edgesentry_chain::AuditRecord;

/// Why a record is rejected; the names are part of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejectionCode {
    /// The record commits to another payload.
    PayloadHashMismatch,
    /// No key of the device is registered.
    UnknownDevice,
    /// The signature is not valid under the device's key.
    SignatureInvalid,
    /// Records before this one are missing.
    SequenceGap,
    /// The sequence is at or behind the head, and the ledger holds no record there to compare with.
    SequenceDuplicate,
    /// The record does not name the ledger's last record of the device as its previous one.
    PrevHashMismatch,
    /// The ledger holds another record at this sequence.
    Fork,
    /// No key of the device is valid at this sequence, or the one that was has been revoked.
    KeyNotValidAtSequence,
    /// A number or a text exceeds the limits of the ledger.
    OutOfRange,
    /// Another payload is already stored under the object reference. Only services of earlier releases report it; this
    /// one stores each payload under its record.
    ObjectConflict,
    /// The payload store cannot keep anything under the object reference. Only services of earlier releases report it;
    /// this one does not store under object references.
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

    /// Returns the stable name, such as `sequence_gap`.
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

    /// Returns true if the device has certainly signed the record: the checks before that of the signature prove
    /// nothing.
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

    /// Returns the code of a name.
    pub fn by_name(name: &str) -> Option<RejectionCode> {
        RejectionCode::ALL.into_iter().find(|code| code.name() == name)
    }
}

/// A rejected record and the reason: an entry of the operation log, with the record as evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The reason.
    pub code: RejectionCode,
    /// What the check expected.
    pub expected: String,
    /// What the check found.
    pub actual: String,
    /// The record.
    pub record: Arc<AuditRecord>,
}

/// The outcome of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The ledger holds the record durably.
    Accepted,
    /// The ledger already held the same record; success to the sender.
    Duplicate,
    /// The record is rejected for good.
    Rejected(Rejection),
}

impl Outcome {
    /// Returns `accepted`, `duplicate` or `rejected`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Rejected(_) => "rejected",
        }
    }

    /// Returns true if the ledger holds the record.
    pub fn is_success(&self) -> bool {
        !matches!(self, Outcome::Rejected(_))
    }

    /// Returns the reason of a rejection.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Outcome::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}
