//! HTML for notebooks, of reports, records, keys, ledgers and tables: small, self-contained, all text escaped.

mod findings;

use std::borrow::Cow;
use std::fmt::Write;

use arrow_array::RecordBatch;
use edgesentry_chain::{AuditRecord, KeyRing, Report, Verdict, count, escape};
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::ledger::RegisteredDevice;

pub(crate) use self::findings::findings;
use crate::arrow::{self, Cell};

/// Maximum number of rows shown.
const MAX_ROWS: usize = 20;
/// Maximum number of characters shown of one piece of evidence.
const MAX_CHARS: usize = 160;
/// Number of hex digits from which a word is shortened, and of those that are shown.
const MIN_LONG_DIGITS: usize = 64;
const SHOWN_DIGITS: usize = 12;

/// Formats a report: verdict, coverage, likely causes, findings.
pub(crate) fn report(report: &Report) -> String {
    let (class, verdict) = match report.verdict {
        Verdict::Valid => ("valid", "Valid"),
        Verdict::Findings => ("findings", "Findings"),
        Verdict::NothingToVerify => ("nothing_to_verify", "Nothing to verify"),
    };
    let coverage = &report.coverage;
    let total: u64 = report.counts.values().sum();
    let mut html = findings::begin();
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<p><span class=\"verdict {class}\">{verdict}</span> {} in {} of {}</p>",
        count(total, "finding"),
        count(coverage.records, "record"),
        count(coverage.devices, "device")
    );
    for hint in &report.hints {
        let _ = write!(html, "<p>Likely cause: {}</p>", escaped(&hint.to_string(), usize::MAX));
    }
    if !coverage.not_checked.is_empty() {
        html.push_str("<p>Not checked:</p><ul>");
        for note in &coverage.not_checked {
            let _ = write!(html, "<li>{}</li>", escaped(&note.with_level(), usize::MAX));
        }
        html.push_str("</ul>");
    }
    if total > 0 {
        html.push_str("<p>");
        for (at, (code, count)) in report.kinds().enumerate() {
            let _ = write!(html, "{}<code>{code}</code> {count}", if at == 0 { "" } else { ", " });
        }
        html.push_str("</p>");
        findings::table(&mut html, &report.findings, total);
    }
    html.push_str("</div>");
    html
}

/// Formats a record: its fields, one row each, and its hash.
pub(crate) fn record(record: &AuditRecord) -> String {
    let mut html = String::from("<table><tbody>");
    for (name, value) in [
        ("device_id", plain(&record.device_id)),
        ("sequence", plain(&record.sequence.to_string())),
        ("timestamp_ms", plain(&format!("{} ({})", record.timestamp_ms, date(record.timestamp_ms)))),
        ("payload_hash", hash(&record.payload_hash.to_string())),
        ("signature", hash(&hex::encode(record.signature))),
        ("prev_record_hash", hash(&record.prev_record_hash.to_string())),
        ("object_ref", plain(&record.object_ref)),
        ("record hash", hash(&record.hash().to_string())),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th>{value}</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

/// Formats a key ring: one row per key.
pub(crate) fn key_ring(ring: &KeyRing) -> String {
    let mut html = head(["device", "valid from", "scheme", "key"]);
    let keys = || ring.iter().flat_map(|(device_id, keys)| keys.iter().map(move |key| (device_id, key)));
    for (device_id, key) in keys().take(MAX_ROWS) {
        let (from, scheme) = (key.valid_from.to_string(), key.scheme.name());
        row(&mut html, [plain(device_id), plain(&from), plain(scheme), hash(&key.key.to_string())]);
    }
    foot(&mut html, keys().count());
    html
}

/// Formats a ledger: its location and its devices.
pub(crate) fn ledger(place: &str, devices: &[RegisteredDevice]) -> String {
    let registered = count(devices.len() as u64, "device");
    let mut html = format!("<p><strong>Ledger</strong> {}: {registered}</p>", escaped(place, MAX_CHARS));
    html.push_str(&head(["device", "keys", "last sequence", "head"]));
    for device in devices.iter().take(MAX_ROWS) {
        let (sequence, hash) = match device.head {
            Some(head) => (head.sequence.to_string(), head.hash.to_string()),
            None => ("none".to_owned(), String::new()),
        };
        let keys = device.keys.len().to_string();
        row(&mut html, [plain(&device.device_id), plain(&keys), plain(&sequence), self::hash(&hash)]);
    }
    foot(&mut html, devices.len());
    html
}

/// Formats a table of text and numbers.
pub(crate) fn table(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let mut html = head(schema.fields().iter().map(|field| field.name().as_str()));
    for at in 0..batch.num_rows().min(MAX_ROWS) {
        let cells = batch.columns().iter().map(|column| match arrow::cell(column, at) {
            Cell::Text(text) => plain(text),
            Cell::Number(number) => plain(&number.to_string()),
            Cell::Real(real) => plain(&format!("{real:.3}")),
            Cell::Null => plain(""),
        });
        row(&mut html, cells);
    }
    foot(&mut html, batch.num_rows());
    html
}

fn head<'t>(titles: impl IntoIterator<Item = &'t str>) -> String {
    let mut html = String::from("<table><thead><tr>");
    for title in titles {
        // Writing to a String cannot fail.
        let _ = write!(html, "<th scope=\"col\">{title}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    html
}

fn row(html: &mut String, cells: impl IntoIterator<Item = String>) {
    html.push_str("<tr>");
    html.extend(cells);
    html.push_str("</tr>");
}

fn plain(text: &str) -> String {
    format!("<td>{}</td>", escaped(text, MAX_CHARS))
}

/// Formats a cell with the first hex digits of a hash, and all in its title.
fn hash(hex: &str) -> String {
    format!("<td title=\"{hex}\">{}</td>", short(hex))
}

/// Ends a table, with the number of further rows.
fn foot(html: &mut String, rows: usize) {
    html.push_str("</tbody></table>");
    if let Some(more) = rows.checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        let _ = write!(html, "<p>and {more} more</p>");
    }
}

/// Shortens the hex digits of hashes, keys and signatures to their first ones.
fn short(text: &str) -> String {
    let words = text.split_inclusive(|char: char| !char.is_ascii_hexdigit());
    let shortened = |word: &str| {
        let digits = word.trim_end_matches(|char: char| !char.is_ascii_hexdigit());
        match digits.len() >= MIN_LONG_DIGITS {
            true => format!("{}…{}", &digits[..SHOWN_DIGITS], &word[digits.len()..]),
            false => word.to_owned(),
        }
    };
    words.map(shortened).collect()
}

/// Formats a time for people: `2022-03-20 10:00:00Z`.
fn date(unix_ms: u64) -> String {
    to_rfc3339(unix_ms).replace('T', " ")
}

/// Escapes text for use between tags or in an attribute; long text is shortened.
fn escaped(text: &str, limit: usize) -> String {
    escape::markup(&cut(text, limit))
}

/// Shortens long text.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
