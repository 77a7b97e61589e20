//! The tampering trials of the demo: each changes a copy of the records, with its expected findings.

use std::io::Cursor;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use edgesentry_chain::{AuditRecord, Checks, FindingCode, Hash, PayloadError, Payloads, Report, Scheme};
use edgesentry_formats::{Options, PayloadFolder, Progress, Source, describe};
use serde_json::json;

use super::folder::DemoFolder;
use crate::exit::Failure;
use crate::fleet::{self, Fleet, ROTATING, SHUTTLES, WATER};
use crate::record_json::RecordJson;
use crate::tamper::{self, Expected};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// A trial and its findings.
pub(super) struct Trial {
    title: &'static str,
    expected: Vec<Expected>,
    found: Vec<Expected>,
    /// The text if nothing is found.
    unseen: &'static str,
}

impl Trial {
    pub(super) fn new(title: &'static str, mut expected: Vec<Expected>, report: &Report) -> Trial {
        expected.sort();
        let unseen = "nothing: the weakness of this scheme";
        Trial { title, expected, found: tamper::found(report), unseen }
    }

    /// Sets the text if nothing is found.
    pub(super) fn unseen(self, unseen: &'static str) -> Trial {
        Trial { unseen, ..self }
    }

    /// Returns true if it has exactly the expected findings.
    pub(super) fn is_as_expected(&self) -> bool {
        self.expected == self.found
    }

    pub(super) fn content(&self) -> serde_json::Value {
        json!({
            "tampering": self.title,
            "as_expected": self.is_as_expected(),
            "expected": self.expected.iter().map(content).collect::<Vec<_>>(),
            "found": self.found.iter().map(content).collect::<Vec<_>>(),
        })
    }

    /// Returns its line of the table.
    pub(super) fn line(&self) -> String {
        let (style, mark) = match (self.is_as_expected(), self.found.is_empty()) {
            (false, _) => (BAD, '✗'),
            (true, true) => (CARE, '!'),
            (true, false) => (GOOD, '✓'),
        };
        let found = if self.found.is_empty() { self.unseen.to_owned() } else { summary(&self.found) };
        let mut line = format!("{style}{mark}{style:#} {:<42} {found}\n", self.title);
        if !self.is_as_expected() {
            line.push_str(&format!("  {:<42} expected {}\n", "", summary(&self.expected)));
        }
        line
    }
}

fn content(expected: &Expected) -> serde_json::Value {
    json!({"code": expected.code, "device_id": expected.device_id, "sequence": expected.sequence})
}

/// Returns findings on one line, those of one code together: `shuttle-radiator-1: signature_invalid 7..12`.
fn summary(found: &[Expected]) -> String {
    let device = found.iter().find_map(|finding| finding.device_id.as_deref()).unwrap_or("the log");
    let mut codes: Vec<(FindingCode, Vec<u64>)> = Vec::new();
    for finding in found {
        match codes.iter_mut().find(|(code, _)| *code == finding.code) {
            Some((_, sequences)) => sequences.extend(finding.sequence),
            None => codes.push((finding.code, finding.sequence.into_iter().collect())),
        }
    }
    let codes = codes.iter().map(|(code, sequences)| match sequences.as_slice() {
        [] => code.to_string(),
        [one] => format!("{code} {one}"),
        [first, .., last] if last - first + 1 == sequences.len() as u64 => format!("{code} {first}..{last}"),
        [first, ..] => format!("{code} {first} and {} more", sequences.len() - 1),
    });
    format!("{device}: {}", codes.collect::<Vec<_>>().join(", "))
}

type Tampering<'a> = Box<dyn Fn(&mut Vec<AuditRecord>) -> Vec<Expected> + 'a>;

/// Returns all trials, in the order of the table.
pub(super) fn all(fleet: &Fleet, folder: &DemoFolder) -> Result<Vec<Trial>, Failure> {
    let mut trials = Vec::new();
    let whole = Checks { keys: Some(&fleet.keys), heads: Some(&fleet.heads), ..Checks::default() };
    for (title, tampering) in on_records(fleet) {
        trials.push(on_copy(fleet, &whole, title, &tampering)?);
    }
    trials.push(unreadable_entry(fleet)?);
    let payloads = folder.payloads()?;
    trials.push(payload(fleet, &payloads, "a payload replaced", Some(b"2022-03-20T11:00:00+01:00,0.0"))?);
    trials.push(payload(fleet, &payloads, "a payload removed", None)?);

    // The weakness of scheme payload-hash, and the two ways of closing it.
    let (sequence, last) = (fleet.last(WATER) / 2, fleet.last(WATER));
    let edit = move |records: &mut Vec<AuditRecord>| {
        tamper::edit_time_and_relink(records, WATER, sequence, Scheme::PayloadHash)
    };
    let no_heads = Checks { heads: None, ..whole };
    trials.push(on_copy(fleet, &no_heads, "a time edited, re-linked (payload-hash)", &edit)?);
    let edit_with_heads = move |records: &mut Vec<AuditRecord>| {
        edit(records);
        tamper::head_missed(WATER, last)
    };
    trials.push(on_copy(fleet, &whole, "  the same, against trusted heads", &edit_with_heads)?);
    let last = fleet.last(SHUTTLES[2]);
    let edit = move |records: &mut Vec<AuditRecord>| {
        tamper::edit_time_and_relink(records, SHUTTLES[2], last - 5, Scheme::Record)
    };
    trials.push(on_copy(fleet, &no_heads, "  the same, under scheme record", &edit)?);
    Ok(trials)
}

fn on_records(fleet: &Fleet) -> Vec<(&'static str, Tampering<'_>)> {
    let [first, _, third, fourth] = SHUTTLES;
    let part = |device_id: &str, parts: u64| fleet.last(device_id) / parts;
    let (in_first, in_third, in_water) = (part(first, 3), part(third, 2), part(WATER, 4));
    let in_rotating = fleet.last(ROTATING) - 2;
    let own_key = fleet::device(third, Scheme::Record);
    let old_key = fleet::device(ROTATING, Scheme::Record);
    vec![
        (
            "one bit of a payload hash flipped",
            Box::new(move |records| tamper::flip_payload_hash_bit(records, first, in_first)),
        ),
        (
            "one bit of a signature flipped",
            Box::new(move |records| tamper::flip_signature_bit(records, WATER, in_water)),
        ),
        ("a record deleted", Box::new(move |records| tamper::delete(records, third, in_third))),
        ("the first record deleted", Box::new(move |records| tamper::delete(records, fourth, 1))),
        ("two records swapped", Box::new(move |records| tamper::swap_with_next(records, first, in_first))),
        ("a record duplicated", Box::new(move |records| tamper::duplicate(records, WATER, in_water))),
        (
            "forked with the device's own key",
            Box::new(move |records| tamper::fork(records, &own_key, in_third)),
        ),
        (
            "signed with a retired key",
            Box::new(move |records| tamper::sign_with_other_key(records, &old_key, in_rotating)),
        ),
        ("a record of an unknown device added", Box::new(tamper::add_stranger)),
        ("the last three records cut off", Box::new(move |records| tamper::truncate(records, first, 3))),
        ("a whole device left out", Box::new(move |records| tamper::remove_device(records, fourth))),
    ]
}

fn on_copy(
    fleet: &Fleet,
    checks: &Checks<'_>,
    title: &'static str,
    tampering: &dyn Fn(&mut Vec<AuditRecord>) -> Vec<Expected>,
) -> Result<Trial, Failure> {
    let mut records = fleet.records.clone();
    let expected = tampering(&mut records);
    let segments = checks.verify_parallel(&records, 0).map_err(|error| payload_failure(&error))?;
    Ok(Trial::new(title, expected, &checks.report(segments)))
}

/// Truncates a line of a chain in NDJSON.
fn unreadable_entry(fleet: &Fleet) -> Result<Trial, Failure> {
    let device_id = SHUTTLES[3];
    let sequence = fleet.last(device_id) / 2;
    let mut text = Vec::new();
    for (record, _) in fleet.of(device_id) {
        let line = serde_json::to_vec(&RecordJson::from(record));
        let mut line = line.map_err(|error| Failure::unfinished("json", error.to_string()))?;
        if record.sequence == sequence {
            line.truncate(line.len() / 2);
        }
        text.append(&mut line);
        text.push(b'\n');
    }
    let checks = Checks { keys: Some(&fleet.keys), ..Checks::default() };
    let source = Source::Reader { name: "a copy".into(), reader: Box::new(Cursor::new(text)) };
    let progress = Arc::new(Progress::default());
    let report = edgesentry_formats::verify(vec![source], &checks, &Options::default(), &progress)?;
    Ok(Trial::new("a line cut short", tamper::unreadable_entry(device_id, sequence), &report))
}

/// The payload directory with one payload replaced or missing.
struct Tampered<'a> {
    folder: &'a PayloadFolder,
    sequence: u64,
    payload: Option<&'a [u8]>,
}

impl Payloads for Tampered<'_> {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        if record.sequence == self.sequence {
            Ok(self.payload.map(Hash::of))
        } else {
            self.folder.payload_hash(record)
        }
    }
}

fn payload(
    fleet: &Fleet,
    folder: &PayloadFolder,
    title: &'static str,
    payload: Option<&[u8]>,
) -> Result<Trial, Failure> {
    let sequence = fleet.last(WATER) / 3;
    let tampered = Tampered { folder, sequence, payload };
    let checks = Checks { keys: Some(&fleet.keys), payloads: Some(&tampered), ..Checks::default() };
    let records: Vec<AuditRecord> = fleet.of(WATER).map(|(record, _)| record.clone()).collect();
    let segments = checks.verify_parallel(&records, 0).map_err(|error| payload_failure(&error))?;
    let expected = tamper::payload_tampered(WATER, sequence, payload.is_none());
    Ok(Trial::new(title, expected, &checks.report(segments)))
}

fn payload_failure(error: &PayloadError) -> Failure {
    Failure::unfinished("payload_unreadable", describe(error))
}
