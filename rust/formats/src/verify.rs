//! The single driver: reads sources chunk by chunk, decodes and verifies them on all threads, and merges the segments.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{
    AuditRecord, Checks, Finding, Input, Kept, PayloadError, Report, Segments, slice_size,
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
    let kept = Mutex::new(Kept::new(options.max_findings));
    let mut fold = Fold { checks, log, kept: &kept, progress, total: Part::default(), next_index: 0 };
    let mut inputs = Vec::with_capacity(sources.len());
    for source in sources {
        let path = absolute_path(&source);
        let opened = read::open(source, progress)?;
        inputs.push(Input { path, ..fold.input(opened)? });
    }
    let Part { mut segments, replay } = fold.total;
    segments.keep(kept.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut report = checks.report(segments);
    if let Some(log) = log {
        let (coverage, findings) = log.conclude(replay, checks.keys);
        report.add_log(coverage, findings);
    }
    report.keep(options.max_findings);
    report.locate(inputs);
    Ok(report)
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
}

struct Fold<'a> {
    checks: &'a Checks<'a>,
    log: Option<&'a LogCheck<'a>>,
    kept: &'a Mutex<Kept>,
    progress: &'a Arc<Progress>,
    total: Part,
    next_index: u64,
}

impl Fold<'_> {
    /// Verifies one source: the next chunk is read while this one is verified.
    fn input(&mut self, mut opened: Opened) -> Result<Input, Error> {
        let first_index = self.next_index;
        let mut next = opened.chunks.next_chunk(self.progress)?;
        while let Some(chunk) = next {
            let entries = chunk.len() as u64;
            let first_index = self.next_index;
            let (part, read) = rayon::join(
                || self.verify_chunk(&chunk, first_index),
                || opened.chunks.next_chunk(self.progress),
            );
            let total = std::mem::take(&mut self.total);
            self.total = self.join(total, part?);
            self.next_index += entries;
            next = read?;
            if self.progress.is_cancelled() {
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
        let size = slice_records(self.checks, chunk.len());
        (0..chunk.len().div_ceil(size))
            .into_par_iter()
            .map(|at| {
                if self.progress.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let range = at * size..chunk.len().min((at + 1) * size);
                let (entries, first_index) = (range.len() as u64, first_index + range.start as u64);
                let part = match chunk {
                    Chunk::Records(records) => self.part(records[range].iter().zip(first_index..))?,
                    _ => self.verify_decoded(chunk.decode(range), first_index)?,
                };
                self.progress.add_records(entries);
                Ok(Part { segments: self.keep(part.segments), ..part })
            })
            .try_reduce(Part::default, |left, right| Ok(self.join(left, right)))
    }

    /// Verifies records, each with its position in the whole input.
    fn part<'r>(
        &self,
        records: impl Iterator<Item = (&'r AuditRecord, u64)> + Clone,
    ) -> Result<Part, PayloadError> {
        let mut segments = self.checks.verify_indexed(records.clone())?;
        let (replay, findings) = self.log.map_or_else(Default::default, |log| log.replay(records));
        findings.into_iter().for_each(|finding| segments.add(finding));
        Ok(Part { segments, replay })
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
        let segments = self.keep(left.segments.merge(right.segments));
        let replay = match self.log {
            Some(log) => log.merge(left.replay, right.replay),
            None => left.replay,
        };
        Part { segments, replay }
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
