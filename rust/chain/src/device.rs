//! The signing side: a device that extends its own chain.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::hash::Hash;
use crate::head::Head;
use crate::key::{KeyError, PublicKey, RingKey, Scheme};
use crate::record::AuditRecord;
use crate::record_ref::RecordRef;
use crate::signature::signed_message;
use crate::signer::{Signer, SignerError, sign_with};
use crate::succession::{Succession, SuccessionError};

/// The length of a seed, the secret from which the key pair of a device is derived.
pub const SEED_BYTES: usize = 32;

/// A device that signs its records. Its key is a seed, zeroized on drop and never displayed, or a [`Signer`], which gets
/// the 32 bytes that the scheme signs, never a payload. The signer of a successor first gets the statement of the
/// succession, which is longer.
///
/// ```
/// use edgesentry_chain::{Device, Scheme};
/// let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
/// let first = device.sign(1_700_000_001_000, b"door closed", "lift-01/1.bin")?;
/// let second = device.sign(1_700_000_002_000, b"door open", "lift-01/2.bin")?;
/// assert_eq!(second.prev_record_hash, first.hash());
/// # Ok::<(), edgesentry_chain::SignError>(())
/// ```
#[derive(Clone)]
pub struct Device {
    device_id: String,
    scheme: Scheme,
    key: Key,
    head: Option<Head>,
}

// A seed is the usual key, and a device with one allocates nothing when it signs.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
enum Key {
    Seed(SigningKey),
    Signer(Arc<dyn Signer>),
}

impl Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        match self {
            Key::Seed(key) => Ok(key.sign(message).to_bytes()),
            Key::Signer(signer) => sign_with(&**signer, message),
        }
    }
}

/// The sequence has reached its largest value, so the chain cannot grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("the chain is full: its last sequence is {}", u64::MAX)]
#[non_exhaustive]
pub struct ChainFull;

/// The reason why a record was not signed. The chain has not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The sequence has reached its largest value.
    #[error(transparent)]
    ChainFull(#[from] ChainFull),
    /// The signer of the device failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl Device {
    /// Creates a device at the start of its chain.
    pub fn from_seed(device_id: impl Into<String>, seed: [u8; SEED_BYTES], scheme: Scheme) -> Device {
        let seed = Zeroizing::new(seed);
        let key = Key::Seed(SigningKey::from_bytes(&seed));
        Device { device_id: device_id.into(), scheme, key, head: None }
    }

    /// Creates a device at the start of its chain, whose key is elsewhere: in a token, in another process.
    pub fn from_signer(device_id: impl Into<String>, signer: Arc<dyn Signer>, scheme: Scheme) -> Device {
        Device { device_id: device_id.into(), scheme, key: Key::Signer(signer), head: None }
    }

    /// Returns true if a signature may take long, so that async code must sign on a thread that may block.
    pub fn may_block(&self) -> bool {
        match &self.key {
            Key::Seed(_) => false,
            Key::Signer(signer) => signer.may_block(),
        }
    }

    /// Returns the same device, resumed after the last record it signed.
    #[must_use]
    pub fn resume(mut self, head: Option<Head>) -> Device {
        self.head = head;
        self
    }

    /// Signs the next record of the chain.
    ///
    /// # Errors
    /// The last sequence of the chain is [`u64::MAX`], or the signer failed; the chain has not changed.
    pub fn sign(
        &mut self,
        timestamp_ms: u64,
        payload: &[u8],
        object_ref: impl Into<String>,
    ) -> Result<AuditRecord, SignError> {
        let (sequence, prev_record_hash) = Head::next_link(self.head)?;
        let mut record = AuditRecord {
            device_id: self.device_id.clone(),
            sequence,
            timestamp_ms,
            payload_hash: Hash::of(payload),
            signature: [0; 64],
            prev_record_hash,
            object_ref: object_ref.into(),
        };
        self.sign_record(&mut record)?;
        self.head = Some(Head { sequence, hash: record.hash() });
        Ok(record)
    }

    /// Like [`Device::sign`], without allocation: the record borrows its text.
    ///
    /// # Errors
    /// As [`Device::sign`].
    pub fn sign_ref<'a>(
        &'a mut self,
        timestamp_ms: u64,
        payload: &[u8],
        object_ref: &'a str,
    ) -> Result<RecordRef<'a>, SignError> {
        let (sequence, prev_record_hash) = Head::next_link(self.head)?;
        let mut record = RecordRef {
            device_id: &self.device_id,
            sequence,
            timestamp_ms,
            payload_hash: Hash::of(payload),
            signature: [0; 64],
            prev_record_hash,
            object_ref,
        };
        record.signature = self.key.sign(&record.signed_message(self.scheme))?;
        self.head = Some(record.head());
        Ok(record)
    }

    /// Signs the next record of the chain as the succession of this device's key, and continues as `successor`, which
    /// signs from the following sequence on. Returns the record and its payload. The head of `successor` does not count.
    ///
    /// # Errors
    /// `successor` has another device id, the same key, a weak key, or a weaker scheme, the chain is full, or a signer failed.
    /// The device is unchanged then.
    pub fn succeed(
        &mut self,
        timestamp_ms: u64,
        successor: Device,
    ) -> Result<(AuditRecord, Vec<u8>), SuccessionError> {
        if successor.device_id != self.device_id {
            let (device_id, successor) = (self.device_id.clone(), successor.device_id);
            return Err(SuccessionError::OtherDevice { device_id, successor });
        }
        let full = |ChainFull| SuccessionError::ChainFull;
        let (sequence, _) = Head::next_link(self.head).map_err(full)?;
        let valid_from = sequence.checked_add(1).ok_or(SuccessionError::ChainFull)?;
        let old = RingKey { key: self.public_key()?, scheme: self.scheme, valid_from: sequence };
        let new = (&successor.public_key()?, successor.scheme);
        let (succession, payload) = Succession::make(&self.device_id, valid_from, &old, new, |statement| {
            successor.key.sign(statement)
        })?;
        let mut signer = self.clone();
        let record =
            signer.sign(timestamp_ms, &payload, succession.object_ref()).map_err(|error| match error {
                SignError::ChainFull(error) => full(error),
                SignError::Signer(error) => SuccessionError::Signer(error),
            })?;
        succession.check(&record, &old)?;
        *self = successor.resume(signer.head);
        Ok((record, payload))
    }

    /// Signs a record as it is, without changing the chain, as an attacker with the key could do.
    ///
    /// # Errors
    /// The signer failed; never with a seed.
    pub fn sign_record(&self, record: &mut AuditRecord) -> Result<(), SignerError> {
        record.signature = self.key.sign(&signed_message(record, self.scheme))?;
        Ok(())
    }

    /// Returns the device id.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Returns the signature scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the last record signed, or `None` at the start of the chain.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Returns the public key to register.
    ///
    /// # Errors
    /// The seed makes a weak key.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        match &self.key {
            Key::Seed(key) => PublicKey::from_bytes(key.verifying_key().to_bytes()),
            Key::Signer(signer) => Ok(*signer.public_key()),
        }
    }

    /// Returns the secret seed, zeroized on drop; `None` if a [`Signer`] has the key.
    pub fn seed(&self) -> Option<Zeroizing<[u8; SEED_BYTES]>> {
        match &self.key {
            Key::Seed(key) => Some(Zeroizing::new(key.to_bytes())),
            Key::Signer(_) => None,
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("device_id", &self.device_id)
            .field("scheme", &self.scheme)
            .field("head", &self.head)
            .field("key", &"redacted")
            .finish()
    }
}
