//! Batches: the leaves of one append to a log, from their positions to the tiles and the root.
//!
//! A sequencer works in two steps. [`Assignment`] assigns positions to committed keys and records, and reads only
//! heads. [`Batch`] then reads the records in this order, recomputes the links between them, and builds the files. The
//! second step can be repeated: the same batch always gives the same bytes.

use std::collections::BTreeMap;
use std::fmt;

use edgesentry_chain::{AuditRecord, Hash, Head, Scheme};

use crate::append::{AppendError, Appender};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::TreeHash;
use crate::heads::HeadsRoot;
use crate::leaf::{ErasedLeaf, HeadsLeaf, KeyLeaf, Leaf, OpenedLeaf, RevokedLeaf};
use crate::tile::{TileId, TileKind};

/// Consecutive records of one device at consecutive leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The device.
    pub device_id: String,
    /// The sequence of its first record.
    pub first_sequence: u64,
    /// The number of records.
    pub records: u64,
    /// The hash of the record before the run; for the first record of a chain, the hash of its start.
    pub prev_hash: Hash,
    /// The hash of the last record.
    pub head_hash: Hash,
}

impl Run {
    /// Returns the sequence of the last record; `None` if the run is empty or its last sequence overflows.
    pub fn last_sequence(&self) -> Option<u64> {
        self.first_sequence.checked_add(self.records.checked_sub(1)?)
    }
}

/// The state of a device's key in a registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyState {
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
    /// The scheme of its signatures.
    pub scheme: Scheme,
    /// The first sequence that the key can no longer sign.
    pub revoked_from: Option<u64>,
}

/// A key whose state in the registry differs from that in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChange {
    /// The device.
    pub device_id: String,
    /// The first sequence that the key signs.
    pub valid_from: u64,
    /// The state in the registry.
    pub now: KeyState,
    /// The state in the log; `None` if the log lacks the key.
    pub logged: Option<KeyState>,
    /// The head after which the chain of the device begins, unless it begins at sequence 1.
    pub start: Option<Head>,
    /// The time of its registration, Unix milliseconds.
    pub registered_at_ms: u64,
}

impl KeyChange {
    /// Returns true if the log has this key, either unrevoked or with the revocation of the registry.
    fn is_logged(&self) -> bool {
        self.logged.is_some_and(|logged| {
            (logged.public_key, logged.scheme) == (self.now.public_key, self.now.scheme)
                && (logged.revoked_from.is_none() || logged.revoked_from == self.now.revoked_from)
        })
    }
}

/// The leaves of a batch and their positions. Keys come first, by device and first sequence, then revocations, then the
/// records in runs by device, then erased payloads, and last the heads.
///
/// ```
/// use edgesentry_chain::Hash;
/// use edgesentry_log::{Assignment, HeadsRoot, Leaf, OpenedLeaf, Run};
/// let mut batch = Assignment::new(0, 0);
/// batch.opened(OpenedLeaf { origin: "log.example/lifts".into(), records_before: 2, previous: None, at_ms: 1 });
/// batch.run(Run {
///     device_id: "lift-01".into(), first_sequence: 1, records: 2, prev_hash: Hash::ZERO, head_hash: Hash([7; 32]),
/// });
/// let batch = batch.finish(&HeadsRoot::default(), 1);
/// assert_eq!((batch.runs[0].0, batch.size), (1, 4));
/// assert!(matches!(batch.events.last(), Some((3, Leaf::Heads(leaf))) if leaf.records == 2));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    next: u64,
    records: u64,
    events: Vec<(u64, Leaf)>,
    runs: Vec<(u64, Run)>,
}

/// The positions of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// Leaves other than records, by index. The last one is the heads leaf.
    pub events: Vec<(u64, Leaf)>,
    /// Runs of records, by the index of the first one.
    pub runs: Vec<(u64, Run)>,
    /// The size of the tree including this batch.
    pub size: u64,
}

impl Assignment {
    /// Creates a batch that begins at index `next`, in a log with `records` record leaves before it.
    pub fn new(next: u64, records: u64) -> Assignment {
        Assignment { next, records, events: Vec::new(), runs: Vec::new() }
    }

    /// Returns true if the batch has no leaves.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.runs.is_empty()
    }

    /// Adds the leaf that opens a log.
    pub fn opened(&mut self, leaf: OpenedLeaf) {
        self.event(Leaf::Opened(leaf));
    }

    /// Adds the keys and revocations that the log lacks, sorted by device and first sequence.
    ///
    /// A leaf 04 applies to the keys of earlier batches, and to the keys of its own batch that begin before its
    /// sequence. So it does not revoke a key that replaces a revoked one from the same sequence on.
    pub fn keys(&mut self, changes: &[KeyChange], at_ms: u64) {
        for change in changes.iter().filter(|change| !change.is_logged()) {
            self.event(Leaf::Key(KeyLeaf {
                device_id: change.device_id.clone(),
                valid_from: change.valid_from,
                public_key: change.now.public_key,
                scheme: change.now.scheme,
                start: change.start,
                at_ms: change.registered_at_ms,
            }));
        }
        let mut revoked: Vec<(&str, u64)> = changes
            .iter()
            .filter(|change| {
                change.logged.is_none_or(|logged| logged.revoked_from != change.now.revoked_from)
            })
            .filter_map(|change| Some((change.device_id.as_str(), change.now.revoked_from?)))
            .collect();
        revoked.sort_unstable();
        revoked.dedup();
        for (device_id, revoked_from) in revoked {
            self.event(Leaf::Revoked(RevokedLeaf { device_id: device_id.to_owned(), revoked_from, at_ms }));
        }
    }

    /// Adds a run of records.
    pub fn run(&mut self, run: Run) {
        let at = self.next;
        self.next += run.records;
        self.records += run.records;
        self.runs.push((at, run));
    }

    /// Adds an erased payload, behind all records of the batch, and returns the index of its leaf.
    pub fn erased(&mut self, leaf: ErasedLeaf) -> u64 {
        let index = self.next;
        self.event(Leaf::Erased(leaf));
        index
    }

    /// Ends the batch with the heads of all devices.
    pub fn finish(mut self, heads: &HeadsRoot, at_ms: u64) -> Assigned {
        let (records, devices, heads_root) = (self.records, heads.devices(), heads.root());
        self.event(Leaf::Heads(HeadsLeaf { records, devices, heads_root, at_ms }));
        Assigned { events: self.events, runs: self.runs, size: self.next }
    }

    fn event(&mut self, leaf: Leaf) {
        self.events.push((self.next, leaf));
        self.next += 1;
    }
}

/// Returns the first sequence at which the leaves 04 of a batch revoke a key. `of_batch` is true if the leaf 03 of the
/// key is in the same batch.
///
/// ```
/// use edgesentry_log::revoked_by;
/// assert_eq!(revoked_by(1, false, &[9, 5]), Some(5));
/// // The key took the place of the one that was revoked at 5.
/// assert_eq!(revoked_by(5, true, &[5]), None);
/// assert_eq!(revoked_by(5, true, &[5, 9]), Some(9));
/// ```
pub fn revoked_by(valid_from: u64, of_batch: bool, revocations: &[u64]) -> Option<u64> {
    revocations.iter().copied().filter(|from| !of_batch || *from > valid_from).min()
}

/// Evidence that a row of the ledger was changed outside of the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tampered {
    /// The device.
    pub device_id: String,
    /// The sequence of the record that shows the change.
    pub sequence: u64,
    /// The contradiction.
    pub problem: TamperedProblem,
    /// The canonical bytes of that record; `None` if it is missing.
    pub record: Option<Vec<u8>>,
}

/// A contradiction in a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TamperedProblem {
    /// The record of this sequence is missing.
    Missing,
    /// The record does not link to the previous one.
    Link {
        /// The recomputed hash of the previous record.
        expected: Hash,
        /// `prev_record_hash` of the record.
        actual: Hash,
    },
    /// The record differs from the head of the chain.
    Head {
        /// The hash of the head when the position was assigned.
        expected: Hash,
        /// The recomputed hash of the record.
        actual: Hash,
    },
}

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tampered { device_id, sequence, .. } = self;
        write!(f, "device {device_id:?}, sequence {sequence}: ")?;
        match self.problem {
            TamperedProblem::Missing => f.write_str("the record is missing"),
            TamperedProblem::Link { expected, actual } => {
                write!(f, "the record before has hash {expected}, and prev_record_hash is {actual}")
            }
            TamperedProblem::Head { expected, actual } => {
                write!(f, "the record has hash {actual}, and the head was {expected}")
            }
        }
    }
}

impl std::error::Error for Tampered {}

/// The reason why a batch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A record differs from the committed one.
    #[error(transparent)]
    Tampered(Box<Tampered>),
    /// A leaf cannot be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A run is empty, or a record is outside of every run.
    #[error("leaf {0} is not where the batch has a record")]
    Order(u64),
    /// A leaf outside of the runs is a record, or is not one that a batch has.
    #[error("leaf {0} is not one that the log writes")]
    Leaf(u64),
    /// The last leaf is not a heads leaf.
    #[error("the batch does not end with a heads leaf")]
    NoHeads,
}

/// A record with its leaf and the hashes of both. Threads can prepare records in any order; [`Batch::prepared`] then
/// appends them in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedRecord {
    record: AuditRecord,
    leaf: Vec<u8>,
    hash: Hash,
    leaf_hash: TreeHash,
}

impl PreparedRecord {
    /// Encodes and hashes a record.
    pub fn new(record: AuditRecord) -> PreparedRecord {
        let mut leaf = Vec::with_capacity(TYPICAL_LEAF_BYTES);
        leaf.push(Leaf::RECORD);
        record.write_canonical_bytes(&mut leaf);
        let (hash, leaf_hash) = (Hash::of(&leaf[1..]), TreeHash::of_leaf(&leaf));
        PreparedRecord { record, leaf, hash, leaf_hash }
    }

    /// Returns the record.
    pub fn record(&self) -> &AuditRecord {
        &self.record
    }

    /// Returns its canonical bytes.
    fn canonical(&self) -> &[u8] {
        &self.leaf[1..]
    }
}

const TYPICAL_LEAF_BYTES: usize = 256;

/// Builds the files of one batch.
///
/// It returns the files only at the end, after it has recomputed every link of the batch: a file never contains a
/// changed record. So a batch is held in memory, about its size in the log.
#[derive(Clone, Debug)]
pub struct Batch {
    appender: Appender,
    full: Vec<(TileId, Vec<u8>)>,
    run: Option<OpenRun>,
    ends_with_heads: bool,
}

#[derive(Clone, Debug)]
struct OpenRun {
    run: Run,
    /// The next sequence.
    next: u64,
    /// The hash of the previous record.
    hash: Hash,
    last: Option<PreparedRecord>,
}

/// The files of a batch.
#[derive(Clone, Debug)]
pub struct BuiltBatch {
    /// Bundles, then tiles by level.
    pub files: Vec<(TileId, Vec<u8>)>,
    /// The log including this batch, ready for the next one.
    pub appender: Appender,
}

impl BuiltBatch {
    /// Returns the checkpoint that ends the batch.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`].
    pub fn checkpoint(&self, origin: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::new(origin, self.appender.size(), self.appender.root())
    }
}

impl Batch {
    /// Creates a batch after the leaves of `appender`. Its full tiles must have been taken.
    pub fn new(appender: Appender) -> Batch {
        Batch { appender, full: Vec::new(), run: None, ends_with_heads: false }
    }

    /// Returns the current size of the tree.
    pub fn size(&self) -> u64 {
        self.appender.size()
    }

    /// Appends a leaf other than a record.
    ///
    /// # Errors
    /// The previous run is incomplete, or the leaf cannot be appended or read.
    pub fn event(&mut self, leaf: &[u8]) -> Result<(), BatchError> {
        self.end_run()?;
        // It stays for good: a log with a leaf that cannot be read can be neither verified nor recovered.
        let ends_with_heads = match Leaf::parse(leaf) {
            Ok(Leaf::Record(_) | Leaf::Unknown { .. }) | Err(_) => return Err(BatchError::Leaf(self.size())),
            Ok(known) => matches!(known, Leaf::Heads(_)),
        };
        self.appender.push(leaf)?;
        self.ends_with_heads = ends_with_heads;
        self.full.append(&mut self.appender.take_full());
        Ok(())
    }

    /// Begins a run. Its records follow.
    ///
    /// # Errors
    /// The previous run is incomplete, or this one is empty.
    pub fn run(&mut self, run: Run) -> Result<(), BatchError> {
        self.end_run()?;
        if run.last_sequence().is_none() {
            return Err(BatchError::Order(self.size()));
        }
        self.run = Some(OpenRun { next: run.first_sequence, hash: run.prev_hash, last: None, run });
        Ok(())
    }

    /// Appends the next record of the run.
    ///
    /// # Errors
    /// [`BatchError::Tampered`] if it is not the next record of its chain.
    pub fn record(&mut self, record: &AuditRecord) -> Result<(), BatchError> {
        self.prepared(PreparedRecord::new(record.clone()))
    }

    /// Appends the next record of the run, like [`Batch::record`].
    ///
    /// # Errors
    /// [`BatchError::Tampered`] if it is not the next record of its chain.
    pub fn prepared(&mut self, next: PreparedRecord) -> Result<(), BatchError> {
        let at = self.appender.size();
        let open = self.run.as_mut().ok_or(BatchError::Order(at))?;
        if Some(open.next) > open.run.last_sequence() {
            return Err(BatchError::Order(at));
        }
        let record = &next.record;
        if record.device_id != open.run.device_id || record.sequence != open.next {
            return Err(open.tampered(open.next, TamperedProblem::Missing, None));
        }
        if record.prev_record_hash != open.hash {
            let problem = TamperedProblem::Link { expected: open.hash, actual: record.prev_record_hash };
            return Err(open.tampered(open.next, problem, Some(next.canonical().to_vec())));
        }
        self.appender.push_hashed(&next.leaf, next.leaf_hash)?;
        open.hash = next.hash;
        open.next += 1;
        open.last = Some(next);
        self.ends_with_heads = false;
        self.full.append(&mut self.appender.take_full());
        Ok(())
    }

    /// Checks that the open run has its records up to a sequence.
    ///
    /// # Errors
    /// [`BatchError::Tampered`] with the first missing record.
    pub fn reached(&self, last: u64) -> Result<(), BatchError> {
        match &self.run {
            Some(open) if open.next <= last => Err(open.tampered(open.next, TamperedProblem::Missing, None)),
            _ => Ok(()),
        }
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// The last run is incomplete, or the last leaf is not a heads leaf.
    pub fn finish(mut self) -> Result<BuiltBatch, BatchError> {
        self.end_run()?;
        if !self.ends_with_heads {
            return Err(BatchError::NoHeads);
        }
        let mut files = self.full;
        files.extend(self.appender.partial());
        // Bundles first: if a reader finds a tile of hashes, the leaves below it exist.
        files.sort_by_key(|(id, _)| (id.kind() != TileKind::Entries, id.kind(), id.index()));
        Ok(BuiltBatch { files, appender: self.appender })
    }

    fn end_run(&mut self) -> Result<(), BatchError> {
        let Some(open) = &self.run else { return Ok(()) };
        let last = open.run.last_sequence().unwrap_or(open.run.first_sequence);
        self.reached(last)?;
        if open.hash != open.run.head_hash {
            let problem = TamperedProblem::Head { expected: open.run.head_hash, actual: open.hash };
            let record = open.last.as_ref().map(|last| last.canonical().to_vec());
            return Err(open.tampered(last, problem, record));
        }
        self.run = None;
        Ok(())
    }
}

impl OpenRun {
    fn tampered(&self, sequence: u64, problem: TamperedProblem, record: Option<Vec<u8>>) -> BatchError {
        let device_id = self.run.device_id.clone();
        BatchError::Tampered(Box::new(Tampered { device_id, sequence, problem, record }))
    }
}

/// The leaves of a batch from entry bundles, as rows: the reverse of [`Batch`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ReadBatch {
    /// Leaves other than records, by index.
    pub events: Vec<(u64, Leaf)>,
    /// Runs with their records, by the index of the first one.
    pub runs: Vec<(u64, Run, Vec<AuditRecord>)>,
}

impl ReadBatch {
    /// Adds the leaf at an index. Leaves must come in order.
    pub fn push(&mut self, index: u64, leaf: Leaf) {
        let record = match leaf {
            Leaf::Record(record) => record,
            other => return self.events.push((index, other)),
        };
        let hash = record.hash();
        if let Some((first, run, records)) = self.runs.last_mut()
            && run.device_id == record.device_id
            && *first + run.records == index
            && run.first_sequence + run.records == record.sequence
        {
            (run.records, run.head_hash) = (run.records + 1, hash);
            records.push(record);
            return;
        }
        let run = Run {
            device_id: record.device_id.clone(),
            first_sequence: record.sequence,
            records: 1,
            prev_hash: record.prev_record_hash,
            head_hash: hash,
        };
        self.runs.push((index, run, vec![record]));
    }

    /// Returns the heads leaf that ends the batch.
    pub fn heads(&self) -> Option<HeadsLeaf> {
        match self.events.last() {
            Some((_, Leaf::Heads(leaf))) => Some(*leaf),
            _ => None,
        }
    }

    /// Returns the sequences of the leaves 04, by device.
    pub fn revocations(&self) -> BTreeMap<&str, Vec<u64>> {
        let mut revocations: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (_, leaf) in &self.events {
            if let Leaf::Revoked(leaf) = leaf {
                revocations.entry(&leaf.device_id).or_default().push(leaf.revoked_from);
            }
        }
        revocations
    }
}
