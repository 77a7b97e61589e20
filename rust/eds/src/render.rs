//! The report for people: verdict first, then coverage, findings and heads.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use edgesentry_chain::{Cause, Coverage, Evidence, Finding, FindingCode, Report, Verdict};

use crate::levels::{self, Examined, Standing};
use crate::text::{count, name, number, sentence, shown, wrapped};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The number of findings shown for each code.
const MAX_FINDINGS: usize = 5;
/// The number of heads shown.
const MAX_HEADS: usize = 5;
/// The width of explanation lines.
const WIDTH: usize = 96;

/// Renders the whole report.
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
    for examined in levels::examined(report) {
        coverage(out, &examined)?;
    }
    if !report.counts.is_empty() {
        writeln!(out, "\n{BOLD}Findings{BOLD:#}")?;
        for (code, total) in report.kinds() {
            findings(out, report, code, total)?;
        }
    }
    hints(out, report)?;
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

/// Renders one level: a mark, the checked items, the unchecked parts and their consequence.
fn coverage(out: &mut String, examined: &Examined<'_>) -> fmt::Result {
    let Examined { level, standing, checked, provided, findings, notes } = examined;
    let (style, mark) = match standing {
        Standing::NotChecked => (CARE, '–'),
        Standing::Findings => (BAD, '✗'),
        Standing::Partly => (CARE, '!'),
        Standing::Holds => (GOOD, '✓'),
    };
    let checked = checked.as_deref().unwrap_or("not checked");
    write!(out, "  {style}{mark}{style:#} {:<11}{checked}", level.name())?;
    if *findings > 0 {
        write!(out, ", {BAD}{}{BAD:#}", count(*findings, "finding"))?;
    }
    match provided {
        Some(provided) => writeln!(out, "; {provided}")?,
        None => writeln!(out)?,
    }
    for note in notes {
        for line in wrapped(&note.to_string(), WIDTH - 16) {
            writeln!(out, "                {DIM}{line}{DIM:#}")?;
        }
    }
    Ok(())
}

/// Renders likely causes of many findings.
fn hints(out: &mut String, report: &Report) -> fmt::Result {
    for hint in &report.hints {
        writeln!(out)?;
        let text = sentence(&hint.likely_cause());
        for line in wrapped(&text, WIDTH) {
            writeln!(out, "{CARE}{line}{CARE:#}")?;
        }
    }
    Ok(())
}

/// Renders the first findings of one code, and the number of others.
fn findings(out: &mut String, report: &Report, code: FindingCode, total: u64) -> fmt::Result {
    writeln!(out, "  {BAD}{code}{BAD:#}  {}  {DIM}{}{DIM:#}", number(total), code.summary())?;
    let mut listed = 0;
    for found in report.findings.iter().filter(|finding| finding.code == code).take(MAX_FINDINGS) {
        finding(out, found)?;
        listed += 1;
    }
    match total - listed {
        0 => Ok(()),
        more => writeln!(out, "    {DIM}and {} more; --json lists all{DIM:#}", number(more)),
    }
}

/// Renders findings without a report, some of each code.
pub(crate) fn list(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut counts = BTreeMap::<FindingCode, usize>::new();
    for found in findings {
        let nth = counts.entry(found.code).or_default();
        *nth += 1;
        if *nth <= MAX_FINDINGS {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{BAD}{}{BAD:#}  {DIM}{}{DIM:#}", found.code, found.code.summary());
            let _ = finding(&mut text, found);
        }
    }
    for (code, more) in counts.iter().filter(|(_, total)| **total > MAX_FINDINGS) {
        let more = number((more - MAX_FINDINGS) as u64);
        let _ = writeln!(text, "{DIM}and {more} more {code}; --json lists all{DIM:#}");
    }
    text
}

fn finding(out: &mut String, finding: &Finding) -> fmt::Result {
    let (who, at) = place(finding);
    let comma = if who.is_empty() || at.is_empty() { "" } else { ", " };
    writeln!(out, "    {BOLD}{who}{BOLD:#}{comma}{at}")?;
    writeln!(out, "      expected  {}", evidence(&finding.expected))?;
    writeln!(out, "      actual    {}", evidence(&finding.actual))?;
    if let Some(cause) = &finding.cause {
        writeln!(out, "      likely because of {}", because(cause))?;
    }
    Ok(())
}

/// Returns the device and sequence of a finding, and its place in the inputs; either may be empty.
pub(crate) fn place(finding: &Finding) -> (String, String) {
    let mut who = Vec::new();
    if let Some(device_id) = &finding.device_id {
        who.push(name(device_id));
    }
    if let Some(sequence) = finding.sequence {
        who.push(format!("sequence {sequence}"));
    }
    if who.is_empty() && finding.index.is_none() && finding.location.is_none() {
        who.push("the log as a whole".into());
    }
    let at = match (&finding.location, finding.index) {
        (Some(at), _) if at.record == 0 => name(&at.input),
        (Some(at), _) => format!("{} record {}", name(&at.input), number(at.record)),
        (None, Some(index)) => format!("record {}", number(index + 1)),
        (None, None) => String::new(),
    };
    (who.join(" "), at)
}

/// Returns the likely cause as text.
pub(crate) fn because(cause: &Cause) -> String {
    let at = cause.sequence.map_or_else(String::new, |sequence| format!(" at sequence {sequence}"));
    format!("{}{at}", cause.code)
}

/// Returns evidence as text; a signature is cut, because 128 digits are not compared by eye.
pub(crate) fn evidence(evidence: &Evidence) -> String {
    let text = evidence.to_string();
    match evidence {
        Evidence::Signature(_) => format!("{}…", text.chars().take(26).collect::<String>()),
        // A report that was read from JSON has evidence as text.
        Evidence::Text(_) if is_signature(&text) => format!("{}…", &text[..26]),
        Evidence::Text(_) => shown(&text),
        _ => text,
    }
}

fn is_signature(text: &str) -> bool {
    text.strip_prefix("signature ")
        .is_some_and(|digits| digits.len() == 128 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn heads(out: &mut String, report: &Report) -> fmt::Result {
    if report.heads.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}Heads{BOLD:#}")?;
    for (device_id, head) in report.heads.iter().take(MAX_HEADS) {
        writeln!(out, "  {} sequence {} hash {}", name(device_id), head.sequence, head.hash)?;
    }
    match report.heads.len().saturating_sub(MAX_HEADS) {
        0 => Ok(()),
        more => writeln!(out, "  {DIM}and {} more; eds heads lists all{DIM:#}", number(more as u64)),
    }
}
