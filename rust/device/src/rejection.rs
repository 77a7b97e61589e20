//! The outcome of a record, and the reasons of a rejection.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash};

/// Why a record is rejected; the names are part of the interface. Exhaustive: every place that decides by the reason, such
/// as the HTTP status or the evidence that is kept, must decide a new one.
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
    /// The record states a new key of its device that the service does not take.
    SuccessionInvalid,
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
    pub const ALL: [RejectionCode; 13] = [
        RejectionCode::PayloadHashMismatch,
        RejectionCode::UnknownDevice,
        RejectionCode::SignatureInvalid,
        RejectionCode::SequenceGap,
        RejectionCode::SequenceDuplicate,
        RejectionCode::PrevHashMismatch,
        RejectionCode::Fork,
        RejectionCode::KeyNotValidAtSequence,
        RejectionCode::SuccessionInvalid,
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
            RejectionCode::SuccessionInvalid => "succession_invalid",
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
            | RejectionCode::SuccessionInvalid
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

/// A value that a check expected or found. Only people read the text of its `Display`: programs match on the variant.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CheckedValue {
    /// A sequence number.
    Sequence(u64),
    /// A time, Unix milliseconds.
    TimestampMs(u64),
    /// The size of a text or of a payload.
    SizeBytes(usize),
    /// A hash.
    Hash(Hash),
    /// A signature.
    Signature(Box<[u8; 64]>),
    /// Words: a condition, or the text of a service on the network.
    Text(String),
}

impl fmt::Display for CheckedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckedValue::Sequence(number) | CheckedValue::TimestampMs(number) => write!(f, "{number}"),
            CheckedValue::SizeBytes(size) => write!(f, "{size} bytes"),
            CheckedValue::Hash(hash) => write!(f, "{hash}"),
            CheckedValue::Signature(bytes) => f.write_str(&hex::encode(bytes.as_slice())),
            CheckedValue::Text(text) => f.write_str(text),
        }
    }
}

impl From<Hash> for CheckedValue {
    fn from(hash: Hash) -> CheckedValue {
        CheckedValue::Hash(hash)
    }
}

impl From<String> for CheckedValue {
    fn from(text: String) -> CheckedValue {
        CheckedValue::Text(text)
    }
}

impl From<&str> for CheckedValue {
    fn from(text: &str) -> CheckedValue {
        CheckedValue::Text(text.to_owned())
    }
}

/// A rejected record and the reason: an entry of the operation log, with the record as evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The reason.
    pub code: RejectionCode,
    /// What the check expected.
    pub expected: CheckedValue,
    /// What the check found.
    pub actual: CheckedValue,
    /// The record.
    pub record: Arc<AuditRecord>,
}

/// The kind of an [`Outcome`], under its name in JSON and SQL. Exhaustive: every place that acts on an outcome must decide
/// about each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutcomeKind {
    /// The ledger has taken the record.
    Accepted,
    /// The ledger held the same record already.
    Duplicate,
    /// The record is not taken, and will not be.
    Rejected,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: [OutcomeKind; 3] = [OutcomeKind::Accepted, OutcomeKind::Duplicate, OutcomeKind::Rejected];

    /// The stable name: `accepted`, `duplicate` or `rejected`.
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeKind::Accepted => "accepted",
            OutcomeKind::Duplicate => "duplicate",
            OutcomeKind::Rejected => "rejected",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OutcomeKind {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<OutcomeKind, UnknownOutcome> {
        let known = OutcomeKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| UnknownOutcome(text.chars().take(60).collect()))
    }
}

/// Not the name of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown outcome {0:?}; expected accepted, duplicate or rejected")]
pub struct UnknownOutcome(String);

/// The outcome of a record. Exhaustive, like its [`OutcomeKind`].
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
    /// Its kind.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Outcome::Accepted => OutcomeKind::Accepted,
            Outcome::Duplicate => OutcomeKind::Duplicate,
            Outcome::Rejected(_) => OutcomeKind::Rejected,
        }
    }

    /// `accepted`, `duplicate` or `rejected`.
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_the_operation_log_has_them() {
        let texts = [
            (CheckedValue::Sequence(7), "7".to_owned()),
            (CheckedValue::TimestampMs(1_700_000_000_000), "1700000000000".to_owned()),
            (CheckedValue::SizeBytes(12), "12 bytes".to_owned()),
            (Hash::ZERO.into(), "0".repeat(64)),
            (CheckedValue::Signature(Box::new([0xab; 64])), "ab".repeat(64)),
            ("a registered device".into(), "a registered device".to_owned()),
        ];
        for (value, text) in texts {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn outcomes_are_read_by_their_names_alone() {
        for kind in OutcomeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for text in ["", "Accepted", "error", "lost"] {
            assert!(text.parse::<OutcomeKind>().unwrap_err().to_string().contains("accepted"), "{text}");
        }
    }
}
