//! The succession of a key: a record by which a device replaces its key (docs/reference/spec.md, step 12).
//!
//! The record is signed by the old key as any other. Its object reference has the new key and a proof that the device
//! has it; its payload is the statement that both keys sign, which a verifier builds again from the record and the old
//! key. So a succession is checked without its payload, and under scheme `payload-hash` it cannot be moved to another
//! record either.

use crate::canonical::{write_text, write_varint};
use crate::hash::Hash;
use crate::key::{KeyError, PublicKey, RingKey, Scheme};
use crate::record::AuditRecord;
use crate::record_ref::RecordRef;
use crate::signature::{Signed, verify_signature};
use crate::signer::SignerError;

/// The beginning of the object reference of every succession, of any version.
pub const SUCCESSION_PREFIX: &str = "edgesentry:succession:";

/// The first bytes of the payload: its version, and the domain of the proof. The statement is longer than the 32 bytes
/// that a record signs, so a proof is never the signature of a record.
const CONTEXT: &str = "edgesentry-rs 2026 key succession v1";

/// A new key of a device, as a record states it.
///
/// ```
/// use edgesentry_chain::{Device, RingKey, Scheme, Succession};
/// let mut device = Device::from_seed("lift-01", [1; 32], Scheme::Record);
/// let old = RingKey { key: device.public_key()?, scheme: Scheme::Record, valid_from: 1 };
/// let (record, payload) = device.succeed(1_700_000_001_000, Device::from_seed("lift-01", [2; 32], Scheme::Record))?;
/// let succession = Succession::of(&record).ok_or("it is one")??;
/// let new = succession.check(&record, &old)?;
/// assert_eq!((new.key, new.valid_from), (device.public_key()?, 2));
/// assert_eq!(record.payload_hash, edgesentry_chain::Hash::of(&payload));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Succession {
    /// The new key, not checked yet.
    key: [u8; 32],
    scheme: Scheme,
    proof: [u8; 64],
}

/// The reason why a succession does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionError {
    /// The object reference is of another form or version.
    #[error(
        "the object reference of a succession has the form {SUCCESSION_PREFIX}1:SCHEME:KEY:PROOF, with key and proof in \
         lowercase hex"
    )]
    Malformed,
    /// The new key is the old one.
    #[error("the new key is the old one: {0}")]
    SameKey(String),
    /// The new key has a weaker scheme than the old one.
    #[error("a key of scheme record is succeeded by one of scheme payload-hash, which covers less")]
    WeakerScheme,
    /// There is no sequence at which the new key could sign.
    #[error("the chain is full: no sequence follows")]
    ChainFull,
    /// The record commits to another statement.
    #[error("the record commits to payload hash {actual}, and its succession has {expected}")]
    OtherStatement {
        /// BLAKE3 of the payload of the succession.
        expected: Hash,
        /// `payload_hash` of the record.
        actual: Hash,
    },
    /// The new key is weak.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature of the new key does not hold.
    #[error("the proof of possession does not hold under the new key {0}")]
    Proof(String),
    /// The new key is given for another device.
    #[error("device {device_id:?} cannot take a key of device {successor:?}")]
    OtherDevice {
        /// The device.
        device_id: String,
        /// The device of the new key.
        successor: String,
    },
    /// The signer of the old or of the new key failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl SuccessionError {
    /// Returns the expected and the actual value of the failed check, for a finding or a rejection.
    pub fn evidence(&self) -> (String, String) {
        let pair = |expected: &str, actual: &str| (expected.to_owned(), actual.to_owned());
        match self {
            SuccessionError::Malformed => (
                format!("an object reference of the form {SUCCESSION_PREFIX}1:SCHEME:KEY:PROOF"),
                "one of another form".to_owned(),
            ),
            SuccessionError::SameKey(key) => {
                ("another key than the old one".to_owned(), format!("key {key}"))
            }
            SuccessionError::WeakerScheme => {
                pair("a new key of scheme record, as the old one", "one of scheme payload-hash")
            }
            SuccessionError::ChainFull => pair("a sequence at which the new key signs", "the last sequence"),
            SuccessionError::OtherStatement { expected, actual } => (
                format!("payload hash {expected}, that of the succession under the device's key"),
                format!("payload hash {actual}"),
            ),
            SuccessionError::Key(error) => ("a key that is not weak".to_owned(), error.to_string()),
            SuccessionError::Proof(key) => (
                format!("a proof of possession by key {key}"),
                "a signature that does not hold under it".to_owned(),
            ),
            other @ SuccessionError::OtherDevice { .. } => {
                ("a key of the device".to_owned(), other.to_string())
            }
            SuccessionError::Signer(error) => ("a signature".to_owned(), error.to_string()),
        }
    }
}

impl Succession {
    /// Returns the succession that a record states; `None` if its object reference does not begin as one.
    pub fn of(record: &AuditRecord) -> Option<Result<Succession, SuccessionError>> {
        Succession::stated(&record.object_ref)
    }

    /// Like [`Succession::of`], by the object reference.
    pub(crate) fn stated(object_ref: &str) -> Option<Result<Succession, SuccessionError>> {
        let rest = object_ref.strip_prefix(SUCCESSION_PREFIX)?;
        Some(parse(rest).ok_or(SuccessionError::Malformed))
    }

    /// Checks that the succession holds, if `old` is the key that is valid at `record`. Returns the new key, valid from
    /// the next sequence on. The signature of the record is a check of its own.
    ///
    /// # Errors
    /// The first check of step 12.2 that fails.
    pub fn check(&self, record: &AuditRecord, old: &RingKey) -> Result<RingKey, SuccessionError> {
        self.check_ref(&record.borrowed(), old)
    }

    pub(crate) fn check_ref(
        &self,
        record: &RecordRef<'_>,
        old: &RingKey,
    ) -> Result<RingKey, SuccessionError> {
        let valid_from = record.sequence.checked_add(1).ok_or(SuccessionError::ChainFull)?;
        if self.key == *old.key.as_bytes() {
            return Err(SuccessionError::SameKey(hex::encode(self.key)));
        }
        if (old.scheme, self.scheme) == (Scheme::Record, Scheme::PayloadHash) {
            return Err(SuccessionError::WeakerScheme);
        }
        // Before the costly checks: a valid signature does not get past it without the old key.
        let mut payload = statement(record.device_id, valid_from, old, &self.key, self.scheme);
        let signed_bytes = payload.len();
        payload.extend_from_slice(&self.proof);
        let expected = Hash::of(&payload);
        if expected != record.payload_hash {
            return Err(SuccessionError::OtherStatement { expected, actual: record.payload_hash });
        }
        let key = PublicKey::from_bytes(self.key)?;
        let signed = Signed { key: &key, message: &payload[..signed_bytes], signature: &self.proof };
        if !verify_signature(&signed) {
            return Err(SuccessionError::Proof(key.to_string()));
        }
        Ok(RingKey { key, scheme: self.scheme, valid_from })
    }

    /// Makes a succession. `prove` signs with the new key.
    pub(crate) fn make<E>(
        device_id: &str,
        valid_from: u64,
        old: &RingKey,
        (key, scheme): (&PublicKey, Scheme),
        prove: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    ) -> Result<(Succession, Vec<u8>), E> {
        let mut payload = statement(device_id, valid_from, old, key.as_bytes(), scheme);
        let proof = prove(&payload)?;
        payload.extend_from_slice(&proof);
        Ok((Succession { key: *key.as_bytes(), scheme, proof }, payload))
    }

    /// Returns the object reference of its record.
    pub fn object_ref(&self) -> String {
        let (key, proof) = (hex::encode(self.key), hex::encode(self.proof));
        format!("{SUCCESSION_PREFIX}1:{}:{key}:{proof}", self.scheme)
    }
}

fn parse(rest: &str) -> Option<Succession> {
    let mut parts = rest.split(':');
    let (version, scheme) = (parts.next()?, parts.next()?.parse().ok()?);
    let (key, proof) = (array(parts.next()?)?, array(parts.next()?)?);
    (version == "1" && parts.next().is_none()).then_some(Succession { key, scheme, proof })
}

/// Each succession has exactly one text.
fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lowercase = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_lowercase && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// Step 12.1: the payload up to its proof.
fn statement(device_id: &str, valid_from: u64, old: &RingKey, key: &[u8; 32], scheme: Scheme) -> Vec<u8> {
    let mut out = Vec::with_capacity(CONTEXT.len() + device_id.len() + 160);
    write_text(&mut out, CONTEXT);
    write_text(&mut out, device_id);
    write_varint(&mut out, valid_from);
    out.push(code(old.scheme));
    out.extend_from_slice(old.key.as_bytes());
    out.push(code(scheme));
    out.extend_from_slice(key);
    out
}

/// As in the key leaves of a log.
fn code(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::PayloadHash => 0,
        Scheme::Record => 1,
    }
}
