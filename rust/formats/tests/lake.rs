//! Tables as engines and lakes have them: other names, further columns, timestamps, decimals, int64.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use common::*;
use edgesentry_chain::{AuditRecord, FIELDS};
use edgesentry_formats::{
    ColumnNames, Compression, Format, Malformed, Progress, RecordWriter, Source, devices_of, int64_batch,
    record_to_json, records, records_from_batch, records_to_batch,
};

/// A batch whose columns have these names, with one of them replaced.
fn table(rows: &[AuditRecord], rename: impl Fn(&str) -> String, more: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let batch = records_to_batch(rows);
    let own = FIELDS.iter().zip(batch.columns()).map(|(name, column)| (rename(name), Arc::clone(column)));
    let more = more.into_iter().map(|(name, column)| (name.to_owned(), column));
    let (fields, columns): (Vec<_>, Vec<_>) = more
        .chain(own)
        .map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column))
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn names(columns: &[(&str, &str)], ignored: &[&str]) -> Arc<ColumnNames> {
    Arc::new(ColumnNames::new(columns.iter().copied(), ignored.iter().copied()).unwrap())
}

fn read(source: Source, names: &Arc<ColumnNames>) -> Result<Vec<Result<AuditRecord, Malformed>>, String> {
    let entries = records(source.named(names)).map_err(|error| error.to_string())?;
    entries.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn batches(batch: &RecordBatch) -> Source {
    let batches = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    Source::Batches { name: "table".into(), batches: Box::new(batches) }
}

/// The same table as batches, Arrow IPC and Parquet.
fn forms(batch: &RecordBatch) -> Vec<Source> {
    let bytes = |bytes: Vec<u8>| Source::Reader {
        name: "table".into(),
        reader: Box::new(std::io::Cursor::new(bytes)),
    };
    let mut ipc = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    ipc.write(batch).unwrap();
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(batch).unwrap();
    vec![batches(batch), bytes(ipc.into_inner().unwrap()), bytes(parquet.into_inner().unwrap())]
}

#[test]
fn further_columns_are_left_out_only_if_they_are_named() {
    let rows = some_records(5);
    let day: ArrayRef = Arc::new(StringArray::from(vec!["2026-11-01"; 5]));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Float64, true)),
        Arc::new(Float64Array::from(vec![0.5; 5])) as ArrayRef,
    )]));
    let batch = table(&rows, str::to_owned, vec![("day", day), ("_meta", nested)]);
    let expected: Vec<_> = rows.iter().cloned().map(Ok).collect();
    for source in forms(&batch) {
        assert_eq!(read(source, &names(&[], &["DAY", "_meta", "absent"])).unwrap(), expected);
    }
    for source in forms(&batch) {
        let error = read(source, &names(&[], &["day"])).unwrap_err();
        assert!(error.contains("column \"_meta\" is not a field") && error.contains("ignore="), "{error}");
    }
}

#[test]
fn the_devices_of_a_table_are_those_of_its_records() {
    let mut rows = some_records(50);
    for (at, row) in rows.iter_mut().enumerate() {
        row.device_id = format!("lift-{}", at % 7);
    }
    let expected: BTreeSet<String> = rows.iter().map(|row| row.device_id.clone()).collect();
    let named = names(&[("device_id", "lift")], &["day"]);
    let ids = || rows.iter().map(|row| row.device_id.as_str());
    let columns: [ArrayRef; 4] = [
        Arc::new(StringArray::from_iter_values(ids())),
        Arc::new(LargeStringArray::from_iter_values(ids())),
        Arc::new(StringViewArray::from_iter_values(ids())),
        Arc::new(ids().collect::<DictionaryArray<types::Int16Type>>()),
    ];
    for column in columns {
        let rename = |name: &str| if name == "device_id" { "old".to_owned() } else { name.to_owned() };
        let day: ArrayRef = Arc::new(StringArray::from(vec!["2026-11-01"; 50]));
        let batch = table(&rows, rename, vec![("day", day), ("lift", column)]);
        let kept: Vec<usize> =
            (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != "old").collect();
        for source in forms(&batch.project(&kept).unwrap()) {
            let found = devices_of(vec![source.named(&named)], &Arc::new(Progress::default())).unwrap();
            assert_eq!(found.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>(), expected);
        }
    }
    let mut text = Vec::new();
    for row in &rows {
        record_to_json(row, &mut text);
        text.push(b'\n');
    }
    let reader = Box::new(std::io::Cursor::new(text));
    let found = devices_of(vec![Source::Reader { name: "x".into(), reader }], &Arc::new(Progress::default()));
    assert_eq!(found.unwrap().len(), expected.len());
    let unnamed = devices_of(forms(&table(&rows, str::to_uppercase, vec![])), &Arc::new(Progress::default()));
    assert_eq!(unnamed.unwrap().len(), expected.len());
    let missing = table(&rows, |name| format!("_{name}"), vec![]);
    for source in forms(&missing) {
        assert!(devices_of(vec![source], &Arc::new(Progress::default())).is_err());
    }
}

#[test]
fn columns_have_other_names_and_swap_them() {
    let rows = some_records(4);
    let swapped = |name: &str| match name {
        "payload_hash" => "prev_record_hash".to_owned(),
        "prev_record_hash" => "payload_hash".to_owned(),
        "timestamp_ms" => "event time".to_owned(),
        name => name.to_uppercase(),
    };
    let batch = table(&rows, swapped, Vec::new());
    let names = names(
        &[
            ("payload_hash", "prev_record_hash"),
            ("prev_record_hash", "payload_hash"),
            ("timestamp_ms", "event time"),
        ],
        &[],
    );
    for source in forms(&batch) {
        assert_eq!(read(source, &names).unwrap(), rows.iter().cloned().map(Ok).collect::<Vec<_>>());
    }
    let json: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut text = Vec::new();
            record_to_json(row, &mut text);
            let text = String::from_utf8(text).unwrap();
            let text = text.replace("\"payload_hash\"", "\"other\"");
            let text = text.replace("\"prev_record_hash\"", "\"payload_hash\"");
            let text = text.replace("\"other\"", "\"prev_record_hash\"");
            text.replace("\"timestamp_ms\"", "\"event time\"").replacen('{', "{\"day\":[{}],", 1)
        })
        .collect();
    let text = |lines: &[String]| Source::Reader {
        name: "lines".into(),
        reader: Box::new(std::io::Cursor::new(lines.join("\n").into_bytes())),
    };
    let error = read(text(&json), &names).unwrap()[0].clone().unwrap_err();
    assert!(error.actual.contains("unknown field `day`"), "{error:?}");
    let names = Arc::new(
        ColumnNames::new(
            [
                ("payload_hash", "prev_record_hash"),
                ("prev_record_hash", "payload_hash"),
                ("timestamp_ms", "event time"),
            ],
            ["day"],
        )
        .unwrap(),
    );
    assert_eq!(read(text(&json), &names).unwrap(), rows.iter().cloned().map(Ok).collect::<Vec<_>>());
    let twice = vec![json[0].replacen('{', "{\"sequence\":1,", 1)];
    let error = read(text(&twice), &names).unwrap()[0].clone().unwrap_err();
    assert!(error.actual.contains("duplicate field `sequence`"), "{error:?}");
}

#[test]
fn a_name_that_two_columns_have_in_different_case_is_refused() {
    let rows = some_records(2);
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let batch = table(&rows, str::to_owned, vec![("Device_ID", other)]);
    for source in forms(&batch) {
        let error = read(source, &Arc::default()).unwrap_err();
        assert!(error.contains("\"Device_ID\" and \"device_id\" differ only in case"), "{error}");
    }
    for source in forms(&batch) {
        let entries = read(source, &names(&[], &["Device_ID"])).unwrap();
        assert_eq!(entries[0].as_ref(), Ok(&rows[0]));
    }
}

fn with_time(rows: &[AuditRecord], field: &str, column: ArrayRef) -> RecordBatch {
    let batch = records_to_batch(rows);
    let index = FIELDS.iter().position(|name| *name == field).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = column;
    RecordBatch::try_from_iter(FIELDS.iter().copied().zip(columns)).unwrap()
}

#[test]
fn timestamps_are_whole_milliseconds_or_malformed() {
    let mut rows = some_records(2);
    rows.iter_mut().for_each(|row| row.timestamp_ms = row.sequence * 1000);
    let columns: [ArrayRef; 5] = [
        Arc::new(TimestampSecondArray::from(vec![1, 2])),
        Arc::new(TimestampMillisecondArray::from(vec![1000, 2000])),
        Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000]).with_timezone("+09:00")),
        Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 2_000_000_000])),
        Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 2_000_000_000]).with_timezone("UTC")),
    ];
    for column in columns {
        let batch = with_time(&rows, "timestamp_ms", Arc::clone(&column));
        assert_eq!(records_from_batch(&batch).unwrap(), rows, "{}", column.data_type());
        // Parquet has no timestamps in seconds, and its writer in Rust leaves bare integers.
        let in_seconds = matches!(column.data_type(), DataType::Timestamp(TimeUnit::Second, _));
        for source in forms(&batch).into_iter().take(if in_seconds { 2 } else { 3 }) {
            assert_eq!(
                read(source, &Arc::default()).unwrap(),
                rows.iter().cloned().map(Ok).collect::<Vec<_>>()
            );
        }
        let error = records_from_batch(&with_time(&rows, "sequence", column)).unwrap_err().to_string();
        assert!(error.contains("column \"sequence\" has type Timestamp"), "{error}");
    }
    let wrong: [(ArrayRef, &str); 5] = [
        (Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, 2_000_001])), "is 2000001 microseconds"),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 2_000_000_001])),
            "2000000001 nanoseconds",
        ),
        (Arc::new(TimestampMillisecondArray::from(vec![1000, -1])), "is -1 milliseconds"),
        (Arc::new(TimestampSecondArray::from(vec![1, i64::MAX])), "is 9223372036854775807 seconds"),
        (Arc::new(TimestampMicrosecondArray::from(vec![Some(1_000_000), None])), "is null"),
    ];
    for (column, part) in wrong {
        let entries = read(batches(&with_time(&rows, "timestamp_ms", column)), &Arc::default()).unwrap();
        assert_eq!(entries[0].as_ref(), Ok(&rows[0]));
        let fault = entries[1].clone().unwrap_err();
        assert!(fault.actual.contains(part), "{fault:?}");
    }
}

#[test]
fn decimals_of_every_width_are_exact() {
    let mut rows = some_records(2);
    rows[1].sequence = u64::MAX;
    let large = i128::from(u64::MAX);
    let columns: [ArrayRef; 2] = [
        Arc::new(Decimal128Array::from(vec![1, large]).with_precision_and_scale(38, 0).unwrap()),
        Arc::new(
            Decimal256Array::from(vec![i256::ONE, i256::from_i128(large)])
                .with_precision_and_scale(76, 0)
                .unwrap(),
        ),
    ];
    for column in columns {
        for source in forms(&with_time(&rows, "sequence", column)) {
            assert_eq!(
                read(source, &Arc::default()).unwrap(),
                rows.iter().cloned().map(Ok).collect::<Vec<_>>()
            );
        }
    }
    let too_large: [(ArrayRef, String); 3] = [
        (
            Arc::new(Decimal128Array::from(vec![1, large + 1]).with_precision_and_scale(38, 0).unwrap()),
            format!("is {}", large + 1),
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![i256::ONE, i256::from_parts(0, 1)])
                    .with_precision_and_scale(76, 0)
                    .unwrap(),
            ),
            "is 340282366920938463463374607431768211456".into(),
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![1, -1].into_iter().map(i256::from_i128).collect::<Vec<_>>())
                    .with_precision_and_scale(76, 0)
                    .unwrap(),
            ),
            "is -1".into(),
        ),
    ];
    for (column, part) in too_large {
        let entries = read(batches(&with_time(&rows, "sequence", column)), &Arc::default()).unwrap();
        let fault = entries[1].clone().unwrap_err();
        assert!(fault.actual.contains(&part) && fault.expected.contains("18446744073709551615"), "{fault:?}");
    }
    let fraction: ArrayRef =
        Arc::new(Decimal128Array::from(vec![10, 20]).with_precision_and_scale(20, 1).unwrap());
    let error = records_from_batch(&with_time(&rows, "sequence", fraction)).unwrap_err().to_string();
    assert!(error.contains("has type Decimal128(20, 1); cast it to an integer column"), "{error}");
}

#[test]
fn numbers_are_written_as_int64_or_refused() {
    let mut rows = some_records(3);
    for (format, name) in [(Format::Parquet, "parquet"), (Format::Arrow, "arrow"), (Format::Ndjson, "ndjson")]
    {
        let memory = Memory::default();
        let out = Box::new(memory.clone());
        let writer = RecordWriter::to_writer(name.into(), out, format, Compression::None).unwrap();
        let mut writer = writer.with_int64(true);
        writer.write(&rows).unwrap();
        assert_eq!(writer.finish().unwrap(), 3);
        let bytes = memory.0.lock().unwrap().clone();
        let source = Source::Reader { name: name.into(), reader: Box::new(std::io::Cursor::new(bytes)) };
        assert_eq!(read(source, &Arc::default()).unwrap(), rows.iter().cloned().map(Ok).collect::<Vec<_>>());
    }
    let batch = int64_batch(&records_to_batch(&rows)).unwrap();
    assert_eq!(batch.schema().field(1).data_type(), &DataType::Int64);
    rows[1].timestamp_ms = 1 << 63;
    let error = int64_batch(&records_to_batch(&rows)).unwrap_err().to_string();
    assert!(error.contains("timestamp_ms is 9223372036854775808, larger than any int64"), "{error}");
    let out = Box::new(Memory::default());
    let writer = RecordWriter::to_writer("x".into(), out, Format::Parquet, Compression::None).unwrap();
    let mut writer = writer.with_int64(true);
    let error = writer.write(&rows).and_then(|()| writer.finish()).unwrap_err();
    assert!(edgesentry_formats::describe(&error).contains("larger than any int64"));
}

#[test]
fn numbers_in_parquet_have_no_dictionary_pages() {
    let memory = Memory::default();
    let out = Box::new(memory.clone());
    let mut writer = RecordWriter::to_writer("x".into(), out, Format::Parquet, Compression::None).unwrap();
    writer.write(&some_records(100)).unwrap();
    writer.finish().unwrap();
    let bytes = bytes::Bytes::from(memory.0.lock().unwrap().clone());
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    for (index, column) in metadata.row_group(0).columns().iter().enumerate() {
        let has_dictionary = column.dictionary_page_offset().is_some();
        assert_eq!(has_dictionary, matches!(FIELDS[index], "device_id" | "object_ref"), "{}", FIELDS[index]);
    }
}
