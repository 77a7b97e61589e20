//! The typed leaves of an EdgeSentry log.

use edgesentry_chain::canonical::{CanonicalError, Reader, write_text, write_varint};
use edgesentry_chain::{AuditRecord, Hash, Head, Scheme};
use sha2::{Digest, Sha256};

use crate::bundle::MAX_ENTRY_BYTES;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::TreeHash;

const RECORD: u8 = 0x01;
const HEADS: u8 = 0x02;
const KEY: u8 = 0x03;
const REVOKED: u8 = 0x04;
const ERASED: u8 = 0x05;
const OPENED: u8 = 0x06;

/// The reason why bytes are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Empty: every leaf starts with its kind.
    #[error("a leaf is empty, expected its kind in the first byte")]
    Empty,
    /// Longer than the limit of an entry bundle.
    #[error("a leaf has {0} bytes, the limit is {MAX_ENTRY_BYTES}")]
    TooLong(usize),
    /// The body does not match the kind.
    #[error("the body of a leaf of kind {kind:#04x} is malformed: {source}")]
    Body {
        /// The kind.
        kind: u8,
        /// The cause.
        source: CanonicalError,
    },
    /// A signature scheme other than 0 and 1.
    #[error("a key leaf has signature scheme {0}, expected 0 (payload-hash) or 1 (record)")]
    Scheme(u8),
    /// The origin or the previous log of an opened leaf is invalid.
    #[error("an opened leaf is not valid: {0}")]
    Opened(#[from] CheckpointError),
}

/// A leaf of a log. The first byte is its kind; the body has the encoding of the canonical bytes of a record.
///
/// ```
/// use edgesentry_chain::{Device, Scheme};
/// use edgesentry_log::Leaf;
/// let record = Device::from_seed("lift-01", [7; 32], Scheme::Record).sign(1_700_000_001_000, b"door", "1.bin")?;
/// let bytes = Leaf::Record(record.clone()).to_bytes();
/// assert_eq!(bytes, [&[1], record.canonical_bytes().as_slice()].concat());
/// assert_eq!(Leaf::parse(&bytes)?, Leaf::Record(record));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Leaf {
    /// 01: a record, its canonical bytes.
    Record(AuditRecord),
    /// 02: the heads of all devices; the last leaf of every checkpoint.
    Heads(HeadsLeaf),
    /// 03: a key of a device.
    Key(KeyLeaf),
    /// 04: the keys of a device are revoked.
    Revoked(RevokedLeaf),
    /// 05: a payload was erased.
    Erased(ErasedLeaf),
    /// 06: the log was opened; leaf 0 and no other.
    Opened(OpenedLeaf),
    /// Any other kind. It is hashed and counted, but its content is not checked.
    Unknown {
        /// The first byte.
        kind: u8,
        /// The bytes after it.
        body: Vec<u8>,
    },
}

/// The state of all devices in a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadsLeaf {
    /// Leaves of kind 01 before this one.
    pub records: u64,
    /// Devices in the heads tree.
    pub devices: u64,
    /// The root of this tree: see [`HeadsTree`](crate::HeadsTree).
    pub heads_root: TreeHash,
    /// The time of the batch, Unix milliseconds by the clock of the log.
    pub at_ms: u64,
}

/// A key of a device, valid from a sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyLeaf {
    /// The device.
    pub device_id: String,
    /// The first sequence that the key signs.
    pub valid_from: u64,
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
    /// The scheme of its signatures.
    pub scheme: Scheme,
    /// The head after which the chain starts, unless at sequence 1.
    pub start: Option<Head>,
    /// The time of registration, Unix milliseconds by the clock of the service.
    pub at_ms: u64,
}

/// The keys of a device are no longer valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevokedLeaf {
    /// The device.
    pub device_id: String,
    /// The first sequence at which they are not valid.
    pub revoked_from: u64,
    /// The time, Unix milliseconds by the clock of the service.
    pub at_ms: u64,
}

/// A payload was erased. Its record remains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasedLeaf {
    /// The device.
    pub device_id: String,
    /// The sequence of the record.
    pub sequence: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash,
    /// The reason, in the operator's words.
    pub reason: String,
    /// The time, Unix milliseconds by the clock of the service.
    pub at_ms: u64,
}

/// The start of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedLeaf {
    /// The name of the log.
    pub origin: String,
    /// Records of the ledger from before the log existed.
    pub records_before: u64,
    /// The last checkpoint of the log that this one replaces.
    pub previous: Option<Checkpoint>,
    /// The time, Unix milliseconds by the clock of the service.
    pub at_ms: u64,
}

impl Leaf {
    /// The kind of a record.
    pub(crate) const RECORD: u8 = RECORD;
    /// The kind of an erased payload.
    pub(crate) const ERASED: u8 = ERASED;

    /// Parses a leaf.
    ///
    /// # Errors
    /// The bytes are not the output of [`Leaf::to_bytes`] for any leaf.
    pub fn parse(bytes: &[u8]) -> Result<Leaf, LeafError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(LeafError::TooLong(bytes.len()));
        }
        let (&kind, body) = bytes.split_first().ok_or(LeafError::Empty)?;
        let malformed = |source| LeafError::Body { kind, source };
        let mut reader = Reader::new(body);
        let leaf = match kind {
            RECORD => return AuditRecord::from_canonical_bytes(body).map(Leaf::Record).map_err(malformed),
            HEADS => heads(&mut reader).map(Leaf::Heads).map_err(malformed)?,
            KEY => key(&mut reader)?,
            REVOKED => revoked(&mut reader).map(Leaf::Revoked).map_err(malformed)?,
            ERASED => erased(&mut reader).map(Leaf::Erased).map_err(malformed)?,
            OPENED => opened(&mut reader)?,
            _ => return Ok(Leaf::Unknown { kind, body: body.to_vec() }),
        };
        reader.finish().map_err(malformed)?;
        Ok(leaf)
    }

    /// Returns its kind: the first byte.
    pub fn kind(&self) -> u8 {
        match self {
            Leaf::Record(_) => RECORD,
            Leaf::Heads(_) => HEADS,
            Leaf::Key(_) => KEY,
            Leaf::Revoked(_) => REVOKED,
            Leaf::Erased(_) => ERASED,
            Leaf::Opened(_) => OPENED,
            Leaf::Unknown { kind, .. } => *kind,
        }
    }

    /// Returns the hashed bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.kind()];
        match self {
            Leaf::Record(record) => record.write_canonical_bytes(&mut out),
            Leaf::Heads(leaf) => {
                write_varint(&mut out, leaf.records);
                write_varint(&mut out, leaf.devices);
                out.extend_from_slice(&leaf.heads_root.0);
                write_varint(&mut out, leaf.at_ms);
            }
            Leaf::Key(leaf) => write_key(&mut out, leaf),
            Leaf::Revoked(leaf) => {
                write_text(&mut out, &leaf.device_id);
                write_varint(&mut out, leaf.revoked_from);
                write_varint(&mut out, leaf.at_ms);
            }
            Leaf::Erased(leaf) => {
                write_text(&mut out, &leaf.device_id);
                write_varint(&mut out, leaf.sequence);
                out.extend_from_slice(leaf.payload_hash.as_bytes());
                write_text(&mut out, &leaf.reason);
                write_varint(&mut out, leaf.at_ms);
            }
            Leaf::Opened(leaf) => write_opened(&mut out, leaf),
            Leaf::Unknown { body, .. } => out.extend_from_slice(body),
        }
        out
    }

    /// Returns the hash of the leaf in the tree.
    pub fn hash(&self) -> TreeHash {
        TreeHash::of_leaf(&self.to_bytes())
    }
}

/// Returns the leaf hash of a record, from its canonical bytes, without a copy.
///
/// ```
/// use edgesentry_chain::{Device, Scheme};
/// use edgesentry_log::{Leaf, leaf_hash_of_record};
/// let record = Device::from_seed("lift-01", [7; 32], Scheme::Record).sign(1_700_000_001_000, b"door", "1.bin")?;
/// assert_eq!(leaf_hash_of_record(&record.canonical_bytes()), Leaf::Record(record).hash());
/// # Ok::<(), edgesentry_chain::SignError>(())
/// ```
pub fn leaf_hash_of_record(canonical_bytes: &[u8]) -> TreeHash {
    TreeHash(Sha256::new().chain_update([0, RECORD]).chain_update(canonical_bytes).finalize().into())
}

fn heads(reader: &mut Reader<'_>) -> Result<HeadsLeaf, CanonicalError> {
    Ok(HeadsLeaf {
        records: reader.varint()?,
        devices: reader.varint()?,
        heads_root: TreeHash(reader.array()?),
        at_ms: reader.varint()?,
    })
}

fn key(reader: &mut Reader<'_>) -> Result<Leaf, LeafError> {
    let malformed = |source| LeafError::Body { kind: KEY, source };
    let mut read = || -> Result<_, CanonicalError> {
        Ok((reader.text()?.to_owned(), reader.varint()?, reader.array()?, reader.byte()?))
    };
    let (device_id, valid_from, public_key, scheme) = read().map_err(malformed)?;
    let scheme = match scheme {
        0 => Scheme::PayloadHash,
        1 => Scheme::Record,
        other => return Err(LeafError::Scheme(other)),
    };
    let mut read = || -> Result<_, CanonicalError> {
        let start = match reader.option()? {
            true => Some(Head { sequence: reader.varint()?, hash: Hash(reader.array()?) }),
            false => None,
        };
        Ok((start, reader.varint()?))
    };
    let (start, at_ms) = read().map_err(malformed)?;
    Ok(Leaf::Key(KeyLeaf { device_id, valid_from, public_key, scheme, start, at_ms }))
}

fn write_key(out: &mut Vec<u8>, leaf: &KeyLeaf) {
    write_text(out, &leaf.device_id);
    write_varint(out, leaf.valid_from);
    out.extend_from_slice(&leaf.public_key);
    out.push(match leaf.scheme {
        Scheme::PayloadHash => 0,
        Scheme::Record => 1,
    });
    out.push(leaf.start.is_some().into());
    if let Some(start) = leaf.start {
        write_varint(out, start.sequence);
        out.extend_from_slice(start.hash.as_bytes());
    }
    write_varint(out, leaf.at_ms);
}

fn revoked(reader: &mut Reader<'_>) -> Result<RevokedLeaf, CanonicalError> {
    Ok(RevokedLeaf {
        device_id: reader.text()?.to_owned(),
        revoked_from: reader.varint()?,
        at_ms: reader.varint()?,
    })
}

fn erased(reader: &mut Reader<'_>) -> Result<ErasedLeaf, CanonicalError> {
    Ok(ErasedLeaf {
        device_id: reader.text()?.to_owned(),
        sequence: reader.varint()?,
        payload_hash: Hash(reader.array()?),
        reason: reader.text()?.to_owned(),
        at_ms: reader.varint()?,
    })
}

fn opened(reader: &mut Reader<'_>) -> Result<Leaf, LeafError> {
    let mut read = || -> Result<_, CanonicalError> {
        let (origin, records_before) = (reader.text()?, reader.varint()?);
        let previous = match reader.option()? {
            true => Some((reader.text()?, reader.varint()?, TreeHash(reader.array()?))),
            false => None,
        };
        Ok((origin, records_before, previous, reader.varint()?))
    };
    let (origin, records_before, previous, at_ms) =
        read().map_err(|source| LeafError::Body { kind: OPENED, source })?;
    // An origin follows the same rules as in a checkpoint.
    Checkpoint::new(origin, 0, TreeHash::EMPTY)?;
    let previous = previous.map(|(origin, size, root)| Checkpoint::new(origin, size, root)).transpose()?;
    Ok(Leaf::Opened(OpenedLeaf { origin: origin.to_owned(), records_before, previous, at_ms }))
}

fn write_opened(out: &mut Vec<u8>, leaf: &OpenedLeaf) {
    write_text(out, &leaf.origin);
    write_varint(out, leaf.records_before);
    out.push(leaf.previous.is_some().into());
    if let Some(previous) = &leaf.previous {
        write_text(out, previous.origin());
        write_varint(out, previous.size());
        out.extend_from_slice(&previous.root().0);
    }
    write_varint(out, leaf.at_ms);
}
