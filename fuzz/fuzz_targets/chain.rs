//! Chains with arbitrary edits. The report does not depend on the split into slices or files, or on the order in which
//! segments are merged. A batch of signatures gives the verdicts of the single signatures. No edit of records covered
//! by trusted heads passes.

#![no_main]

use std::sync::LazyLock;

use edgesentry_chain::{
    AuditRecord, Checks, Device, FindingCode, Hash, Head, Heads, Hint, KeyRing, Report, Segments, Signed,
    signed_message, verify_signature,
};
use edgesentry_formats::{Compression, Format, Options, Source, verify};
use edgesentry_fuzz::{bounded, fleet, plant, written};
use libfuzzer_sys::fuzz_target;

struct Fleet {
    devices: Vec<Device>,
    records: Vec<AuditRecord>,
    keys: KeyRing,
    heads: Heads,
}

static FLEET: LazyLock<Fleet> = LazyLock::new(|| {
    let (devices, records, keys) = fleet(3, 6);
    let head = |device: &Device| Some((device.device_id().into(), device.head()?));
    let heads = devices.iter().filter_map(head).collect();
    Fleet { devices, records, keys, heads }
});

fuzz_target!(init: plant(edgesentry_fuzz::chain()), |input: &[u8]| {
    let mut bytes = Bytes(input);
    let mut records = FLEET.records.clone();
    while bytes.0.len() > 8 && !records.is_empty() && records.len() < 64 {
        edit(&mut records, &mut bytes);
    }
    let cuts = bytes.0;
    bounded(|| judge(&records, cuts));
});

/// The input, byte by byte, followed by zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound.max(1)
    }
}

fn edit(records: &mut Vec<AuditRecord>, bytes: &mut Bytes<'_>) {
    let kind = bytes.next();
    let at = bytes.below(records.len());
    let other = bytes.below(records.len());
    let bit = |bytes: &mut Bytes<'_>, field: &mut [u8]| {
        let bit = bytes.below(256) | bytes.below(2) << 8;
        let byte = bit / 8 % field.len();
        field[byte] ^= 1 << (bit % 8);
    };
    let devices = &FLEET.devices;
    match kind % 16 {
        0 => drop(records.remove(at)),
        1 => records.insert(other, records[at].clone()),
        2 => records.swap(at, other),
        3 => records[at].sequence = records[at].sequence.wrapping_add(u64::from(bytes.next())),
        4 => records[at].sequence = [0, 1, u64::MAX - 1, u64::MAX][bytes.below(4)],
        5 => records[at].timestamp_ms ^= 1 << bytes.below(64),
        6 => bit(bytes, &mut records[at].payload_hash.0),
        7 => bit(bytes, &mut records[at].signature),
        8 => bit(bytes, &mut records[at].prev_record_hash.0),
        9 => records[at].device_id = format!("lift-{:02}", bytes.below(5)),
        10 => records[at].object_ref.push(char::from(bytes.next())),
        11 => records[at].signature = records[other].signature,
        // R of small order or not an encoding, S unchanged or zero.
        12 => {
            let fill = bytes.next();
            records[at].signature[..32].fill(if fill & 1 == 0 { 0 } else { 0xff });
            records[at].signature[0] = fill >> 1;
            if bytes.below(2) == 0 {
                records[at].signature[32..].fill(0);
            }
        }
        // Linked to the previous record.
        13 => {
            let before = records[..at].iter().rev().find(|before| before.device_id == records[at].device_id);
            records[at].prev_record_hash = before.map_or(Hash::ZERO, AuditRecord::hash);
        }
        // Signed by its device, as an attacker with the key could do.
        14 => {
            if let Some(device) = devices.iter().find(|device| device.device_id() == records[at].device_id) {
                device.sign_record(&mut records[at]).expect("a seed always signs");
            }
        }
        // One more record at the end.
        _ => {
            let id = devices[bytes.below(devices.len())].device_id();
            let last = records.iter().rev().find(|record| record.device_id == id);
            let head = last.map(|record| Head { sequence: record.sequence, hash: record.hash() });
            let device = devices.iter().find(|device| device.device_id() == id).cloned();
            let next = device.and_then(|device| device.resume(head).sign(7, b"more", "more").ok());
            records.extend(next);
        }
    }
}

fn judge(records: &[AuditRecord], cuts: &[u8]) {
    let Fleet { keys, heads, records: original, .. } = &*FLEET;
    let checks = Checks { keys: Some(keys), heads: Some(heads), ..Checks::default() };
    let report = checks.report(checks.verify(records, 0).expect("there are no payloads to read"));

    let slices = slices(&checks, records, &mut Bytes(cuts));
    let merged = checks.report(merge(slices, &mut Bytes(cuts)));
    assert_eq!(merged, report, "merged slices and one pass");

    compare_signatures(records, &report);

    let cut = Bytes(cuts).below(records.len() + 1);
    let format = if cut.is_multiple_of(2) { Format::Ndjson } else { Format::Json };
    let files = from_files(&checks, &[&records[..cut], &records[cut..]], format);
    assert_eq!(files, report, "two files and one pass");

    if report.ok() {
        let of = |records: &[AuditRecord], device: &str| -> Vec<AuditRecord> {
            records.iter().filter(|record| record.device_id == device).cloned().collect()
        };
        for device in heads.keys() {
            assert!(of(records, device).starts_with(&of(original, device)), "an edit of {device} passed");
        }
    }
}

fn slices(checks: &Checks<'_>, mut records: &[AuditRecord], cuts: &mut Bytes<'_>) -> Vec<Segments> {
    let mut slices = Vec::new();
    let mut index = 0;
    while !records.is_empty() {
        let (slice, rest) = records.split_at(cuts.below(7).min(records.len()));
        slices.push(checks.verify(slice, index).expect("there are no payloads to read"));
        index += slice.len() as u64;
        // At the end of the input, all records are one slice.
        records = rest;
        if cuts.0.is_empty() {
            slices.push(checks.verify(records, index).expect("there are no payloads to read"));
            break;
        }
    }
    slices
}

/// Merges adjacent segments in any order.
fn merge(mut slices: Vec<Segments>, order: &mut Bytes<'_>) -> Segments {
    while slices.len() > 1 {
        let at = order.below(slices.len() - 1);
        let next = slices.remove(at + 1);
        let left = std::mem::take(&mut slices[at]);
        slices[at] = left.merge(next);
    }
    slices.pop().unwrap_or_default()
}

fn compare_signatures(records: &[AuditRecord], report: &Report) {
    for (record, index) in records.iter().zip(0..) {
        let Some(key) = FLEET.keys.key_at(&record.device_id, record.sequence) else { continue };
        let message = signed_message(record, key.scheme);
        let holds =
            verify_signature(&Signed { key: &key.key, message: &message, signature: &record.signature });
        let refused = report
            .findings
            .iter()
            .any(|finding| finding.code == FindingCode::SignatureInvalid && finding.index == Some(index));
        assert_eq!(holds, !refused, "record {index} alone and in its batch");
    }
}

/// Returns the report of files, without their names, as if they were one file.
fn from_files(checks: &Checks<'_>, files: &[&[AuditRecord]], format: Format) -> Report {
    let source = |records: &&[AuditRecord]| {
        let bytes = written(records, format, Compression::None);
        Source::Reader { name: "file".into(), reader: Box::new(std::io::Cursor::new(bytes)) }
    };
    let sources = files.iter().map(source).collect();
    let mut report = verify(sources, checks, &Options::default(), &Default::default()).expect("sound files");
    report.inputs.clear();
    report.findings.iter_mut().for_each(|finding| finding.location = None);
    for hint in &mut report.hints {
        if let Hint::NotInOrder { many_inputs, .. } = hint {
            *many_inputs = false;
        }
    }
    report
}
