//! The state of a device: the end of its chain and its keys.

use std::sync::Arc;

use edgesentry_chain::canonical::{CanonicalError, Reader, write_varint};
use edgesentry_chain::{AuditRecord, FindingCode, Hash, Head, PublicKey, RingKey, Scheme, Succession};

use crate::batch::revoked_by;
use crate::hash::TreeHash;

/// A contradiction of a record: code, expected and actual content.
type Wrong = (FindingCode, String, String);

/// A device of the log.
#[derive(Clone, Default, Debug)]
pub(super) struct Device {
    /// The last record.
    pub(super) head: Option<Head>,
    /// The head after which the chain starts.
    pub(super) start: Option<Head>,
    /// The keys by their first sequence.
    pub(super) keys: Vec<SigningKey>,
    /// The key that the last record states as the next one, if it is a succession that holds.
    pub(super) stated: Option<Stated>,
    /// True if the stored state is out of date.
    pub(super) is_changed: bool,
    /// The place in the heads tree, and the hash of its entry there, if they are known.
    pub(super) place: Option<usize>,
    pub(super) entry: Option<TreeHash>,
}

/// A key that a succession states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stated {
    valid_from: u64,
    public_key: [u8; 32],
    scheme: Scheme,
}

/// The origin of a key that has replaced another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Replaced {
    /// The old key signed its succession.
    ByDevice,
    /// No record states it.
    ByOperator,
}

/// A key of a device.
#[derive(Clone, Debug)]
pub(super) struct SigningKey {
    pub(super) valid_from: u64,
    pub(super) public_key: [u8; 32],
    /// `None` if it cannot be used.
    pub(super) key: Option<Arc<PublicKey>>,
    pub(super) scheme: Scheme,
    /// The batch of its leaf.
    pub(super) batch: u64,
    /// The index of its leaf.
    pub(super) index: u64,
    revoked_from: Option<u64>,
}

impl SigningKey {
    /// An estimate of its memory.
    pub(super) const BYTES: usize = 400;

    pub(super) fn new(
        valid_from: u64,
        public_key: [u8; 32],
        key: Option<PublicKey>,
        scheme: Scheme,
        batch: u64,
        index: u64,
    ) -> SigningKey {
        SigningKey {
            valid_from,
            public_key,
            key: key.map(Arc::new),
            scheme,
            batch,
            index,
            revoked_from: None,
        }
    }
}

impl Device {
    /// An estimate of its memory without keys and name.
    pub(super) const BYTES: usize = 256;

    /// Returns true if a key begins at this sequence.
    pub(super) fn has_key_from(&self, valid_from: u64) -> bool {
        self.keys.binary_search_by_key(&valid_from, |key| key.valid_from).is_ok()
    }

    /// Adds a key, and returns the one from the same sequence on that it replaces, which never signed or is the same one.
    /// A key that begins before the end of the chain is refused with the expected and the actual content: records are
    /// in the log under the keys before it.
    pub(super) fn add_key(
        &mut self,
        key: SigningKey,
        start: Option<Head>,
    ) -> Result<Option<SigningKey>, (String, String)> {
        if self.keys.is_empty() {
            self.start = self.start.or(start);
        } else if start != self.start {
            let shown = |start: Option<Head>| match start {
                Some(Head { sequence, hash }) => format!("a chain after sequence {sequence}, hash {hash}"),
                None => "a chain from sequence 1 on".to_owned(),
            };
            return Err((shown(self.start), shown(start)));
        }
        let shown = |key: &SigningKey| {
            let (from, public_key) = (key.valid_from, hex::encode(key.public_key));
            format!("key {public_key} under the {} scheme from sequence {from} on", key.scheme)
        };
        let last = self.head.map_or(0, |head| head.sequence);
        let is_behind = key.valid_from > last || self.keys.is_empty();
        match self.keys.binary_search_by_key(&key.valid_from, |key| key.valid_from) {
            Ok(at) => {
                let there = &mut self.keys[at];
                let is_same = (there.public_key, there.scheme) == (key.public_key, key.scheme);
                if is_same || is_behind {
                    Ok(Some(std::mem::replace(there, key)))
                } else {
                    Err((shown(there), shown(&key)))
                }
            }
            Err(_) if !is_behind => {
                Err((format!("a key from a sequence above {last} on, the last in the log"), shown(&key)))
            }
            Err(at) => {
                self.keys.insert(at, key);
                Ok(None)
            }
        }
    }

    /// Revokes the keys to which a leaf of this batch applies.
    pub(super) fn revoke(&mut self, revoked_from: u64, batch: u64) {
        for key in &mut self.keys {
            let revoked = revoked_by(key.valid_from, key.batch == batch, &[revoked_from]);
            key.revoked_from = key.revoked_from.into_iter().chain(revoked).min();
        }
    }

    /// Returns the key that signs a sequence.
    pub(super) fn key_at(&self, sequence: u64) -> Result<SigningKey, Wrong> {
        let Some(first) = self.keys.first() else {
            let expected = "a key of the device in the log before the record".to_owned();
            return Err((FindingCode::KeyNotLogged, expected, "none".to_owned()));
        };
        let not_valid = |expected: String| {
            Err((FindingCode::KeyNotValidAtSequence, expected, format!("sequence {sequence}")))
        };
        let Some(key) = self.keys.iter().rev().find(|key| key.valid_from <= sequence) else {
            return not_valid(format!("sequence {} or later, when the first key begins", first.valid_from));
        };
        match key.revoked_from {
            Some(from) if sequence >= from => {
                not_valid(format!("a sequence below {from}, from which the key is revoked"))
            }
            _ => Ok(key.clone()),
        }
    }

    /// Compares the key of a record with the key that the record before states. Returns the origin of the key if this is
    /// its first record and it has replaced another one.
    pub(super) fn replaced(&mut self, sequence: u64, key: &SigningKey) -> Result<Option<Replaced>, Wrong> {
        let stated = self.stated.take().filter(|stated| stated.valid_from == sequence);
        let is_new =
            key.valid_from == sequence && self.keys.first().is_some_and(|first| first.valid_from != sequence);
        let shown = |public_key: &[u8; 32], scheme: Scheme| {
            format!("key {} under the {scheme} scheme", hex::encode(public_key))
        };
        match stated {
            Some(stated) if (stated.public_key, stated.scheme) != (key.public_key, key.scheme) => Err((
                FindingCode::SuccessionInvalid,
                format!(
                    "{} from sequence {sequence} on, as the record before states",
                    shown(&stated.public_key, stated.scheme)
                ),
                shown(&key.public_key, key.scheme),
            )),
            Some(_) => Ok(is_new.then_some(Replaced::ByDevice)),
            None => Ok(is_new.then_some(Replaced::ByOperator)),
        }
    }

    /// Checks the succession that a record states, and keeps its key for the next record.
    pub(super) fn state(&mut self, record: &AuditRecord, key: &SigningKey) -> Result<(), Wrong> {
        let (Some(succession), Some(old)) = (Succession::of(record), &key.key) else { return Ok(()) };
        let old = RingKey { key: **old, scheme: key.scheme, valid_from: key.valid_from };
        let new = succession.and_then(|succession| succession.check(record, &old)).map_err(|error| {
            let (expected, actual) = error.evidence();
            (FindingCode::SuccessionInvalid, expected, actual)
        })?;
        let (valid_from, public_key, scheme) = (new.valid_from, *new.key.as_bytes(), new.scheme);
        self.stated = Some(Stated { valid_from, public_key, scheme });
        Ok(())
    }

    /// Appends a record to the chain. Returns the contradiction if it does not continue the chain.
    pub(super) fn link(&mut self, record: &AuditRecord, hash: Hash) -> Option<Wrong> {
        let before = self.head.or(self.start).unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
        let Head { sequence, hash: last } = before;
        let wrong = |code, expected: String, actual: String| Some((code, expected, actual));
        if self.head.is_some() && record.sequence <= sequence {
            let actual = format!("sequence {}", record.sequence);
            let code = match record.sequence == sequence {
                true if hash == last => FindingCode::SequenceDuplicate,
                true => FindingCode::Fork,
                false => FindingCode::SequenceOutOfOrder,
            };
            // The chain ends with its highest sequence.
            return wrong(code, format!("a sequence above {sequence}"), actual);
        }
        let is_first = self.head.is_none();
        self.head = Some(Head { sequence: record.sequence, hash });
        let is_next = Some(record.sequence) == sequence.checked_add(1);
        match (is_first, is_next, record.prev_record_hash == last) {
            (_, true, true) => None,
            (true, ..) => {
                let expected = format!("the record after sequence {sequence}, hash {last}");
                let actual =
                    format!("sequence {}, previous hash {}", record.sequence, record.prev_record_hash);
                wrong(FindingCode::FirstRecordNotGenesis, expected, actual)
            }
            (_, false, _) => wrong(
                FindingCode::SequenceGap,
                format!("sequence {}", sequence.saturating_add(1)),
                format!("sequence {}", record.sequence),
            ),
            (_, true, false) => wrong(
                FindingCode::PrevHashMismatch,
                format!("previous hash {last}"),
                format!("previous hash {}", record.prev_record_hash),
            ),
        }
    }

    /// Returns the state to store.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        for head in [self.head, self.start] {
            out.push(head.is_some().into());
            if let Some(head) = head {
                write_varint(&mut out, head.sequence);
                out.extend_from_slice(head.hash.as_bytes());
            }
        }
        write_varint(&mut out, self.keys.len() as u64);
        for key in &self.keys {
            write_varint(&mut out, key.valid_from);
            out.extend_from_slice(&key.public_key);
            out.push((key.scheme == Scheme::Record).into());
            write_varint(&mut out, key.batch);
            write_varint(&mut out, key.index);
            out.push(key.revoked_from.is_some().into());
            if let Some(from) = key.revoked_from {
                write_varint(&mut out, from);
            }
        }
        out.push(self.stated.is_some().into());
        if let Some(stated) = &self.stated {
            write_varint(&mut out, stated.valid_from);
            out.extend_from_slice(&stated.public_key);
            out.push((stated.scheme == Scheme::Record).into());
        }
        out
    }

    /// Reads a stored state.
    pub(super) fn parse(bytes: &[u8]) -> Result<Device, CanonicalError> {
        let mut reader = Reader::new(bytes);
        let mut device =
            Device { head: read_head(&mut reader)?, start: read_head(&mut reader)?, ..Device::default() };
        for _ in 0..reader.varint()? {
            device.keys.push(read_key(&mut reader)?);
        }
        if reader.option()? {
            let (valid_from, public_key) = (reader.varint()?, reader.array()?);
            device.stated = Some(Stated { valid_from, public_key, scheme: read_scheme(&mut reader)? });
        }
        reader.finish()?;
        Ok(device)
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Option<Head>, CanonicalError> {
    let is_some = reader.option()?;
    let mut read = || Ok(Head { sequence: reader.varint()?, hash: Hash(reader.array()?) });
    is_some.then(&mut read).transpose()
}

fn read_scheme(reader: &mut Reader<'_>) -> Result<Scheme, CanonicalError> {
    Ok(if reader.option()? { Scheme::Record } else { Scheme::PayloadHash })
}

fn read_key(reader: &mut Reader<'_>) -> Result<SigningKey, CanonicalError> {
    let (valid_from, public_key) = (reader.varint()?, reader.array()?);
    let scheme = read_scheme(reader)?;
    let (batch, index) = (reader.varint()?, reader.varint()?);
    let revoked_from = if reader.option()? { Some(reader.varint()?) } else { None };
    let key = PublicKey::from_bytes(public_key).ok();
    Ok(SigningKey { revoked_from, ..SigningKey::new(valid_from, public_key, key, scheme, batch, index) })
}
