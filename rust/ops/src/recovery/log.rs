//! The operation log around the target time of the restore.
//!
//! Ids may have gaps: a transaction that is rolled back uses up its ids, and after a crash PostgreSQL skips up to 32
//! ids. An accepted record without its entry, or an entry without its record, is not explained by a gap.

use std::collections::BTreeMap;

use edgesentry_chain::count;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_rs::ledger::{Ledger, LogEntry, LogQuery, Pruned};
use edgesentry_rs::{OutcomeKind, StoreError};

use crate::check::Check;

/// The number of entries that are read: those at the end, which a restore may cut off.
const WINDOW: u64 = 100_000;
/// Entries per read.
const PAGE: u32 = 10_000;
/// Ids that PostgreSQL skips after a crash (`SEQ_LOG_VALS`).
const CRASH_HOLE: u64 = 32;

/// Checks that the end of the log is complete and agrees with the heads.
pub(super) async fn check(ledger: &dyn Ledger, target_ms: Option<u64>) -> Check {
    let name =
        "the operation log has no gap around the target, and an entry for the last record of every device";
    match judge(ledger, target_ms).await {
        Err(error) => Check::unknown(name, error.describe()),
        Ok(Judged::Holds(evidence)) => Check::new(name, true, evidence),
        Ok(Judged::Fails(evidence)) => Check::new(name, false, evidence),
        Ok(Judged::Unclear(evidence)) => Check::unknown(name, evidence),
    }
}

enum Judged {
    Holds(String),
    Fails(String),
    Unclear(String),
}

/// The end of the log.
#[derive(Default)]
struct Window {
    entries: u64,
    holes: Vec<(u64, u64)>,
    /// First and last accepted sequence of each device, and the number of entries.
    accepted: BTreeMap<String, (u64, u64, u64)>,
    previous: Option<LogEntry>,
    last_before: Option<LogEntry>,
    first_after: Option<LogEntry>,
}

async fn judge(ledger: &dyn Ledger, target_ms: Option<u64>) -> Result<Judged, StoreError> {
    let last = last_id(ledger).await?;
    if last == 0 {
        return Ok(Judged::Unclear("the operation log is empty".to_owned()));
    }
    let from = last.saturating_sub(WINDOW);
    let mut window = Window::default();
    let mut after_id = from;
    loop {
        let query = LogQuery { after_id, limit: PAGE, ..LogQuery::default() };
        let entries = ledger.operation_log(&query).await?;
        let Some(end) = entries.last() else { break };
        after_id = end.id;
        for entry in entries {
            window.add(entry, target_ms);
        }
    }
    let heads = ledger.heads().await?;
    let mut wrong = Vec::new();
    for (device, (first, end, entries)) in &window.accepted {
        if end - first + 1 != *entries {
            wrong
                .push(format!("{device:?}: {} for the sequences {first} to {end}", count(*entries, "entry")));
        }
        let head = heads.get(device.as_str()).map_or(0, |head| head.sequence);
        if head != *end {
            wrong.push(format!("{device:?}: the log ends at {end} and the chain at {head}"));
        }
    }
    // A log that is read completely has an entry for every device.
    if from == 0 {
        let silent = heads.iter().filter(|(device, _)| !window.accepted.contains_key(&***device));
        wrong.extend(
            silent.map(|(device, head)| {
                format!("{device:?}: a chain up to {} without an entry", head.sequence)
            }),
        );
    }
    Ok(window.verdict(wrong, ledger.pruned().await?))
}

impl Window {
    fn add(&mut self, entry: LogEntry, target_ms: Option<u64>) {
        self.entries += 1;
        if let Some(previous) = &self.previous
            && entry.id > previous.id + 1
        {
            self.holes.push((previous.id + 1, entry.id - 1));
        }
        if let (true, Some(sequence)) = (entry.outcome == OutcomeKind::Accepted, entry.sequence) {
            let seen = self.accepted.entry(entry.device_id.clone()).or_insert((sequence, sequence, 0));
            *seen = (seen.0.min(sequence), seen.1.max(sequence), seen.2 + 1);
        }
        match target_ms {
            Some(target) if entry.at_ms > target => {
                self.first_after.get_or_insert_with(|| entry.clone());
            }
            _ => self.last_before = Some(entry.clone()),
        }
        self.previous = Some(entry);
    }

    fn verdict(self, mut wrong: Vec<String>, pruned: Pruned) -> Judged {
        let mut evidence = format!("the last {}", count(self.entries, "entry"));
        if let Some(entry) = &self.last_before {
            evidence.push_str(&format!(
                ", up to the target entry {} of {}",
                entry.id,
                to_rfc3339(entry.at_ms)
            ));
        }
        if let Some(entry) = &self.first_after {
            evidence.push_str(&format!(
                ", after it from entry {} of {} on",
                entry.id,
                to_rfc3339(entry.at_ms)
            ));
        }
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(super::MAX_SHOWN);
            wrong.truncate(super::MAX_SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Judged::Fails(format!("{}{more}; {evidence}", wrong.join("; ")));
        }
        let large = self.holes.iter().filter(|(first, last)| last - first + 1 > CRASH_HOLE);
        let (of_retention, large): (Vec<_>, Vec<_>) = large.partition(|(_, last)| *last <= pruned.up_to_id);
        let left_out: u64 = of_retention.iter().map(|(first, last)| last - first + 1).sum();
        let large = if left_out > pruned.entries { [of_retention, large].concat() } else { large };
        let large: Vec<String> = large.iter().map(|(first, last)| format!("{first} to {last}")).collect();
        if left_out > 0 && large.is_empty() {
            evidence
                .push_str(&format!("; {left_out} ids are those of rejections that the retention deleted"));
        }
        if !large.is_empty() {
            return Judged::Unclear(format!(
                "ids are missing: {}; a rolled-back transaction or a deletion of rejections causes this: compare with \
                 the logs of the service; {evidence}",
                large.join(", ")
            ));
        }
        let holes = self.holes.len();
        Judged::Holds(format!(
            "{evidence}; {holes} holes of at most {CRASH_HOLE} ids, as a crash leaves them"
        ))
    }
}

/// Returns the highest id by binary search: the log is only read forward.
async fn last_id(ledger: &dyn Ledger) -> Result<u64, StoreError> {
    let beyond = async |id: u64| {
        let query = LogQuery { after_id: id, limit: 1, ..LogQuery::default() };
        Ok::<_, StoreError>(ledger.operation_log(&query).await?.first().map(|entry| entry.id))
    };
    // low: an entry is at or after it, or the log is empty; high: no entry is after it.
    let Some(mut low) = beyond(0).await? else { return Ok(0) };
    let mut high = low.max(1);
    while let Some(next) = beyond(high).await? {
        low = next;
        high = next.saturating_mul(2).min(i64::MAX.cast_unsigned());
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match beyond(middle).await? {
            Some(next) => low = next,
            None => high = middle,
        }
    }
    Ok(low)
}
