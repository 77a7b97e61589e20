//! The single driver: reads sources chunk by chunk, decodes and verifies them on all threads, and merges the segments.
//!
//! The steps, with their numbers in `docs/reference/spec.md`:
//!
//! 1. Read and decode a chunk, in the order of the input; an entry that is not a record is a finding (`read`, step 9).
//! 2. Hash its records (step 1), and check links, keys, payloads, heads and successions in each slice (steps 4, 2, 5, 6,
//!    12; `chain/src/slice.rs`).
//! 3. Check the signatures of a slice in one batch (step 3).
//! 4. Merge the segments in the order of the input; this checks the links between slices (step 8; `chain/src/segment.rs`).
//! 5. Compare the records with the checkpoint of a log, if there is one (step 10; [`Replay`]).
//! 6. Compare the ends with the heads, name causes, and decide the verdict (steps 6, 7, 9; `chain/src/report.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::part::{Contested, MAX_OPEN_GAPS, PartError};
use edgesentry_chain::{
    AuditRecord, Checks, Finding, FindingCode, Input, Kept, LogCoverage, Order, PayloadError, ProvidedBy,
    Report, Segments,
};
use edgesentry_log::{LogCheck, Replay};

use crate::error::Error;
use crate::part::{self, Part};
use crate::progress::Progress;
use crate::read::{self, Opened, Source};
use crate::window::{Verified, Window, sort, verify_records};

/// Options of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of findings kept; further findings are only counted, so that memory stays limited.
    pub max_findings: usize,
    /// The order of the records of a chain.
    pub order: Order,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_findings: 100_000, order: Order::Position }
    }
}

/// Verifies the records of all sources, as one input in this order, on the current rayon pool.
///
/// Memory is limited by the chunk size, the number of devices and `max_findings`, for sources of any size. Returns
/// [`Error::Cancelled`] soon after [`Progress::cancel`].
///
/// # Errors
/// A source or a payload cannot be read, or the progress was cancelled. Faults of the evidence are findings.
pub fn verify(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    verify_with_log(sources, checks, None, options, progress)
}

/// Like [`verify`], and compares the records with the checkpoint of a log, in the same pass.
pub fn verify_with_log(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    log: Option<&LogCheck<'_>>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    let files: Option<Vec<Source>> = match options.order {
        Order::Position => None,
        Order::Sequence => sources.iter().map(read::again).collect(),
    };
    let plan = Plan { log, ..Plan::new(checks, options, progress) };
    let folded = fold_sources(sources, &plan)?;
    if options.order == Order::Sequence {
        let whole = Part::of(0, folded, &plan)?;
        return Ok(part::settle(whole, files.as_deref(), &plan)?.conclude(checks, log)?);
    }
    let Folded { mut segments, kept, replay, erased, inputs } = folded;
    let concluded = log.map(|log| Concluded {
        missing: erased.missing.len() as u64,
        other: erased.other,
        found: log.conclude(replay, checks.keys),
    });
    if !concluded.as_ref().is_some_and(Concluded::excuses) {
        // The log is not that of a trusted checkpoint, so it excuses none of them.
        erased.missing.into_values().for_each(|finding| segments.add(finding));
    }
    segments.keep(kept);
    let mut report = checks.report(segments);
    if let Some(concluded) = concluded {
        concluded.add_to(&mut report);
    }
    report.keep(options.max_findings);
    report.locate(inputs);
    Ok(report)
}

/// The comparison of all records with the log.
pub(crate) struct Concluded {
    /// The number of missing payloads that the log says were erased.
    pub(crate) missing: u64,
    /// The number of those with other bytes.
    pub(crate) other: u64,
    pub(crate) found: (LogCoverage, Vec<Finding>),
}

impl Concluded {
    /// Returns true if the log is that of a trusted checkpoint, which excuses the missing payloads.
    pub(crate) fn excuses(&self) -> bool {
        self.found.0.erased > 0
    }

    pub(crate) fn add_to(self, report: &mut Report) {
        let (coverage, findings) = self.found;
        if coverage.erased > 0 {
            report.add_erased(self.missing, coverage.erased.saturating_sub(self.missing + self.other));
        }
        report.add_log(coverage, ProvidedBy::Auditor, findings);
    }
}

/// Opens and verifies sources as one input.
pub(crate) fn fold_sources(sources: Vec<Source>, plan: &Plan<'_>) -> Result<Folded, Error> {
    plan.progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let opened = sources.into_iter().map(|source| {
        let path = absolute_path(&source);
        Ok((path, read::open(source, plan.progress)?))
    });
    fold(opened, plan)
}

/// A verification of inputs as one.
pub(crate) struct Plan<'a> {
    pub(crate) checks: &'a Checks<'a>,
    /// The log whose layout is known.
    pub(crate) log: Option<&'a LogCheck<'a>>,
    /// Withholds the findings of so many payloads, those that are missing first.
    pub(crate) withheld: usize,
    /// Verifies these records alone, and skips malformed entries.
    pub(crate) only: Option<&'a Contested>,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Arc<Progress>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(checks: &'a Checks<'a>, options: &'a Options, progress: &'a Arc<Progress>) -> Plan<'a> {
        Plan { checks, log: None, withheld: 0, only: None, options, progress }
    }
}

/// The result of a fold over inputs.
pub(crate) struct Folded {
    /// The segments, without findings.
    pub(crate) segments: Segments,
    /// The findings that are kept.
    pub(crate) kept: Kept,
    pub(crate) replay: Replay,
    /// The findings that are withheld.
    pub(crate) erased: Erased,
    pub(crate) inputs: Vec<Input>,
}

/// Verifies inputs as one, each with its absolute path.
pub(crate) fn fold(
    opened: impl Iterator<Item = Result<(Option<PathBuf>, Opened), Error>>,
    plan: &Plan<'_>,
) -> Result<Folded, Error> {
    let mut fold = Fold::new(plan.options);
    let mut inputs = Vec::new();
    for opened in opened {
        let (path, opened) = opened?;
        inputs.push(Input { path, ..fold.input(opened, plan)? });
    }
    fold.finish(inputs, plan)
}

fn absolute_path(source: &Source) -> Option<PathBuf> {
    source.path().and_then(|path| std::path::absolute(path).ok())
}

/// The result of a piece of the input.
#[derive(Default)]
pub(crate) struct Piece {
    pub(crate) segments: Segments,
    pub(crate) replay: Replay,
    pub(crate) erased: Erased,
}

/// Payloads that the log says were erased and that are not there as their records have them. Memory is limited by the
/// erasures in the layout, or by the number of findings that are withheld.
#[derive(Default)]
pub(crate) struct Erased {
    /// The findings of the missing ones, by the leaf of the record; without a layout, by its position in the input.
    pub(crate) missing: BTreeMap<u64, Finding>,
    /// The number of those with other bytes.
    other: u64,
}

impl Erased {
    /// Withdraws the findings of missing payloads that the log says were erased, until the log is known to be that of a
    /// trusted checkpoint.
    fn withdraw(&mut self, log: &LogCheck<'_>, replay: &Replay, segments: &mut Segments) {
        let leaf = |finding: &Finding, code| {
            let device_id = finding.device_id.as_deref().filter(|_| finding.code == code)?;
            log.erased(replay, device_id, finding.sequence?)
        };
        for finding in segments.withdraw(|finding| leaf(finding, FindingCode::PayloadMissing).is_some()) {
            if let Some(at) = leaf(&finding, FindingCode::PayloadMissing) {
                self.add(at, finding, segments);
            }
        }
        let findings = segments.findings().iter();
        let other = findings.filter(|finding| leaf(finding, FindingCode::PayloadHashMismatch).is_some());
        self.other = other.count() as u64;
    }

    /// Withdraws the findings of the first missing payloads, before the leaves behind them are known.
    fn withhold(&mut self, most: usize, segments: &mut Segments) {
        let missing = segments.withdraw(|finding| finding.code == FindingCode::PayloadMissing);
        self.missing.extend(missing.into_iter().filter_map(|finding| Some((finding.index?, finding))));
        self.limit(most, segments);
    }

    /// Returns the number of those with other bytes, and the findings of the missing ones.
    pub(crate) fn into_findings(self) -> (u64, Vec<Finding>) {
        (self.other, self.missing.into_values().collect())
    }

    fn limit(&mut self, most: usize, segments: &mut Segments) {
        while self.missing.len() > most
            && let Some((_, finding)) = self.missing.pop_last()
        {
            segments.add(finding);
        }
    }

    fn merge(mut self, next: Erased, segments: &mut Segments) -> Erased {
        self.other += next.other;
        for (at, finding) in next.missing {
            self.add(at, finding, segments);
        }
        self
    }

    fn add(&mut self, at: u64, finding: Finding, segments: &mut Segments) {
        // A record that comes twice is a finding of its own, and the log then excuses nothing.
        if let Some(repeated) = self.missing.insert(at, finding) {
            segments.add(repeated);
        }
    }
}

/// The verification of records as they come.
pub(crate) struct Fold {
    kept: Mutex<Kept>,
    total: Piece,
    next_index: u64,
    window: Window,
    /// Records that must be verified together; none unless only some records are verified.
    gathered: Vec<(AuditRecord, u64)>,
}

impl Fold {
    pub(crate) fn new(options: &Options) -> Fold {
        Fold {
            kept: Mutex::new(Kept::in_order(options.max_findings, options.order)),
            total: Piece::default(),
            next_index: 0,
            window: Window::new(options.order),
            gathered: Vec::new(),
        }
    }

    /// Verifies one source: the next chunks are read while these are verified.
    pub(crate) fn input(&mut self, mut opened: Opened, plan: &Plan<'_>) -> Result<Input, Error> {
        let first_index = self.next_index;
        let mut next = self.window.read(&mut *opened.chunks, plan)?;
        while !next.is_empty() {
            let entries = next.iter().map(|chunk| chunk.len() as u64).sum();
            let total = std::mem::take(&mut self.total);
            if rayon::current_num_threads() == 1 {
                // One window at a time takes half of the memory.
                let form = self.window;
                let verified = form.verify(&self.kept, total, next, self.next_index, plan)?;
                self.add(verified, entries, plan)?;
                next = form.read(&mut *opened.chunks, plan)?;
                continue;
            }
            let (verified, read) = rayon::join(
                || self.window.verify(&self.kept, total, next, self.next_index, plan),
                || self.window.read(&mut *opened.chunks, plan),
            );
            self.add(verified?, entries, plan)?;
            next = read?;
        }
        let entries = self.next_index - first_index;
        Ok(Input {
            name: opened.name,
            format: opened.format,
            entries,
            bytes: opened.bytes,
            modified: opened.modified,
            path: None,
        })
    }

    fn add(&mut self, verified: Verified, entries: u64, plan: &Plan<'_>) -> Result<(), Error> {
        let Verified { total, window, gathered } = verified;
        self.total = total;
        self.next_index += entries;
        self.window = window;
        self.gathered.extend(gathered);
        if self.gathered.len() > part::MAX_GATHERED || self.total.segments.open_gaps() > MAX_OPEN_GAPS {
            return Err(PartError::Scattered.into());
        }
        if plan.progress.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Returns the number of entries so far.
    pub(crate) fn entries(&self) -> u64 {
        self.next_index
    }

    /// Returns the result. The fold is then as a new one.
    pub(crate) fn finish(&mut self, inputs: Vec<Input>, plan: &Plan<'_>) -> Result<Folded, Error> {
        let mut done = std::mem::replace(self, Fold::new(plan.options));
        if !done.gathered.is_empty() {
            let gathered = std::mem::take(&mut done.gathered);
            let mut records: Vec<_> = gathered.iter().map(|(record, index)| (record, *index)).collect();
            sort(&mut records);
            done.total = verify_records(&done.kept, done.total, &records, plan)?;
        }
        let Piece { segments, replay, erased } = done.total;
        let kept = done.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Folded { segments, kept, replay, erased, inputs })
    }
}

/// Verifies records, each with its position in the whole input.
pub(crate) fn verify_some<'r>(
    records: impl Iterator<Item = (&'r AuditRecord, u64)> + Clone,
    plan: &Plan<'_>,
) -> Result<Piece, PayloadError> {
    if let Some(payloads) = plan.checks.payload_source() {
        payloads.prepare(&mut records.clone().map(|(record, _)| record))?;
    }
    let mut segments = match plan.options.order {
        Order::Position => plan.checks.verify_indexed(records.clone())?,
        Order::Sequence => plan.checks.verify_sorted(records.clone())?,
    };
    let (replay, findings) = plan.log.map_or_else(Default::default, |log| log.replay(records));
    findings.into_iter().for_each(|finding| segments.add(finding));
    let mut erased = Erased::default();
    if let Some(log) = plan.log.filter(|_| replay.has_erased()) {
        erased.withdraw(log, &replay, &mut segments);
    }
    if plan.withheld > 0 {
        erased.withhold(plan.withheld, &mut segments);
    }
    Ok(Piece { segments, replay, erased })
}

pub(crate) fn join(kept: &Mutex<Kept>, left: Piece, right: Piece, plan: &Plan<'_>) -> Piece {
    let mut segments = left.segments.merge(right.segments);
    let mut erased = left.erased.merge(right.erased, &mut segments);
    if plan.withheld > 0 {
        erased.limit(plan.withheld, &mut segments);
    }
    let segments = keep(kept, segments);
    let replay = match plan.log {
        Some(log) => log.merge(left.replay, right.replay),
        None => left.replay,
    };
    Piece { segments, replay, erased }
}

/// Moves findings to the kept ones at once, so that no chunk holds more than the limit.
pub(crate) fn keep(kept: &Mutex<Kept>, mut segments: Segments) -> Segments {
    let findings = segments.take_findings();
    if !findings.is_empty() {
        kept.lock().unwrap_or_else(PoisonError::into_inner).add(findings);
    }
    segments
}
