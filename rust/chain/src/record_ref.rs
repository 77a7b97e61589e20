//! A record with borrowed text: signing, hashing, encoding and verification without allocation.

use ed25519_dalek::{Signer, SigningKey};

use crate::canonical::{Buffer, CanonicalError, Output, Reader};
use crate::device::SEED_BYTES;
use crate::hash::Hash;
use crate::head::Head;
use crate::key::{PublicKey, Scheme};
use crate::record::{AuditRecord, Fields, record_signature_hasher};
use crate::signature::{Signed, verify_signature};

/// An [`AuditRecord`] with borrowed text. Its functions do not allocate, so that they suit firmware with fixed memory.
///
/// ```
/// use edgesentry_chain::{Device, RecordRef, Scheme};
/// let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
/// let key = device.public_key()?;
/// let record = device.sign_ref(1_700_000_001_000, b"door closed", "lift-01/1.bin")?;
/// assert!(record.has_valid_signature(&key, Scheme::Record));
/// let mut buffer = [0; 256];
/// let size = record.write_canonical_bytes(&mut buffer)?;
/// assert_eq!(RecordRef::from_canonical_bytes(&buffer[..size])?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// As [`AuditRecord::device_id`].
    pub device_id: &'a str,
    /// As [`AuditRecord::sequence`].
    pub sequence: u64,
    /// As [`AuditRecord::timestamp_ms`].
    pub timestamp_ms: u64,
    /// As [`AuditRecord::payload_hash`].
    pub payload_hash: Hash,
    /// As [`AuditRecord::signature`].
    pub signature: [u8; 64],
    /// As [`AuditRecord::prev_record_hash`].
    pub prev_record_hash: Hash,
    /// As [`AuditRecord::object_ref`].
    pub object_ref: &'a str,
}

/// The buffer is smaller than the canonical bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the canonical bytes have {needed} bytes, and the buffer has {available}")]
#[non_exhaustive]
pub struct BufferTooSmall {
    /// The size of the canonical bytes.
    pub needed: usize,
    /// The size of the buffer.
    pub available: usize,
}

impl<'a> From<&'a AuditRecord> for RecordRef<'a> {
    fn from(record: &'a AuditRecord) -> RecordRef<'a> {
        record.borrowed()
    }
}

impl<'a> RecordRef<'a> {
    /// Decodes a record from its canonical bytes; its text borrows from them.
    ///
    /// # Errors
    /// The bytes are not the canonical bytes of any record.
    pub fn from_canonical_bytes(bytes: &'a [u8]) -> Result<RecordRef<'a>, CanonicalError> {
        let mut reader = Reader::new(bytes);
        let device_id = reader.text()?;
        let (sequence, timestamp_ms) = (reader.varint()?, reader.varint()?);
        let payload_hash = Hash(reader.array()?);
        match reader.varint()? {
            64 => {}
            other => return Err(CanonicalError::SignatureLength(other)),
        }
        let signature = reader.array()?;
        let prev_record_hash = Hash(reader.array()?);
        let object_ref = reader.text()?;
        reader.finish()?;
        Ok(RecordRef {
            device_id,
            sequence,
            timestamp_ms,
            payload_hash,
            signature,
            prev_record_hash,
            object_ref,
        })
    }

    /// Returns the record with text of its own.
    pub fn to_record(&self) -> AuditRecord {
        AuditRecord {
            device_id: self.device_id.to_owned(),
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: self.payload_hash,
            signature: self.signature,
            prev_record_hash: self.prev_record_hash,
            object_ref: self.object_ref.to_owned(),
        }
    }

    /// Returns the size of the canonical bytes.
    pub fn canonical_size(&self) -> usize {
        self.fields(true).size()
    }

    /// Writes the canonical bytes to any output.
    pub fn write_canonical(&self, out: &mut impl Output) {
        self.write(out, true);
    }

    /// Writes the canonical bytes to the front of `out`, and returns their size.
    ///
    /// # Errors
    /// The buffer is too small; it then has a part of the bytes.
    pub fn write_canonical_bytes(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let available = out.len();
        let mut buffer = Buffer::new(out);
        self.write(&mut buffer, true);
        let needed = buffer.size();
        if needed > available { Err(BufferTooSmall { needed, available }) } else { Ok(needed) }
    }

    /// Returns the record hash, as [`AuditRecord::hash`].
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        self.write(&mut hasher, true);
        Hash(*hasher.finalize().as_bytes())
    }

    /// Returns the head of a chain that ends with this record.
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash() }
    }

    /// Returns the 32 bytes that `scheme` signs.
    pub fn signed_message(&self, scheme: Scheme) -> [u8; 32] {
        match scheme {
            Scheme::PayloadHash => self.payload_hash.0,
            Scheme::Record => {
                let mut hasher = record_signature_hasher();
                self.write(&mut hasher, false);
                *hasher.finalize().as_bytes()
            }
        }
    }

    /// Signs the record as it is. Derives the key pair from the seed each time; a [`Device`](crate::Device) keeps it.
    pub fn sign(&mut self, seed: &[u8; SEED_BYTES], scheme: Scheme) {
        self.signature = SigningKey::from_bytes(seed).sign(&self.signed_message(scheme)).to_bytes();
    }

    /// Returns true if the signature is valid under `key` (step 3). It does not compare the payload or the previous
    /// record.
    pub fn has_valid_signature(&self, key: &PublicKey, scheme: Scheme) -> bool {
        let message = self.signed_message(scheme);
        verify_signature(&Signed { key, message: &message, signature: &self.signature })
    }

    pub(crate) fn write(&self, out: &mut impl Output, with_signature: bool) {
        self.fields(with_signature).write(out);
    }

    fn fields(&self, with_signature: bool) -> Fields<'_> {
        Fields {
            device_id: self.device_id,
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: &self.payload_hash,
            signature: with_signature.then_some(&self.signature),
            prev_record_hash: &self.prev_record_hash,
            object_ref: self.object_ref,
        }
    }
}
