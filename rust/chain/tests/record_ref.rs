//! Records with borrowed text are the same as those with text of their own.
#![allow(clippy::unwrap_used)]

use edgesentry_chain::canonical::{Buffer, Output, write_text, write_varint};
use edgesentry_chain::{AuditRecord, BufferTooSmall, ChainFull, Device, Hash, Head, RecordRef, Scheme};

fn record_head(record: &AuditRecord) -> Head {
    Head { sequence: record.sequence, hash: record.hash() }
}

#[test]
fn borrowed_and_owned_records_are_the_same() {
    for scheme in [Scheme::Record, Scheme::PayloadHash] {
        let mut owner = Device::from_seed("lift-01", [7; 32], scheme);
        let key = owner.public_key().unwrap();
        let mut borrower = owner.clone();
        for at in 1..=130 {
            let payload = vec![at; usize::from(at)];
            let object_ref = "x".repeat(usize::from(at));
            let record = owner.sign(1 << (at % 63), &payload, object_ref.as_str()).unwrap();
            let borrowed = borrower.sign_ref(1 << (at % 63), &payload, &object_ref).unwrap();
            assert_eq!(borrowed.to_record(), record);
            assert_eq!(borrowed, record.borrowed());
            assert_eq!(borrowed.hash(), record.hash());
            assert_eq!(borrowed.signed_message(Scheme::Record), record.signing_digest());
            let bytes = record.canonical_bytes();
            assert_eq!(borrowed.canonical_size(), bytes.len());
            let mut buffer = vec![0xaa; bytes.len() + 1];
            assert_eq!(borrowed.write_canonical_bytes(&mut buffer), Ok(bytes.len()));
            assert_eq!((&buffer[..bytes.len()], buffer[bytes.len()]), (&bytes[..], 0xaa));
            assert_eq!(RecordRef::from_canonical_bytes(&bytes), Ok(borrowed));
            assert!(borrowed.has_valid_signature(&key, scheme));
            assert!(!borrowed.has_valid_signature(&key, scheme.other()));
            let mut alone = RecordRef { signature: [0; 64], ..borrowed };
            alone.sign(&[7; 32], scheme);
            assert_eq!((alone, alone.head()), (borrowed, record_head(&record)));
            let mut changed = borrowed;
            changed.signature[at as usize % 64] ^= 1;
            assert!(!changed.has_valid_signature(&key, scheme));
        }
        assert_eq!(owner.head(), borrower.head());
    }
}

#[test]
fn a_too_small_buffer_returns_the_required_size() {
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let record = device.sign_ref(1, b"", "1.bin").unwrap();
    let needed = record.canonical_size();
    for available in 0..needed {
        let mut buffer = vec![0xaa; needed];
        let error = record.write_canonical_bytes(&mut buffer[..available]).unwrap_err();
        let BufferTooSmall { needed: said, available: had, .. } = error;
        assert_eq!((said, had), (needed, available));
        assert!(buffer[available..].iter().all(|byte| *byte == 0xaa));
    }
    assert_eq!(record.write_canonical_bytes(&mut vec![0; needed]), Ok(needed));
}

#[test]
fn a_full_chain_accepts_no_record() {
    let last = Head { sequence: u64::MAX, hash: Hash::ZERO };
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record).resume(Some(last));
    assert_eq!(device.sign_ref(1, b"", "1.bin"), Err(ChainFull::default().into()));
    assert_eq!(device.sign(1, b"", "1.bin"), Err(ChainFull::default().into()));
    assert_eq!(device.head(), Some(last));
    assert_eq!(Head::next_link(None), Ok((1, Hash::ZERO)));
    let before = Head { sequence: 7, hash: Hash::of(b"7") };
    assert_eq!(Head::next_link(Some(before)), Ok((8, Hash::of(b"7"))));
}

#[test]
fn outputs_of_all_kinds_receive_the_same_bytes() {
    let mut vector = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut memory = [0xaa; 64];
    let mut buffer = Buffer::new(&mut memory[..20]);
    fn write(out: &mut impl Output) {
        write_varint(out, 300);
        write_text(out, "lift");
        out.write_byte(9);
        out.write_bytes(b"0123456789");
    }
    write(&mut vector);
    write(&mut hasher);
    write(&mut buffer);
    assert_eq!(vector, b"\xac\x02\x04lift\x090123456789");
    assert_eq!(hasher.finalize(), blake3::hash(&vector));
    assert_eq!(buffer.size(), vector.len());
    write(&mut buffer);
    assert_eq!(buffer.size(), 2 * vector.len());
    assert_eq!(memory[..18], vector);
    assert_eq!(memory[18..], [[0xac, 0x02].as_slice(), &[0xaa; 44]].concat());
}

#[test]
fn a_borrowed_record_writes_its_canonical_bytes_to_any_output() {
    let mut device = Device::from_seed("lift-01", [1; 32], Scheme::Record);
    let record = device.sign(1, b"door closed", "1.bin").unwrap();
    let mut bytes = vec![7];
    record.borrowed().write_canonical(&mut bytes);
    assert_eq!(bytes[1..], record.canonical_bytes());
    let mut owned = vec![7];
    record.write_canonical_bytes(&mut owned);
    assert_eq!(owned, bytes);
}
