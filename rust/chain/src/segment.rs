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
use crate::key::RingKey;
use crate::order::Breaks;
use crate::record::AuditRecord;
use crate::record_ref::RecordRef;
use crate::runs::{Order, Runs};
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

impl Link {
    pub(crate) fn of(record: &RecordRef<'_>, hash: Hash, index: u64) -> Link {
        let RecordRef { sequence, timestamp_ms, prev_record_hash: prev, .. } = *record;
        Link { sequence, hash, prev, timestamp_ms, index }
    }
}

/// The record of the chain at the sequence of a head that it must contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// For the auditor's head, and for the claimed one; None if both are none, as in most segments.
    sights: Option<Box<[HeadSight; 2]>>,
    /// None if the records come in the order of their sequence, or if the segment has left the process that made it.
    pub(crate) history: Option<Box<History>>,
    /// The number of its findings by code.
    pub(crate) faults: Faults,
    /// True if a sequence runs backwards.
    pub(crate) runs_backwards: bool,
    /// True if only the records decide its findings, because segments without history were joined.
    pub(crate) contested: bool,
    /// True if it lacked nothing but order when its breaks were dropped.
    pub(crate) lacked_only_order: bool,
    pub(crate) basis: Basis,
}

/// The keys and heads with which a segment was verified, as short sums. They detect mistakes of a caller.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// True if there is a key ring without a key of the device.
    pub(crate) keyless: bool,
    pub(crate) keys: [u8; 4],
    pub(crate) heads: [u8; 4],
}

impl Basis {
    /// Returns the basis of a device: its keys, if there is a key ring, and its heads.
    pub(crate) fn of(keys: Option<Option<&[RingKey]>>, heads: [Option<&Head>; 2]) -> Basis {
        let mut basis = Basis { keyless: keys.is_some_and(|keys| keys.is_none()), ..Basis::default() };
        for key in keys.flatten().unwrap_or_default() {
            stir(&mut basis.keys, key.key.as_bytes(), key.valid_from.wrapping_add(key.scheme as u64));
        }
        basis.heads = Basis::of_heads(heads);
        basis
    }

    /// Marks a segment of which some records were verified with other keys or heads: no device has this basis.
    fn join(&mut self, other: Basis) {
        if (self.keyless, self.keys) != (other.keyless, other.keys) {
            (self.keyless, self.keys) = (true, [u8::MAX; 4]);
        }
        if self.heads != other.heads {
            self.heads = [u8::MAX; 4];
        }
    }

    pub(crate) fn of_heads(heads: [Option<&Head>; 2]) -> [u8; 4] {
        let mut sum = [0; 4];
        for head in heads.into_iter().flatten() {
            stir(&mut sum, head.hash.as_bytes(), head.sequence);
        }
        sum
    }
}

/// Adds a key or a hash, of which any four bytes differ from those of another, and a number to a sum.
fn stir(sum: &mut [u8; 4], bytes: &[u8; 32], number: u64) {
    let [a, b, c, d, ..] = *bytes;
    let number = (number ^ (number >> 32)) as u32;
    let mixed = u32::from_le_bytes(*sum).rotate_left(7) ^ u32::from_le_bytes([a, b, c, d]);
    *sum = mixed.wrapping_add(number.wrapping_mul(0x9e37_79b1)).wrapping_add(1).to_le_bytes();
}

/// The number of findings by code.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Faults(Option<Box<Counts>>);

/// Numbers by finding code.
pub(crate) type Counts = [u64; FindingCode::ALL.len()];

impl Faults {
    pub(crate) fn add(&mut self, code: FindingCode, count: u64) {
        let counts = self.0.get_or_insert_default();
        counts[code as usize] = counts[code as usize].saturating_add(count);
    }

    pub(crate) fn append(&mut self, other: &Faults) {
        for (code, count) in other.iter() {
            self.add(code, count);
        }
    }

    pub(crate) fn remove(&mut self, code: FindingCode) {
        if let Some(counts) = &mut self.0 {
            counts[code as usize] = counts[code as usize].saturating_sub(1);
        }
    }

    /// Returns the codes that have findings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FindingCode, u64)> {
        let counts = self.0.iter().flat_map(|counts| counts.iter());
        FindingCode::ALL.iter().copied().zip(counts.copied()).filter(|(_, count)| *count > 0)
    }
}

/// How much was checked of its records.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        // Segments of another process may have any numbers.
        let add = |count: &mut u64, more: u64| *count = count.saturating_add(more);
        add(&mut self.payload_hash_signatures, other.payload_hash_signatures);
        add(&mut self.record_signatures, other.record_signatures);
        add(&mut self.unsigned, other.unsigned);
        for (count, more) in self.other_scheme.iter_mut().zip(other.other_scheme) {
            add(count, more);
        }
        add(&mut self.payloads, other.payloads);
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

    pub(crate) fn add(&mut self, other: ChainSpan) {
        self.records = self.records.saturating_add(other.records);
        self.lowest_sequence = self.lowest_sequence.min(other.lowest_sequence);
        self.highest_sequence = self.highest_sequence.max(other.highest_sequence);
        self.earliest_ms = self.earliest_ms.min(other.earliest_ms);
        self.latest_ms = self.latest_ms.max(other.latest_ms);
    }
}

/// The verified segments of many chains: the result of one slice, one chunk, or a whole export.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Segments {
    /// The chains of records in the order of their position.
    pub(crate) chains: HashMap<Arc<str>, Segment>,
    /// The chains of records in the order of their sequence.
    pub(crate) runs: HashMap<Arc<str>, Runs>,
    pub(crate) found: Found,
}

/// Findings, and their number by code, including those that were taken out.
///
/// Findings that depend on the whole input (chain starts, devices without keys, heads) are not included.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    pub(crate) counts: Counts,
}

impl Found {
    pub(crate) fn add(&mut self, finding: Finding) {
        let count = &mut self.counts[finding.code as usize];
        *count = count.saturating_add(1);
        self.findings.push(finding);
    }

    fn append(&mut self, mut next: Found) {
        self.findings.append(&mut next.findings);
        for (count, more) in self.counts.iter_mut().zip(next.counts) {
            *count = count.saturating_add(more);
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
    pub fn verify_indexed<'r, R: Into<RecordRef<'r>>>(
        &self,
        records: impl IntoIterator<Item = (R, u64)>,
    ) -> Result<Segments, PayloadError> {
        let mut slice = Slice::new(self);
        for (record, index) in records {
            slice.push(record.into(), index)?;
        }
        slice.finish()
    }

    /// Like [`Checks::verify_indexed`], for records whose place in their chain is their sequence: those of a device in
    /// the order of [`AuditRecord::cmp_in_table`].
    ///
    /// # Errors
    /// As [`Checks::verify`].
    pub fn verify_sorted<'r, R: Into<RecordRef<'r>>>(
        &self,
        records: impl IntoIterator<Item = (R, u64)>,
    ) -> Result<Segments, PayloadError> {
        let mut slice = Slice::in_order(self, Order::Sequence);
        for (record, index) in records {
            slice.push(record.into(), index)?;
        }
        slice.finish()
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
        let Segments { chains, runs, found } = next;
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
        for (device_id, runs) in runs {
            match self.runs.get_mut(&device_id) {
                Some(own) => own.merge(&device_id, runs, &mut self.found),
                None => {
                    self.runs.insert(device_id, runs);
                }
            }
        }
        self.found.append(found);
        self
    }

    /// Adds a segment of a slice.
    pub(crate) fn put(&mut self, device_id: Arc<str>, segment: Segment, order: Order) {
        match order {
            Order::Position => drop(self.chains.insert(device_id, segment)),
            Order::Sequence => {
                let runs = self.runs.entry(Arc::clone(&device_id)).or_default();
                runs.insert(&device_id, segment, &mut self.found);
            }
        }
    }

    /// Joins the runs of each chain: the sequences between two runs are missing.
    pub(crate) fn join_runs(&mut self) {
        for (device_id, runs) in std::mem::take(&mut self.runs) {
            if let Some(chain) = runs.joined(&device_id, &mut self.found) {
                self.chains.insert(device_id, chain);
            }
        }
    }

    /// Returns all segments, each with its device.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Segment)> {
        let runs =
            self.runs.iter().flat_map(|(device_id, runs)| runs.iter().map(move |run| (device_id, run)));
        self.chains.iter().chain(runs)
    }

    /// Returns all segments.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.chains.values_mut().chain(self.runs.values_mut().flat_map(Runs::iter_mut))
    }

    /// Returns all segments.
    pub(crate) fn into_segments(self) -> impl Iterator<Item = (Arc<str>, Segment)> {
        let runs = self
            .runs
            .into_iter()
            .flat_map(|(device_id, runs)| runs.into_segments().map(move |run| (Arc::clone(&device_id), run)));
        self.chains.into_iter().chain(runs)
    }

    pub(crate) fn contains(&self, device_id: &str) -> bool {
        self.chains.contains_key(device_id) || self.runs.contains_key(device_id)
    }

    /// Returns the number of segments beyond one for each chain, because sequences between them are not there yet.
    pub fn open_gaps(&self) -> usize {
        self.runs.values().map(|runs| runs.len().saturating_sub(1)).sum()
    }

    /// Returns the number of segments.
    pub fn count(&self) -> usize {
        self.chains.len() + self.runs.values().map(Runs::len).sum::<usize>()
    }

    /// Returns the number of records in the segments.
    pub fn records(&self) -> u64 {
        self.iter().fold(0, |sum, (_, segment)| sum.saturating_add(segment.span.records))
    }

    /// Returns the last record of each chain.
    pub fn heads(&self) -> Heads {
        let head = |segment: &Segment| Head { sequence: segment.last.sequence, hash: segment.last.hash };
        let chains = self.chains.iter();
        let runs = self.runs.iter().filter_map(|(device_id, runs)| Some((device_id, runs.last()?)));
        chains.chain(runs).map(|(device_id, segment)| (Arc::clone(device_id), head(segment))).collect()
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
            if let (Some(device_id), Some(sequence)) = (&finding.device_id, finding.sequence) {
                let run = self.runs.get_mut(device_id).and_then(|runs| runs.at_mut(sequence));
                if let Some(segment) = self.chains.get_mut(device_id).or(run) {
                    segment.faults.remove(finding.code);
                }
            }
        }
        withdrawn
    }

    /// Returns the findings that were not taken out.
    pub fn findings(&self) -> &[Finding] {
        &self.found.findings
    }

    /// Restores the kept findings of all that were taken out.
    pub fn keep(&mut self, kept: Kept) {
        self.keep_first(kept);
    }

    /// Like [`Segments::keep`]. Returns the last of the findings if others were dropped.
    pub(crate) fn keep_first(&mut self, mut kept: Kept) -> Option<Finding> {
        kept.add(self.take_findings());
        let (findings, last) = kept.into_parts();
        self.found.findings = findings;
        last
    }
}

impl Segment {
    pub(crate) fn new(first: Link, order: Order) -> Segment {
        let mut history = (order == Order::Position).then(Box::<History>::default);
        if let Some(history) = &mut history {
            history.push(first.sequence, &first.hash, first.index);
        }
        Segment {
            first,
            last: first,
            tally: Tally::default(),
            span: ChainSpan::of(&first),
            breaks: None,
            sights: None,
            history,
            faults: Faults::default(),
            runs_backwards: false,
            contested: false,
            lacked_only_order: false,
            basis: Basis::default(),
        }
    }

    pub(crate) fn push(&mut self, device_id: &Arc<str>, link: Link, found: &mut Found) {
        self.link(device_id, &link, found);
        if let Some(history) = &mut self.history {
            history.push(link.sequence, &link.hash, link.index);
        }
        self.last = link;
        self.span.add(ChainSpan::of(&link));
    }

    pub(crate) fn append(&mut self, device_id: &Arc<str>, next: Segment, found: &mut Found) {
        self.link(device_id, &next.first, found);
        self.runs_backwards |= next.runs_backwards;
        // Whether a step back repeats a record, and whether the chain lacks nothing but order, depends on all records.
        self.contested |= next.contested || self.runs_backwards;
        self.lacked_only_order = false;
        self.faults.append(&next.faults);
        if let Some(breaks) = next.breaks {
            self.add_breaks(*breaks);
        }
        self.history = match (self.history.take(), next.history) {
            (Some(mut history), Some(next)) => {
                history.append(*next);
                Some(history)
            }
            _ => None,
        };
        self.last = next.last;
        self.tally.add(&next.tally);
        self.basis.join(next.basis);
        self.span.add(next.span);
        for (which, sight) in next.sights.into_iter().flat_map(|sights| *sights).enumerate() {
            self.see(which, sight);
        }
    }

    /// Checks a record against the previous one.
    fn link(&mut self, device_id: &Arc<str>, link: &Link, found: &mut Found) {
        let Some(finding) = check_link(device_id, &self.last, link) else { return };
        self.runs_backwards |= finding.code == FindingCode::SequenceOutOfOrder;
        self.fault(finding, found);
        self.add_breaks(Breaks::between(&self.last, link));
    }

    /// Adds a finding about one of its records.
    pub(crate) fn fault(&mut self, finding: Finding, found: &mut Found) {
        self.faults.add(finding.code, 1);
        found.add(finding);
    }

    /// Drops everything that only the next records of the same process need.
    pub(crate) fn settle(&mut self) {
        self.lacked_only_order = self.lacks_only_order();
        self.breaks = None;
        self.history = None;
        self.contested = false;
    }

    /// Joins a segment that does not begin before this one, and has records at the same sequences. Only the records decide
    /// the findings of both.
    pub(crate) fn contest(&mut self, other: Segment) {
        self.contested = true;
        if other.last.sequence > self.last.sequence {
            self.last = other.last;
        }
        self.faults.append(&other.faults);
        self.tally.add(&other.tally);
        self.basis.join(other.basis);
        self.span.add(other.span);
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
        self.lacked_only_order
            || breaks.is_some_and(|breaks| breaks.are_only_order(&self.first, &self.last, self.span.records))
    }

    pub(crate) fn see(&mut self, which: usize, sight: HeadSight) {
        let mut sights = self.sights();
        sights[which] = match (sights[which], sight) {
            (HeadSight::Matches, _) | (_, HeadSight::Matches) => HeadSight::Matches,
            (HeadSight::Differs(hash), _) | (HeadSight::None, HeadSight::Differs(hash)) => {
                HeadSight::Differs(hash)
            }
            (HeadSight::None, HeadSight::None) => HeadSight::None,
        };
        self.set_sights(sights);
    }

    pub(crate) fn sights(&self) -> [HeadSight; 2] {
        self.sights.as_deref().copied().unwrap_or([HeadSight::None; 2])
    }

    pub(crate) fn set_sights(&mut self, sights: [HeadSight; 2]) {
        self.sights = (sights != [HeadSight::None; 2]).then(|| Box::new(sights));
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::device::Device;
    use crate::key::Scheme;

    #[test]
    fn faults_are_the_codes_with_findings() {
        let mut faults = Faults::default();
        assert_eq!(faults.iter().next(), None);
        faults.add(FindingCode::Fork, 2);
        faults.add(FindingCode::SequenceGap, 1);
        faults.remove(FindingCode::Fork);
        faults.remove(FindingCode::SequenceGap);
        assert_eq!(faults.iter().collect::<Vec<_>>(), [(FindingCode::Fork, 1)]);
    }

    #[test]
    fn other_keys_or_heads_have_another_basis() {
        let key = |seed: u8, scheme, valid_from| {
            let key = Device::from_seed("a", [seed; 32], scheme).public_key().unwrap();
            RingKey { key, scheme, valid_from }
        };
        let (record, payload_hash) = (Scheme::Record, Scheme::PayloadHash);
        let rings = [
            vec![],
            vec![key(1, record, 1)],
            vec![key(1, record, 3)],
            vec![key(1, record, 1 << 32)],
            vec![key(1, record, (1 << 32) + 1)],
            vec![key(1, payload_hash, 1)],
            vec![key(2, record, 1)],
            vec![key(1, record, 1), key(2, record, 5)],
            vec![key(2, record, 1), key(1, record, 5)],
        ];
        let keyless = [None, Some(None)].map(|keys| Basis::of(keys, [None; 2]));
        let bases = rings.iter().map(|keys| Basis::of(Some(Some(keys)), [None; 2]));
        let bases: HashSet<_> = bases.chain(keyless).map(|basis| (basis.keyless, basis.keys)).collect();
        // No key ring and no keys are the same: only the plan of a part tells them apart.
        assert_eq!(bases.len(), rings.len() + 1);

        let head = |sequence, byte| Head { sequence, hash: Hash([byte; 32]) };
        let heads =
            [head(1, 1), head(2, 1), head(3 << 32, 1), head((1 << 32) + 1, 1), head(1, 2), head(1, 255)];
        let pairs = heads.iter().flat_map(|one| heads.iter().map(move |other| [Some(one), Some(other)]));
        let pairs = pairs.chain(heads.iter().map(|head| [Some(head), None])).chain([[None; 2]]);
        let sums: HashSet<[u8; 4]> = pairs.map(Basis::of_heads).collect();
        assert_eq!(sums.len(), heads.len() * heads.len() + heads.len() + 1);
    }
}
