//! Findings: verdicts about evidence (docs/reference/spec.md, step 7; one page per code under docs/findings/).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::escape;
use crate::hash::Hash;
use crate::key::Scheme;
use crate::level::{Level, ProvidedBy};

macro_rules! finding_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $summary:literal;)*) => {
        /// The kind of a failed check. The names are stable: scripts may rely on them. Exhaustive: each code has a level
        /// and a page.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum FindingCode {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl FindingCode {
            /// Every code, in the order of the docs.
            pub const ALL: &'static [FindingCode] = &[$(FindingCode::$variant,)*];

            /// Returns the stable name, such as `prev_hash_mismatch`.
            pub fn name(self) -> &'static str {
                match self { $(FindingCode::$variant => $name,)* }
            }

            /// Returns a one-line summary.
            pub fn summary(self) -> &'static str {
                match self { $(FindingCode::$variant => $summary,)* }
            }
        }
    };
}

finding_codes! {
    /// The link to the previous record does not hold.
    PrevHashMismatch = "prev_hash_mismatch", "the record does not continue the record before it";
    /// Sequence numbers are missing.
    SequenceGap = "sequence_gap", "records are missing before this one";
    /// The same record appears again.
    SequenceDuplicate = "sequence_duplicate", "the same record appears again";
    /// A sequence is below the previous one.
    SequenceOutOfOrder = "sequence_out_of_order", "the sequence runs backwards";
    /// Two different records claim one sequence.
    Fork = "fork", "two different records claim one sequence";
    /// A chain has a wrong start.
    FirstRecordNotGenesis = "first_record_not_genesis", "the chain does not begin at its first record";
    /// The signature does not hold under the device's key.
    SignatureInvalid = "signature_invalid", "the signature does not hold under the device's key";
    /// The key ring has no key for the device.
    UnknownDevice = "unknown_device", "the key ring has no key for this device";
    /// The signature belongs to a key that is not valid here.
    KeyNotValidAtSequence = "key_not_valid_at_sequence", "the key is not valid at this sequence";
    /// The record states a new key of its device that does not hold, or that contradicts the key ring.
    SuccessionInvalid = "succession_invalid", "the succession of the key does not hold";
    /// The payload does not match the hash in the record.
    PayloadHashMismatch = "payload_hash_mismatch", "the payload is not the one the record commits to";
    /// The payload store has no such payload.
    PayloadMissing = "payload_missing", "the payload is not in the payload store";
    /// The chain does not contain a given head of it.
    HeadMismatch = "head_mismatch", "the chain does not reach the head that was given for it";
    /// A device of the given heads has no record.
    DeviceMissing = "device_missing", "a device for which a head was given has no record";
    /// An entry that is not a record.
    RecordMalformed = "record_malformed", "the entry is not an audit record";
    /// No key of the policy has signed the checkpoint, or a signature is damaged.
    CheckpointUntrusted = "checkpoint_untrusted", "the policy does not trust the signatures of the checkpoint";
    /// Too few witnesses have signed the checkpoint.
    WitnessQuorumMissing = "witness_quorum_missing", "too few witnesses have signed the checkpoint";
    /// The quorum signed the checkpoint too long ago.
    CheckpointStale = "checkpoint_stale", "the witnesses signed the checkpoint too long ago";
    /// The records do not have the root of the checkpoint.
    CheckpointMismatch = "checkpoint_mismatch", "the records are not those of the checkpoint";
    /// The log does not continue the checkpoint that the auditor kept.
    CheckpointInconsistent = "checkpoint_inconsistent", "the log does not continue an earlier checkpoint";
    /// Records of the log are not in the input.
    LeafMissing = "leaf_missing", "records of the log are missing";
    /// A record is not in the log.
    NotIncluded = "not_included", "the record is not in the log";
    /// The heads in the log are not those of its records.
    HeadsMismatch = "heads_mismatch", "the heads in the log are not those of its records";
    /// The log has never had a key of the key ring.
    KeyNotLogged = "key_not_logged", "the log has no such key of the device";
    /// A time stamp does not show that the checkpoint existed before its time.
    TimestampInvalid = "timestamp_invalid", "the time stamp of the checkpoint does not hold";
    /// A bundle, or one of its files, is not of its form.
    BundleMalformed = "bundle_malformed", "the bundle, or one of its files, is malformed";
}

impl FindingCode {
    /// Returns the level whose check failed.
    pub fn level(self) -> Level {
        match self {
            FindingCode::PrevHashMismatch
            | FindingCode::SequenceGap
            | FindingCode::SequenceDuplicate
            | FindingCode::SequenceOutOfOrder
            | FindingCode::Fork
            | FindingCode::FirstRecordNotGenesis
            | FindingCode::RecordMalformed => Level::Links,
            FindingCode::SignatureInvalid
            | FindingCode::UnknownDevice
            | FindingCode::KeyNotValidAtSequence
            | FindingCode::SuccessionInvalid => Level::Signatures,
            FindingCode::PayloadHashMismatch | FindingCode::PayloadMissing => Level::Payloads,
            FindingCode::HeadMismatch | FindingCode::DeviceMissing => Level::Heads,
            FindingCode::CheckpointUntrusted
            | FindingCode::WitnessQuorumMissing
            | FindingCode::CheckpointStale
            | FindingCode::CheckpointMismatch
            | FindingCode::CheckpointInconsistent
            | FindingCode::LeafMissing
            | FindingCode::NotIncluded
            | FindingCode::HeadsMismatch
            | FindingCode::KeyNotLogged
            | FindingCode::TimestampInvalid
            | FindingCode::BundleMalformed => Level::Log,
        }
    }

    /// Returns the place of the code in lists. A changed record breaks the link behind it, so its own finding comes
    /// before those of links.
    pub fn rank(self) -> u8 {
        match self {
            FindingCode::RecordMalformed | FindingCode::BundleMalformed => 0,
            FindingCode::SignatureInvalid
            | FindingCode::PayloadHashMismatch
            | FindingCode::KeyNotValidAtSequence
            | FindingCode::SuccessionInvalid
            | FindingCode::UnknownDevice
            | FindingCode::PayloadMissing => 1,
            FindingCode::SequenceGap
            | FindingCode::SequenceDuplicate
            | FindingCode::SequenceOutOfOrder
            | FindingCode::Fork
            | FindingCode::FirstRecordNotGenesis => 2,
            FindingCode::PrevHashMismatch => 3,
            FindingCode::HeadMismatch
            | FindingCode::DeviceMissing
            | FindingCode::CheckpointUntrusted
            | FindingCode::WitnessQuorumMissing
            | FindingCode::CheckpointStale
            | FindingCode::CheckpointMismatch
            | FindingCode::CheckpointInconsistent
            | FindingCode::LeafMissing
            | FindingCode::NotIncluded
            | FindingCode::HeadsMismatch
            | FindingCode::KeyNotLogged
            | FindingCode::TimestampInvalid => 4,
        }
    }

    /// Returns the address of its page.
    pub fn url(self) -> String {
        format!("{}/blob/main/docs/findings/{self}.md", env!("CARGO_PKG_REPOSITORY"))
    }

    /// Returns true if the fault of a record can break the link of the next one.
    pub(crate) fn breaks_links(self) -> bool {
        !matches!(self, FindingCode::UnknownDevice | FindingCode::PayloadMissing)
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FindingCode {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<FindingCode, UnknownCode> {
        let known = FindingCode::ALL.iter().find(|code| code.name() == text);
        known.copied().ok_or_else(|| UnknownCode(text.chars().take(60).collect()))
    }
}

/// The text is not the name of a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding code {0:?}")]
pub struct UnknownCode(String);

/// The expected or actual value of a check. Serialized as text, or in a binary format with its type.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(remote = "Evidence")]
#[non_exhaustive]
pub enum Evidence {
    /// A hash.
    Hash(Hash),
    /// A sequence number.
    Sequence(u64),
    /// A place in a chain.
    Head {
        /// The sequence.
        sequence: u64,
        /// The record hash.
        hash: Hash,
    },
    /// A place in a chain, as claimed by the side under test.
    ClaimedHead {
        /// The sequence.
        sequence: u64,
        /// The record hash.
        hash: Hash,
        /// The claimant.
        by: ProvidedBy,
    },
    /// A public key and its scheme.
    Key {
        /// The key.
        key: [u8; 32],
        /// The scheme.
        scheme: Scheme,
    },
    /// A signature that holds under the key, but only under a scheme for which the key is not registered.
    OtherScheme {
        /// The key.
        key: [u8; 32],
        /// The scheme under which the signature holds.
        scheme: Scheme,
    },
    /// A signature.
    Signature(#[serde(with = "signature")] Box<[u8; 64]>),
    /// Plain text.
    Text(Box<str>),
}

impl Evidence {
    pub(crate) fn text(text: impl Into<String>) -> Evidence {
        Evidence::Text(text.into().into_boxed_str())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Hash(hash) => write!(f, "{hash}"),
            Evidence::Sequence(sequence) => write!(f, "{sequence}"),
            Evidence::Head { sequence, hash } => write!(f, "sequence {sequence}, hash {hash}"),
            Evidence::ClaimedHead { sequence, hash, by } => {
                write!(f, "sequence {sequence}, hash {hash}, as claimed by {by}")
            }
            Evidence::Key { key, scheme } => write!(f, "a signature by key {} ({scheme})", hex::encode(key)),
            Evidence::OtherScheme { key, scheme } => write!(
                f,
                "a signature by key {} that holds under scheme {scheme}: {}",
                hex::encode(key),
                scheme.advice()
            ),
            Evidence::Signature(bytes) => write!(f, "signature {}", hex::encode(bytes.as_slice())),
            Evidence::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Evidence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            Evidence::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Evidence, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Evidence::Text(Deserialize::deserialize(deserializer)?))
        } else {
            Evidence::deserialize(deserializer)
        }
    }
}

/// The bytes of a signature: serde does not support arrays of this length.
mod signature {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        let (first, second) = bytes.split_at(32);
        (<&[u8; 32]>::try_from(first).unwrap_or(&[0; 32]), <&[u8; 32]>::try_from(second).unwrap_or(&[0; 32]))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8; 64]>, D::Error> {
        let (first, second): ([u8; 32], [u8; 32]) = Deserialize::deserialize(deserializer)?;
        let mut bytes = Box::new([0; 64]);
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Ok(bytes)
    }
}

/// The earlier finding that probably explains a later one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Its code.
    pub code: FindingCode,
    /// The sequence of its record; none for a malformed entry.
    pub sequence: Option<u64>,
    /// The position of its record in the input.
    pub index: u64,
}

/// A record's place in one of several inputs, or a whole input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Location {
    /// The name of the input, such as a file path.
    pub input: Arc<str>,
    /// The number of the record in that input, from 1; 0 for the input as a whole.
    pub record: u64,
}

/// A failed check: its place, the expected value and the actual one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: FindingCode,
    /// The device; none if the entry is too malformed to have one.
    pub device_id: Option<Arc<str>>,
    /// The sequence that the record claims; that of the head for a missing device or a truncated chain.
    pub sequence: Option<u64>,
    /// The time that the record claims, Unix milliseconds; none without a record.
    pub timestamp_ms: Option<u64>,
    /// Position of the record in the input, from 0, over all files; none for a missing record.
    pub index: Option<u64>,
    /// The expected value.
    pub expected: Evidence,
    /// The actual value.
    pub actual: Evidence,
    /// Hash of the record as found; none without a record.
    pub record_hash: Option<Hash>,
    /// The earlier finding that probably explains this one.
    pub cause: Option<Cause>,
    /// The input that contains it, filled in by the reader of the inputs.
    pub location: Option<Location>,
    /// The previous record of the chain, against which it was checked.
    #[serde(skip)]
    pub(crate) predecessor: Option<u64>,
}

impl Finding {
    /// Returns the finding of an entry at position `index` that is not a record; `expected` and `actual` give the
    /// reason, with line or byte offset.
    pub fn malformed(index: u64, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
        Finding { index: Some(index), ..Finding::new(FindingCode::RecordMalformed, expected, actual) }
    }

    /// Returns a finding about no device and no record; the caller may fill them in.
    pub fn new(code: FindingCode, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
        Finding {
            code,
            device_id: None,
            sequence: None,
            timestamp_ms: None,
            index: None,
            expected: Evidence::text(expected),
            actual: Evidence::text(actual),
            record_hash: None,
            cause: None,
            location: None,
            predecessor: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(device_id) = &self.device_id {
            write!(f, " device {}", escape::quoted(device_id))?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, " sequence {sequence}")?;
        }
        let (expected, actual) = (self.expected.to_string(), self.actual.to_string());
        write!(f, ": expected {}, found {}", escape::sentence(&expected), escape::sentence(&actual))?;
        if let Some(cause) = &self.cause {
            write!(f, " (likely because of {}", cause.code)?;
            if let Some(sequence) = cause.sequence {
                write!(f, " at sequence {sequence}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
