//! The single driver: reads sources chunk by chunk, decodes and verifies them on all threads, and merges the segments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{
    AuditRecord, Checks, Finding, FindingCode, Input, Kept, PayloadError, ProvidedBy, Report, Segments,
    slice_size,
};
use edgesentry_log::{LogCheck, Replay};
use rayon::prelude::*;

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Chunk, Decoded, Opened, Source};

/// Options of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of findings kept; further findings are only counted, so that memory stays limited.
    pub max_findings: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_findings: 100_000 }
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
    progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let opened = sources.into_iter().map(|source| {
        let path = absolute_path(&source);
        Ok((path, read::open(source, progress)?))
    });
    let plan = Plan { checks, log, withheld: 0, options, progress };
    let Folded { mut segments, kept, replay, erased, inputs } = fold(opened, &plan)?;
    let concluded = log.map(|log| log.conclude(replay, checks.keys));
    let logged = concluded.as_ref().map_or(0, |(coverage, _)| coverage.erased);
    let missing = erased.missing.len() as u64;
    if logged == 0 {
        // The log is not that of a trusted checkpoint, so it excuses none of them.
        erased.missing.into_values().for_each(|finding| segments.add(finding));
    }
    segments.keep(kept);
    let mut report = checks.report(segments);
    if let Some((coverage, findings)) = concluded {
        if logged > 0 {
            report.add_erased(missing, logged.saturating_sub(missing + erased.other));
        }
        report.add_log(coverage, ProvidedBy::Auditor, findings);
    }
    report.keep(options.max_findings);
    report.locate(inputs);
    Ok(report)
}

/// A verification of inputs as one.
pub(crate) struct Plan<'a> {
    pub(crate) checks: &'a Checks<'a>,
    /// The log whose layout is known.
    pub(crate) log: Option<&'a LogCheck<'a>>,
    /// Withholds the findings of so many payloads, those that are missing first.
    pub(crate) withheld: usize,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Arc<Progress>,
}

/// The result of a fold over inputs.
pub(crate) struct Folded {
    /// The segments, without findings.
    pub(crate) segments: Segments,
    /// The findings that are kept.
    pub(crate) kept: Kept,
    replay: Replay,
    /// The findings that are withheld.
    pub(crate) erased: Erased,
    pub(crate) inputs: Vec<Input>,
}

/// Verifies inputs as one, each with its absolute path.
pub(crate) fn fold(
    opened: impl Iterator<Item = Result<(Option<PathBuf>, Opened), Error>>,
    plan: &Plan<'_>,
) -> Result<Folded, Error> {
    let kept = Mutex::new(Kept::new(plan.options.max_findings));
    let mut fold = Fold { plan, kept: &kept, total: Part::default(), next_index: 0 };
    let mut inputs = Vec::new();
    for opened in opened {
        let (path, opened) = opened?;
        inputs.push(Input { path, ..fold.input(opened)? });
    }
    let Part { segments, replay, erased } = fold.total;
    let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Folded { segments, kept, replay, erased, inputs })
}

fn absolute_path(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Path(path) => std::path::absolute(path).ok(),
        _ => None,
    }
}

/// The result of a part of the input.
#[derive(Default)]
struct Part {
    segments: Segments,
    replay: Replay,
    erased: Erased,
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

struct Fold<'a> {
    plan: &'a Plan<'a>,
    kept: &'a Mutex<Kept>,
    total: Part,
    next_index: u64,
}

impl Fold<'_> {
    /// Verifies one source: the next chunk is read while this one is verified.
    fn input(&mut self, mut opened: Opened) -> Result<Input, Error> {
        let first_index = self.next_index;
        let mut next = opened.chunks.next_chunk(self.plan.progress)?;
        while let Some(chunk) = next {
            let entries = chunk.len() as u64;
            let first_index = self.next_index;
            let (part, read) = rayon::join(
                || self.verify_chunk(&chunk, first_index),
                || opened.chunks.next_chunk(self.plan.progress),
            );
            let total = std::mem::take(&mut self.total);
            self.total = self.join(total, part?);
            self.next_index += entries;
            next = read?;
            if self.plan.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
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

    fn verify_chunk(&self, chunk: &Chunk, first_index: u64) -> Result<Part, Error> {
        let size = slice_records(self.plan.checks, chunk.len());
        (0..chunk.len().div_ceil(size))
            .into_par_iter()
            .map(|at| {
                if self.plan.progress.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let range = at * size..chunk.len().min((at + 1) * size);
                let (entries, first_index) = (range.len() as u64, first_index + range.start as u64);
                let part = match chunk {
                    Chunk::Records(records) => self.part(records[range].iter().zip(first_index..))?,
                    _ => self.verify_decoded(chunk.decode(range), first_index)?,
                };
                self.plan.progress.add_records(entries);
                Ok(Part { segments: self.keep(part.segments), ..part })
            })
            .try_reduce(Part::default, |left, right| Ok(self.join(left, right)))
    }

    /// Verifies records, each with its position in the whole input.
    fn part<'r>(
        &self,
        records: impl Iterator<Item = (&'r AuditRecord, u64)> + Clone,
    ) -> Result<Part, PayloadError> {
        let mut segments = self.plan.checks.verify_indexed(records.clone())?;
        let (replay, findings) = self.plan.log.map_or_else(Default::default, |log| log.replay(records));
        findings.into_iter().for_each(|finding| segments.add(finding));
        let mut erased = Erased::default();
        if let Some(log) = self.plan.log.filter(|_| replay.has_erased()) {
            erased.withdraw(log, &replay, &mut segments);
        }
        if self.plan.withheld > 0 {
            erased.withhold(self.plan.withheld, &mut segments);
        }
        Ok(Part { segments, replay, erased })
    }

    /// Verifies the records among decoded entries, and counts malformed entries.
    fn verify_decoded(&self, decoded: Decoded, first_index: u64) -> Result<Part, Error> {
        let Decoded { records, malformed } = decoded;
        if malformed.is_empty() {
            return Ok(self.part(records.iter().zip(first_index..))?);
        }
        let entries = records.len() + malformed.len();
        let malformed_at: Vec<usize> = malformed.iter().map(|(at, _)| *at).collect();
        let positions = (0..entries).filter(|at| malformed_at.binary_search(at).is_err());
        let mut part = self.part(records.iter().zip(positions.map(|at| first_index + at as u64)))?;
        for (at, malformed) in malformed {
            let index = first_index + at as u64;
            part.segments.add(Finding::malformed(index, malformed.expected, malformed.actual));
        }
        Ok(part)
    }

    fn join(&self, left: Part, right: Part) -> Part {
        let mut segments = left.segments.merge(right.segments);
        let mut erased = left.erased.merge(right.erased, &mut segments);
        if self.plan.withheld > 0 {
            erased.limit(self.plan.withheld, &mut segments);
        }
        let segments = self.keep(segments);
        let replay = match self.plan.log {
            Some(log) => log.merge(left.replay, right.replay),
            None => left.replay,
        };
        Part { segments, replay, erased }
    }

    /// Moves findings to the kept ones at once, so that no chunk holds more than the limit.
    fn keep(&self, mut segments: Segments) -> Segments {
        let findings = segments.take_findings();
        if !findings.is_empty() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).add(findings);
        }
        segments
    }
}

/// Returns the number of entries per thread at a time. Signatures benefit from large slices. Links alone do not, and
/// small slices let the thread that has read the next chunk take its share of this one.
fn slice_records(checks: &Checks<'_>, entries: usize) -> usize {
    match checks.key_ring() {
        Some(_) => slice_size(entries),
        None => slice_size(entries).div_ceil(8).max(256),
    }
}
