//! HTML for notebooks, of reports, records, keys, ledgers and tables: small, self-contained, all text escaped.

use std::fmt::Write;

use arrow_array::RecordBatch;
use edgesentry_chain::{AuditRecord, Finding, KeyRing, Report, Verdict, count, escape};
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::ledger::RegisteredDevice;

use crate::arrow::{Cell, cell};

/// Maximum number of findings shown.
const MAX_FINDINGS: usize = 20;
/// Maximum number of rows shown of any other table.
const MAX_ROWS: usize = 20;
/// Maximum number of characters shown of one piece of evidence.
const MAX_CHARS: usize = 160;
/// Number of hex digits from which a word is shortened, and of those that are shown.
const MIN_LONG_DIGITS: usize = 32;
const SHOWN_DIGITS: usize = 12;

/// Formats a report: verdict, coverage, the first findings.
pub(crate) fn report(report: &Report) -> String {
    let (colour, verdict) = match report.verdict {
        Verdict::Valid => ("#1a7f37", "Valid"),
        Verdict::Findings => ("#cf222e", "Findings"),
        Verdict::NothingToVerify => ("#9a6700", "Nothing to verify"),
    };
    let coverage = &report.coverage;
    let total: u64 = report.counts.values().sum();
    let mut html = format!(
        "<div><p><strong style=\"color:{colour}\">{verdict}</strong>: {} in {} of {}</p>",
        count(total, "finding"),
        count(coverage.records, "record"),
        count(coverage.devices, "device")
    );
    if !coverage.not_checked.is_empty() {
        html.push_str("<p>Not checked:</p><ul>");
        for note in &coverage.not_checked {
            // Writing to a String cannot fail.
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
        html.push_str(&findings(&report.findings));
    }
    html.push_str("</div>");
    html
}

/// Formats the first findings as a table, with the number of further ones.
pub(crate) fn findings(findings: &[Finding]) -> String {
    let mut html =
        head(["code", "device", "sequence", "time", "place", "expected", "actual", "likely cause"]);
    for finding in findings.iter().take(MAX_FINDINGS) {
        let sequence = finding.sequence.map_or_else(String::new, |sequence| sequence.to_string());
        let place = finding.location.as_ref().map(|at| match at.record {
            0 => at.input.to_string(),
            record => format!("{} record {record}", at.input),
        });
        let cause = finding.cause.as_ref().map(|cause| match cause.sequence {
            Some(sequence) => format!("{} at sequence {sequence}", cause.code),
            None => cause.code.to_string(),
        });
        let _ = write!(html, "<tr><td><code>{}</code></td>", finding.code);
        for cell in [
            finding.device_id.as_deref().unwrap_or_default(),
            &sequence,
            &finding.timestamp_ms.map(to_rfc3339).unwrap_or_default(),
            &place.unwrap_or_default(),
            &short(&finding.expected.to_string()),
            &short(&finding.actual.to_string()),
            &cause.unwrap_or_default(),
        ] {
            let _ = write!(html, "<td>{}</td>", escaped(cell, MAX_CHARS));
        }
        html.push_str("</tr>");
    }
    foot(&mut html, findings.len(), MAX_FINDINGS);
    html
}

/// Formats a record: its fields, one row each, and its hash.
pub(crate) fn record(record: &AuditRecord) -> String {
    let mut html = String::from("<table><tbody>");
    for (name, value) in [
        ("device_id", record.device_id.as_str()),
        ("sequence", &record.sequence.to_string()),
        ("timestamp_ms", &record.timestamp_ms.to_string()),
        ("payload_hash", &record.payload_hash.to_string()),
        ("signature", &hex::encode(record.signature)),
        ("prev_record_hash", &record.prev_record_hash.to_string()),
        ("object_ref", &record.object_ref),
        ("record hash", &record.hash().to_string()),
    ] {
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escaped(value, MAX_CHARS));
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
        row(&mut html, [device_id, &from, scheme, &key.key.to_string()]);
    }
    foot(&mut html, keys().count(), MAX_ROWS);
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
        row(&mut html, [&device.device_id, &device.keys.len().to_string(), &sequence, &hash]);
    }
    foot(&mut html, devices.len(), MAX_ROWS);
    html
}

/// Formats a table of text and numbers.
pub(crate) fn table(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let mut html = head(schema.fields().iter().map(|field| field.name().as_str()));
    for at in 0..batch.num_rows().min(MAX_ROWS) {
        let cells = batch.columns().iter().map(|column| match cell(column, at) {
            Cell::Text(text) => text.to_owned(),
            Cell::Number(number) => number.to_string(),
            Cell::Real(real) => format!("{real:.3}"),
            Cell::Null => String::new(),
        });
        row(&mut html, cells);
    }
    foot(&mut html, batch.num_rows(), MAX_ROWS);
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

fn row(html: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    html.push_str("<tr>");
    for cell in cells {
        let _ = write!(html, "<td>{}</td>", escaped(cell.as_ref(), MAX_CHARS));
    }
    html.push_str("</tr>");
}

/// Ends a table, with the number of further rows.
fn foot(html: &mut String, rows: usize, shown: usize) {
    html.push_str("</tbody></table>");
    if let Some(more) = rows.checked_sub(shown).filter(|more| *more > 0) {
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

/// Escapes text for use between tags; long text is shortened.
fn escaped(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => escape::markup(&text[..end]) + "…",
        None => escape::markup(text),
    }
}
