//! `eds log`: the operation log, one entry for every decision of the ingest service.

use std::collections::BTreeSet;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use edgesentry_chain::escape;
use edgesentry_formats::times::{parse_unix_ms, to_rfc3339};
use edgesentry_rs::ledger::{LOG_CONFLICT, LogEntry, LogQuery, MAX_PAGE};
use edgesentry_rs::settings::Access;
use edgesentry_rs::{OutcomeKind, RejectionCode};
use futures::FutureExt;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Answer, Output, write_if_read};
use crate::remote::RemoteArgs;
use crate::stores::{Asked, LedgerArgs, Opened};
use crate::text::{name, shown};
use crate::threads;

/// How often `--follow` looks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Consecutive failures of the ledger after which `--follow` ends.
const MAX_FAILURES: u32 = 20;
/// How many ids before the last one `--follow` reads again.
const OVERLAP: u64 = 1000;

const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected with the reason
///
/// With --url it shows those of a service, at most 10,000 at once: its token needs the scope read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log --outcome rejected
  eds log --device lift-01 --reason fork --json
  eds log --tail 20 --follow                       the last entries, then new ones until Ctrl-C
  EDS_TOKEN=eds_... eds log --url https://audit.example --follow
  eds log --since 2026-01-31T12:00:00Z
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
    /// Only entries from this time on: 2026-01-31T12:00:00Z, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    since: Option<u64>,
    /// Maximum number of entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Show the last N entries instead of the first ones
    #[arg(long, value_name = "N", conflicts_with = "limit", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tail: Option<u32>,
    /// Continue with new entries until Ctrl-C; with --json, one entry a line
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The ledger, and the way to open it again.
struct Source<'a> {
    options: &'a Log,
    opened: Opened,
}

impl Source<'_> {
    /// Opens the ledger again: an SQLite file that was opened to be read shows one state of it.
    fn open_again(&mut self) -> Result<(), Failure> {
        if !self.options.remote.is_given() {
            self.opened = self.options.ledger.open(Access::Read)?;
        }
        Ok(())
    }

    fn runtime(&self) -> &Runtime {
        &self.opened.runtime
    }

    /// Returns the most entries that it returns at once.
    fn largest_page(&self) -> u32 {
        if self.options.remote.is_given() { MAX_PAGE } else { u32::MAX }
    }

    async fn entries(&self, query: &LogQuery) -> Result<Vec<LogEntry>, Failure> {
        let entries = self.opened.ledger.operation_log(query).await;
        entries.map_err(|error| edgesentry_rs::Error::from(error).into())
    }
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
        let source = Source { options: self, opened: self.remote.open(&self.ledger, Access::Read)? };
        let asked = self.tail.unwrap_or(self.limit);
        let limit = asked.min(source.largest_page());
        if limit < asked {
            output.note(&format!("a service returns at most {limit} entries at once"));
        }
        let query = LogQuery {
            device_id: self.device.clone(),
            outcome: self.outcome.map(OutcomeKind::from),
            reason: self.reason.clone(),
            after_id: self.after,
            since_ms: self.since,
            newest: self.tail.is_some(),
            limit,
        };
        if self.follow {
            return follow(source, query, output);
        }
        let entries = source.runtime().block_on(source.entries(&query))?;
        let last_id = entries.last().map_or(self.after, |entry| entry.id);
        let is_full = self.tail.is_none() && entries.len() == limit as usize;
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

/// Prints entries until the process is interrupted, or its reader has gone.
fn follow(mut source: Source<'_>, mut query: LogQuery, output: &Output) -> Result<Exit, Failure> {
    // Apart from the runtime of the ledger, which may be opened again.
    let runtime = threads::runtime()?;
    let mut asked = interrupt::asked().boxed();
    let mut printed: BTreeSet<u64> = BTreeSet::new();
    let mut failures = 0;
    loop {
        let read = source.runtime().block_on(async {
            tokio::select! {
                () = &mut asked => None,
                entries = source.entries(&query) => Some(entries),
            }
        });
        let Some(read) = read else { return Ok(Exit::Holds) };
        let entries = match read {
            // Another process has written to the file, or the server was away.
            Err(failure) if failure.code == "store" && failures < MAX_FAILURES => {
                failures += 1;
                if is_ended(&runtime, &mut asked, POLL_INTERVAL) {
                    return Ok(Exit::Holds);
                }
                // It may be written to again meanwhile; the next read then fails again.
                let _ = source.open_again();
                continue;
            }
            entries => entries?,
        };
        failures = 0;
        let is_full = entries.len() == query.limit as usize;
        let mut text = String::new();
        for entry in entries.iter().filter(|entry| !printed.contains(&entry.id)) {
            if output.json {
                text.push_str(&terminal_safe(&content(entry).to_string()));
                text.push('\n');
            } else {
                line(&mut text, entry, 0);
            }
        }
        if !write_if_read(&escape::lines(&text))? {
            return Ok(Exit::Holds);
        }
        // Those before the first one of a tail are not new.
        if let Some(first) = entries.first().filter(|_| query.newest) {
            query.after_id = first.id.saturating_sub(1);
        }
        let read_to = entries.last().map_or(query.after_id, |entry| entry.id);
        printed.extend(entries.iter().map(|entry| entry.id));
        // Entries of transactions that end late have ids below those that were read.
        let goes_on = is_full && !query.newest;
        let from = if goes_on { read_to } else { read_to.saturating_sub(OVERLAP) };
        (query.after_id, query.newest, query.limit) = (from.max(query.after_id), false, MAX_PAGE);
        printed = printed.split_off(&from);
        let pause = if goes_on { Duration::ZERO } else { POLL_INTERVAL };
        if is_ended(&runtime, &mut asked, pause) {
            return Ok(Exit::Holds);
        }
    }
}

/// Waits; true if the process is asked to end.
fn is_ended(runtime: &Runtime, asked: &mut Asked, pause: Duration) -> bool {
    runtime.block_on(async {
        tokio::select! {
            () = asked => true,
            () = tokio::time::sleep(pause) => false,
        }
    })
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
