//! The one driver: reads sources chunk by chunk, decodes and verifies them on all threads, merges the segments.

use std::sync::Arc;

use edgesentry_chain::{Checks, Finding, Input, Report, Segments, slice_size};
use rayon::prelude::*;

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Chunk, Decoded, Opened, Source};

/// How to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Findings that are kept; beyond them findings are only counted, so that memory stays bounded.
    pub max_findings: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_findings: 100_000 }
    }
}

/// Verifies the records of all sources, as one input in this order, on the current rayon pool.
///
/// Memory is bounded by the chunk size, the number of devices and `max_findings`, whatever the size of the
/// sources. Ends with [`Error::Cancelled`] soon after [`Progress::cancel`].
pub fn verify(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    progress.set_total_bytes(sources.iter().filter_map(read::size_bytes).sum());
    let mut fold =
        Fold { checks, options, progress, total: Segments::default(), next_index: 0, kept: 0, chunks: 0 };
    let mut inputs = Vec::with_capacity(sources.len());
    for source in sources {
        let opened = read::open(source, progress)?;
        inputs.push(fold.input(opened)?);
    }
    let mut report = checks.report(fold.total);
    report.keep(options.max_findings);
    report.locate(inputs);
    Ok(report)
}

struct Fold<'a> {
    checks: &'a Checks<'a>,
    options: &'a Options,
    progress: &'a Arc<Progress>,
    total: Segments,
    next_index: u64,
    kept: usize,
    chunks: u64,
}

impl Fold<'_> {
    /// One source: the next chunk is read while this one is verified.
    fn input(&mut self, mut opened: Opened) -> Result<Input, Error> {
        let first_index = self.next_index;
        let mut next = opened.chunks.next_chunk(self.progress)?;
        while let Some(chunk) = next {
            let entries = chunk.len() as u64;
            let first_index = self.next_index;
            let (segments, read) = rayon::join(
                || verify_chunk(self.checks, &chunk, first_index, self.progress),
                || opened.chunks.next_chunk(self.progress),
            );
            self.add(segments?);
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
        })
    }

    fn add(&mut self, mut segments: Segments) {
        let full = self.kept >= self.options.max_findings;
        if full {
            segments.omit_findings(self.next_index);
        }
        self.kept += segments.findings();
        self.total = std::mem::take(&mut self.total).merge(segments);
        self.chunks += 1;
        // Merging adds findings where chunks meet; these are few, but a hostile input may have many chunks.
        if full && self.chunks.is_multiple_of(64) {
            self.total.omit_findings(self.next_index);
        }
    }
}

fn verify_chunk(
    checks: &Checks<'_>,
    chunk: &Chunk,
    first_index: u64,
    progress: &Progress,
) -> Result<Segments, Error> {
    let size = slice_records(checks, chunk.len());
    (0..chunk.len().div_ceil(size))
        .into_par_iter()
        .map(|at| {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let range = at * size..chunk.len().min((at + 1) * size);
            let (entries, first_index) = (range.len() as u64, first_index + range.start as u64);
            let segments = match chunk {
                Chunk::Records(records) => checks.verify(&records[range], first_index)?,
                _ => verify_decoded(checks, chunk.decode(range), first_index)?,
            };
            progress.add_records(entries);
            Ok(segments)
        })
        .try_reduce(Segments::default, |left, right| Ok(left.merge(right)))
}

/// How many entries a thread takes at a time. Signatures pay for large slices; links alone do not, and small ones
/// let the thread that has read the next chunk take its share of this one.
fn slice_records(checks: &Checks<'_>, entries: usize) -> usize {
    match checks.keys {
        Some(_) => slice_size(entries),
        None => slice_size(entries).div_ceil(8).max(256),
    }
}

/// Verifies the runs of records between malformed entries.
fn verify_decoded(checks: &Checks<'_>, decoded: Decoded, first_index: u64) -> Result<Segments, Error> {
    let mut segments = Segments::default();
    let mut records = decoded.records.as_slice();
    let mut position = 0;
    for (at, malformed) in decoded.malformed {
        let (run, rest) = records.split_at(at - position);
        if !run.is_empty() {
            segments = segments.merge(checks.verify(run, first_index + position as u64)?);
        }
        let finding = Finding::malformed(first_index + at as u64, malformed.expected, malformed.actual);
        segments = segments.merge(Segments::malformed(finding));
        records = rest;
        position = at + 1;
    }
    let last = checks.verify(records, first_index + position as u64)?;
    Ok(segments.merge(last))
}
