//! Benchmarks of reading records from memory or a file, on one thread: splitting, decompressing, decoding.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Cursor;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgesentry_chain::{AuditRecord, Device, Scheme};
use edgesentry_formats::{RecordWriter, Source, records};

const RECORDS: u64 = 20_000;

fn chain() -> Vec<AuditRecord> {
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    (0..RECORDS)
        .map(|at| {
            device.sign(1_700_000_000_000 + at, b"payload", format!("s3://telemetry/{at:08}.bin")).unwrap()
        })
        .collect()
}

fn hex_array(records: &[AuditRecord]) -> Vec<u8> {
    let record = |record: &AuditRecord| {
        serde_json::json!({
            "device_id": record.device_id, "sequence": record.sequence, "timestamp_ms": record.timestamp_ms,
            "payload_hash": record.payload_hash.to_string(), "signature": hex::encode(record.signature),
            "prev_record_hash": record.prev_record_hash.to_string(), "object_ref": record.object_ref,
        })
    };
    serde_json::to_vec(&records.iter().map(record).collect::<Vec<_>>()).unwrap()
}

fn count(source: Source) {
    let count = records(source).unwrap().filter(|entry| matches!(entry, Ok(Ok(_)))).count();
    assert_eq!(count as u64, RECORDS);
}

fn from_memory(bytes: &'static [u8]) -> Source {
    Source::Reader { name: "memory".into(), reader: Box::new(Cursor::new(bytes)) }
}

fn written(path: &Path, records: &[AuditRecord]) {
    let mut writer = RecordWriter::create(path).unwrap();
    writer.write(records).unwrap();
    writer.finish().unwrap();
}

fn readers(c: &mut Criterion) {
    let records = chain();
    let folder = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(RECORDS));

    let hex: &'static [u8] = hex_array(&records).leak();
    group.bench_function("JSON array, bytes as hex", |b| b.iter(|| count(from_memory(hex))));
    for (name, file) in [
        ("JSON array, bytes as integers", "export.json"),
        ("NDJSON", "export.ndjson"),
        ("NDJSON in gzip", "export.ndjson.gz"),
        ("NDJSON in zstd", "export.ndjson.zst"),
        ("Arrow IPC file", "export.arrow"),
        ("Parquet", "export.parquet"),
    ] {
        let path = folder.path().join(file);
        written(&path, &records);
        group.bench_function(name, |b| b.iter(|| count(Source::Path(path.clone()))));
    }
    group.finish();

    let mut group = c.benchmark_group("write");
    group.throughput(Throughput::Elements(RECORDS));
    for file in ["export.json", "export.arrow", "export.parquet"] {
        let path = folder.path().join(file);
        group.bench_function(file, |b| b.iter(|| written(&path, &records)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = readers
}
criterion_main!(benches);
