//! Damaged and hostile Arrow and Parquet files: an error or findings, never a panic, an endless loop or memory beyond
//! the content of the file.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use common::*;
use edgesentry_chain::FIELDS;
use edgesentry_formats::{Compression, Error, Format, Source, records, records_to_batch};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as ParquetCompression;
use parquet::file::properties::{WriterProperties, WriterVersion};

/// In each file, in two batches.
const RECORDS: usize = 300;
const BATCHES: usize = 2;
/// Buffers of the batches: one or more for each field.
const BUFFERS: usize = BATCHES * FIELDS.len();
/// Number of mutations of each file.
const MUTATIONS: u64 = 1000;

fn table() -> RecordBatch {
    let rows = some_records(300);
    let batch = records_to_batch(&rows);
    let mut devices = StringDictionaryBuilder::<Int32Type>::new();
    rows.iter().for_each(|row| devices.append_value(&row.device_id));
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(devices.finish()) as ArrayRef;
    RecordBatch::try_from_iter(FIELDS.into_iter().zip(columns)).unwrap()
}

fn arrow_file(compression: Option<CompressionType>) -> Vec<u8> {
    let table = table();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &table.schema(), options).unwrap();
    writer.write(&table.slice(0, 200)).unwrap();
    writer.write(&table.slice(200, 100)).unwrap();
    writer.into_inner().unwrap()
}

fn arrow_stream(compression: Option<CompressionType>) -> Vec<u8> {
    let table = table();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &table.schema(), options).unwrap();
    writer.write(&table.slice(0, 200)).unwrap();
    writer.write(&table.slice(200, 100)).unwrap();
    writer.into_inner().unwrap()
}

fn parquet_file(compression: ParquetCompression, version: WriterVersion) -> Vec<u8> {
    let table = table();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_max_row_group_row_count(Some(120))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties)).unwrap();
    writer.write(&table).unwrap();
    writer.into_inner().unwrap()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let zstd = ParquetCompression::ZSTD(Default::default());
    vec![
        ("arrow file", arrow_file(None)),
        ("arrow file, lz4", arrow_file(Some(CompressionType::LZ4_FRAME))),
        ("arrow file, zstd", arrow_file(Some(CompressionType::ZSTD))),
        ("arrow stream", arrow_stream(None)),
        ("arrow stream, zstd", arrow_stream(Some(CompressionType::ZSTD))),
        ("parquet", parquet_file(ParquetCompression::UNCOMPRESSED, WriterVersion::PARQUET_1_0)),
        ("parquet, snappy", parquet_file(ParquetCompression::SNAPPY, WriterVersion::PARQUET_2_0)),
        ("parquet, zstd", parquet_file(zstd, WriterVersion::PARQUET_1_0)),
        ("parquet, lz4", parquet_file(ParquetCompression::LZ4_RAW, WriterVersion::PARQUET_2_0)),
        (
            "parquet, gzip",
            parquet_file(ParquetCompression::GZIP(Default::default()), WriterVersion::PARQUET_1_0),
        ),
        ("our parquet", written(&some_records(300), Format::Parquet, Compression::None, 300)),
    ]
}

/// Reads the whole input. The result does not matter, only that it returns.
fn read_all(name: &str, bytes: Vec<u8>) -> Result<usize, Error> {
    let reader = Box::new(std::io::Cursor::new(bytes));
    let mut count = 0;
    for entry in records(Source::Reader { name: name.into(), reader })? {
        let _either = entry?;
        count += 1;
        assert!(count < 3_000_000, "{name}: more records than such a file can hold");
    }
    Ok(count)
}

/// xorshift: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    // Half of the faults are in the metadata at either end.
    let place = |random: &mut Random, length: usize| match random.below(4) {
        0 => random.below(length.min(600)),
        1 => length - 1 - random.below(length.min(2500)),
        _ => random.below(length),
    };
    for _ in 0..=random.below(4) {
        let at = place(random, bytes.len());
        match random.below(7) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            3 => {
                let end = bytes.len().min(at + 4);
                let value = [0, 1, u32::MAX, i32::MAX as u32, 1 << 30][random.below(5)];
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            4 => {
                let at = at & !7;
                let end = bytes.len().min(at + 8);
                let value = [0, u64::MAX, i64::MAX as u64, 1 << 40, 1 << 33][random.below(5)];
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            5 => {
                let length = random.below(40).min(bytes.len() - at);
                bytes.drain(at..at + length);
            }
            _ => {
                let from = random.below(bytes.len());
                let piece = bytes[from..bytes.len().min(from + random.below(40))].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
fn whole_files_are_read() {
    for (name, bytes) in files() {
        let count = read_all(name, bytes).unwrap_or_else(|error| panic!("{}", sentence(&error)));
        assert_eq!(count, 300, "{name}");
    }
}

#[test]
fn mutated_files_never_panic() {
    for (name, whole) in files() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut refused = 0;
        for _ in 0..MUTATIONS {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            if let Err(error) = read_all(name, bytes) {
                let sentence = sentence(&error);
                assert!(sentence.len() < 500 && !sentence.contains('\n'), "{sentence}");
                refused += 1;
                println!("{sentence}");
            }
        }
        assert!(refused > MUTATIONS / 10, "{name}: {refused} of {MUTATIONS} are refused");
    }
}

#[test]
fn truncated_files_are_refused() {
    for (name, whole) in files() {
        for cut in (1..40).map(|part| part * whole.len() / 40).chain([whole.len() - 1, whole.len() - 5]) {
            let outcome = read_all(name, whole[..cut].to_vec());
            match outcome {
                Err(Error::Unreadable { .. }) => {}
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn streams_that_were_joined_are_refused() {
    let stream = arrow_stream(None);
    let error = read_all("joined", [&stream[..], &stream].concat()).unwrap_err();
    assert!(sentence(&error).contains("bytes follow the end of the Arrow stream"));
}

#[test]
fn a_stream_that_declares_more_than_it_has_is_refused() {
    // Metadata, and then a body, of almost four gigabytes and of eight exabytes.
    for length in [u32::MAX - 8, 1 << 25] {
        let bytes = [&[0xff; 4][..], &length.to_le_bytes(), &[0; 64]].concat();
        assert!(matches!(read_all("stream", bytes), Err(Error::Unreadable { .. })));
    }
}

/// Puts a number at places of a file; how many of these files are refused. Another place holds data, which may be read
/// as other data.
fn refused(name: &str, whole: &[u8], places: impl Iterator<Item = usize>, number: u64) -> usize {
    let outcomes = places.map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        match read_all(name, bytes) {
            Ok(count) => {
                assert!(count <= RECORDS, "{name}, {number} at {at}: {count} records");
                false
            }
            Err(Error::Unreadable { .. }) => true,
            Err(other) => panic!("{name}, {number} at {at}: {}", sentence(&other)),
        }
    });
    outcomes.filter(|refused| *refused).count()
}

#[test]
fn sizes_that_no_buffer_of_a_stream_has_are_refused() {
    let stream = arrow_stream(Some(CompressionType::ZSTD));
    for size in [1u64 << 40, i64::MAX as u64, 3 << 30] {
        // Each aligned position once, including every buffer length and every decompressed size.
        let places = (0..stream.len().min(6000) - 8).step_by(8);
        let refused = refused("stream", &stream, places, size);
        assert!(refused >= BUFFERS, "{size}: {refused} places");
    }
}

#[test]
fn a_footer_that_names_batches_outside_of_the_file_is_refused() {
    let whole = arrow_file(None);
    let size = whole.len();
    let footer = i32::from_le_bytes(whole[size - 10..size - 6].try_into().unwrap()) as usize;
    for value in [u64::MAX, 1 << 40, size as u64, i64::MAX as u64] {
        let refused = refused("file", &whole, (size - 10 - footer..size - 18).step_by(4), value);
        assert!(refused >= BATCHES, "{value}: {refused} places");
    }
}

#[test]
fn a_parquet_file_with_fewer_rows_than_declared_is_refused() {
    // The row count of a row group is its last field before the ordinal; any change of it is detected.
    let whole = parquet_file(ParquetCompression::UNCOMPRESSED, WriterVersion::PARQUET_1_0);
    let size = whole.len();
    let footer = u32::from_le_bytes(whole[size - 8..size - 4].try_into().unwrap()) as usize;
    // 120 rows, zigzag as a varint.
    let mut changed = 0;
    for at in size - 8 - footer..size - 9 {
        if whole[at..at + 2] == [0xf0, 0x01] {
            let mut bytes = whole.clone();
            bytes[at] = 0xf2;
            match read_all("parquet", bytes) {
                Ok(count) => assert_eq!(count, 300),
                Err(error) => {
                    assert!(matches!(error, Error::Unreadable { .. }));
                    changed += 1;
                }
            }
        }
    }
    assert!(changed >= 2, "{changed} places");
}
