//! Generates the seeds: one valid input of every kind that a target reads.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{Field, Schema};
use edgesentry_chain::{AuditRecord, Checks, Device, Head, Heads, KeyRing, Order, RingKey, Scheme};
use edgesentry_formats::fuzzing::rows_of;
use edgesentry_formats::packs::{Frame, Offsets, PackKey};
use edgesentry_formats::{
    Compression, Format, Options, Source, records_to_batch, verify_part, write_heads, write_key_ring,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as PageCompression;
use parquet::file::properties::WriterProperties;

use crate::written;

/// Writes seeds into the first directory in the arguments of the target. libFuzzer reads it afterwards.
pub fn plant(seeds: Vec<Vec<u8>>) {
    let Some(folder) = std::env::args().skip(1).find(|argument| Path::new(argument).is_dir()) else { return };
    for (at, seed) in seeds.iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{at:02}"));
        std::fs::write(&path, seed)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

/// Returns encodings of points, each with a coefficient: one, the signatures of a fleet, and some that do not decode.
pub fn signatures() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(3, 7);
    let of = |record: &AuditRecord| record.signature[..48].to_vec();
    let all: Vec<u8> = records.iter().flat_map(of).collect();
    let damaged: Vec<u8> = all.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i % 96 == 3)).collect();
    vec![of(&records[0]), all, damaged, [[0; 48], [0xff; 48]].concat()]
}

/// Returns the stamps and the certificates of tests/vectors/timestamps, each after the byte that selects its reader.
pub fn timestamps() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/timestamps");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    let seeds = files.iter().filter_map(|path| {
        let kind = u8::from(path.extension()? == "tsr");
        Some([&[kind], std::fs::read(path).ok()?.as_slice()].concat())
    });
    // A name has two digits.
    seeds.filter(|seed| seed.len() <= 8192).take(100).collect()
}

/// Returns packs with their indexes, each behind the length of the pack.
pub fn packs() -> Vec<Vec<u8>> {
    let key = PackKey::new([7; 32]);
    let pack = |names: &[&str]| {
        let (mut bytes, mut offsets) = (key.encode().to_vec(), Offsets::default());
        for (at, name) in names.iter().enumerate() {
            let place = bytes.len() as u64;
            let payload = vec![at as u8; at * 20];
            offsets
                .add(&Frame::encode(&key, (place, 5), (name, &payload), &mut bytes).expect("a short name"));
        }
        [&(bytes.len() as u16).to_le_bytes(), &bytes[..], &offsets.encode(&key)].concat()
    };
    let hash = "07".repeat(32);
    let named = [format!("devices/a/0/1-{hash}"), format!("devices/b/0/2-{hash}")];
    vec![pack(&[]), pack(&["a"]), pack(&["a", "b", "a", "EdsF", ""]), pack(&[&named[0], &named[1]])]
}

/// Returns devices, the interleaved records of their first runs, and their keys.
pub fn fleet(devices: u8, each: u64) -> (Vec<Device>, Vec<AuditRecord>, KeyRing) {
    let scheme = |at: u8| if at.is_multiple_of(2) { Scheme::Record } else { Scheme::PayloadHash };
    let mut devices: Vec<Device> =
        (0..devices).map(|at| Device::from_seed(format!("lift-{at:02}"), [at + 1; 32], scheme(at))).collect();
    let mut records = Vec::new();
    for sequence in 1..=each {
        for device in &mut devices {
            let object_ref = format!("s3://lifts/{}/{sequence}.bin", device.device_id());
            let time_ms = 1_700_000_000_000 + sequence;
            records
                .push(device.sign(time_ms, &sequence.to_le_bytes(), object_ref).expect("the chain has room"));
        }
    }
    let mut ring = KeyRing::new();
    for device in &devices {
        let key = device.public_key().expect("a sound key");
        let key = RingKey { key, scheme: device.scheme(), valid_from: 1 };
        ring.insert(device.device_id(), key).expect("one key each");
    }
    (devices, records, ring)
}

/// Returns texts, each after the byte that selects the wrapping in the target; see `fuzz_targets/json.rs`.
pub fn json() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(2, 2);
    let array = written(&records, Format::Json, Compression::None);
    let lines = written(&records, Format::Ndjson, Compression::None);
    let hex: Vec<String> = records.iter().map(hex_text).collect();
    let mut seeds = Vec::new();
    for wrap in 0..4 {
        for text in [array.as_slice(), &lines, format!("[{}\n]", hex.join(" ,\r\n\t")).as_bytes()] {
            seeds.push([&[wrap], text].concat());
        }
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        seeds.push([&[4], written(&records, Format::Json, compression).as_slice()].concat());
    }
    let good = hex_text(&records[0]);
    for text in [
        format!("[{good},{{\"a\":[{{}},\"\\\"]\"]}},null,{good}]"),
        format!("{good}\n\n{{\"device_id\":\n[]\n{good}"),
        format!("[{good}"),
        "[]".to_owned(),
    ] {
        seeds.push([&[0], text.as_bytes()].concat());
    }
    seeds
}

/// Returns entries, each after the byte that gives the number of bytes after the entry.
pub fn record() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(1, 2);
    let line = written(&records[..1], Format::Ndjson, Compression::None);
    let pretty =
        serde_json::from_slice(&line).and_then(|value: serde_json::Value| serde_json::to_vec_pretty(&value));
    let escaped = hex_text(&records[1]).replace("lift", "l\\u0069ft\\n é");
    let texts =
        [line, pretty.expect("a record is JSON"), hex_text(&records[0]).into_bytes(), escaped.into_bytes()];
    texts
        .iter()
        .flat_map(|text| [[&[0], text.as_slice()].concat(), [&[9], text.as_slice(), b",\n{\"seque"].concat()])
        .collect()
}

/// Returns files and streams, with every compression, and with text in a dictionary.
pub fn arrow() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for batch in batches() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let options =
                || IpcWriteOptions::default().try_with_compression(compression).expect("a known version");
            let schema = batch.schema();
            let (mut file, mut stream) = (Vec::new(), Vec::new());
            let mut writer =
                FileWriter::try_new_with_options(&mut file, &schema, options()).expect("a writer");
            writer.write(&batch).and_then(|()| writer.finish()).expect("a file in memory");
            let mut writer =
                StreamWriter::try_new_with_options(&mut stream, &schema, options()).expect("a writer");
            writer.write(&batch).and_then(|()| writer.finish()).expect("a stream in memory");
            seeds.extend([file, stream]);
        }
    }
    seeds
}

/// Returns files with and without compressed pages.
pub fn parquet() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(2, 2);
    let mut seeds = vec![written(&records, Format::Parquet, Compression::None)];
    for batch in batches() {
        for compression in [PageCompression::UNCOMPRESSED, PageCompression::SNAPPY, PageCompression::LZ4_RAW]
        {
            let properties = WriterProperties::builder().set_compression(compression).build();
            let mut file = Vec::new();
            let mut writer =
                ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("a writer");
            writer.write(&batch).expect("a file in memory");
            writer.close().expect("a file in memory");
            seeds.push(file);
        }
    }
    seeds
}

/// Returns key rings with bare keys and with keys as objects.
pub fn key_ring() -> Vec<Vec<u8>> {
    let (_, _, ring) = fleet(3, 0);
    let rich = write_key_ring(&ring);
    let bare: Vec<String> =
        ring.iter().map(|(device, keys)| format!("\"{device}\": \"{}\"", keys[0].key)).collect();
    let key = ring.iter().next().map(|(_, keys)| keys[0].key.to_string()).unwrap_or_default();
    let list = format!(
        "{{\"é\\n\": [\"{key}\", {{\"key\": \"{key}\", \"scheme\": \"payload-hash\", \"valid_from\": 9}}]}}"
    );
    vec![rich.into_bytes(), format!("{{{}}}", bare.join(",")).into_bytes(), list.into_bytes(), b"{}".to_vec()]
}

/// Returns heads of no device and of some.
pub fn heads() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(3, 1);
    let head = |record: &AuditRecord| Head { sequence: record.sequence, hash: record.hash() };
    let heads: Heads =
        records.iter().map(|record| (record.device_id.as_str().into(), head(record))).collect();
    [Heads::new(), heads].iter().map(|heads| write_heads(heads).into_bytes()).collect()
}

/// Returns parts in both orders, as rows: the length of the device id, or 0 for none, the device id, two bytes for the
/// length of the state, the state.
pub fn parts() -> Vec<Vec<u8>> {
    let (_, records, ring) = fleet(3, 1);
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    let mut tampered = records.clone();
    tampered.reverse();
    let mut seeds = vec![Vec::new()];
    for records in [records, tampered] {
        for order in [Order::Position, Order::Sequence] {
            let options = Options { order, ..Options::default() };
            let source =
                Source::Records { name: "r".into(), records: Box::new(records.clone().into_iter().map(Ok)) };
            let Ok(part) = verify_part(vec![source], &checks, 0, None, &options, &Arc::default()) else {
                continue;
            };
            let mut seed = Vec::new();
            for (device_id, state) in rows_of(&part) {
                let device_id = device_id.as_deref().unwrap_or_default();
                seed.push(device_id.len() as u8);
                seed.extend(device_id.as_bytes());
                seed.extend((state.len() as u16).to_le_bytes());
                seed.extend(state);
            }
            seeds.push(seed);
        }
    }
    seeds
}

/// Returns the rows of a seed of [`parts`].
pub fn split_rows(mut input: &[u8]) -> Vec<(Option<&str>, &[u8])> {
    let mut rows = Vec::new();
    while let Some((length, rest)) = input.split_first()
        && let Some((device_id, rest)) = rest.split_at_checked(usize::from(*length))
        && let Some((length, rest)) = rest.split_first_chunk()
    {
        let (state, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
        let device_id = std::str::from_utf8(device_id).ok().filter(|device_id| !device_id.is_empty());
        rows.push((device_id, state));
        input = rest;
    }
    rows
}

/// Returns edits of the records of a fleet; see `fuzz_targets/chain.rs`.
pub fn chain() -> Vec<Vec<u8>> {
    (0..16)
        .map(|edit| vec![edit, 3, 5, 7, edit + 1, 11, 2, 9, 200, 100, 50, 25])
        .chain([Vec::new()])
        .collect()
}

fn hex_text(record: &AuditRecord) -> String {
    serde_json::json!({
        "device_id": record.device_id, "sequence": record.sequence, "timestamp_ms": record.timestamp_ms,
        "payload_hash": record.payload_hash.to_string(), "signature": hex::encode(record.signature),
        "prev_record_hash": record.prev_record_hash.to_string(), "object_ref": record.object_ref,
    })
    .to_string()
}

/// Returns a batch in our own form, and one whose device ids are a dictionary.
fn batches() -> [RecordBatch; 2] {
    let (_, records, _) = fleet(2, 2);
    let batch = records_to_batch(&records);
    let devices: DictionaryArray<Int32Type> =
        records.iter().map(|record| record.device_id.as_str()).collect();
    let devices: ArrayRef = Arc::new(devices);
    let schema = batch.schema();
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[0] = Field::new(fields[0].name(), devices.data_type().clone(), false);
    let mut columns = batch.columns().to_vec();
    columns[0] = devices;
    let other = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("equally long columns");
    [batch, other]
}
