//! The vectors in tests/vectors/device, which the C library and the Python package have to reproduce.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use edgesentry_device::{Device, RecordRef, Scheme, sign, sign_ref};

/// The time, the object reference and the payload of a record.
type Input = (u64, String, Vec<u8>);

/// Seed, scheme, device id, and the records of each device.
fn inputs() -> Vec<(u8, Scheme, &'static str, Vec<Input>)> {
    let records = |count: u64| {
        let record =
            |at| (1_700_000_000_000 + 1000 * at, format!("lift-01/{at}.bin"), vec![at as u8; at as usize]);
        (1..=count).map(record).collect::<Vec<_>>()
    };
    let extremes = vec![
        (0, "x".to_owned(), vec![]),
        (127, "x".repeat(127), vec![0]),
        (128, "x".repeat(128), vec![0xff; 64]),
        (i64::MAX as u64, "s3://bucket/Aufzüge/日誌.bin".to_owned(), (0..=255).collect()),
    ];
    vec![
        (7, Scheme::Record, "lift-01", records(4)),
        (8, Scheme::PayloadHash, "lift-01", records(4)),
        (9, Scheme::Record, "Aufzug-Ω", extremes.clone()),
        (10, Scheme::PayloadHash, "x", extremes),
    ]
}

#[test]
fn the_vectors_equal_the_records_of_a_device() {
    let mut text = String::from(
        "# seed\tscheme\tdevice_id\ttimestamp_ms\tobject_ref\tpayload\tcanonical_bytes\trecord_hash\n",
    );
    for (seed, scheme, device_id, records) in inputs() {
        let mut device = Device::from_seed(device_id, [seed; 32], scheme);
        let mut borrower = device.clone();
        let key = device.public_key().unwrap();
        for (timestamp_ms, object_ref, payload) in records {
            let record = sign(&mut device, timestamp_ms, &payload, object_ref.as_str()).unwrap();
            let borrowed = sign_ref(&mut borrower, timestamp_ms, &payload, &object_ref).unwrap();
            let bytes = record.canonical_bytes();
            assert_eq!(borrowed, RecordRef::from_canonical_bytes(&bytes).unwrap());
            assert!(borrowed.has_valid_signature(&key, scheme));
            let hex = |bytes: &[u8]| hex::encode(bytes);
            let (seed, hash) = (hex(&[seed; 32]), record.hash());
            let (payload, bytes) = (hex(&payload), hex(&bytes));
            writeln!(
                text,
                "{seed}\t{scheme}\t{device_id}\t{timestamp_ms}\t{object_ref}\t{payload}\t{bytes}\t{hash}"
            )
            .unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/device/records.tsv");
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, text, "{}: records and signatures never change", path.display());
}
