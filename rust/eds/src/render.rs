//! The report for people: verdict first, then coverage, findings and heads.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use edgesentry_chain::{Coverage, Evidence, Finding, FindingCode, Report, Verdict};

use crate::text::{count, name, number, sentence, shown, wrapped};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Findings shown of each code.
const SHOWN_FINDINGS: usize = 5;
/// Heads shown.
const SHOWN_HEADS: usize = 5;
/// Where explanations are broken.
const WIDTH: usize = 96;

/// The levels of verification, in the order in which they are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Links,
    Signatures,
    Payloads,
    Heads,
}

impl Level {
    const ALL: [Level; 4] = [Level::Links, Level::Signatures, Level::Payloads, Level::Heads];

    /// As on the command line and in the sentences of the coverage.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Links => "links",
            Level::Signatures => "signatures",
            Level::Payloads => "payloads",
            Level::Heads => "heads",
        }
    }

    fn of(code: FindingCode) -> Level {
        match code {
            FindingCode::PrevHashMismatch
            | FindingCode::SequenceGap
            | FindingCode::SequenceDuplicate
            | FindingCode::SequenceOutOfOrder
            | FindingCode::Fork
            | FindingCode::FirstRecordNotGenesis
            | FindingCode::RecordMalformed => Level::Links,
            FindingCode::SignatureInvalid
            | FindingCode::UnknownDevice
            | FindingCode::KeyNotValidAtSequence => Level::Signatures,
            FindingCode::PayloadHashMismatch | FindingCode::PayloadMissing => Level::Payloads,
            FindingCode::HeadMismatch | FindingCode::DeviceMissing => Level::Heads,
        }
    }
}

/// The whole report.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, report);
    text
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    verdict(out, report)?;
    if report.verdict == Verdict::NothingToVerify {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}Coverage{BOLD:#}")?;
    for level in Level::ALL {
        coverage(out, report, level)?;
    }
    if !report.counts.is_empty() {
        writeln!(out, "\n{BOLD}Findings{BOLD:#}")?;
        for (code, total) in &report.counts {
            findings(out, report, *code, *total)?;
        }
    }
    heads(out, report)
}

fn verdict(out: &mut String, report: &Report) -> fmt::Result {
    let Coverage { records, devices, .. } = report.coverage;
    let (records, devices) = (count(records, "record"), count(devices, "device"));
    match report.verdict {
        Verdict::Valid => {
            writeln!(out, "{GOOD}VALID{GOOD:#}  {records} of {devices}: every check that was made holds")
        }
        Verdict::Findings => {
            let total = count(report.counts.values().sum(), "finding");
            writeln!(out, "{BAD}FINDINGS{BAD:#}  {total} in {records} of {devices}")
        }
        Verdict::NothingToVerify => {
            let names: Vec<String> = report.inputs.iter().map(|input| name(&input.name)).collect();
            writeln!(out, "{CARE}NOTHING TO VERIFY{CARE:#}  no record in {}", names.join(", "))
        }
    }
}

/// One level: a mark, how much was checked, what was not and why that matters.
fn coverage(out: &mut String, report: &Report, level: Level) -> fmt::Result {
    let checked = checked(&report.coverage, level);
    let prefix = format!("{}: ", level.name());
    let mut notes =
        report.coverage.not_checked.iter().filter_map(|note| note.strip_prefix(&prefix)).peekable();
    let found: u64 =
        report.counts.iter().filter(|(code, _)| Level::of(**code) == level).map(|(_, total)| total).sum();
    let (style, mark) = match (&checked, found, notes.peek()) {
        (None, ..) => (CARE, '–'),
        (Some(_), 1.., _) => (BAD, '✗'),
        (Some(_), 0, Some(_)) => (CARE, '!'),
        (Some(_), 0, None) => (GOOD, '✓'),
    };
    let checked = checked.unwrap_or_else(|| "not checked".into());
    write!(out, "  {style}{mark}{style:#} {:<11}{checked}", level.name())?;
    match found {
        0 => writeln!(out)?,
        found => writeln!(out, ", {BAD}{}{BAD:#}", count(found, "finding"))?,
    }
    for note in notes {
        for line in wrapped(&sentence(note), WIDTH - 16) {
            writeln!(out, "                {DIM}{line}{DIM:#}")?;
        }
    }
    Ok(())
}

/// How much of a level was checked; none where its input was not given.
fn checked(coverage: &Coverage, level: Level) -> Option<String> {
    match level {
        Level::Links => {
            let links =
                format!("{} in {}", count(coverage.records, "record"), count(coverage.devices, "chain"));
            Some(match coverage.malformed {
                0 => links,
                1 => format!("{links}, 1 entry is no record"),
                more => format!("{links}, {} entries are no records", number(more)),
            })
        }
        Level::Signatures => coverage.signatures.as_ref().map(|signatures| {
            let parts = [
                (signatures.record, "under scheme record"),
                (signatures.payload_hash, "under scheme payload-hash"),
                (signatures.unchecked, "not checked"),
            ];
            let parts = parts.iter().filter(|(records, _)| *records > 0);
            let parts: Vec<String> =
                parts.map(|(records, how)| format!("{} {how}", number(*records))).collect();
            if parts.is_empty() { "none".into() } else { parts.join(", ") }
        }),
        Level::Payloads => coverage.payloads.as_ref().map(|payloads| count(payloads.checked, "payload")),
        Level::Heads => coverage.heads.as_ref().map(|heads| count(heads.trusted, "trusted head")),
    }
}

/// The first findings of one code, and how many more there are.
fn findings(out: &mut String, report: &Report, code: FindingCode, total: u64) -> fmt::Result {
    writeln!(out, "  {BAD}{code}{BAD:#}  {}  {DIM}{}{DIM:#}", number(total), code.summary())?;
    let mut listed = 0;
    for found in report.findings.iter().filter(|finding| finding.code == code).take(SHOWN_FINDINGS) {
        finding(out, found)?;
        listed += 1;
    }
    match total - listed {
        0 => Ok(()),
        more => writeln!(out, "    {DIM}and {} more; --json lists all{DIM:#}", number(more)),
    }
}

fn finding(out: &mut String, finding: &Finding) -> fmt::Result {
    let mut place = Vec::new();
    if let Some(device_id) = &finding.device_id {
        place.push(name(device_id));
    }
    if let Some(sequence) = finding.sequence {
        place.push(format!("sequence {sequence}"));
    }
    let at = match (&finding.location, finding.index) {
        (Some(at), _) => format!("{} record {}", name(&at.input), number(at.record)),
        (None, Some(index)) => format!("record {}", number(index + 1)),
        (None, None) => String::new(),
    };
    let comma = if place.is_empty() || at.is_empty() { "" } else { ", " };
    writeln!(out, "    {BOLD}{}{BOLD:#}{comma}{at}", place.join(" "))?;
    writeln!(out, "      expected  {}", evidence(&finding.expected))?;
    writeln!(out, "      actual    {}", evidence(&finding.actual))?;
    if let Some(cause) = &finding.cause {
        let at = cause.sequence.map_or_else(String::new, |sequence| format!(" at sequence {sequence}"));
        writeln!(out, "      likely because of {}{at}", cause.code)?;
    }
    Ok(())
}

/// Evidence as text; a signature is cut, since nobody compares 128 digits by eye.
fn evidence(evidence: &Evidence) -> String {
    let text = evidence.to_string();
    match evidence {
        Evidence::Signature(_) => format!("{}…", text.chars().take(26).collect::<String>()),
        Evidence::Text(_) => shown(&text),
        _ => text,
    }
}

fn heads(out: &mut String, report: &Report) -> fmt::Result {
    if report.heads.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}Heads{BOLD:#}")?;
    for (device_id, head) in report.heads.iter().take(SHOWN_HEADS) {
        writeln!(out, "  {} sequence {} hash {}", name(device_id), head.sequence, head.hash)?;
    }
    match report.heads.len().saturating_sub(SHOWN_HEADS) {
        0 => Ok(()),
        more => writeln!(out, "  {DIM}and {} more; eds heads lists all{DIM:#}", number(more as u64)),
    }
}
