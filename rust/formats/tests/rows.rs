//! Rows of Parquet, of which no record is made, have the report of records: those of another library are decoded first.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/tampered.rs"]
mod tampered;

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, Int64Array, LargeStringArray, RecordBatch,
    RecordBatchIterator, StringArray, StringViewArray,
};
use arrow_ipc::writer::StreamWriter;
use edgesentry_chain::{AuditRecord, Checks, FIELDS, Report};
use edgesentry_formats::{Options, Source, verify};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tampered::{Entry, KEYS, entries};

/// The type of text, and the number of rows in a batch.
#[derive(Clone, Copy, Debug)]
struct Form {
    text: usize,
    rows: usize,
}

/// Returns a table of entries. A malformed entry lacks the field of this number.
fn table(entries: &[Entry], absent: usize) -> RecordBatch {
    let with = |field: usize, entry: &Entry| entry.is_some() || field != absent;
    let some = common::some_records(1).remove(0);
    let rows: Vec<_> = entries.iter().map(|entry| (entry, entry.as_ref().unwrap_or(&some))).collect();
    let text = |field: usize, of: fn(&AuditRecord) -> &str| -> ArrayRef {
        let values = rows.iter().map(|(entry, record)| with(field, entry).then(|| of(record)));
        Arc::new(StringArray::from_iter(values))
    };
    let number = |field: usize, of: fn(&AuditRecord) -> u64| -> ArrayRef {
        let values = rows.iter().map(|(entry, record)| with(field, entry).then(|| of(record) as i64));
        Arc::new(Int64Array::from_iter(values))
    };
    let bytes = |field: usize, size: i32, of: fn(&AuditRecord) -> Vec<u8>| -> ArrayRef {
        let values = rows.iter().map(|(entry, record)| with(field, entry).then(|| of(record)));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, size).unwrap())
    };
    let columns = [
        text(0, |record| &record.device_id),
        number(1, |record| record.sequence),
        number(2, |record| record.timestamp_ms),
        bytes(3, 32, |record| record.payload_hash.0.to_vec()),
        bytes(4, 64, |record| record.signature.to_vec()),
        bytes(5, 32, |record| record.prev_record_hash.0.to_vec()),
        text(6, |record| &record.object_ref),
    ];
    RecordBatch::try_from_iter_with_nullable(
        FIELDS.into_iter().zip(columns).map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn parquet(name: Arc<str>, table: &RecordBatch) -> Source {
    let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), None).unwrap();
    writer.write(table).unwrap();
    Source::Reader { name, reader: Box::new(Cursor::new(writer.into_inner().unwrap())) }
}

/// Returns an Arrow stream of batches, each a chunk, so that a window has several.
fn stream(name: Arc<str>, table: &RecordBatch, Form { text, rows }: Form) -> Source {
    let columns = table.columns().iter().map(|column| -> ArrayRef {
        let Some(values) = column.as_string_opt::<i32>() else { return Arc::clone(column) };
        match text {
            0 => Arc::clone(column),
            1 => Arc::new(LargeStringArray::from_iter(values)),
            2 => Arc::new(StringViewArray::from_iter(values)),
            _ => Arc::new(DictionaryArray::<Int32Type>::from_iter(values)),
        }
    });
    let columns = FIELDS.into_iter().zip(columns).map(|(name, column)| (name, column, true));
    let table = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &table.schema()).unwrap();
    for start in (0..table.num_rows()).step_by(rows) {
        writer.write(&table.slice(start, rows.min(table.num_rows() - start))).unwrap();
    }
    Source::Reader { name, reader: Box::new(Cursor::new(writer.into_inner().unwrap())) }
}

fn batches(name: Arc<str>, table: &RecordBatch) -> Source {
    let batches = RecordBatchIterator::new([Ok(table.clone())], table.schema());
    Source::Batches { name, batches: Box::new(batches) }
}

/// Returns the report of tables, one source each, without the form of the sources.
fn report(
    tables: &[RecordBatch],
    source: impl Fn(Arc<str>, &RecordBatch) -> Source,
    has_keys: bool,
    threads: usize,
) -> Report {
    let named = |(at, table): (usize, &RecordBatch)| source(format!("table {at}").into(), table);
    let sources: Vec<Source> = tables.iter().enumerate().map(named).collect();
    let checks = Checks { keys: has_keys.then_some(&KEYS), ..Checks::default() };
    let options = Options { max_findings: 50, ..Options::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut report = pool.install(|| verify(sources, &checks, &options, &Arc::default())).unwrap();
    for input in &mut report.inputs {
        (input.format, input.bytes) = (String::new(), None);
    }
    report
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The second table and those after it are grouped by device if their rows interleave.
    #[test]
    fn rows_have_the_report_of_records(
        entries in entries(), pieces in 1usize..5, absent in 0usize..7, has_keys: bool, text in 0usize..4,
        rows in 1usize..30,
    ) {
        let size = entries.len().div_ceil(pieces).max(1);
        let tables: Vec<RecordBatch> = entries.chunks(size).map(|piece| table(piece, absent)).collect();
        let expected = report(&tables, batches, has_keys, 1);
        prop_assert_eq!(report(&tables, parquet, has_keys, 1), expected.clone());
        prop_assert_eq!(report(&tables, parquet, has_keys, 2), expected.clone());
        let streamed = |name, table: &RecordBatch| stream(name, table, Form { text, rows });
        prop_assert_eq!(report(&tables, streamed, has_keys, 2), expected);
    }
}
