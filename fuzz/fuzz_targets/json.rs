//! JSON arrays and NDJSON, uncompressed and in gzip or zstd: the split into chunks does not affect the result, and
//! entries and array match the result of a general parser. Objects end at the same byte however their end is searched.

#![no_main]

use std::io::Write;

use edgesentry_chain::AuditRecord;
use edgesentry_formats::{Format, fuzzing};
use edgesentry_fuzz::{Entries, bounded, plant, read, read_back};
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(init: plant(edgesentry_fuzz::json()), |input: &[u8]| {
    let Some((&wrap, text)) = input.split_first() else { return };
    bounded(|| execute(wrap, text));
});

fn execute(wrap: u8, text: &[u8]) {
    let middle = text.len() / 2;
    let wrapped = match wrap % 8 {
        0 => text.to_vec(),
        1 => gzip(text),
        2 => zstd::encode_all(text, 1).expect("zstd in memory"),
        // Consecutive members and frames are one text.
        3 if wrap & 8 == 0 => [gzip(&text[..middle]), gzip(&text[middle..])].concat(),
        3 => [&text[..middle], &text[middle..]].map(|half| zstd::encode_all(half, 1).expect("zstd")).concat(),
        // The bytes unchanged, in any compression.
        _ => {
            let _ = read(text, 1 + usize::from(wrap >> 3));
            return;
        }
    };
    if let Some(start) = text.iter().position(|byte| *byte == b'{') {
        let mut ends = fuzzing::object_ends(&text[start..]);
        ends.dedup();
        assert_eq!(ends.len(), 1, "{ends:?}");
    }
    let entries =
        match read(&wrapped, usize::from(wrap >> 4).checked_sub(1).map_or(usize::MAX, |piece| piece + 1)) {
            Ok(entries) => entries,
            // Neither format: nothing was read.
            Err(_) => return,
        };
    let format = match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Format::Json,
        _ => Format::Ndjson,
    };
    for chunk_bytes in [1, 100, 1000] {
        let again = fuzzing::read_text(format, text, chunk_bytes).expect("the text could be read before");
        assert_eq!(again, entries, "in chunks of {chunk_bytes} bytes");
    }
    match format {
        Format::Json => compare_array(text, &entries),
        _ => compare_lines(text, &entries),
    }
    let records: Vec<AuditRecord> = entries.into_iter().flatten().collect();
    if !records.is_empty() {
        read_back(&records, format);
    }
}

fn compare_array(text: &[u8], entries: &Entries) {
    match serde_json::from_slice::<Vec<&RawValue>>(text) {
        Ok(values) => {
            assert_eq!(values.len(), entries.len(), "entries of a sound array");
            for (value, entry) in values.iter().zip(entries) {
                assert_eq!(fuzzing::decode_strict(value.get().as_bytes()).as_ref(), entry.as_ref().ok());
            }
        }
        Err(error) => assert!(entries.iter().any(Result::is_err), "no fault was found, but {error}"),
    }
}

fn compare_lines(text: &[u8], entries: &Entries) {
    let blank = |line: &&[u8]| line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !blank(line)).collect();
    // Objects over several lines, and several objects on a line, are separate entries.
    let is_whole = |line: &&[u8]| serde_json::from_slice::<&RawValue>(line).is_ok();
    if !lines.iter().all(is_whole) {
        return;
    }
    assert_eq!(lines.len(), entries.len(), "lines that are not blank");
    for (line, entry) in lines.into_iter().zip(entries) {
        assert_eq!(fuzzing::decode_strict(line).as_ref(), entry.as_ref().ok());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip in memory")
}
