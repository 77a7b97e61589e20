//! `eds log`: the operation log, one entry for every decision of the ingest service.

use anstyle::{AnsiColor, Style};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::ledger::{LOG_CONFLICT, LogEntry, LogQuery};
use edgesentry_rs::settings::Access;
use edgesentry_rs::{OutcomeKind, RejectionCode};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::LedgerArgs;
use crate::text::{name, shown};

const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected with the reason
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log --outcome rejected
  eds log --device lift-01 --reason fork --json
  eds log --after 1000 --limit 1000                the next page")]
pub(crate) struct Log {
    /// Only this device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Only this outcome: accepted, duplicate or rejected
    #[arg(long, hide_possible_values = true)]
    outcome: Option<Decision>,
    /// Only this reason code, such as fork or sequence_gap
    #[arg(long, value_name = "CODE", value_parser = reason(), hide_possible_values = true)]
    reason: Option<String>,
    /// Only entries after this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: u64,
    /// Maximum number of entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    ledger: LedgerArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Decision {
    Accepted,
    Duplicate,
    Rejected,
}

impl From<Decision> for OutcomeKind {
    fn from(decision: Decision) -> OutcomeKind {
        match decision {
            Decision::Accepted => OutcomeKind::Accepted,
            Decision::Duplicate => OutcomeKind::Duplicate,
            Decision::Rejected => OutcomeKind::Rejected,
        }
    }
}

fn reason() -> PossibleValuesParser {
    PossibleValuesParser::new(RejectionCode::ALL.map(RejectionCode::name).into_iter().chain([LOG_CONFLICT]))
}

impl Log {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let opened = self.ledger.open(Access::Read)?;
        let query = LogQuery {
            device_id: self.device.clone(),
            outcome: self.outcome.map(OutcomeKind::from),
            reason: self.reason.clone(),
            after_id: self.after,
            limit: self.limit,
        };
        let entries = opened.wait(opened.ledger.operation_log(&query))?;
        let last_id = entries.last().map_or(self.after, |entry| entry.id);
        let is_full = entries.len() == self.limit as usize;
        let content = json!({
            "entries": entries.iter().map(content).collect::<Vec<_>>(),
            "last_id": last_id,
            "more": is_full,
        });
        let text = self.text(&entries, is_full.then_some(last_id));
        output.answer(&Answer { ok: true, name: "log", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    fn text(&self, entries: &[LogEntry], next: Option<u64>) -> String {
        if entries.is_empty() {
            return "no entry matches\n".to_owned();
        }
        let widest = entries.iter().map(|entry| name(&entry.device_id).chars().count()).max().unwrap_or(0);
        let mut text = format!(
            "{BOLD}{:>8}  {:<24}  {:<9}  {:<widest$}  {:>8}  REASON{BOLD:#}\n",
            "ID", "TIME", "OUTCOME", "DEVICE", "SEQUENCE"
        );
        for entry in entries {
            line(&mut text, entry, widest);
        }
        if let Some(next) = next {
            text.push_str(&format!("{DIM}there may be more: --after {next}{DIM:#}\n"));
        }
        text
    }
}

fn line(text: &mut String, entry: &LogEntry, widest: usize) {
    let sequence = entry.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
    let line = format!(
        "{:>8}  {:<24}  {:<9}  {:<widest$}  {sequence:>8}",
        entry.id,
        to_rfc3339(entry.at_ms),
        entry.outcome,
        name(&entry.device_id)
    );
    text.push_str(line.trim_end());
    if let Some(reason) = &entry.reason {
        text.push_str(&format!("  {BAD}{}{BAD:#}", shown(reason)));
    }
    text.push('\n');
    for (label, value) in [("expected", &entry.expected), ("actual", &entry.actual)] {
        if let Some(value) = value {
            text.push_str(&format!("          {DIM}{label:<8}  {}{DIM:#}\n", shown(value)));
        }
    }
}

fn content(entry: &LogEntry) -> serde_json::Value {
    json!({
        "id": entry.id,
        "at_ms": entry.at_ms,
        "device_id": entry.device_id,
        "sequence": entry.sequence,
        "outcome": entry.outcome.as_str(),
        "reason": entry.reason,
        "record_hash": entry.record_hash,
        "expected": entry.expected,
        "actual": entry.actual,
        "evidence": entry.evidence.as_ref().map(hex::encode),
    })
}
