//! Creates records for tests, and reads them back.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::{Compression, Error, Format, Malformed, RecordWriter, Source, records};
use proptest::prelude::*;

pub type Entries = Vec<Result<AuditRecord, Malformed>>;

/// Every layout with every compression.
pub const LAYOUTS: [(Format, Compression, &str); 8] = [
    (Format::Json, Compression::None, "json"),
    (Format::Json, Compression::Gzip, "json.gz"),
    (Format::Json, Compression::Zstd, "json.zst"),
    (Format::Ndjson, Compression::None, "ndjson"),
    (Format::Ndjson, Compression::Gzip, "jsonl.gz"),
    (Format::Ndjson, Compression::Zstd, "ndjson.zst"),
    (Format::Arrow, Compression::None, "arrow"),
    (Format::Parquet, Compression::None, "parquet"),
];

pub fn any_record() -> impl Strategy<Value = AuditRecord> {
    let bytes = || proptest::array::uniform32(any::<u8>());
    let number = || prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0..1000u64];
    (any::<String>(), number(), number(), bytes(), (bytes(), bytes()), bytes(), ".{0,60}").prop_map(
        |(device_id, sequence, timestamp_ms, payload_hash, (r, s), prev, object_ref)| AuditRecord {
            device_id,
            sequence,
            timestamp_ms,
            payload_hash: Hash(payload_hash),
            signature: [r, s].concat().try_into().unwrap(),
            prev_record_hash: Hash(prev),
            object_ref,
        },
    )
}

/// Returns records that differ in every field.
pub fn some_records(count: u64) -> Vec<AuditRecord> {
    let record = |sequence: u64| AuditRecord {
        device_id: format!("lift-{:02}", sequence % 3),
        sequence,
        timestamp_ms: 1_700_000_000_000 + sequence,
        payload_hash: Hash::of(&sequence.to_le_bytes()),
        signature: [Hash::of(b"r").0, Hash::of(&sequence.to_be_bytes()).0].concat().try_into().unwrap(),
        prev_record_hash: Hash::of(b"prev"),
        object_ref: format!("s3://bucket/lift/{sequence}.bin"),
    };
    (1..=count).map(record).collect()
}

/// A stream that the test reads afterwards.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the records as a file of this layout, written in slices of this size.
pub fn written(records: &[AuditRecord], format: Format, compression: Compression, slice: usize) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer =
        RecordWriter::to_writer("memory".into(), Box::new(memory.clone()), format, compression).unwrap();
    records.chunks(slice).for_each(|slice| writer.write(slice).unwrap());
    assert_eq!(writer.finish().unwrap(), records.len() as u64);
    std::mem::take(&mut memory.0.lock().unwrap())
}

pub fn read_bytes(bytes: Vec<u8>) -> Result<Entries, Error> {
    records(Source::Reader { name: "memory".into(), reader: Box::new(std::io::Cursor::new(bytes)) })?
        .collect()
}

/// Formats an error with its causes, as the command prints it.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
