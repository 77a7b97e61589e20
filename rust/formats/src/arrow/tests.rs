//! Tests how sources are split into chunks; `tests/` has the tests of public behavior.

use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatchIterator};
use arrow_schema::{Field, Schema};
use edgesentry_chain::Hash;

use super::*;
use crate::read::ChunkReader;

fn some(count: u64) -> Vec<AuditRecord> {
    let record = |sequence| AuditRecord {
        device_id: "lift-01".into(),
        sequence,
        timestamp_ms: 1_700_000_000_000 + sequence,
        payload_hash: Hash([sequence as u8; 32]),
        signature: [sequence as u8; 64],
        prev_record_hash: Hash([1; 32]),
        object_ref: format!("s3://bucket/lift-01/{sequence}.bin"),
    };
    (1..=count).map(record).collect()
}

fn chunks(batches: Vec<RecordBatch>) -> Vec<(RecordBatch, u64)> {
    let schema = batches.first().map_or_else(schema, RecordBatch::schema);
    let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
    let mut reader = BatchChunks::new("test".into(), Box::new(reader), &Arc::default()).unwrap();
    let next = || match reader.next_chunk(&Progress::default()).unwrap() {
        Some(Chunk::Batch(batch, first_row)) => Some((batch, first_row)),
        None => None,
        Some(other) => panic!("{other:?}"),
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn large_batches_are_cut_and_rows_are_counted_through() {
    let large = records_to_batch(&some(40_000));
    let empty = records_to_batch(&[]);
    let cut = chunks(vec![empty.clone(), large, empty, records_to_batch(&some(3))]);
    let shape: Vec<(usize, u64)> = cut.iter().map(|(batch, first)| (batch.num_rows(), *first)).collect();
    assert_eq!(shape, [(16_384, 0), (16_384, 16_384), (7_232, 32_768), (3, 40_000)]);
    let decoded = decode_batch(&cut[1].0, 5..7, cut[1].1);
    assert_eq!(decoded.records[0].sequence, 16_390);
}

#[test]
fn rows_that_share_long_text_are_cut_by_their_text() {
    let records = some(1_000);
    let mut text = StringDictionaryBuilder::<Int32Type>::new();
    let long = "x".repeat(1 << 20);
    records.iter().for_each(|_| text.append_value(&long));
    let text: ArrayRef = Arc::new(text.finish());
    let batch = records_to_batch(&records);
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    fields[6] = Arc::new(Field::new("object_ref", text.data_type().clone(), false));
    columns[6] = text;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let cut = chunks(vec![batch]);
    assert!(cut.iter().all(|(batch, _)| batch.num_rows() <= 64));
    assert_eq!(cut.iter().map(|(batch, _)| batch.num_rows()).sum::<usize>(), 1_000);
}

#[test]
fn progress_counts_every_byte_of_a_file_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.arrow", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = crate::RecordWriter::create(&path).unwrap();
        writer.write(&some(70_000)).unwrap();
        assert_eq!(writer.finish().unwrap(), 70_000);
        let file = || File::open(&path).unwrap();
        let read = |mut chunks: Box<dyn ChunkReader>| {
            let progress = Progress::default();
            let mut rows = 0;
            while let Some(chunk) = chunks.next_chunk(&progress).unwrap() {
                assert!(chunk.len() <= CHUNK_ROWS);
                rows += chunk.len();
            }
            assert_eq!(rows, 70_000);
            progress.bytes()
        };
        let size = path.metadata().unwrap().len();
        let name: Arc<str> = name.into();
        let (whole, uncounted) = if name.ends_with("arrow") {
            (
                read(Box::new(ArrowChunks::file(name.clone(), file(), &ColumnNames::default()).unwrap())),
                read(Box::new(ArrowChunks::file(name, file(), &ColumnNames::default()).unwrap().uncounted())),
            )
        } else {
            (
                read(Box::new(
                    ParquetChunks::open(name.clone(), Box::new(file()), &ColumnNames::default(), None)
                        .unwrap(),
                )),
                read(Box::new(
                    ParquetChunks::open(name, Box::new(file()), &ColumnNames::default(), None)
                        .unwrap()
                        .uncounted(),
                )),
            )
        };
        assert_eq!((whole, uncounted), (size, 0));
    }
}

#[test]
fn a_copy_of_a_stream_is_cancelled() {
    let progress = Progress::default();
    progress.cancel();
    let endless = Box::new(io::repeat(0));
    assert!(matches!(spool(&"stdin".into(), endless, &progress), Err(Error::Cancelled)));
}
