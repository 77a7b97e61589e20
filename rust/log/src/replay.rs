//! The replay of a log: folds the leaves of its records, in any order, into the roots of checkpoints (step 10).
//!
//! A replay is a set of pieces: ranges of leaves with their compact ranges. Like segments, replays of parts of the
//! input merge: adjacent pieces become one. The result does not depend on the partition.

use std::collections::{BTreeMap, BTreeSet};

use edgesentry_chain::{AuditRecord, Finding, FindingCode, Hash};

use crate::hash::TreeHash;
use crate::leaf::leaf_hash_of_record;
use crate::places::{DevicePlaces, Erasures, Places};
use crate::range::CompactRange;

/// The limit of pieces beyond the number of runs. An export in the order of its chains has at most one piece for each
/// run; records in random order have one for every second record.
const MAX_FURTHER_PIECES: u64 = 1 << 20;

/// The replayed part of a log.
#[derive(Clone, Default, Debug)]
pub struct Replay {
    /// The pieces by first leaf. They are neither overlapping nor adjacent, except at a cut.
    pub(crate) pieces: BTreeMap<u64, Piece>,
    /// The hash of the last record of each device, if the input has it.
    pub(crate) heads: BTreeMap<String, Hash>,
    /// The leaves of the records whose payloads the log says were erased.
    pub(crate) erased: BTreeSet<u64>,
    /// Records up to the checkpoint.
    pub(crate) records: u64,
    /// Records of the log after the checkpoint.
    pub(crate) after: u64,
    /// True if a leaf occurred twice. The hashes of the pieces are then meaningless.
    pub(crate) repeated: bool,
    /// True if there were too many pieces. The replay has dropped them.
    pub(crate) overflowed: bool,
}

/// The replayed leaves from the first one up to `end`.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) end: u64,
    pub(crate) range: CompactRange,
}

/// A log up to the sizes of checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) places: &'a Places,
    /// The size of the checkpoint; later leaves are only counted.
    pub(crate) size: u64,
    /// A smaller size whose root is also needed. No piece crosses it.
    pub(crate) cut: Option<u64>,
    /// True if the log continues: records after the layout count as records after the checkpoint.
    pub(crate) grows: bool,
}

/// What joining replays depends on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// The size of the checkpoint.
    pub(crate) size: u64,
    pub(crate) cut: Option<u64>,
    /// The number of runs in the layout.
    pub(crate) runs: u64,
}

/// What the log has of a device.
#[derive(Clone, Copy)]
struct Device<'r, 'p> {
    device_id: &'r str,
    places: Option<&'p DevicePlaces>,
    /// The leaf of its last record.
    head: Option<u64>,
    erasures: Option<&'p Erasures>,
}

impl Course<'_> {
    pub(crate) fn limits(&self) -> Limits {
        Limits { size: self.size, cut: self.cut, runs: self.places.runs as u64 }
    }

    fn device<'r>(&self, device_id: &'r str) -> Device<'r, '_> {
        let places = self.places.devices.get(device_id);
        let head = places.and_then(|places| places.last_before(self.size));
        let head = head.map(|(_, index)| index);
        Device { device_id, places, head, erasures: self.places.erasures(device_id) }
    }

    /// Replays records. Returns the findings of records that the log lacks.
    pub(crate) fn replay<'r>(
        &self,
        records: impl IntoIterator<Item = (&'r AuditRecord, u64)>,
    ) -> (Replay, Vec<Finding>) {
        let mut replay = Replay::default();
        let mut findings = Vec::new();
        let mut device: Option<Device<'_, '_>> = None;
        let mut open: Option<(u64, Piece)> = None;
        let mut scratch = Vec::with_capacity(512);
        let limits = self.limits();
        for (record, position) in records {
            let Device { places, head, erasures, .. } = match device {
                Some(known) if known.device_id == record.device_id => known,
                _ => *device.insert(self.device(&record.device_id)),
            };
            let Some(index) = places.and_then(|places| places.of(record.sequence)) else {
                let is_behind = places.is_none_or(|places| places.ends_before(record.sequence));
                if self.grows && is_behind {
                    replay.after += 1;
                    continue;
                }
                findings.push(not_included(record, position));
                continue;
            };
            if index >= self.size {
                replay.after += 1;
                continue;
            }
            replay.records += 1;
            if erasures
                .is_some_and(|erasures| erasures.has(record.sequence, record.payload_hash, index, self.size))
            {
                replay.erased.insert(index);
            }
            scratch.clear();
            record.write_canonical_bytes(&mut scratch);
            if head == Some(index) {
                replay.heads.insert(record.device_id.clone(), Hash::of(&scratch));
            }
            let leaf = leaf_hash_of_record(&scratch);
            match &mut open {
                Some((_, piece)) if piece.end == index && self.cut != Some(index) => piece.push(leaf),
                _ => {
                    if let Some((begin, piece)) = open.take() {
                        replay.insert(&limits, begin, piece);
                    }
                    open = Piece::new(index, leaf).map(|piece| (index, piece));
                }
            }
        }
        if let Some((begin, piece)) = open {
            replay.insert(&limits, begin, piece);
        }
        (replay, findings)
    }
}

impl Replay {
    /// Joins the replays of two parts of the input.
    pub(crate) fn merge(self, other: Replay, limits: &Limits) -> Replay {
        let (mut all, mut less) =
            if self.pieces.len() >= other.pieces.len() { (self, other) } else { (other, self) };
        all.erased.append(&mut less.erased);
        // Replays of another process may have any numbers.
        all.records = all.records.saturating_add(less.records);
        all.after = all.after.saturating_add(less.after);
        all.repeated |= less.repeated;
        all.overflowed |= less.overflowed;
        if all.heads.len() < less.heads.len() {
            std::mem::swap(&mut all.heads, &mut less.heads);
        }
        all.heads.extend(less.heads);
        for (begin, piece) in less.pieces {
            all.insert(limits, begin, piece);
        }
        if all.overflowed {
            all.pieces.clear();
        }
        all
    }

    pub(crate) fn insert(&mut self, limits: &Limits, mut begin: u64, mut piece: Piece) {
        if self.overflowed {
            self.pieces.clear();
            return;
        }
        let joins = |end: u64, begin: u64| end > begin || (end == begin && limits.cut != Some(begin));
        let before = self.pieces.range(..=begin).next_back().map(|(at, before)| (*at, before.end));
        if let Some((at, end)) = before
            && joins(end, begin)
            && let Some(mut before) = self.pieces.remove(&at)
        {
            self.repeated |= !before.join(&piece);
            (begin, piece) = (at, before);
        }
        while let Some((&at, _)) = self.pieces.range(begin..).next()
            && joins(piece.end, at)
            && let Some(after) = self.pieces.remove(&at)
        {
            self.repeated |= !piece.join(&after);
        }
        self.pieces.insert(begin, piece);
        if self.pieces.len() as u64 > limits.runs.saturating_add(MAX_FURTHER_PIECES) {
            self.overflowed = true;
            self.pieces.clear();
        }
    }

    /// Returns true if the log says that a payload of these records was erased.
    pub fn has_erased(&self) -> bool {
        !self.erased.is_empty()
    }

    /// Returns the number of leaves in the pieces.
    pub(crate) fn leaves(&self) -> u64 {
        self.pieces.iter().map(|(begin, piece)| piece.end - begin).sum()
    }
}

impl Piece {
    fn new(index: u64, leaf: TreeHash) -> Option<Piece> {
        // Every place is within a tree of the largest size.
        let mut range = CompactRange::new(index).ok()?;
        range.push(leaf);
        Some(Piece { end: index + 1, range })
    }

    fn push(&mut self, leaf: TreeHash) {
        self.range.push(leaf);
        self.end += 1;
    }

    /// Appends a piece. Returns false if the pieces overlap: the hashes are then meaningless.
    fn join(&mut self, next: &Piece) -> bool {
        let is_next = self.range.merge(&next.range).is_ok();
        self.end = self.end.max(next.end);
        is_next
    }
}

fn not_included(record: &AuditRecord, position: u64) -> Finding {
    let mut finding = Finding::new(FindingCode::NotIncluded, "a place of the record in the log", "none");
    finding.device_id = Some(record.device_id.as_str().into());
    finding.sequence = Some(record.sequence);
    finding.timestamp_ms = Some(record.timestamp_ms);
    finding.index = Some(position);
    finding.record_hash = Some(record.hash());
    finding
}
