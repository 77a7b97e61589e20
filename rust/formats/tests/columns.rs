//! Tables of every form: columns of other types, in another order, and tables that are not records.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use arrow_array::builder::*;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use common::*;
use edgesentry_chain::{AuditRecord, FIELDS};
use edgesentry_formats::{Error, Format, Source, records, records_from_batch, records_to_batch, schema};

/// Returns a table with one column replaced.
fn with_column(rows: &[AuditRecord], field: &str, column: ArrayRef) -> RecordBatch {
    let batch = records_to_batch(rows);
    let columns = FIELDS
        .iter()
        .zip(batch.columns())
        .map(|(name, old)| (*name, if *name == field { Arc::clone(&column) } else { Arc::clone(old) }));
    RecordBatch::try_from_iter(columns).unwrap()
}

fn refusal(outcome: Result<Vec<AuditRecord>, Error>) -> String {
    sentence(&outcome.err().unwrap())
}

/// Returns a string column in each supported type.
fn text_columns(values: &[String]) -> Vec<ArrayRef> {
    let values = || values.iter().map(String::as_str);
    let mut dictionary = StringDictionaryBuilder::<UInt8Type>::new();
    let mut large_dictionary = LargeStringDictionaryBuilder::<Int64Type>::new();
    values().for_each(|value| dictionary.append_value(value));
    values().for_each(|value| large_dictionary.append_value(value));
    let views = StringViewArray::from_iter_values(values());
    let keys = Int16Array::from_iter_values(0..views.len() as i16);
    let view_dictionary = DictionaryArray::new(keys, Arc::new(views.clone()));
    vec![
        Arc::new(StringArray::from_iter_values(values())),
        Arc::new(LargeStringArray::from_iter_values(values())),
        Arc::new(views),
        Arc::new(dictionary.finish()),
        Arc::new(large_dictionary.finish()),
        Arc::new(view_dictionary),
    ]
}

/// Returns a byte column in each supported type, except hex.
fn byte_columns(values: &[&[u8]]) -> Vec<ArrayRef> {
    let mut dictionary = BinaryDictionaryBuilder::<Int8Type>::new();
    let mut list = ListBuilder::new(Int64Builder::new());
    let mut large_list = LargeListBuilder::new(UInt8Builder::new());
    let mut fixed_list = FixedSizeListBuilder::new(Int16Builder::new(), values[0].len() as i32);
    for value in values {
        dictionary.append_value(value);
        list.append_value(value.iter().map(|byte| Some(i64::from(*byte))));
        large_list.append_value(value.iter().map(|byte| Some(*byte)));
        value.iter().for_each(|byte| fixed_list.values().append_value(i16::from(*byte)));
        fixed_list.append(true);
    }
    vec![
        Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()),
        Arc::new(BinaryArray::from_iter_values(values)),
        Arc::new(LargeBinaryArray::from_iter_values(values)),
        Arc::new(BinaryViewArray::from_iter_values(values)),
        Arc::new(dictionary.finish()),
        Arc::new(list.finish()),
        Arc::new(large_list.finish()),
        Arc::new(fixed_list.finish()),
    ]
}

/// Returns an integer column in each type; the values fit into seven bits.
fn integer_columns(values: &[u64]) -> Vec<ArrayRef> {
    let mut dictionary = PrimitiveDictionaryBuilder::<Int32Type, Int64Type>::new();
    values.iter().for_each(|value| dictionary.append_value(*value as i64));
    let values = || values.iter().copied();
    vec![
        Arc::new(Int8Array::from_iter_values(values().map(|value| value as i8))),
        Arc::new(Int16Array::from_iter_values(values().map(|value| value as i16))),
        Arc::new(Int32Array::from_iter_values(values().map(|value| value as i32))),
        Arc::new(Int64Array::from_iter_values(values().map(|value| value as i64))),
        Arc::new(UInt8Array::from_iter_values(values().map(|value| value as u8))),
        Arc::new(UInt16Array::from_iter_values(values().map(|value| value as u16))),
        Arc::new(UInt32Array::from_iter_values(values().map(|value| value as u32))),
        Arc::new(UInt64Array::from_iter_values(values())),
        Arc::new(dictionary.finish()),
    ]
}

/// Returns one table for each field and type.
fn all_tables(rows: &[AuditRecord]) -> Vec<RecordBatch> {
    let mut tables = Vec::new();
    let mut add = |field: &str, columns: Vec<ArrayRef>| {
        tables.extend(columns.into_iter().map(|column| with_column(rows, field, column)));
    };
    let texts = |text: fn(&AuditRecord) -> String| rows.iter().map(text).collect::<Vec<_>>();
    add("device_id", text_columns(&texts(|row| row.device_id.clone())));
    add("object_ref", text_columns(&texts(|row| row.object_ref.clone())));
    add("sequence", integer_columns(&rows.iter().map(|row| row.sequence).collect::<Vec<_>>()));
    let bytes = |bytes: fn(&AuditRecord) -> &[u8]| rows.iter().map(bytes).collect::<Vec<_>>();
    for (field, values) in [
        ("payload_hash", bytes(|row| &row.payload_hash.0)),
        ("signature", bytes(|row| &row.signature)),
        ("prev_record_hash", bytes(|row| &row.prev_record_hash.0)),
    ] {
        add(field, byte_columns(&values));
        add(field, text_columns(&values.iter().map(hex::encode).collect::<Vec<_>>()));
        add(field, text_columns(&values.iter().map(hex::encode_upper).collect::<Vec<_>>()));
    }
    tables
}

#[test]
fn every_type_that_holds_the_field_is_read() {
    let rows = some_records(100);
    for table in all_tables(&rows) {
        let types =
            table.schema().fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>();
        assert_eq!(records_from_batch(&table).unwrap(), rows, "{types:?}");
        // Slices start within buffers, lists and bit masks.
        assert_eq!(records_from_batch(&table.slice(13, 50)).unwrap(), rows[13..63], "{types:?}");
    }
}

#[test]
fn every_type_is_read_from_arrow_files_streams_and_parquet() {
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
    use parquet::arrow::ArrowWriter;
    let rows = some_records(100);
    for (at, table) in all_tables(&rows).into_iter().enumerate() {
        let compression = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)][at % 3];
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let schema = table.schema();
        let mut file = FileWriter::try_new_with_options(Vec::new(), &schema, options.clone()).unwrap();
        let mut stream = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for part in [table.slice(0, 60), table.slice(60, 40)] {
            stream.write(&part).unwrap();
        }
        // In a file, a dictionary must not change between batches.
        file.write(&table).unwrap();
        let mut outputs = vec![file.into_inner().unwrap(), stream.into_inner().unwrap()];
        // The Parquet writer does not support dictionaries of views.
        if !schema.to_string().contains("Dictionary(Int16, Utf8View)") {
            let mut parquet = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).unwrap();
            parquet.write(&table).unwrap();
            outputs.push(parquet.into_inner().unwrap());
        }
        for bytes in outputs {
            let entries = read_bytes(bytes).unwrap_or_else(|error| panic!("{schema}: {}", sentence(&error)));
            assert_eq!(entries.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), rows, "{schema}");
        }
    }
}

#[test]
fn columns_come_in_any_order() {
    let rows = some_records(5);
    let shuffled = records_to_batch(&rows).project(&[6, 2, 4, 0, 5, 1, 3]).unwrap();
    assert_eq!(records_from_batch(&shuffled).unwrap(), rows);
}

#[test]
fn columns_that_are_not_those_of_a_record_are_refused() {
    let batch = records_to_batch(&some_records(2));
    let missing = |columns: &[usize]| refusal(records_from_batch(&batch.project(columns).unwrap()));
    assert!(missing(&[0, 1, 2, 3, 4, 5]).contains("column object_ref is missing"));
    assert!(missing(&[0, 1, 2, 3, 4]).contains("columns prev_record_hash, object_ref are missing"));
    assert!(missing(&[0, 1, 2, 3, 4, 5, 6, 1]).contains("column \"sequence\" appears twice"));

    let mut columns: Vec<(String, ArrayRef)> =
        FIELDS.iter().map(|name| name.to_string()).zip(batch.columns().iter().cloned()).collect();
    columns.push(("x".repeat(300), Arc::new(Int8Array::from(vec![1, 2]))));
    let unknown = refusal(records_from_batch(&RecordBatch::try_from_iter(columns).unwrap()));
    assert!(
        unknown.contains("is not a field of an audit record, so no hash covers it") && unknown.len() < 400
    );

    let rows = some_records(2);
    let wrong: [(&str, ArrayRef); 10] = [
        ("device_id", Arc::new(BinaryArray::from_iter_values([b"a", b"b"]))),
        ("device_id", Arc::new(Int8Array::from(vec![1, 2]))),
        ("sequence", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
        ("sequence", Arc::new(StringArray::from(vec!["1", "2"]))),
        ("sequence", Arc::new(TimestampMillisecondArray::from(vec![1, 2]))),
        ("timestamp_ms", Arc::new(Date64Array::from(vec![1, 2]))),
        ("payload_hash", Arc::new(FixedSizeBinaryArray::try_from_iter([[0; 31], [0; 31]].iter()).unwrap())),
        ("signature", Arc::new(FixedSizeBinaryArray::try_from_iter([[0; 32], [0; 32]].iter()).unwrap())),
        ("prev_record_hash", Arc::new(UInt64Array::from(vec![1, 2]))),
        ("object_ref", Arc::new(NullArray::new(2))),
    ];
    for (field, column) in wrong {
        let sentence = refusal(records_from_batch(&with_column(&rows, field, column)));
        assert!(sentence.starts_with(&format!("record batch: column \"{field}\" has type ")), "{sentence}");
        assert!(sentence.contains("; cast it to "), "{sentence}");
    }
}

#[test]
fn an_empty_table_of_the_wrong_columns_is_refused_too() {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int8, true)]));
    let batches = RecordBatchIterator::new(Vec::<Result<_, ArrowError>>::new(), schema);
    let source = Source::Batches { name: "table".into(), batches: Box::new(batches) };
    assert!(records(source).is_err());
    let batches = RecordBatchIterator::new(Vec::<Result<_, ArrowError>>::new(), edgesentry_formats::schema());
    let source = Source::Batches { name: "table".into(), batches: Box::new(batches) };
    assert_eq!(records(source).unwrap().count(), 0);
}

/// Replaces a column, reads the table, and expects the second of three rows to be malformed for this reason.
fn expect_fault(field: &str, column: ArrayRef, expected: &str, actual: &str) {
    let rows = some_records(3);
    let table = with_column(&rows, field, column);
    let batches = RecordBatchIterator::new([Ok(records_to_batch(&rows)), Ok(table.clone())], table.schema());
    let source = Source::Batches { name: "table".into(), batches: Box::new(batches) };
    let entries: Vec<_> = records(source).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.iter().filter(|entry| entry.is_err()).count(), 1, "{entries:?}");
    let malformed = entries[4].as_ref().err().unwrap();
    assert_eq!((malformed.expected.as_str(), malformed.actual.as_str()), (expected, actual));
    assert_eq!(entries[5].as_ref().unwrap().object_ref, rows[2].object_ref);
    let alone = refusal(records_from_batch(&table));
    assert_eq!(alone, format!("record batch: {}, expected {expected}", actual.replace("row 5", "row 2")));
}

#[test]
fn rows_that_are_not_records_are_named() {
    let good = vec![7u8; 32];
    let hex = hex::encode(&good);
    expect_fault(
        "device_id",
        Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])),
        "device_id as text",
        "row 5: device_id is null",
    );
    expect_fault(
        "sequence",
        Arc::new(Int64Array::from(vec![Some(1), None, Some(2)])),
        "sequence as an integer",
        "row 5: sequence is null",
    );
    expect_fault(
        "timestamp_ms",
        Arc::new(Int64Array::from(vec![1, -3, 2])),
        "timestamp_ms from 0 to 18446744073709551615",
        "row 5: timestamp_ms is -3",
    );
    expect_fault(
        "payload_hash",
        Arc::new(BinaryArray::from_iter_values([&good[..], &good[..31], &good])),
        "payload_hash of 32 bytes",
        "row 5: payload_hash has 31 bytes",
    );
    expect_fault(
        "payload_hash",
        Arc::new(BinaryViewArray::from_iter([Some(&good[..]), None, Some(&good)])),
        "payload_hash of 32 bytes",
        "row 5: payload_hash is null",
    );
    expect_fault(
        "prev_record_hash",
        Arc::new(StringViewArray::from_iter_values([hex.as_str(), "zz", &hex])),
        "prev_record_hash of 32 bytes as 64 hex digits",
        "row 5: prev_record_hash is \"zz\"",
    );
    let list = |second: Vec<Option<i32>>| {
        let item = |_| Some(vec![Some(1); 32]);
        let rows = [item(()), Some(second), item(())];
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows)) as ArrayRef
    };
    let elements = |last| [vec![Some(0); 31], vec![last]].concat();
    let expected = "payload_hash of 32 bytes";
    expect_fault("payload_hash", list(vec![Some(1); 3]), expected, "row 5: payload_hash has 3 elements");
    expect_fault("payload_hash", list(elements(None)), expected, "row 5: payload_hash has a null element");
    expect_fault(
        "payload_hash",
        list(elements(Some(256))),
        expected,
        "row 5: payload_hash has the element 256, which is not a byte",
    );
    let keys = Int8Array::from(vec![Some(0), None, Some(0)]);
    expect_fault(
        "object_ref",
        Arc::new(DictionaryArray::new(
            keys,
            Arc::new(StringArray::from(vec![some_records(3)[2].object_ref.clone()])),
        )),
        "object_ref as text",
        "row 5: object_ref is null",
    );
}

#[test]
fn a_dictionary_without_values_holds_nulls_only() {
    let keys = Int8Array::from(vec![None, None]);
    let empty = DictionaryArray::new(keys, Arc::new(StringArray::from(Vec::<&str>::new())));
    let table = with_column(&some_records(2), "device_id", Arc::new(empty));
    assert!(refusal(records_from_batch(&table)).contains("row 1: device_id is null"));
}

#[test]
fn an_error_of_the_batches_ends_them() {
    let batch = records_to_batch(&some_records(2));
    let failed = ArrowError::ComputeError("no more".into());
    let batches = RecordBatchIterator::new([Ok(batch.clone()), Err(failed), Ok(batch)], schema());
    let source = Source::Batches { name: "table".into(), batches: Box::new(batches) };
    let entries: Vec<_> = records(source).unwrap().collect();
    assert_eq!(entries.len(), 3);
    assert!(matches!(entries[2], Err(Error::Source { .. })));
}

#[test]
fn written_files_have_the_documented_schema() {
    let bytes = written(&some_records(2), Format::Arrow, edgesentry_formats::Compression::None, 1);
    let reader = arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    assert_eq!(reader.schema(), schema());
}
