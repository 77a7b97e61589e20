//! Public keys, signature schemes and the key ring (docs/reference/spec.md, step 2).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::traits::IsIdentity;
use serde::{Deserialize, Serialize};

use crate::record::AuditRecord;
use crate::signature::{Signed, signed_message, verify_signature};
use crate::succession::Succession;

/// What the signature of a device covers. It is a property of the registered key, never of the record, so that the writer
/// of a record cannot choose the weaker one. Exhaustive: every place that signs, verifies or stores a key must decide about
/// each scheme.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The signature covers `payload_hash` alone, as in devices deployed today. An attacker can change device,
    /// sequence, timestamp and object reference and re-link the chain without breaking the signature.
    PayloadHash,
    /// The signature covers the whole record.
    Record,
}

impl Scheme {
    /// The scheme of devices and keys that are given without one.
    pub const DEFAULT: Scheme = Scheme::Record;
    /// The scheme of keys without one in a key ring file: that of the files of devices in the field.
    pub const OF_FILES: Scheme = Scheme::PayloadHash;

    /// Returns `payload-hash` or `record`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::PayloadHash => "payload-hash",
            Scheme::Record => "record",
        }
    }

    /// Returns the other scheme.
    pub fn other(self) -> Scheme {
        match self {
            Scheme::PayloadHash => Scheme::Record,
            Scheme::Record => Scheme::PayloadHash,
        }
    }

    /// Returns advice for signatures that hold under this scheme but whose key is registered under the other. An
    /// attacker can choose a payload hash equal to the digest that scheme `record` signs, so signatures alone do not
    /// justify registering a key with the weaker scheme.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Scheme::Record => "register the key with it",
            Scheme::PayloadHash => {
                "register the key with it only if its owner confirms that the device signs payload hashes alone"
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Scheme, KeyError> {
        match text {
            "payload-hash" => Ok(Scheme::PayloadHash),
            "record" => Ok(Scheme::Record),
            other => Err(KeyError::UnknownScheme(other.chars().take(40).collect())),
        }
    }
}

/// The reason why a key is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 64 hex digits.
    #[error("a public key is 64 hex digits, got other text of {0} characters")]
    NotHex(usize),
    /// The 32 bytes are not the canonical encoding of a curve point.
    #[error("weak key: {0} is not the canonical encoding of a point on the curve")]
    NotCanonical(String),
    /// The point has small order: anyone can forge signatures under it.
    #[error("weak key: {0} is a point of small order, under which anyone can sign")]
    SmallOrder(String),
    /// The point has a torsion component, which verifiers treat differently.
    #[error("weak key: {0} has a torsion component, so verifiers would disagree on its signatures")]
    Torsion(String),
    /// Two keys of a device start at one sequence.
    #[error("device {device_id:?} has two keys valid from sequence {valid_from}")]
    SameStart {
        /// The device.
        device_id: String,
        /// The sequence at which both start.
        valid_from: u64,
    },
    /// One key under both schemes: a signature under one scheme would hold under the other for another record.
    #[error(
        "key {key}… is given to device {device_id:?} with scheme {scheme} and to device {other_device_id:?} with \
         scheme {}: a key belongs to one scheme, so correct the scheme or make another key", scheme.other()
    )]
    TwoSchemes {
        /// The first digits of the key.
        key: String,
        /// The device whose key is rejected.
        device_id: String,
        /// Its scheme.
        scheme: Scheme,
        /// The device that has the key with the other scheme, perhaps the same one.
        other_device_id: String,
    },
    /// A key of another kind or form; the text states which, and what to provide.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Neither `payload-hash` nor `record`.
    #[error("unknown signature scheme {0:?}: use \"payload-hash\" or \"record\"")]
    UnknownScheme(String),
}

/// [`KeyRing::follow`] adds no key to a device with so many: a device could make the search for the key of a signature
/// arbitrarily slow.
pub const MAX_FOLLOWED: usize = 64;

/// A succession that a key ring does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the succession does not hold: expected {expected}, found {actual}")]
#[non_exhaustive]
pub struct FollowError {
    /// The expected value.
    pub expected: String,
    /// The actual value.
    pub actual: String,
}

/// A public key that passed step 2 of docs/reference/spec.md: canonical, not of small order, torsion-free.
#[derive(Clone, Copy)]
pub struct PublicKey {
    bytes: [u8; 32],
    minus_point: EdwardsPoint,
}

impl PublicKey {
    /// Checks a 32-byte encoding (step 2.1).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<PublicKey, KeyError> {
        let text = || hex::encode(bytes);
        let point = CompressedEdwardsY(bytes).decompress().ok_or_else(|| KeyError::NotCanonical(text()))?;
        if point.compress().0 != bytes {
            return Err(KeyError::NotCanonical(text()));
        }
        if point.mul_by_cofactor().is_identity() {
            return Err(KeyError::SmallOrder(text()));
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion(text()));
        }
        Ok(PublicKey { bytes, minus_point: -point })
    }

    /// Returns a key that [`PublicKey::from_bytes`] accepted before, such as one that another process of ours checked.
    /// The check for a torsion component, which takes most of the time, is left out.
    ///
    /// # Errors
    /// The bytes are not the encoding of a point, or the point is of small order.
    pub fn from_checked_bytes(bytes: [u8; 32]) -> Result<PublicKey, KeyError> {
        let point = CompressedEdwardsY(bytes).decompress();
        let point = point.ok_or_else(|| KeyError::NotCanonical(hex::encode(bytes)))?;
        if point.mul_by_cofactor().is_identity() {
            return Err(KeyError::SmallOrder(hex::encode(bytes)));
        }
        Ok(PublicKey { bytes, minus_point: -point })
    }

    /// Returns the encoding.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Returns the first digits, to identify the key in a message.
    pub fn short(&self) -> String {
        hex::encode(&self.bytes[..8])
    }

    /// Returns −A, the form used in the signature equation.
    pub(crate) fn minus_point(&self) -> &EdwardsPoint {
        &self.minus_point
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<PublicKey, KeyError> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::NotHex(text.chars().count()))?;
        PublicKey::from_bytes(bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

/// One key of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingKey {
    /// The public key.
    pub key: PublicKey,
    /// The scheme of its signatures.
    pub scheme: Scheme,
    /// The first sequence it signs; it is valid until the next key of the device starts.
    pub valid_from: u64,
}

/// The public keys of the devices, each key with its scheme and its first valid sequence.
///
/// ```
/// use edgesentry_chain::{KeyRing, RingKey, Scheme};
/// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse()?;
/// let mut ring = KeyRing::new();
/// ring.insert("lift-01", RingKey { key, scheme: Scheme::Record, valid_from: 1 })?;
/// assert!(ring.key_at("lift-01", 7).is_some());
/// # Ok::<(), edgesentry_chain::KeyError>(())
/// ```
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct KeyRing {
    devices: BTreeMap<String, Vec<RingKey>>,
    /// A key belongs to one scheme, on all devices (step 2.3).
    schemes: HashMap<[u8; 32], Scheme>,
}

impl KeyRing {
    /// Creates an empty ring.
    pub fn new() -> KeyRing {
        KeyRing::default()
    }

    /// Adds a key. Keys of a device are ordered by the sequence from which they are valid. Rejects two keys of a device
    /// that start at one sequence, and one key under both schemes.
    ///
    /// # Errors
    /// Another key of the device begins at the same sequence, or the key is registered under the other scheme.
    pub fn insert(&mut self, device_id: &str, key: RingKey) -> Result<(), KeyError> {
        if self.schemes.get(key.key.as_bytes()).is_some_and(|scheme| *scheme != key.scheme) {
            return Err(self.two_schemes(device_id, &key));
        }
        let keys = self.devices.entry(device_id.to_owned()).or_default();
        match keys.binary_search_by_key(&key.valid_from, |other| other.valid_from) {
            Ok(at) if keys[at] == key => {}
            Ok(_) => {
                return Err(KeyError::SameStart {
                    device_id: device_id.to_owned(),
                    valid_from: key.valid_from,
                });
            }
            // Most devices have one key, which takes hundreds of bytes.
            Err(at) => {
                keys.reserve_exact(1);
                keys.insert(at, key);
            }
        }
        self.schemes.insert(*key.key.as_bytes(), key.scheme);
        Ok(())
    }

    fn two_schemes(&self, device_id: &str, key: &RingKey) -> KeyError {
        let has_key = |keys: &[RingKey]| keys.iter().any(|other| other.key == key.key);
        let other = self.iter().find(|(_, keys)| has_key(keys)).map_or(device_id, |(other, _)| other);
        KeyError::TwoSchemes {
            key: key.key.short(),
            device_id: device_id.to_owned(),
            scheme: key.scheme,
            other_device_id: other.to_owned(),
        }
    }

    /// Returns the keys of a device in the order in which they become valid.
    pub fn keys(&self, device_id: &str) -> Option<&[RingKey]> {
        self.devices.get(device_id).map(Vec::as_slice)
    }

    /// Returns a device other than `device_id` that has this key, if there is one: each of them can sign in the name of
    /// the other.
    pub fn other_owner(&self, device_id: &str, key: &PublicKey) -> Option<&str> {
        self.schemes.get(key.as_bytes())?;
        let has_key = |keys: &[RingKey]| keys.iter().any(|known| known.key == *key);
        self.iter().find(|(other, keys)| *other != device_id && has_key(keys)).map(|(other, _)| other)
    }

    /// Returns two devices with the same key, if there are some.
    pub fn shared_key(&self) -> Option<(&str, &str)> {
        if self.iter().map(|(_, keys)| keys.len()).sum::<usize>() == self.schemes.len() {
            return None;
        }
        let keys = self.iter().flat_map(|(device_id, keys)| keys.iter().map(move |key| (device_id, key)));
        let mut owners: HashMap<&[u8; 32], &str> = HashMap::new();
        keys.map(|(device_id, key)| (*owners.entry(key.key.as_bytes()).or_insert(device_id), device_id))
            .find(|(owner, device_id)| owner != device_id)
    }

    /// Returns the key that signs `sequence` (step 2.2): the last one that starts at or before it.
    pub fn key_at(&self, device_id: &str, sequence: u64) -> Option<&RingKey> {
        key_at(self.keys(device_id)?, sequence)
    }

    /// Adds the key that a record states as the successor of the device's key (step 12.4), and returns it; `None` if the
    /// record is not a succession, or the ring has no key of its device. The records of a device must come in the order
    /// of its chain. A key that is in the ring already stays as it is.
    ///
    /// The ring then trusts each record that its keys have signed. An attacker who has stolen a key can also announce a
    /// successor, so compare the chains with heads or with a log.
    ///
    /// # Errors
    /// The succession does not hold, or contradicts the ring: the expected and the actual value.
    pub fn follow(&mut self, record: &AuditRecord) -> Result<Option<RingKey>, FollowError> {
        let Some(succession) = Succession::of(record) else { return Ok(None) };
        let Some(keys) = self.keys(&record.device_id) else { return Ok(None) };
        let failed = |(expected, actual): (String, String)| FollowError { expected, actual };
        let Some(old) = key_at(keys, record.sequence).copied() else {
            let expected = format!("a key valid at sequence {}", record.sequence);
            return Err(failed((expected, "a record before the first key of the device".to_owned())));
        };
        let message = signed_message(record, old.scheme);
        let signed = Signed { key: &old.key, message: &message, signature: &record.signature };
        if !verify_signature(&signed) {
            let expected = format!("a signature by key {} ({})", old.key, old.scheme);
            return Err(failed((expected, "one that does not hold under it".to_owned())));
        }
        let checked = succession.and_then(|succession| succession.check(record, &old));
        let new = checked.map_err(|error| failed(error.evidence()))?;
        let stated = || {
            format!("a succession to key {} ({}) from sequence {} on", new.key, new.scheme, new.valid_from)
        };
        if keys.contains(&new) {
            return Ok(Some(new));
        }
        if let Some(later) = keys.last().filter(|key| key.valid_from > record.sequence) {
            let expected =
                format!("key {} from sequence {} on, as in the key ring", later.key, later.valid_from);
            return Err(failed((expected, stated())));
        }
        if self.schemes.contains_key(new.key.as_bytes()) {
            return Err(failed(("a key that no device had before".to_owned(), stated())));
        }
        if keys.len() >= MAX_FOLLOWED {
            return Err(failed((format!("at most {MAX_FOLLOWED} keys of a device"), stated())));
        }
        self.insert(&record.device_id, new)
            .map_err(|error| failed(("a key ring".to_owned(), error.to_string())))?;
        Ok(Some(new))
    }

    /// Returns the devices and their keys, by device id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[RingKey])> {
        self.devices.iter().map(|(device_id, keys)| (device_id.as_str(), keys.as_slice()))
    }

    /// Returns the number of devices with a key.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Returns true if no device has a key.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}

/// The keys of a device are in the order in which they become valid.
pub(crate) fn key_at(keys: &[RingKey], sequence: u64) -> Option<&RingKey> {
    keys[..keys.partition_point(|key| key.valid_from <= sequence)].last()
}
