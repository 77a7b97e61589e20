//! Inputs from other programs: read, or rejected with advice, and never called damaged if they are intact.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Int8Builder, ListBuilder};
use arrow_array::{ArrayRef, BinaryArray, Int8Array, RecordBatch, StringArray};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::*;
use edgesentry_chain::{AuditRecord, FIELDS};
use edgesentry_formats::{
    Compression, Error, Format, record_from_json, record_to_json, records_from_batch, records_to_batch,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn ndjson(rows: &[AuditRecord]) -> Vec<u8> {
    written(rows, Format::Ndjson, Compression::None, 100)
}

fn read(bytes: &[u8]) -> Vec<AuditRecord> {
    read_bytes(bytes.to_vec()).unwrap().into_iter().map(Result::unwrap).collect()
}

fn refused(bytes: &[u8]) -> String {
    match read_bytes(bytes.to_vec()) {
        Err(error @ Error::Unreadable { .. }) => sentence(&error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn gzip_members_may_be_followed_by_zero_bytes() {
    let rows = some_records(9);
    let text = ndjson(&rows);
    let (left, right) = text.split_at(text.len() / 2);
    let zeros = vec![0; 10_000];
    for packed in [
        [gzip(&text), zeros.clone()].concat(),
        [gzip(left), gzip(right)].concat(),
        [gzip(left), zeros.clone(), gzip(right), zeros[..1].to_vec()].concat(),
        [gzip(b""), gzip(&text), gzip(b"")].concat(),
    ] {
        assert_eq!(read(&packed), rows);
    }
    let trailing = refused(&[gzip(&text), b"more".to_vec()].concat());
    assert!(
        trailing.contains("bytes that are not gzip follow") && !trailing.contains("damaged"),
        "{trailing}"
    );
    let cut = gzip(&text);
    assert!(refused(&cut[..cut.len() - 5]).contains("damaged or truncated"));
    let mut changed = cut.clone();
    let crc = changed.len() - 8;
    changed[crc] ^= 1;
    assert!(refused(&changed).contains("damaged or truncated"));
}

#[test]
fn zstd_frames_and_frames_to_skip() {
    let rows = some_records(9);
    let text = ndjson(&rows);
    let (left, right) = text.split_at(text.len() / 2);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"size"].concat();
    for packed in [
        // As pzstd and seekable zstd write it.
        [skipped.clone(), zstd(left), skipped.clone(), zstd(right)].concat(),
        [zstd(&text), skipped.clone()].concat(),
        [zstd(left), zstd(right)].concat(),
    ] {
        assert_eq!(read(&packed), rows);
    }
    let trailing = refused(&[zstd(&text), b"more".to_vec()].concat());
    assert!(trailing.contains("bytes that are not zstd follow"), "{trailing}");
    let cut = zstd(&text);
    assert!(refused(&cut[..cut.len() - 3]).contains("damaged or truncated"));
}

#[test]
fn a_zstd_window_that_is_too_large_is_named() {
    let rows = some_records(3);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&ndjson(&rows)).unwrap();
    let refused = refused(&encoder.finish().unwrap());
    assert!(
        refused.contains("window") && refused.contains("--long") && !refused.contains("damaged"),
        "{refused}"
    );
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&ndjson(&rows)).unwrap();
    assert_eq!(read(&encoder.finish().unwrap()), rows);
}

#[test]
fn an_unsupported_format_is_named_with_the_conversion() {
    let text = ndjson(&some_records(3));
    let utf16: Vec<u8> = text.iter().flat_map(|byte| [*byte, 0]).collect();
    for (bytes, words) in [
        (b"PK\x03\x04rest".to_vec(), "ZIP archive; unpack"),
        (b"7z\xbc\xaf\x27\x1c".to_vec(), "7z archive"),
        (b"\xfd7zXZ\0\0".to_vec(), "xz -dc"),
        (b"BZh91AY&SY".to_vec(), "bzip2 -dc"),
        (b"\x04\x22\x4d\x18\x64".to_vec(), "lz4 -dc"),
        ([vec![b'x'; 257], b"ustar\0".to_vec()].concat(), "tar archive"),
        (b"FEA1\0\0\0\0".to_vec(), "Feather version 1"),
        (b"PARE\0\0\0\0PARE".to_vec(), "encrypted"),
        (b"Obj\x01\x04".to_vec(), "Avro"),
        (b"ORC\0".to_vec(), "ORC"),
        (b"SQLite format 3\0".to_vec(), "--ledger"),
        (b"device_id,sequence\n".to_vec(), "CSV"),
        (b"\x1e{}\n".to_vec(), "RFC 7464"),
        (gzip(&gzip(&text)), "compressed twice"),
        (gzip(&zstd(&text)), "compressed twice"),
        (utf16.clone(), "UTF-16"),
        ([b"\xff\xfe".to_vec(), utf16].concat(), "UTF-16"),
    ] {
        let sentence = refused(&bytes);
        assert!(sentence.contains(words) && !sentence.contains("damaged"), "{sentence}");
    }
    assert!(read(b"").is_empty());
}

/// Parquet with another codec in its metadata: the number in the footer is changed.
#[test]
fn parquet_codecs_that_are_not_read_are_named() {
    let rows = some_records(3);
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
    let batch = records_to_batch(&rows);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let file = writer.into_inner().unwrap();
    let footer = file.len()
        - 8
        - u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
    // Field 4 of a column, after the names of its path: an i32, 0 for no compression.
    let at = footer + file[footer..].windows(9).position(|window| window == b"device_id").unwrap();
    let path = at + 9 + file[at + 9..].windows(9).position(|window| window == b"device_id").unwrap() + 9;
    assert_eq!(file[path..path + 2], [0x15, 0]);
    for (codec, name) in [(4u8, "Brotli"), (3, "LZO")] {
        let mut file = file.clone();
        file[path + 1] = codec << 1;
        let sentence = refused(&file);
        assert!(
            sentence.contains(name) && sentence.contains("zstd") && !sentence.contains("damaged"),
            "{sentence}"
        );
    }
}

#[test]
fn bytes_in_other_encodings_are_bytes() {
    let rows = some_records(4);
    for row in &rows {
        let mut text = Vec::new();
        record_to_json(row, &mut text);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let fields = [
            ("payload_hash", &row.payload_hash.0[..]),
            ("signature", &row.signature),
            ("prev_record_hash", &row.prev_record_hash.0),
        ];
        let forms: [fn(&[u8]) -> serde_json::Value; 6] = [
            |bytes| STANDARD.encode(bytes).into(),
            |bytes| URL_SAFE_NO_PAD.encode(bytes).into(),
            |bytes| format!("\\x{}", hex::encode_upper(bytes)).into(),
            |bytes| format!("0x{}", hex::encode(bytes)).into(),
            |bytes| bytes.iter().map(|byte| *byte as i8).collect::<Vec<_>>().into(),
            |bytes| hex::encode(bytes).into(),
        ];
        for form in forms {
            let mut json = json.clone();
            for (field, bytes) in fields {
                json[field] = form(bytes);
            }
            assert_eq!(record_from_json(json.to_string().as_bytes()).as_ref(), Ok(row), "{json}");
        }
    }
    let batch = records_to_batch(&rows);
    type Encode = fn(Vec<&[u8]>) -> ArrayRef;
    let columns: [Encode; 4] = [
        |values| Arc::new(StringArray::from_iter_values(values.iter().map(|value| STANDARD.encode(value)))),
        |values| {
            Arc::new(StringArray::from_iter_values(
                values.iter().map(|value| format!("\\x{}", hex::encode(value))),
            ))
        },
        |values| Arc::new(BinaryArray::from_iter_values(values.iter().map(hex::encode))),
        |values| {
            let mut lists = ListBuilder::new(Int8Builder::new());
            for value in values {
                lists.append_value(value.iter().map(|byte| Some(*byte as i8)));
            }
            Arc::new(lists.finish())
        },
    ];
    for column in columns {
        let mut all = batch.columns().to_vec();
        all[3] = column(rows.iter().map(|row| &row.payload_hash.0[..]).collect());
        all[4] = column(rows.iter().map(|row| &row.signature[..]).collect());
        let batch = RecordBatch::try_from_iter(FIELDS.into_iter().zip(all)).unwrap();
        assert_eq!(records_from_batch(&batch).unwrap(), rows);
    }
    // Signed bytes are accepted only in byte fields: a negative number in another field is an error.
    let mut all = batch.columns().to_vec();
    all[1] = Arc::new(Int8Array::from_iter_values([1, 2, 3, -4]));
    let batch = RecordBatch::try_from_iter(FIELDS.into_iter().zip(all)).unwrap();
    assert!(records_from_batch(&batch).is_err());
}
