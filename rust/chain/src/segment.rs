//! Segments: verified runs of one chain, and the two functions that make and join them (step 8).
//!
//! [`Checks::verify`] turns a slice of records into [`Segments`], [`Segments::merge`] joins two that follow each
//! other. Merging is associative, so threads, streamed chunks and distributed workers all use this one pair.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::finding::{Evidence, Finding, FindingCode};
use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::history::History;
use crate::key::{KeyRing, RingKey, Scheme, key_at};
use crate::record::AuditRecord;
use crate::signature::{Signed, signed_message, verify_signature, verify_signatures};

/// Records decided by one thread at a time, and so the largest signature batch.
pub const SLICE_RECORDS: usize = 4096;

/// Where payloads come from.
pub trait Payloads: Sync {
    /// BLAKE3 of the payload of `record`; `None` where the store proves that it has none. An error means that
    /// the question could not be answered, and ends the verification.
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError>;
}

/// A payload could not be read; this is a failure of ours, never a verdict.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the payload of device {device_id:?} sequence {sequence} at {object_ref:?}")]
pub struct PayloadError {
    /// The record's device.
    pub device_id: String,
    /// The record's sequence.
    pub sequence: u64,
    /// Where the payload should be.
    pub object_ref: String,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What records are checked against. Links are always checked; each further level where its input is given.
#[derive(Clone, Copy, Default)]
pub struct Checks<'a> {
    /// Public keys: signatures are checked.
    pub keys: Option<&'a KeyRing>,
    /// Payloads: they are hashed again.
    pub payloads: Option<&'a dyn Payloads>,
    /// Trusted heads, which the chains must contain.
    pub heads: Option<&'a Heads>,
    /// Heads after which the chains must begin, for an export that starts mid-chain.
    pub start_heads: Option<&'a Heads>,
}

/// A record's place in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
    pub(crate) prev: Hash,
    pub(crate) timestamp_ms: u64,
    pub(crate) index: u64,
}

/// What the chain holds at the sequence of its trusted head.
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
    pub(crate) extent: Extent,
    pub(crate) findings: Vec<Finding>,
    pub(crate) sight: HeadSight,
    pub(crate) history: History,
}

/// How much was checked.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) payload_hash_signatures: u64,
    pub(crate) record_signatures: u64,
    pub(crate) unsigned: u64,
    pub(crate) payloads: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.records += other.records;
        self.payload_hash_signatures += other.payload_hash_signatures;
        self.record_signatures += other.record_signatures;
        self.unsigned += other.unsigned;
        self.payloads += other.payloads;
    }
}

/// Between which sequences and times, by their own account, the records of a segment are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) lowest_sequence: u64,
    pub(crate) highest_sequence: u64,
    pub(crate) earliest_ms: u64,
    pub(crate) latest_ms: u64,
}

impl Extent {
    fn of(link: &Link) -> Extent {
        let Link { sequence, timestamp_ms, .. } = *link;
        Extent {
            lowest_sequence: sequence,
            highest_sequence: sequence,
            earliest_ms: timestamp_ms,
            latest_ms: timestamp_ms,
        }
    }

    fn add(&mut self, other: Extent) {
        self.lowest_sequence = self.lowest_sequence.min(other.lowest_sequence);
        self.highest_sequence = self.highest_sequence.max(other.highest_sequence);
        self.earliest_ms = self.earliest_ms.min(other.earliest_ms);
        self.latest_ms = self.latest_ms.max(other.latest_ms);
    }
}

/// The verified segments of many chains: the result of one slice, of one chunk, or of a whole export.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Segments {
    pub(crate) chains: HashMap<Arc<str>, Segment>,
    pub(crate) malformed: Vec<Finding>,
    pub(crate) omitted: [u64; FindingCode::ALL.len()],
}

impl Checks<'_> {
    /// Verifies records that follow each other; `first_index` is the position of the first in the whole input.
    /// Records of many devices may interleave.
    pub fn verify(&self, records: &[AuditRecord], first_index: u64) -> Result<Segments, PayloadError> {
        let mut slice = Slice::new(self);
        for (record, index) in records.iter().zip(first_index..) {
            slice.push(record, index)?;
        }
        Ok(slice.finish())
    }

    /// [`Checks::verify`] on all threads of the current rayon pool.
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

/// How many of `records` one thread takes at a time: an equal share for every thread, large enough for batches
/// to be worth their while.
pub fn slice_size(records: usize) -> usize {
    let slices = records.div_ceil(SLICE_RECORDS).next_multiple_of(rayon::current_num_threads());
    records.div_ceil(slices.max(1)).max(256)
}

impl Segments {
    /// A segment that holds nothing but an entry that is no record.
    pub fn malformed(finding: Finding) -> Segments {
        Segments { malformed: vec![finding], ..Segments::default() }
    }

    /// Joins the segments of two slices, `next` being what follows `self`.
    #[must_use]
    pub fn merge(mut self, next: Segments) -> Segments {
        if self.chains.is_empty() {
            self.chains = next.chains;
        } else {
            for (device_id, segment) in next.chains {
                match self.chains.get_mut(&device_id) {
                    Some(chain) => chain.append(&device_id, segment),
                    None => {
                        self.chains.insert(device_id, segment);
                    }
                }
            }
        }
        self.malformed.extend(next.malformed);
        for (count, more) in self.omitted.iter_mut().zip(next.omitted) {
            *count += more;
        }
        self
    }

    /// How many records the segments hold.
    pub fn records(&self) -> u64 {
        self.chains.values().map(|chain| chain.tally.records).sum()
    }

    /// How many findings they keep.
    pub fn findings(&self) -> usize {
        self.malformed.len() + self.chains.values().map(|chain| chain.findings.len()).sum::<usize>()
    }

    /// Forgets the findings that came from position `from_index` on, but counts them.
    pub fn omit_findings(&mut self, from_index: u64) {
        let omitted = &mut self.omitted;
        let mut keep = |finding: &Finding| {
            let kept = finding.index.is_none_or(|index| index < from_index);
            if !kept {
                omitted[finding.code as usize] += 1;
            }
            kept
        };
        self.malformed.retain(&mut keep);
        for chain in self.chains.values_mut() {
            chain.findings.retain(&mut keep);
        }
    }
}

impl Segment {
    fn new(first: Link) -> Segment {
        let mut history = History::default();
        history.push(first.sequence, &first.hash, first.index);
        Segment {
            first,
            last: first,
            tally: Tally { records: 1, ..Tally::default() },
            extent: Extent::of(&first),
            findings: Vec::new(),
            sight: HeadSight::None,
            history,
        }
    }

    fn push(&mut self, device_id: &Arc<str>, link: Link) {
        self.findings.extend(check_link(device_id, &self.last, &link));
        self.history.push(link.sequence, &link.hash, link.index);
        self.last = link;
        self.extent.add(Extent::of(&link));
        self.tally.records += 1;
    }

    fn append(&mut self, device_id: &Arc<str>, next: Segment) {
        self.findings.extend(check_link(device_id, &self.last, &next.first));
        let known_unknown = self.findings.iter().any(|finding| finding.code == FindingCode::UnknownDevice);
        let repeated = |finding: &Finding| known_unknown && finding.code == FindingCode::UnknownDevice;
        self.findings.extend(next.findings.into_iter().filter(|finding| !repeated(finding)));
        self.history.append(next.history);
        self.last = next.last;
        self.tally.add(&next.tally);
        self.extent.add(next.extent);
        self.see(next.sight);
    }

    fn see(&mut self, sight: HeadSight) {
        self.sight = match (self.sight, sight) {
            (HeadSight::Matches, _) | (_, HeadSight::Matches) => HeadSight::Matches,
            (HeadSight::Differs(hash), _) | (HeadSight::None, HeadSight::Differs(hash)) => {
                HeadSight::Differs(hash)
            }
            (HeadSight::None, HeadSight::None) => HeadSight::None,
        };
    }
}

/// Steps 4.2 and 4.3: the record against the one before it in its chain.
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

/// One slice on its way to becoming [`Segments`].
struct Slice<'c, 'r> {
    checks: &'c Checks<'c>,
    chains: Vec<Chain<'c>>,
    by_device: HashMap<&'r str, usize>,
    latest: Option<(&'r str, usize)>,
    signers: Vec<Signer<'r>>,
    scratch: Vec<u8>,
}

struct Chain<'c> {
    device_id: Arc<str>,
    segment: Segment,
    keys: Option<&'c [RingKey]>,
    head: Option<&'c Head>,
}

#[derive(Clone, Copy)]
struct Signer<'r> {
    chain: usize,
    key: &'r RingKey,
    message: [u8; 32],
    signature: &'r [u8; 64],
    link: Link,
}

impl Signer<'_> {
    fn under<'a>(&'a self, key: &'a RingKey) -> Signed<'a> {
        Signed { key: &key.key, message: &self.message, signature: self.signature }
    }
}

impl<'c: 'r, 'r> Slice<'c, 'r> {
    fn new(checks: &'c Checks<'c>) -> Slice<'c, 'r> {
        Slice {
            checks,
            chains: Vec::new(),
            by_device: HashMap::new(),
            latest: None,
            signers: Vec::new(),
            scratch: Vec::with_capacity(512),
        }
    }

    fn push(&mut self, record: &'r AuditRecord, index: u64) -> Result<(), PayloadError> {
        // Step 1: the record hash.
        let link = Link {
            sequence: record.sequence,
            hash: record.hash_with(&mut self.scratch),
            prev: record.prev_record_hash,
            timestamp_ms: record.timestamp_ms,
            index,
        };
        // Step 4: the link.
        let at = self.link(&record.device_id, link);
        let checks = self.checks;
        let chain = &mut self.chains[at];
        // Step 2.2: the key; the signatures of a slice are decided together, in `finish`.
        if checks.keys.is_some() {
            match chain.keys {
                None => chain.unknown_device(&link),
                Some(keys) => match key_at(keys, record.sequence) {
                    None => chain.no_key_yet(&link, keys),
                    Some(key) => {
                        let message = signed_message(record, key.scheme);
                        self.signers.push(Signer {
                            chain: at,
                            key,
                            message,
                            signature: &record.signature,
                            link,
                        });
                    }
                },
            }
        }
        // Step 5: the payload.
        if let Some(payloads) = checks.payloads {
            let payload_hash = payloads.payload_hash(record)?;
            chain.payload(&link, record, payload_hash);
        }
        // Step 6: the trusted head.
        if let Some(head) = chain.head
            && head.sequence == link.sequence
        {
            let matches = head.hash == link.hash;
            chain.segment.see(if matches { HeadSight::Matches } else { HeadSight::Differs(link.hash) });
        }
        Ok(())
    }

    fn link(&mut self, device_id: &'r str, link: Link) -> usize {
        let known = match self.latest {
            Some((latest, at)) if latest == device_id => Some(at),
            _ => self.by_device.get(device_id).copied(),
        };
        let at = match known {
            Some(at) => {
                let chain = &mut self.chains[at];
                chain.segment.push(&chain.device_id, link);
                at
            }
            None => {
                self.chains.push(Chain {
                    device_id: device_id.into(),
                    segment: Segment::new(link),
                    keys: self.checks.keys.and_then(|ring| ring.keys(device_id)),
                    head: self.checks.heads.and_then(|heads| heads.get(device_id)),
                });
                self.by_device.insert(device_id, self.chains.len() - 1);
                self.chains.len() - 1
            }
        };
        self.latest = Some((device_id, at));
        at
    }

    /// Step 3: the signatures of the slice, in one batch.
    fn finish(mut self) -> Segments {
        let signed: Vec<Signed<'_>> = self.signers.iter().map(|signer| signer.under(signer.key)).collect();
        for at in verify_signatures(&signed) {
            let signer = &self.signers[at];
            self.chains[signer.chain].bad_signature(signer);
        }
        for signer in &self.signers {
            let tally = &mut self.chains[signer.chain].segment.tally;
            match signer.key.scheme {
                Scheme::PayloadHash => tally.payload_hash_signatures += 1,
                Scheme::Record => tally.record_signatures += 1,
            }
        }
        let chains = self.chains.into_iter().map(|chain| (chain.device_id, chain.segment)).collect();
        Segments { chains, ..Segments::default() }
    }
}

impl Chain<'_> {
    fn add(&mut self, code: FindingCode, link: &Link, expected: Evidence, actual: Evidence) {
        self.segment.findings.push(at_link(code, &self.device_id, link, expected, actual));
    }

    /// Reported once a chain: no record of it can be checked.
    fn unknown_device(&mut self, link: &Link) {
        if self.segment.tally.unsigned == 0 {
            let actual = Evidence::text("no key: none of the device's signatures was checked");
            self.add(FindingCode::UnknownDevice, link, Evidence::text("a key in the key ring"), actual);
        }
        self.segment.tally.unsigned += 1;
    }

    fn no_key_yet(&mut self, link: &Link, keys: &[RingKey]) {
        self.segment.tally.unsigned += 1;
        let first = keys.first().map_or(0, |key| key.valid_from);
        let actual = Evidence::text(format!("the device's first key is valid from sequence {first}"));
        let expected = Evidence::text(format!("a key valid at sequence {}", link.sequence));
        self.add(FindingCode::KeyNotValidAtSequence, link, expected, actual);
    }

    /// Step 3.4: a signature that does not hold, unless it is that of another key of the device.
    fn bad_signature(&mut self, signer: &Signer<'_>) {
        let due = Evidence::Key { key: *signer.key.key.as_bytes(), scheme: signer.key.scheme };
        let same_message = |key: &&RingKey| key.scheme == signer.key.scheme && key.key != signer.key.key;
        let others = self.keys.unwrap_or_default().iter().filter(same_message);
        let holds = |key: &&RingKey| verify_signature(&signer.under(key));
        match others.into_iter().find(holds) {
            Some(other) => {
                let found = Evidence::Key { key: *other.key.as_bytes(), scheme: other.scheme };
                self.add(FindingCode::KeyNotValidAtSequence, &signer.link, due, found);
            }
            None => {
                let found = Evidence::Signature(Box::new(*signer.signature));
                self.add(FindingCode::SignatureInvalid, &signer.link, due, found);
            }
        }
    }

    fn payload(&mut self, link: &Link, record: &AuditRecord, payload_hash: Option<Hash>) {
        self.segment.tally.payloads += 1;
        match payload_hash {
            Some(hash) if hash == record.payload_hash => {}
            Some(hash) => self.add(
                FindingCode::PayloadHashMismatch,
                link,
                Evidence::Hash(record.payload_hash),
                Evidence::Hash(hash),
            ),
            None => {
                let expected = Evidence::text(format!("a payload at {:?}", record.object_ref));
                self.add(FindingCode::PayloadMissing, link, expected, Evidence::text("nothing"));
            }
        }
    }
}
