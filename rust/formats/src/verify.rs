//! The single driver: reads sources chunk by chunk, decodes and verifies them on all threads, and merges the segments.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{Checks, Finding, Input, Kept, Report, Segments, slice_size};
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
pub fn verify(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let kept = Mutex::new(Kept::new(options.max_findings));
    let mut fold = Fold { checks, kept: &kept, progress, total: Segments::default(), next_index: 0 };
    let mut inputs = Vec::with_capacity(sources.len());
    for source in sources {
        let path = absolute_path(&source);
        let opened = read::open(source, progress)?;
        inputs.push(Input { path, ..fold.input(opened)? });
    }
    let mut total = fold.total;
    total.keep(kept.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut report = checks.report(total);
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

struct Fold<'a> {
    checks: &'a Checks<'a>,
    kept: &'a Mutex<Kept>,
    progress: &'a Arc<Progress>,
    total: Segments,
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
            let (segments, read) = rayon::join(
                || self.verify_chunk(&chunk, first_index),
                || opened.chunks.next_chunk(self.progress),
            );
            let total = std::mem::take(&mut self.total);
            self.total = self.join(total, segments?);
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

    fn verify_chunk(&self, chunk: &Chunk, first_index: u64) -> Result<Segments, Error> {
        let size = slice_records(self.checks, chunk.len());
        (0..chunk.len().div_ceil(size))
            .into_par_iter()
            .map(|at| {
                if self.progress.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let range = at * size..chunk.len().min((at + 1) * size);
                let (entries, first_index) = (range.len() as u64, first_index + range.start as u64);
                let segments = match chunk {
                    Chunk::Records(records) => self.checks.verify(&records[range], first_index)?,
                    _ => verify_decoded(self.checks, chunk.decode(range), first_index)?,
                };
                self.progress.add_records(entries);
                Ok(self.keep(segments))
            })
            .try_reduce(Segments::default, |left, right| Ok(self.join(left, right)))
    }

    fn join(&self, left: Segments, right: Segments) -> Segments {
        self.keep(left.merge(right))
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

/// Verifies the records among decoded entries, and counts malformed entries.
fn verify_decoded(checks: &Checks<'_>, decoded: Decoded, first_index: u64) -> Result<Segments, Error> {
    let Decoded { records, malformed } = decoded;
    if malformed.is_empty() {
        return Ok(checks.verify(&records, first_index)?);
    }
    let entries = records.len() + malformed.len();
    let mut malformed_at = malformed.iter().map(|(at, _)| *at).peekable();
    let positions = (0..entries).filter(|at| malformed_at.next_if_eq(at).is_none());
    let mut segments =
        checks.verify_indexed(records.iter().zip(positions.map(|at| first_index + at as u64)))?;
    for (at, malformed) in malformed {
        let index = first_index + at as u64;
        segments.add_malformed(Finding::malformed(index, malformed.expected, malformed.actual));
    }
    Ok(segments)
}
