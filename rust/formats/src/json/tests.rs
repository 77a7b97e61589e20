use std::io::Read;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Device, Scheme};
use proptest::prelude::*;

use super::*;
use crate::read::Source;

fn three() -> Vec<AuditRecord> {
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    (0..3)
        .map(|at| device.sign(1_700_000_000_000 + at, b"payload", format!("s3://b/{at}")).unwrap())
        .collect()
}

/// Returns the record as its devices write it, with byte fields as arrays of integers.
fn json(record: &AuditRecord) -> String {
    serde_json::json!({
        "device_id": record.device_id, "sequence": record.sequence, "timestamp_ms": record.timestamp_ms,
        "payload_hash": record.payload_hash.0, "signature": record.signature.as_slice(),
        "prev_record_hash": record.prev_record_hash.0, "object_ref": record.object_ref,
    })
    .to_string()
}

fn hex_json(record: &AuditRecord) -> String {
    serde_json::json!({
        "device_id": record.device_id, "sequence": record.sequence, "timestamp_ms": record.timestamp_ms,
        "payload_hash": record.payload_hash.to_string(), "signature": hex::encode(record.signature),
        "prev_record_hash": record.prev_record_hash.to_string(), "object_ref": record.object_ref,
    })
    .to_string()
}

type Entry = Result<AuditRecord, String>;

/// Returns the entries of a text, read in chunks of `chunk_bytes`.
fn read_by(format: Format, text: &[u8], chunk_bytes: usize) -> Result<Vec<Entry>, String> {
    let reader: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(text.to_vec()));
    let mut chunks = TextChunks::new("test".into(), format, reader).with_chunk_bytes(chunk_bytes);
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next_chunk(&Progress::default()).map_err(|error| error.to_string())? {
        assert!(!chunk.is_empty());
        let decoded = chunk.decode(0..chunk.len());
        let mut records = decoded.records.into_iter();
        let mut malformed = decoded.malformed.into_iter().peekable();
        for at in 0..chunk.len() {
            match malformed.next_if(|(position, _)| *position == at) {
                Some((_, malformed)) => all.push(Err(malformed.actual)),
                None => all.push(Ok(records.next().unwrap())),
            }
        }
        check_lent(&chunk, &all[all.len() - chunk.len()..]);
    }
    Ok(all)
}

/// Checks that a chunk lends only the records that it decodes, and all or none of a range.
fn check_lent(chunk: &Chunk, entries: &[Entry]) {
    let Chunk::Text(text) = chunk else { panic!("a chunk of text") };
    let mut are_usual = true;
    for (at, entry) in entries.iter().enumerate() {
        match text.lent(at..at + 1) {
            Some(lent) => assert_eq!(Ok(lent[0].to_record()), *entry),
            None => are_usual = false,
        }
    }
    assert_eq!(text.lent(0..entries.len()).is_some(), are_usual);
}

fn read(text: &[u8]) -> Vec<Entry> {
    let whole = read_by(Format::Json, text, 1 << 20).unwrap();
    for chunk_bytes in [1, 7, 100, 1000] {
        assert_eq!(read_by(Format::Json, text, chunk_bytes).unwrap(), whole, "chunks of {chunk_bytes}");
    }
    whole
}

fn faults(text: &str) -> Vec<String> {
    read(text.as_bytes()).into_iter().filter_map(Result::err).collect()
}

#[test]
fn arrays_of_integers_and_hex_and_spaces() {
    let records = three();
    let compact = format!("[{},{},{}]", json(&records[0]), hex_json(&records[1]), json(&records[2]));
    let value: serde_json::Value = serde_json::from_str(&compact).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    for text in [compact, pretty.clone(), format!("\r\n\t {} \n", pretty.replace('\n', "\r\n"))] {
        let read: Vec<AuditRecord> = read(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, records);
    }
    assert!(read(b" [ ] ").is_empty());
}

#[test]
fn ndjson_with_blank_lines_and_without_a_last_newline() {
    let records = three();
    let text = format!("{}\r\n\n  \n{}\n{}", json(&records[0]), hex_json(&records[1]), json(&records[2]));
    for chunk_bytes in [1, 50, 1 << 20] {
        let read = read_by(Format::Ndjson, text.as_bytes(), chunk_bytes).unwrap();
        assert_eq!(read.into_iter().map(Result::unwrap).collect::<Vec<_>>(), records);
    }
    let broken = format!("{}\n{{\"device_id\":\n{}\n", json(&records[0]), json(&records[1]));
    let read = read_by(Format::Ndjson, broken.as_bytes(), 64).unwrap();
    assert!(read[0].is_ok() && read[2].is_ok());
    assert!(read[1].as_ref().unwrap_err().starts_with("line 2, byte "), "{:?}", read[1]);
}

#[test]
fn one_bad_entry_is_one_fault_and_its_neighbours_are_read() {
    let records = three();
    let good = json(&records[0]);
    let with = |bad: &str| format!("[{good},\n{bad},\n{}]", json(&records[2]));
    let cases: Vec<(String, &str)> = vec![
        (good.replace("\"sequence\":1", "\"sequence\":1,\"sequence\":1"), "duplicate field `sequence`"),
        (good.replace("\"sequence\":1", "\"sequence\":1,\"note\":[[[1]]]"), "unknown field `note`"),
        (good.replace("\"sequence\":1,", ""), "missing field `sequence`"),
        (good.replace("\"sequence\":1", "\"sequence\":-1"), "invalid value: integer `-1`"),
        (good.replace("\"sequence\":1", "\"sequence\":1.0"), "invalid type: floating point"),
        (good.replace("\"sequence\":1", "\"sequence\":18446744073709551616"), "invalid type: floating point"),
        (good.replace("\"sequence\":1", "\"sequence\":01"), "invalid number"),
        (good.replace("\"sequence\":1", "\"sequence\":\"1\""), "invalid type: string"),
        (good.replace("\"sequence\":1", "\"sequence\":null"), "invalid type: null"),
        (good.replace("\"lift-01\"", "\"lift-\\ud800\""), "hex escape"),
        (good.replace("\"lift-01\"", "\"lift\u{1}\""), "control character"),
        (good.replace("\"payload_hash\":[", "\"payload_hash\":[256,"), "invalid value: integer `256`"),
        (good.replace("\"payload_hash\":[", "\"payload_hash\":[1,"), "invalid length 33"),
        (good.replace("\"payload_hash\":[", "\"payload_hash\":[01,"), "invalid number"),
        (good.replace("\"payload_hash\":[", "\"payload_hash\":[1 1,"), "expected `,` or `]`"),
        (good.replace("\"prev_record_hash\":[0,", "\"prev_record_hash\":["), "invalid length 31"),
        (good.replace("\"prev_record_hash\":[0,", "\"prev_record_hash\":[0.0,"), "floating point"),
        (hex_json(&records[0]).replace("\"prev_record_hash\":\"00", "\"prev_record_hash\":\""), "found 62"),
        (
            hex_json(&records[0]).replace("\"prev_record_hash\":\"00", "\"prev_record_hash\":\"zz"),
            "hex digits",
        ),
        ("null".into(), "not an object"),
        ("7".into(), "not an object"),
        ("[1,[2]]".into(), "not an object"),
        ("\"a, \\\" string]\"".into(), "not an object"),
        ("{}".into(), "missing field"),
        ("{\"device_id\" \"x\"}".into(), "expected `:`"),
        ("{\"device_id\":[}".into(), "invalid type: sequence"),
        (format!("{{\"device_id\":{}", "{".repeat(200) + &"}".repeat(201)), "invalid type: map"),
    ];
    for (bad, problem) in cases {
        let read = read(with(&bad).as_bytes());
        assert_eq!(read.len(), 3, "{bad}");
        assert_eq!((&read[0], &read[2]), (&Ok(records[0].clone()), &Ok(records[2].clone())), "{bad}");
        let fault = read[1].as_ref().unwrap_err();
        assert!(fault.starts_with("line 2, byte ") && fault.contains(problem), "{bad}\n{fault}");
    }
}

#[test]
fn invalid_utf8_is_a_fault_at_its_byte() {
    let good = json(&three()[0]);
    let mut text = format!("[{good},{good}]").into_bytes();
    let at = text.windows(4).rposition(|window| window == b"lift").unwrap();
    text[at] = 0xff;
    let read = read(&text);
    assert!(read[0].is_ok());
    assert_eq!(read[1], Err(format!("line 1, byte {at}: not valid UTF-8")));
}

#[test]
fn a_broken_layout_is_one_fault_and_ends_the_reading() {
    let good = json(&three()[0]);
    let cases = [
        (format!("[{good}"), 1, "before the closing bracket"),
        (format!("[{good},"), 1, "before the closing bracket"),
        (format!("[{good},{}", &good[..100]), 1, "in the middle of this entry"),
        (format!("[{good},]"), 1, "an element is missing"),
        (format!("[,{good}]"), 0, "an element is missing"),
        (format!("[{good},,{good}]"), 1, "an element is missing"),
        (format!("[{good} {good}]"), 1, "expected a comma"),
        (format!("[{good}}}]"), 1, "expected a comma"),
        (format!("[{good}]]"), 1, "text after the closing bracket"),
        (format!("[{good}][{good}]"), 1, "text after the closing bracket"),
        ("[".repeat(100_000), 0, "in the middle of this entry"),
        (format!("[{}", "{\"a\":".repeat(100_000)), 0, "in the middle of this entry"),
        ("[\"".into(), 0, "in the middle of this entry"),
    ];
    for (text, good, problem) in cases {
        let faults = faults(&text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(problem), "{}", faults[0]);
        assert_eq!(read(text.as_bytes()).len(), good + 1);
    }
}

#[test]
fn an_endless_entry_is_an_error_within_bounded_memory() {
    let endless = std::io::Read::chain(&b"[\""[..], std::io::repeat(b'x'));
    let mut chunks =
        TextChunks::new("test".into(), Format::Json, Box::new(endless)).with_chunk_bytes(1 << 20);
    let error = chunks.next_chunk(&Progress::default()).unwrap_err();
    assert!(error.to_string().contains("longer than 16 MiB"), "{error}");
}

#[test]
fn other_files_are_refused_in_one_sentence() {
    for (bytes, problem) in [
        (&b"\xef\xbb\xbf[]"[..], "byte order mark"),
        (b"\xff\xfe[\0]\0", "byte order mark"),
        (b"hello", "neither a JSON array"),
        (b"%PDF-1.7", "neither a JSON array"),
    ] {
        let source = Source::Reader { name: "export".into(), reader: Box::new(std::io::Cursor::new(bytes)) };
        let error = crate::read::open(source, &Arc::default()).err().unwrap().to_string();
        assert!(error.starts_with("export: ") && error.contains(problem), "{error}");
    }
}

fn read_objects(text: &[u8]) -> Vec<Entry> {
    let whole = read_by(Format::Ndjson, text, 1 << 20).unwrap();
    for chunk_bytes in [1, 7, 100, 1000] {
        assert_eq!(read_by(Format::Ndjson, text, chunk_bytes).unwrap(), whole, "chunks of {chunk_bytes}");
    }
    whole
}

fn pretty(record: &AuditRecord) -> String {
    let value: serde_json::Value = serde_json::from_str(&json(record)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn objects_over_several_lines_and_on_one_line_are_read() {
    let records = three();
    let [first, second, third] = &records[..] else { unreachable!() };
    for text in [
        format!("{}\n{}\n{}\n", pretty(first), pretty(second), pretty(third)),
        format!("\n {}{}{}", pretty(first), pretty(second), pretty(third)),
        format!("{}\r\n{}\n\n{}", pretty(first).replace('\n', "\r\n"), json(second), pretty(third)),
        format!("{}{}{}", json(first), json(second), json(third)),
        format!("{} {}\n{}", json(first), json(second), hex_json(third)),
        // First lines, then objects in another layout.
        format!("{}\n{}\n{}\n", json(first), pretty(second), pretty(third)),
        format!("{{\n{}\n{}\n{}", &json(first)[1..], json(second), pretty(third)),
    ] {
        let read: Vec<AuditRecord> = read_objects(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, records, "{text}");
    }
}

#[test]
fn a_damaged_object_over_several_lines_is_one_fault_at_its_place() {
    let records = three();
    let [first, second, third] = &records[..] else { unreachable!() };
    let good = pretty(first);
    for (bad, line, problem) in [
        (pretty(second).replace("\"sequence\": 2,", ""), 2, "missing field `sequence`"),
        (pretty(second).replace("\"sequence\": 2", "\"sequence\": -2"), 0, "integer `-2`"),
        (pretty(second).trim_end_matches('}').to_owned(), 0, "EOF"),
        (pretty(second).replace("\"object_ref\": \"", "\"object_ref\": \"\n"), 0, "control character"),
        ("no object".to_owned(), 1, "not an object"),
        (",".to_owned(), 1, "not an object"),
    ] {
        let text = format!("{good}\n{bad}\n{}\n", pretty(third));
        let read = read_objects(text.as_bytes());
        assert_eq!(read.len(), 3, "{read:?}");
        assert_eq!((&read[0], &read[2]), (&Ok(first.clone()), &Ok(third.clone())));
        let fault = read[1].as_ref().unwrap_err();
        assert!(fault.contains(problem), "{fault}");
        let lines = good.lines().count();
        let place: usize = fault.strip_prefix("line ").unwrap().split(',').next().unwrap().parse().unwrap();
        assert!(place > lines && place <= lines + bad.lines().count(), "{fault}");
        if line == 1 {
            assert_eq!(place, lines + 1);
        }
    }
}

#[test]
fn a_damaged_line_of_ndjson_harms_no_other() {
    let records = three();
    let [first, second, _] = &records[..] else { unreachable!() };
    let (good, other) = (json(first), json(second));
    for cut in (1..other.len()).step_by(7) {
        let text = format!("{good}\n{}\n{other}\n{good}\n", &other[..cut]);
        let read = read_objects(text.as_bytes());
        assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), 3, "cut at {cut}: {read:?}");
        let fault = read[1].as_ref().unwrap_err();
        assert!(fault.starts_with("line 2, byte "), "{fault}");
    }
}

/// Splitting examines each byte of the input at most a few times, for any content.
#[test]
fn every_byte_is_looked_at_a_few_times() {
    for (format, begin, piece) in [
        (Format::Ndjson, "{}\n", "x\n"),
        (Format::Ndjson, "", "{}"),
        (Format::Ndjson, "", "{\n}"),
        (Format::Ndjson, "", "{\"a\":\n"),
        (Format::Ndjson, "", "{\"a\":[\n"),
        (Format::Ndjson, "", "{\"a\":\"\n"),
        (Format::Ndjson, "", "{\"a\":[],\n"),
        (Format::Ndjson, "", "{\n"),
        (Format::Ndjson, "{\n}", "{}}\n"),
        (Format::Ndjson, "{\n}", "{"),
        (Format::Json, "[", "1,"),
        (Format::Json, "[", "{},\n"),
        (Format::Json, "[", "\"\",\n"),
        (Format::Json, "[", "["),
    ] {
        let text = format!("{begin}{}", piece.repeat((1 << 20) / piece.len()));
        WORK.set(0);
        let mut chunks =
            TextChunks::new("test".into(), format, Box::new(std::io::Cursor::new(text.clone().into_bytes())))
                .with_chunk_bytes(256 << 10);
        while let Ok(Some(chunk)) = chunks.next_chunk(&Progress::default()) {
            for at in (0..chunk.len()).step_by(256) {
                chunk.decode(at..chunk.len().min(at + 256));
            }
        }
        let looks = WORK.get() / text.len() as u64;
        assert!(looks < 40, "{begin:?} {piece:?}: {looks} looks at each byte");
    }
}

proptest! {
    /// For every input that the fast decoder accepts, the strict one returns the same result; and the fast one accepts
    /// ordinary records.
    #[test]
    fn fast_and_strict_agree(
        device_id in "[ -~é]{0,12}", sequence: u64, timestamp_ms: u64, hash: [u8; 32],
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), pretty: bool,
        is_hex: bool,
    ) {
        let mut record = three().remove(0);
        (record.device_id, record.sequence, record.timestamp_ms) = (device_id, sequence, timestamp_ms);
        record.payload_hash.0 = hash;
        let mut text = if is_hex { hex_json(&record) } else { json(&record) }.into_bytes();
        if pretty {
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            text = serde_json::to_vec_pretty(&value).unwrap();
        }
        let untouched = edits.is_empty();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let length = text.len();
        let strict = strict::record(&text);
        text.resize(length + PADDING, 0);
        let fast = fast::record(&text, length);
        for text in [&text[..], &text[..length]] {
            for other in block::run_all(fast::Record { text, length }) {
                prop_assert!(other == fast || text.len() == length && other.is_none());
            }
        }
        if let Some(fast) = &fast {
            prop_assert_eq!(Ok(&fast.to_record()), strict.as_ref());
        }
        if untouched {
            prop_assert_eq!(strict.as_ref(), Ok(&record));
            prop_assert!(fast.is_some() || record.device_id.contains(['"', '\\']));
        }
    }
}
