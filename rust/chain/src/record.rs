//! The audit record, its canonical bytes and its hash (docs/reference/spec.md, step 1).

use crate::canonical::{CanonicalError, Output, text_size, varint_size, write_text, write_varint};
use crate::hash::Hash;
use crate::record_ref::RecordRef;

/// One entry of the chain of a device: seven fields, in hashing order.
///
/// ```
/// use edgesentry_chain::{AuditRecord, Hash};
/// let record = AuditRecord {
///     device_id: "lift-01".into(),
///     sequence: 1,
///     timestamp_ms: 1_700_000_001_000,
///     payload_hash: Hash::of(b"door closed"),
///     signature: [0; 64],
///     prev_record_hash: Hash::ZERO,
///     object_ref: "s3://bucket/lift-01/1.bin".into(),
/// };
/// assert_eq!(record.hash(), Hash::of(&record.canonical_bytes()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// The device that wrote the record.
    pub device_id: String,
    /// 1, 2, 3, ... per device.
    pub sequence: u64,
    /// Time of the observation, Unix milliseconds by the clock of the device.
    pub timestamp_ms: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash,
    /// Ed25519 signature, 64 bytes: R then S.
    pub signature: [u8; 64],
    /// Record hash of the previous record of this device; zero for the first.
    pub prev_record_hash: Hash,
    /// The location of the payload, such as `s3://bucket/lift-01/1.bin`.
    pub object_ref: String,
}

/// The field names, in canonical order.
pub const FIELDS: [&str; 7] =
    ["device_id", "sequence", "timestamp_ms", "payload_hash", "signature", "prev_record_hash", "object_ref"];

/// The domain of record signatures: the BLAKE3 derive-key context of scheme `record`.
pub const RECORD_SIGNATURE_CONTEXT: &str = "edgesentry-rs 2026 record signature v1";

impl AuditRecord {
    /// Compares two records by all seven fields, in the order of [`FIELDS`]: a total order of the rows of a table.
    pub fn cmp_in_table(&self, other: &AuditRecord) -> std::cmp::Ordering {
        let fields = |record: &AuditRecord| {
            let AuditRecord { sequence, timestamp_ms, payload_hash, signature, prev_record_hash, .. } =
                record;
            (*sequence, *timestamp_ms, payload_hash.0, *signature, prev_record_hash.0)
        };
        let ids = self.device_id.cmp(&other.device_id);
        ids.then_with(|| self.sequence.cmp(&other.sequence))
            .then_with(|| fields(self).cmp(&fields(other)))
            .then_with(|| self.object_ref.cmp(&other.object_ref))
    }

    /// Returns the canonical bytes: the seven fields in postcard encoding.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.canonical_size_bound());
        self.write_canonical(&mut bytes, true);
        bytes
    }

    /// Appends the canonical bytes to `out`.
    pub fn write_canonical_bytes(&self, out: &mut Vec<u8>) {
        self.write_canonical(out, true);
    }

    /// Decodes a record from its canonical bytes.
    ///
    /// # Errors
    /// The bytes are not the output of [`AuditRecord::canonical_bytes`] for any record.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<AuditRecord, CanonicalError> {
        RecordRef::from_canonical_bytes(bytes).map(|record| record.to_record())
    }

    /// Returns the record with borrowed text.
    pub fn borrowed(&self) -> RecordRef<'_> {
        RecordRef {
            device_id: &self.device_id,
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: self.payload_hash,
            signature: self.signature,
            prev_record_hash: self.prev_record_hash,
            object_ref: &self.object_ref,
        }
    }

    /// Returns the record hash: BLAKE3 of the canonical bytes.
    pub fn hash(&self) -> Hash {
        let mut scratch = Vec::with_capacity(self.canonical_size_bound());
        self.hash_with(&mut scratch)
    }

    /// Like [`AuditRecord::hash`], with a buffer that the caller reuses between records.
    pub fn hash_with(&self, scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        self.write_canonical(scratch, true);
        Hash::of(scratch)
    }

    /// Returns the 32 bytes that scheme `record` signs: BLAKE3 derive-key of the canonical bytes without the signature.
    pub fn signing_digest(&self) -> [u8; 32] {
        let mut scratch = Vec::with_capacity(self.canonical_size_bound());
        self.write_canonical(&mut scratch, false);
        *record_signature_hasher().update(&scratch).finalize().as_bytes()
    }

    fn canonical_size_bound(&self) -> usize {
        // Four varints of at most 10 bytes, the signature with its length, two hashes.
        4 * 10 + 1 + 64 + 2 * 32 + self.device_id.len() + self.object_ref.len()
    }

    pub(crate) fn write_canonical(&self, out: &mut Vec<u8>, with_signature: bool) {
        let fields = Fields {
            device_id: &self.device_id,
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: &self.payload_hash,
            signature: with_signature.then_some(&self.signature),
            prev_record_hash: &self.prev_record_hash,
            object_ref: &self.object_ref,
        };
        fields.write(out);
    }
}

/// The fields of a record by reference, so that no hash is copied before it is written.
pub(crate) struct Fields<'a> {
    pub(crate) device_id: &'a str,
    pub(crate) sequence: u64,
    pub(crate) timestamp_ms: u64,
    pub(crate) payload_hash: &'a Hash,
    /// None for the bytes that scheme `record` signs.
    pub(crate) signature: Option<&'a [u8; 64]>,
    pub(crate) prev_record_hash: &'a Hash,
    pub(crate) object_ref: &'a str,
}

impl Fields<'_> {
    /// Writes postcard: strings and the signature as varint length and bytes, u64 as LEB128, hashes raw.
    pub(crate) fn write(&self, out: &mut impl Output) {
        write_text(out, self.device_id);
        write_varint(out, self.sequence);
        write_varint(out, self.timestamp_ms);
        out.write_bytes(&self.payload_hash.0);
        if let Some(signature) = self.signature {
            out.write_byte(0x40);
            out.write_bytes(signature);
        }
        out.write_bytes(&self.prev_record_hash.0);
        write_text(out, self.object_ref);
    }

    /// Returns the number of bytes that [`Fields::write`] writes.
    pub(crate) fn size(&self) -> usize {
        let texts = text_size(self.device_id) + text_size(self.object_ref);
        let integers = varint_size(self.sequence) + varint_size(self.timestamp_ms);
        let signature = self.signature.map_or(0, |signature| 1 + signature.len());
        texts + integers + self.payload_hash.0.len() + signature + self.prev_record_hash.0.len()
    }
}

thread_local! {
    // Derivation of the context key costs a compression, and the key is the same for every record.
    static RECORD_SIGNATURE_KEY: blake3::Hasher = blake3::Hasher::new_derive_key(RECORD_SIGNATURE_CONTEXT);
}

/// Returns a hasher of the messages of scheme `record`.
pub(crate) fn record_signature_hasher() -> blake3::Hasher {
    RECORD_SIGNATURE_KEY.with(blake3::Hasher::clone)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Serialize)]
    struct Mirror<'a> {
        device_id: &'a str,
        sequence: u64,
        timestamp_ms: u64,
        payload_hash: [u8; 32],
        signature: &'a [u8],
        prev_record_hash: [u8; 32],
        object_ref: &'a str,
    }

    #[derive(serde::Serialize)]
    struct Unsigned<'a> {
        device_id: &'a str,
        sequence: u64,
        timestamp_ms: u64,
        payload_hash: [u8; 32],
        prev_record_hash: [u8; 32],
        object_ref: &'a str,
    }

    /// The bound has ten bytes for each varint, so that the buffer of a record never grows.
    #[test]
    fn the_bound_has_room_for_four_long_varints() {
        let record = AuditRecord {
            device_id: "a".repeat(200),
            sequence: u64::MAX,
            timestamp_ms: u64::MAX,
            payload_hash: Hash::ZERO,
            signature: [0; 64],
            prev_record_hash: Hash::ZERO,
            object_ref: "b".repeat(100),
        };
        let lengths = (10 - 2) + (10 - 1);
        assert_eq!(record.canonical_size_bound(), record.canonical_bytes().len() + lengths);
    }

    proptest! {
        #[test]
        fn canonical_bytes_equal_those_of_postcard(
            device_id in ".{0,300}", sequence: u64, timestamp_ms: u64, payload_hash: [u8; 32],
            signature in proptest::array::uniform32(any::<[u8; 2]>()), prev: [u8; 32], object_ref in ".{0,40}",
        ) {
            let signature: [u8; 64] = signature.concat().try_into().unwrap();
            let record = AuditRecord {
                device_id, sequence, timestamp_ms, payload_hash: Hash(payload_hash), signature,
                prev_record_hash: Hash(prev), object_ref,
            };
            let mirror = Mirror {
                device_id: &record.device_id, sequence, timestamp_ms, payload_hash,
                signature: &record.signature, prev_record_hash: prev, object_ref: &record.object_ref,
            };
            prop_assert_eq!(record.canonical_bytes(), postcard::to_allocvec(&mirror).unwrap());
            prop_assert_eq!(record.borrowed().canonical_size(), record.canonical_bytes().len());
            let unsigned = Unsigned {
                device_id: &record.device_id, sequence, timestamp_ms, payload_hash,
                prev_record_hash: prev, object_ref: &record.object_ref,
            };
            let bytes = postcard::to_allocvec(&unsigned).unwrap();
            prop_assert_eq!(record.signing_digest(), blake3::derive_key(RECORD_SIGNATURE_CONTEXT, &bytes));
        }
    }
}
