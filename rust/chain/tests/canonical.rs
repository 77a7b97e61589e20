//! The reader accepts only canonical bytes.

use edgesentry_chain::canonical::{CanonicalError, Reader, write_varint};
use edgesentry_chain::{AuditRecord, Hash};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_record_is_read_from_its_canonical_bytes_and_from_no_others(
        device_id in ".{0,300}", sequence: u64, timestamp_ms: u64, hashes: [[u8; 32]; 4], object_ref in ".{0,40}",
    ) {
        let [payload_hash, prev_record_hash, r, s] = hashes;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(&s);
        let record = AuditRecord {
            device_id, sequence, timestamp_ms, payload_hash: Hash(payload_hash), signature,
            prev_record_hash: Hash(prev_record_hash), object_ref,
        };
        let bytes = record.canonical_bytes();
        prop_assert_eq!(AuditRecord::from_canonical_bytes(&bytes), Ok(record.clone()));
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert_eq!(AuditRecord::from_canonical_bytes(&longer), Err(CanonicalError::Trailing(1)));
        for length in 0..bytes.len() {
            prop_assert!(AuditRecord::from_canonical_bytes(&bytes[..length]).is_err());
        }
        for at in (0..bytes.len()).filter(|at| at % 7 == 0 || *at < 24) {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(other) = AuditRecord::from_canonical_bytes(&changed) {
                    prop_assert_eq!(other.canonical_bytes(), changed);
                    prop_assert_ne!(&other, &record);
                }
            }
        }
    }

    #[test]
    fn a_varint_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.varint() {
            let mut written = Vec::new();
            write_varint(&mut written, value);
            prop_assert_eq!(&bytes[..bytes.len() - reader.rest().len()], &written);
        }
    }
}

#[test]
fn varints_at_the_limits_are_decided() {
    let varint = |bytes: &[u8]| Reader::new(bytes).varint();
    let ten = |last: u8| [[0xff; 9].as_slice(), &[last]].concat();
    assert_eq!(varint(&ten(1)), Ok(u64::MAX));
    assert_eq!(varint(&ten(2)), Err(CanonicalError::Varint));
    assert_eq!(varint(&ten(0x81)), Err(CanonicalError::Varint));
    assert_eq!(varint(&[0]), Ok(0));
    assert_eq!(varint(&[0x80, 0]), Err(CanonicalError::Varint));
    assert_eq!(varint(&[0x80]), Err(CanonicalError::Truncated));
}

#[test]
fn an_option_begins_with_0_or_1() {
    let option = |bytes: &[u8]| Reader::new(bytes).option();
    assert_eq!(
        [&[0], &[1], &[2]].map(|bytes| option(bytes)),
        [Ok(false), Ok(true), Err(CanonicalError::OptionByte(2))]
    );
    assert_eq!(option(&[]), Err(CanonicalError::Truncated));
}
