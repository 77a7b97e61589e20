//! Segments: verified runs of one chain, and the functions that create and join them (step 8).
//!
//! [`Checks::verify`] turns a slice of records into [`Segments`]; [`Segments::merge`] joins two consecutive ones.
//! Merging is associative, so threads, streamed chunks and distributed workers all use this pair.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::checks::{Checks, PayloadError};
use crate::finding::{Evidence, Finding, FindingCode};
use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::history::History;
use crate::kept::Kept;
use crate::order::Breaks;
use crate::record::AuditRecord;
use crate::slice::Slice;

/// Records verified by one thread at a time, and therefore the largest signature batch.
pub const SLICE_RECORDS: usize = 4096;

/// The place of a record in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
    pub(crate) prev: Hash,
    pub(crate) timestamp_ms: u64,
    pub(crate) index: u64,
}

/// The record of the chain at the sequence of a head that it must contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeadSight {
    None,
    Differs(Hash),
    Matches,
}

/// A verified run of one chain.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Segment {
    pub(crate) first: Link,
    pub(crate) last: Link,
    pub(crate) tally: Tally,
    pub(crate) span: ChainSpan,
    /// The failing links, if any.
    pub(crate) breaks: Option<Box<Breaks>>,
    /// For the auditor's head, and for the claimed one.
    pub(crate) sights: [HeadSight; 2],
    pub(crate) history: History,
}

/// How much was checked of its records.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) payload_hash_signatures: u64,
    pub(crate) record_signatures: u64,
    pub(crate) unsigned: u64,
    /// Invalid signatures that hold under a scheme for which their key is not registered, by this scheme.
    pub(crate) other_scheme: [u64; 2],
    pub(crate) payloads: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.payload_hash_signatures += other.payload_hash_signatures;
        self.record_signatures += other.record_signatures;
        self.unsigned += other.unsigned;
        for (count, more) in self.other_scheme.iter_mut().zip(other.other_scheme) {
            *count += more;
        }
        self.payloads += other.payloads;
    }
}

/// What one chain spans, by the account of its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChainSpan {
    /// Records found.
    pub records: u64,
    /// The lowest sequence found, wherever it stands.
    pub lowest_sequence: u64,
    /// The highest.
    pub highest_sequence: u64,
    /// The earliest time that a record claims, Unix milliseconds.
    pub earliest_ms: u64,
    /// The latest.
    pub latest_ms: u64,
}

impl ChainSpan {
    fn of(link: &Link) -> ChainSpan {
        let Link { sequence, timestamp_ms, .. } = *link;
        ChainSpan {
            records: 1,
            lowest_sequence: sequence,
            highest_sequence: sequence,
            earliest_ms: timestamp_ms,
            latest_ms: timestamp_ms,
        }
    }

    fn add(&mut self, other: ChainSpan) {
        self.records += other.records;
        self.lowest_sequence = self.lowest_sequence.min(other.lowest_sequence);
        self.highest_sequence = self.highest_sequence.max(other.highest_sequence);
        self.earliest_ms = self.earliest_ms.min(other.earliest_ms);
        self.latest_ms = self.latest_ms.max(other.latest_ms);
    }
}

/// The verified segments of many chains: the result of one slice, one chunk, or a whole export.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Segments {
    pub(crate) chains: HashMap<Arc<str>, Segment>,
    pub(crate) found: Found,
}

/// Findings, and their number by code, including those that were taken out.
///
/// Findings that depend on the whole input (chain starts, devices without keys, heads) are not included.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    pub(crate) counts: [u64; FindingCode::ALL.len()],
}

impl Found {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.counts[finding.code as usize] += 1;
        self.findings.push(finding);
    }

    fn append(&mut self, mut next: Found) {
        self.findings.append(&mut next.findings);
        for (count, more) in self.counts.iter_mut().zip(next.counts) {
            *count += more;
        }
    }
}

impl Checks<'_> {
    /// Verifies consecutive records; `first_index` is the position of the first in the whole input. Records of many
    /// devices may interleave.
    ///
    /// # Errors
    /// A payload cannot be read. Faults of the evidence are findings.
    pub fn verify(&self, records: &[AuditRecord], first_index: u64) -> Result<Segments, PayloadError> {
        self.verify_indexed(records.iter().zip(first_index..))
    }

    /// Like [`Checks::verify`], for records that are not consecutive: each has its position in the whole input, in
    /// ascending order.
    ///
    /// # Errors
    /// As [`Checks::verify`].
    pub fn verify_indexed<'r>(
        &self,
        records: impl IntoIterator<Item = (&'r AuditRecord, u64)>,
    ) -> Result<Segments, PayloadError> {
        let mut slice = Slice::new(self);
        for (record, index) in records {
            slice.push(record, index)?;
        }
        Ok(slice.finish())
    }

    /// Like [`Checks::verify`], on all threads of the current rayon pool.
    ///
    /// # Errors
    /// As [`Checks::verify`].
    pub fn verify_parallel(
        &self,
        records: &[AuditRecord],
        first_index: u64,
    ) -> Result<Segments, PayloadError> {
        let size = slice_size(records.len());
        let slices = records.par_chunks(size).enumerate();
        slices
            .map(|(at, slice)| self.verify(slice, first_index + (at * size) as u64))
            .try_reduce(Segments::default, |left, right| Ok(left.merge(right)))
    }
}

/// Returns the number of `records` that one thread takes at a time: an equal share per thread, large enough for
/// efficient batches.
pub fn slice_size(records: usize) -> usize {
    let slices = records.div_ceil(SLICE_RECORDS).next_multiple_of(rayon::current_num_threads());
    records.div_ceil(slices.max(1)).max(256)
}

impl Segments {
    /// Adds the finding of an entry that is not a record, or of a check by the caller.
    pub fn add(&mut self, finding: Finding) {
        self.found.add(finding);
    }

    /// Joins the segments of two slices; `next` follows `self`.
    #[must_use]
    pub fn merge(mut self, next: Segments) -> Segments {
        let Segments { chains, found } = next;
        if self.chains.is_empty() {
            self.chains = chains;
        } else {
            for (device_id, segment) in chains {
                match self.chains.get_mut(&device_id) {
                    Some(chain) => chain.append(&device_id, segment, &mut self.found),
                    None => {
                        self.chains.insert(device_id, segment);
                    }
                }
            }
        }
        self.found.append(found);
        self
    }

    /// Returns the number of records in the segments.
    pub fn records(&self) -> u64 {
        self.chains.values().map(|chain| chain.span.records).sum()
    }

    /// Returns the last record of each chain.
    pub fn heads(&self) -> Heads {
        let head = |segment: &Segment| Head { sequence: segment.last.sequence, hash: segment.last.hash };
        self.chains.iter().map(|(device_id, segment)| (Arc::clone(device_id), head(segment))).collect()
    }

    /// Takes the findings out. They remain counted; [`Segments::keep`] restores the kept ones.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found.findings)
    }

    /// Withdraws findings: they are no longer counted. The caller may add them again.
    pub fn withdraw(&mut self, is_withdrawn: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let withdrawn: Vec<Finding> =
            self.found.findings.extract_if(.., |finding| is_withdrawn(finding)).collect();
        for finding in &withdrawn {
            self.found.counts[finding.code as usize] -= 1;
        }
        withdrawn
    }

    /// Returns the findings that were not taken out.
    pub fn findings(&self) -> &[Finding] {
        &self.found.findings
    }

    /// Restores the kept findings of all that were taken out.
    pub fn keep(&mut self, mut kept: Kept) {
        kept.add(self.take_findings());
        self.found.findings = kept.into_findings();
    }
}

impl Segment {
    pub(crate) fn new(first: Link) -> Segment {
        let mut history = History::default();
        history.push(first.sequence, &first.hash, first.index);
        Segment {
            first,
            last: first,
            tally: Tally::default(),
            span: ChainSpan::of(&first),
            breaks: None,
            sights: [HeadSight::None; 2],
            history,
        }
    }

    pub(crate) fn push(&mut self, device_id: &Arc<str>, link: Link, found: &mut Found) {
        self.link(device_id, &link, found);
        self.history.push(link.sequence, &link.hash, link.index);
        self.last = link;
        self.span.add(ChainSpan::of(&link));
    }

    fn append(&mut self, device_id: &Arc<str>, next: Segment, found: &mut Found) {
        self.link(device_id, &next.first, found);
        if let Some(breaks) = next.breaks {
            self.add_breaks(*breaks);
        }
        self.history.append(next.history);
        self.last = next.last;
        self.tally.add(&next.tally);
        self.span.add(next.span);
        for (which, sight) in next.sights.into_iter().enumerate() {
            self.see(which, sight);
        }
    }

    /// Checks a record against the previous one.
    fn link(&mut self, device_id: &Arc<str>, link: &Link, found: &mut Found) {
        if let Some(finding) = check_link(device_id, &self.last, link) {
            found.add(finding);
            self.add_breaks(Breaks::between(&self.last, link));
        }
    }

    fn add_breaks(&mut self, more: Breaks) {
        match &mut self.breaks {
            Some(breaks) => breaks.add(&more),
            None => self.breaks = Some(Box::new(more)),
        }
    }

    /// Returns true if the chain is complete and its links hold, but its records came in another order.
    pub(crate) fn lacks_only_order(&self) -> bool {
        let breaks = self.breaks.as_ref();
        breaks.is_some_and(|breaks| breaks.are_only_order(&self.first, &self.last, self.span.records))
    }

    pub(crate) fn see(&mut self, which: usize, sight: HeadSight) {
        self.sights[which] = match (self.sights[which], sight) {
            (HeadSight::Matches, _) | (_, HeadSight::Matches) => HeadSight::Matches,
            (HeadSight::Differs(hash), _) | (HeadSight::None, HeadSight::Differs(hash)) => {
                HeadSight::Differs(hash)
            }
            (HeadSight::None, HeadSight::None) => HeadSight::None,
        };
    }
}

/// Steps 4.2 and 4.3: checks the record against the previous one of its chain.
pub(crate) fn check_link(device_id: &Arc<str>, before: &Link, link: &Link) -> Option<Finding> {
    let next = before.sequence.checked_add(1);
    let (code, expected, actual) = if Some(link.sequence) == next {
        if link.prev == before.hash {
            return None;
        }
        (FindingCode::PrevHashMismatch, Evidence::Hash(before.hash), Evidence::Hash(link.prev))
    } else if link.sequence == before.sequence && link.hash != before.hash {
        (FindingCode::Fork, Evidence::Hash(before.hash), Evidence::Hash(link.hash))
    } else {
        let code = match link.sequence.cmp(&before.sequence) {
            std::cmp::Ordering::Greater => FindingCode::SequenceGap,
            std::cmp::Ordering::Equal => FindingCode::SequenceDuplicate,
            std::cmp::Ordering::Less => FindingCode::SequenceOutOfOrder,
        };
        let expected = match next {
            Some(next) => Evidence::Sequence(next),
            None => Evidence::text("no further record: the sequence has reached its largest value"),
        };
        (code, expected, Evidence::Sequence(link.sequence))
    };
    let mut finding = at_link(code, device_id, link, expected, actual);
    finding.predecessor = Some(before.index);
    Some(finding)
}

pub(crate) fn at_link(
    code: FindingCode,
    device_id: &Arc<str>,
    link: &Link,
    expected: Evidence,
    actual: Evidence,
) -> Finding {
    Finding {
        code,
        device_id: Some(Arc::clone(device_id)),
        sequence: Some(link.sequence),
        timestamp_ms: Some(link.timestamp_ms),
        index: Some(link.index),
        expected,
        actual,
        record_hash: Some(link.hash),
        cause: None,
        location: None,
        predecessor: None,
    }
}
