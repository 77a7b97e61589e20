//! The places of records in a log, from a layout.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use edgesentry_chain::{AuditRecord, Hash, Head};

use crate::checkpoint::Checkpoint;
use crate::hash::TreeHash;
use crate::layout::{Layout, LayoutError, LayoutItem};
use crate::leaf::{ErasedLeaf, HeadsLeaf, KeyLeaf, Leaf};

/// The reason why a layout does not give each record one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacesError {
    /// The bytes are not a layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A record has two places.
    #[error("the layout has two places for sequence {sequence} of device {device_id:?}")]
    Twice {
        /// The device, cut to 60 characters.
        device_id: String,
        /// The first such sequence.
        sequence: u64,
    },
}

/// The place of each record of a log, and its other leaves. Memory is that of the layout: about 24 bytes for a run.
///
/// ```
/// use edgesentry_log::{LayoutItem, LayoutWriter, Places};
/// let mut writer = LayoutWriter::default();
/// writer.push(LayoutItem::Leaf(b"\x06..."))?;
/// writer.push(LayoutItem::Run { device_id: "lift-01", first_sequence: 1, count: 300 })?;
/// let places = Places::parse(&writer.into_bytes())?;
/// assert_eq!((places.of("lift-01", 300), places.of("lift-01", 301)), (Some(300), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Places {
    pub(crate) devices: BTreeMap<String, DevicePlaces>,
    /// The hashes of the leaves other than records, by index.
    pub(crate) others: Vec<(u64, TreeHash)>,
    /// The heads leaves, by index.
    pub(crate) heads: Vec<PlacedHeads>,
    /// The leaves of unknown kinds. Only their hashes are known.
    pub(crate) unknown: Vec<u64>,
    /// The malformed leaves of known kinds.
    pub(crate) malformed: Vec<u64>,
    /// The leaves that open a log, with its name.
    pub(crate) opened: Vec<(u64, String)>,
    /// The checkpoint that leaf 0 names: the last one of the log that this one succeeds.
    pub(crate) predecessor: Option<Checkpoint>,
    /// The erased payloads of each device that has some.
    erased: BTreeMap<String, Erasures>,
    pub(crate) runs: usize,
    size: u64,
    pub(crate) records: u64,
    /// The hash of the layout; zero bytes if the places are not from a layout.
    pub(crate) layout: Hash,
}

/// A heads leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlacedHeads {
    pub(crate) index: u64,
    pub(crate) leaf: HeadsLeaf,
    /// The number of records before it.
    pub(crate) records: u64,
}

/// The leaves about one device.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct DevicePlaces {
    /// The runs by first sequence. No sequence is in two runs.
    pub(crate) runs: Vec<PlacedRun>,
    /// The key leaves by index.
    pub(crate) keys: Vec<(u64, KeyLeaf)>,
}

/// The erased payloads of a device: the leaves, and the hashes of the payloads, by sequence.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Erasures(BTreeMap<u64, Vec<(u64, Hash)>>);

impl Erasures {
    fn add(&mut self, index: u64, leaf: &ErasedLeaf) {
        self.0.entry(leaf.sequence).or_default().push((index, leaf.payload_hash));
    }

    /// Returns true if a leaf within `size` and behind the record's own leaf erases the payload of this hash.
    pub(crate) fn has(&self, sequence: u64, payload_hash: Hash, record: u64, size: u64) -> bool {
        let leaves = self.0.get(&sequence).map(Vec::as_slice).unwrap_or_default();
        leaves.iter().any(|(index, hash)| (record..size).contains(index) && *hash == payload_hash)
    }
}

/// Consecutive records of a device at consecutive leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlacedRun {
    pub(crate) first_sequence: u64,
    pub(crate) index: u64,
    pub(crate) records: u64,
}

impl Places {
    /// Parses a layout.
    ///
    /// # Errors
    /// The bytes are not a layout, or it has a record twice.
    pub fn parse(bytes: &[u8]) -> Result<Places, PlacesError> {
        let mut places = Places { layout: Hash::of(bytes), ..Places::default() };
        for item in Layout::parse(bytes)? {
            let item = item?;
            let index = places.size;
            places.size += item.leaves();
            match item {
                LayoutItem::Run { device_id, first_sequence, count: records } => {
                    places.runs += 1;
                    places.records += records;
                    let run = PlacedRun { first_sequence, index, records };
                    places.device(device_id).push(run);
                }
                LayoutItem::Leaf(leaf) => {
                    places.others.push((index, TreeHash::of_leaf(leaf)));
                    places.leaf_at(index, leaf);
                }
            }
        }
        for (device_id, device) in &mut places.devices {
            device.runs.sort_by_key(|run| run.first_sequence);
            let twice = device.runs.windows(2).find(|runs| runs[1].first_sequence <= runs[0].last_sequence());
            if let Some(runs) = twice {
                let sequence = runs[1].first_sequence;
                return Err(PlacesError::Twice { device_id: device_id.chars().take(60).collect(), sequence });
            }
        }
        Ok(places)
    }

    fn device(&mut self, device_id: &str) -> &mut DevicePlaces {
        if !self.devices.contains_key(device_id) {
            self.devices.insert(device_id.to_owned(), DevicePlaces::default());
        }
        self.devices.entry(device_id.to_owned()).or_default()
    }

    /// Adds a record in the order of the log.
    pub(crate) fn record_at(&mut self, index: u64, record: &AuditRecord) {
        self.records += 1;
        let run = PlacedRun { first_sequence: record.sequence, index, records: 1 };
        match self.devices.get_mut(&record.device_id) {
            Some(device) => device.push_record(run),
            None => self.device(&record.device_id).push_record(run),
        }
    }

    /// Adds the content of any other leaf.
    pub(crate) fn leaf_at(&mut self, index: u64, bytes: &[u8]) {
        match Leaf::parse(bytes) {
            Ok(Leaf::Heads(leaf)) => self.heads.push(PlacedHeads { index, leaf, records: self.records }),
            Ok(Leaf::Key(leaf)) => self.device(&leaf.device_id.clone()).keys.push((index, leaf)),
            Ok(Leaf::Opened(leaf)) => {
                self.opened.push((index, leaf.origin));
                if index == 0 {
                    self.predecessor = leaf.previous;
                }
            }
            Ok(Leaf::Erased(leaf)) => {
                self.erased.entry(leaf.device_id.clone()).or_default().add(index, &leaf);
            }
            Ok(Leaf::Unknown { .. }) => self.unknown.push(index),
            // A layout lists records only in runs.
            Ok(Leaf::Record(_)) | Err(_) => self.malformed.push(index),
            Ok(_) => {}
        }
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns true if the layout lists an erasure of the payload of a record. The list is a claim: only a trusted
    /// checkpoint shows that the log has it.
    pub fn lists_erasure(&self, device_id: &str, sequence: u64) -> bool {
        self.erasures(device_id).is_some_and(|erasures| erasures.0.contains_key(&sequence))
    }

    pub(crate) fn erasures(&self, device_id: &str) -> Option<&Erasures> {
        self.erased.get(device_id)
    }

    /// Returns the index of the leaf of a record; `None` if the log lacks it.
    pub fn of(&self, device_id: &str, sequence: u64) -> Option<u64> {
        self.devices.get(device_id)?.of(sequence)
    }
}

impl DevicePlaces {
    fn push(&mut self, run: PlacedRun) {
        if self.runs.is_empty() {
            // Most devices of a small log have one run.
            self.runs.reserve_exact(1);
        }
        self.runs.push(run);
    }

    fn push_record(&mut self, record: PlacedRun) {
        match self.runs.last_mut() {
            Some(run) if run.is_continued_by(&record) => run.records += 1,
            _ => self.push(record),
        }
    }

    /// Returns the start of the chain, according to the first key that has one.
    pub(crate) fn start(&self, size: u64) -> Option<Head> {
        self.keys.iter().take_while(|(index, _)| *index < size).find_map(|(_, key)| key.start)
    }

    pub(crate) fn of(&self, sequence: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.first_sequence <= sequence);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (sequence <= run.last_sequence()).then(|| run.index + (sequence - run.first_sequence))
    }

    /// Returns the highest sequence among the first `size` leaves, with its index.
    pub(crate) fn last_before(&self, size: u64) -> Option<(u64, u64)> {
        let run = self.runs.iter().rev().find(|run| run.index < size)?;
        let records = run.records.min(size - run.index);
        Some((run.first_sequence + (records - 1), run.index + (records - 1)))
    }

    /// Returns true if all places are of records before `sequence`.
    pub(crate) fn ends_before(&self, sequence: u64) -> bool {
        self.runs.last().is_none_or(|run| run.last_sequence() < sequence)
    }

    /// Returns true if one of the first `size` leaves is a record with one of the sequences.
    pub(crate) fn has_any(&self, sequences: RangeInclusive<u64>, size: u64) -> bool {
        // Runs of a bundle may overlap, so all are compared.
        self.runs.iter().any(|run| {
            let first = run.first_sequence.max(*sequences.start());
            let is_there = first <= run.last_sequence() && first <= *sequences.end();
            is_there && run.index + (first - run.first_sequence) < size
        })
    }

    /// Returns the number of records among the first `size` leaves.
    pub(crate) fn records_before(&self, size: u64) -> u64 {
        self.runs.iter().map(|run| run.records.min(size.saturating_sub(run.index))).sum()
    }
}

impl PlacedRun {
    fn is_continued_by(&self, record: &PlacedRun) -> bool {
        self.index.checked_add(self.records) == Some(record.index)
            && self.first_sequence.checked_add(self.records) == Some(record.first_sequence)
    }

    fn last_sequence(&self) -> u64 {
        // A layout has no empty run, and no run beyond the largest sequence.
        self.first_sequence + (self.records - 1)
    }
}
