//! The worst inputs of each reader, at two sizes: allocations and allocated bytes grow no faster than the input, and
//! peak memory does not grow with it. Tests use counters, not clocks.
#![allow(clippy::unwrap_used, unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Read, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, BinaryArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use common::*;
use edgesentry_chain::{FIELDS, Scheme};
use edgesentry_formats::{Error, Source, read_heads, read_key_ring, records, records_to_batch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, Encoding};
use parquet::file::properties::WriterProperties;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED_BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static PEAK_BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grow(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    ALLOCATED_BYTES.fetch_add(bytes as u64, Relaxed);
    let live = LIVE_BYTES.fetch_add(bytes as i64, Relaxed) + bytes as i64;
    PEAK_BYTES.fetch_max(live, Relaxed);
}

// SAFETY: all calls go to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        grow(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The cost of a computation.
#[derive(Debug, Clone, Copy)]
struct Cost {
    allocations: u64,
    allocated_bytes: u64,
    peak_bytes: u64,
}

/// One test at a time: the counters are those of the process.
static TURN: Mutex<()> = Mutex::new(());

fn cost(work: impl FnOnce()) -> Cost {
    let live = LIVE_BYTES.load(Relaxed);
    PEAK_BYTES.store(live, Relaxed);
    let (allocations, bytes) = (ALLOCATIONS.load(Relaxed), ALLOCATED_BYTES.load(Relaxed));
    work();
    Cost {
        allocations: ALLOCATIONS.load(Relaxed) - allocations,
        allocated_bytes: ALLOCATED_BYTES.load(Relaxed) - bytes,
        peak_bytes: u64::try_from(PEAK_BYTES.load(Relaxed) - live).unwrap_or(0),
    }
}

/// Reads the whole input on one thread and keeps nothing.
fn read_all(reader: Box<dyn Read + Send>) -> Result<u64, Error> {
    let mut entries = 0;
    for entry in records(Source::Reader { name: "worst".into(), reader })? {
        let _either = entry?;
        entries += 1;
    }
    Ok(entries)
}

const MIB: u64 = 1 << 20;

/// Reads an input and one of twice its size: the work at most doubles, and the memory stays under the limit.
fn check(name: &str, limit_bytes: u64, input: impl Fn(usize) -> Box<dyn Read + Send>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let one = |size: usize| {
        let reader = input(size);
        pool.install(|| cost(|| _ = read_all(reader)))
    };
    let _warm = one(1);
    let (small, large) = (one(1), one(2));
    println!("{name}: {small:?} {large:?}");
    assert!(large.allocations <= small.allocations * 11 / 5 + 1000, "{name}: {small:?} {large:?}");
    // Vectors grow by doubling.
    assert!(large.allocated_bytes <= small.allocated_bytes * 5 / 2 + MIB, "{name}: {small:?} {large:?}");
    for cost in [small, large] {
        assert!(cost.peak_bytes <= limit_bytes, "{name}: {} MiB at a time", cost.peak_bytes / MIB);
    }
}

fn repeated(piece: &'static [u8], bytes: usize) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(piece).chain(Repeat { piece, at: 0 }).take(bytes as u64))
}

struct Repeat {
    piece: &'static [u8],
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.piece[self.at];
            self.at = (self.at + 1) % self.piece.len();
        }
        Ok(buffer.len())
    }
}

fn in_array(piece: &'static [u8], bytes: usize) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(b"[").chain(repeated(piece, bytes)))
}

#[test]
fn text_of_malformed_entries() {
    const SIZE: usize = 512 << 10;
    let objects: [(&str, &'static [u8]); 9] = [
        (
            "an object, then lines of one byte",
            b"{}\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n",
        ),
        ("empty objects on one line", b"{}"),
        ("empty objects over two lines", b"{\n}"),
        ("lines that open an object", b"{\"a\":\n"),
        ("lines that open an object and a list", b"{\"a\":[\n"),
        ("lines that open a text", b"{\"a\":\"\n"),
        ("braces in lines of their own", b"{\n"),
        ("closing braces", b"{}}}}}}}}}}}}}}}}\n"),
        ("blank lines", b"{}\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"),
    ];
    for (name, piece) in objects {
        check(name, 40 * MIB, |times| repeated(piece, times * SIZE));
    }
    let arrays: [(&str, &'static [u8]); 4] = [
        ("an array of numbers", b"1,"),
        ("an array of empty lists", b"[],"),
        ("an array of texts", b"\"\\\"]\","),
        ("an array of objects with long names", b"{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1},"),
    ];
    for (name, piece) in arrays {
        check(name, 40 * MIB, |times| in_array(piece, times * SIZE));
    }
}

#[test]
fn text_of_entries_that_do_not_end() {
    const SIZE: usize = 6 << 20;
    for (name, begin, piece) in [
        ("lists in lists", &b"["[..], &b"["[..]),
        ("objects in objects", b"{\"a\":", b"{\"a\":"),
        ("a text", b"[{\"device_id\":\"", b"\\u0041"),
        ("a number", b"{\"sequence\":", b"1"),
        ("white space", b" ", b" \n"),
    ] {
        check(name, 120 * MIB, |times| Box::new(Cursor::new(begin).chain(repeated(piece, times * SIZE))));
    }
}

#[test]
fn text_that_is_compressed_a_thousandfold() {
    let packed = |zstd: bool, times: usize| -> Box<dyn Read + Send> {
        let mut text = Vec::new();
        repeated(b"{}\nx\n", times << 20).read_to_end(&mut text).unwrap();
        let packed = if zstd {
            zstd::encode_all(text.as_slice(), 3).unwrap()
        } else {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(&text).unwrap();
            gzip.finish().unwrap()
        };
        Box::new(Cursor::new(packed))
    };
    check("gzip", 40 * MIB, |times| packed(false, times));
    check("zstd", 60 * MIB, |times| packed(true, times));
    // Empty members.
    let empty = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().unwrap();
    let empty: &'static [u8] = empty.leak();
    check("empty gzip members", 40 * MIB, |times| repeated(empty, times * empty.len() * 20_000));
}

/// Returns rows whose five byte columns share one long value each.
fn shared(rows: usize, value_bytes: usize) -> RecordBatch {
    let batch = records_to_batch(&some_records(rows as u64));
    let keys = || Int32Array::from_iter_values(std::iter::repeat_n(0, rows));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(["x".repeat(value_bytes)]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![7u8; value_bytes]]));
    let column = |(at, old): (usize, &ArrayRef)| -> ArrayRef {
        match at {
            1 | 2 => Arc::clone(old),
            0 | 6 => Arc::new(DictionaryArray::<Int32Type>::new(keys(), Arc::clone(&text))),
            _ => Arc::new(DictionaryArray::<Int32Type>::new(keys(), Arc::clone(&bytes))),
        }
    };
    let columns = batch.columns().iter().enumerate().map(column);
    RecordBatch::try_from_iter(FIELDS.into_iter().zip(columns.collect::<Vec<_>>())).unwrap()
}

fn parquet(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn columns_that_share_long_values() {
    const VALUE_BYTES: usize = 100_000;
    let zstd =
        || WriterProperties::builder().set_compression(ParquetCompression::ZSTD(Default::default())).build();
    let file = parquet(&shared(16_384, VALUE_BYTES), zstd());
    assert!(file.len() < 200_000, "{} bytes", file.len());
    check("Parquet dictionaries", 64 * MIB, |times| {
        Box::new(Cursor::new(parquet(&shared(times * 8_192, VALUE_BYTES), zstd())))
    });
    check("Arrow dictionaries", 64 * MIB, |times| {
        let batch = shared(times * 8_192, VALUE_BYTES);
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        Box::new(Cursor::new(writer.into_inner().unwrap()))
    });
    check("compressed Arrow", 64 * MIB, |times| {
        let batch = records_to_batch(&vec![some_records(1).remove(0); times * 30_000]);
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        for at in 0..times * 3 {
            writer.write(&batch.slice(at * 10_000, 10_000)).unwrap();
        }
        Box::new(Cursor::new(writer.into_inner().unwrap()))
    });
}

/// Text values that repeat the previous one, so that a page expands to many times its size.
#[test]
fn texts_that_repeat_their_beginning() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_column_encoding("object_ref".into(), Encoding::DELTA_BYTE_ARRAY)
        .set_compression(ParquetCompression::SNAPPY)
        .build();
    let rows = some_records(16_384);
    let mut writer = None;
    for rows in rows.chunks(64) {
        let batch = records_to_batch(rows);
        let mut columns = batch.columns().to_vec();
        columns[6] =
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n("x".repeat(100_000), rows.len())));
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.clone())).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    let file = writer.unwrap().into_inner().unwrap();
    assert!(file.len() < 8 << 20, "{} bytes", file.len());
    let mut outcome = Ok(0);
    let cost = cost(|| outcome = read_all(Box::new(Cursor::new(file))));
    let sentence = sentence(&outcome.unwrap_err());
    assert!(sentence.contains("its pages would take"), "{sentence}");
    assert!(cost.peak_bytes < 100 * MIB, "{cost:?}");
}

#[test]
fn files_of_keys_and_heads() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let linear = |name: &str, read: &dyn Fn(&[u8]), input: &dyn Fn(usize) -> String| {
        let one = |size: usize| {
            let input = input(size);
            let cost = cost(|| read(input.as_bytes()));
            assert!(cost.peak_bytes < 40 * input.len() as u64 + MIB, "{name}: {cost:?}");
            cost
        };
        let (small, large) = (one(1), one(2));
        assert!(large.allocations <= small.allocations * 11 / 5 + 1000, "{name}: {small:?} {large:?}");
        assert!(large.allocated_bytes <= small.allocated_bytes * 11 / 5 + MIB, "{name}: {small:?} {large:?}");
    };
    let keys = |json: &[u8]| _ = read_key_ring(json, Scheme::Record);
    let heads = |json: &[u8]| _ = read_heads(json);
    let many = |entry: fn(usize) -> String, end: &'static str, begin: &'static str| {
        move |times: usize| {
            let entries: Vec<String> = (0..times * 5_000).map(entry).collect();
            format!("{begin}{}{end}", entries.join(","))
        }
    };
    linear("nested lists of keys", &keys, &|times| format!("{{\"a\":{}", "[".repeat(times << 20)));
    linear("a long key", &keys, &|times| format!("{{\"a\":\"{}\"}}", "0".repeat(times << 20)));
    linear("a long device", &keys, &|times| format!("{{\"{}\":1}}", "0".repeat(times << 20)));
    linear("devices", &keys, &many(|at| format!("\"{at}\":[]"), "}", "{"));
    linear("keys of one device", &keys, &many(|_| "\"00\"".into(), "]}", "{\"a\":["));
    linear("nested heads", &heads, &|times| {
        format!("{{\"version\":1,\"heads\":{}", "{\"a\":".repeat(times << 18))
    });
    linear(
        "heads",
        &heads,
        &many(
            |at| format!("\"{at}\":{{\"sequence\":1,\"hash\":\"{}\"}}", "00".repeat(32)),
            "}}",
            "{\"version\":1,\"heads\":{",
        ),
    );
}
