//! What a notebook shows of a report: small, self-contained, every text escaped.

use std::fmt::Write;

use edgesentry_chain::{Finding, Report, Verdict};

/// Findings shown.
const SHOWN_FINDINGS: usize = 20;
/// Characters shown of one piece of evidence.
const SHOWN_CHARS: usize = 160;

/// A report: verdict, coverage, the first findings.
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
            // A String takes whatever is written to it.
            let _ = write!(html, "<li>{}</li>", escaped(note, usize::MAX));
        }
        html.push_str("</ul>");
    }
    if total > 0 {
        html.push_str("<p>");
        for (at, (code, count)) in report.counts.iter().enumerate() {
            let _ = write!(html, "{}<code>{code}</code> {count}", if at == 0 { "" } else { ", " });
        }
        html.push_str("</p>");
        html.push_str(&findings(&report.findings));
    }
    html.push_str("</div>");
    html
}

/// The first findings as a table, and how many more there are.
pub(crate) fn findings(findings: &[Finding]) -> String {
    let mut html = String::from("<table><thead><tr>");
    for title in ["code", "device", "sequence", "place", "expected", "actual", "likely cause"] {
        let _ = write!(html, "<th scope=\"col\">{title}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for finding in findings.iter().take(SHOWN_FINDINGS) {
        let sequence = finding.sequence.map_or_else(String::new, |sequence| sequence.to_string());
        let place = finding.location.as_ref().map(|at| format!("{} record {}", at.input, at.record));
        let cause = finding.cause.as_ref().map(|cause| match cause.sequence {
            Some(sequence) => format!("{} at sequence {sequence}", cause.code),
            None => cause.code.to_string(),
        });
        let _ = write!(html, "<tr><td><code>{}</code></td>", finding.code);
        for cell in [
            finding.device_id.as_deref().unwrap_or_default(),
            &sequence,
            &place.unwrap_or_default(),
            &finding.expected.to_string(),
            &finding.actual.to_string(),
            &cause.unwrap_or_default(),
        ] {
            let _ = write!(html, "<td>{}</td>", escaped(cell, SHOWN_CHARS));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    if let Some(more) = findings.len().checked_sub(SHOWN_FINDINGS).filter(|more| *more > 0) {
        let _ = write!(html, "<p>and {more} more</p>");
    }
    html
}

/// `1 record`, `2 records`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    format!("{value} {noun}{}", if value == 1 { "" } else { "s" })
}

/// Text from anywhere, safe between tags: markup is escaped, characters that reorder or hide text are written out,
/// and long text is cut.
fn escaped(text: &str, limit: usize) -> String {
    let mut safe = String::with_capacity(text.len());
    for (at, character) in text.chars().enumerate() {
        if at == limit {
            safe.push('…');
            break;
        }
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                safe.extend(character.escape_unicode());
            }
            character if character.is_control() => safe.extend(character.escape_unicode()),
            character => safe.push(character),
        }
    }
    safe
}
