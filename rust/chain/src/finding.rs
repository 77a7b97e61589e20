//! Findings: verdicts about evidence (docs/reference/spec.md, step 7; one page per code under docs/findings/).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::escape;
use crate::hash::Hash;
use crate::key::Scheme;
use crate::level::ProvidedBy;

macro_rules! finding_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $summary:literal;)*) => {
        /// What a failed check is called. The names are stable: scripts may rely on them. Exhaustive: each code has a level
        /// and a page.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum FindingCode {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl FindingCode {
            /// Every code, in the order of the docs.
            pub const ALL: &'static [FindingCode] = &[$(FindingCode::$variant,)*];

            /// The stable name, such as `prev_hash_mismatch`.
            pub fn name(self) -> &'static str {
                match self { $(FindingCode::$variant => $name,)* }
            }

            /// One line on what was found.
            pub fn summary(self) -> &'static str {
                match self { $(FindingCode::$variant => $summary,)* }
            }
        }
    };
}

finding_codes! {
    /// The link to the record before does not hold.
    PrevHashMismatch = "prev_hash_mismatch", "the record does not continue the record before it";
    /// Sequence numbers are missing.
    SequenceGap = "sequence_gap", "records are missing before this one";
    /// The same record once more.
    SequenceDuplicate = "sequence_duplicate", "the same record appears again";
    /// A sequence below the one before.
    SequenceOutOfOrder = "sequence_out_of_order", "the sequence runs backwards";
    /// Two different records at one sequence.
    Fork = "fork", "two different records claim one sequence";
    /// A chain that does not begin where it should.
    FirstRecordNotGenesis = "first_record_not_genesis", "the chain does not begin at its first record";
    /// The signature does not hold under the device's key.
    SignatureInvalid = "signature_invalid", "the signature does not hold under the device's key";
    /// No key for the device.
    UnknownDevice = "unknown_device", "the key ring has no key for this device";
    /// The signature belongs to a key that is not valid here.
    KeyNotValidAtSequence = "key_not_valid_at_sequence", "the key is not valid at this sequence";
    /// The payload is not what the record commits to.
    PayloadHashMismatch = "payload_hash_mismatch", "the payload is not the one the record commits to";
    /// The payload is not there.
    PayloadMissing = "payload_missing", "the payload is not in the payload store";
    /// The chain does not contain a head that was given for it.
    HeadMismatch = "head_mismatch", "the chain does not reach the head that was given for it";
    /// A device of the given heads has no record.
    DeviceMissing = "device_missing", "a device for which a head was given has no record";
    /// An entry that is not a record.
    RecordMalformed = "record_malformed", "the entry is not an audit record";
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

/// Not the name of a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no finding is called {0:?}")]
pub struct UnknownCode(String);

/// What a check expected or found. Serialized as text, but in a binary format with its type.
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
        /// The record hash there.
        hash: Hash,
    },
    /// A place in a chain as the side under test claims it.
    ClaimedHead {
        /// The sequence.
        sequence: u64,
        /// The record hash there.
        hash: Hash,
        /// Who claims it.
        by: ProvidedBy,
    },
    /// A public key and what it signs.
    Key {
        /// The key.
        key: [u8; 32],
        /// What it signs.
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
    /// Words.
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

/// The bytes of a signature, of which serde knows no array so long.
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

/// A record's place in one of several inputs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Location {
    /// The name of the input, such as a file path.
    pub input: Arc<str>,
    /// The number of the record in that input, from 1.
    pub record: u64,
}

/// One failed check: where, what was expected, what was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: FindingCode,
    /// The device; none for an entry too broken to name one.
    pub device_id: Option<Arc<str>>,
    /// The sequence the record claims; for a missing device or a truncated chain that of the head.
    pub sequence: Option<u64>,
    /// The time that the record claims, Unix milliseconds; none where there is no record.
    pub timestamp_ms: Option<u64>,
    /// Position of the record in the input, from 0, over all files; none where the fault is an absence.
    pub index: Option<u64>,
    /// What the check expected.
    pub expected: Evidence,
    /// What it found.
    pub actual: Evidence,
    /// Hash of the record as found; none where there is no record.
    pub record_hash: Option<Hash>,
    /// The earlier finding that probably explains this one.
    pub cause: Option<Cause>,
    /// Which input it stands in; filled in by whoever read the inputs.
    pub location: Option<Location>,
    /// The record before this one in its chain, against which it was checked.
    #[serde(skip)]
    pub(crate) predecessor: Option<u64>,
}

impl Finding {
    /// An entry at position `index` that is no record; `expected` and `actual` say why, with line or byte offset.
    pub fn malformed(index: u64, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
        Finding {
            code: FindingCode::RecordMalformed,
            device_id: None,
            sequence: None,
            timestamp_ms: None,
            index: Some(index),
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
