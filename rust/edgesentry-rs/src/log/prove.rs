//! Proofs from the files of a log: checkpoint, tiles and bundles. The ledger provides positions and heads.
//!
//! Every proof is verified against the checkpoint before it leaves this module. So damaged files cause an error and
//! never a proof that does not hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_log::{
    Checkpoint, ConsistencyProof, EntryBundle, HeadsProof, HeadsTree, Leaf, LogProof, MAX_NOTE_BYTES,
    MAX_RUN_RECORDS, NodeId, Note, NoteSignature, ProofError, RunLeaf, RunProof, TILE_WIDTH, Tile, TileId,
    TileKind, TreeHash, consistency_nodes, consistency_path, inclusion_nodes, inclusion_path,
    verify_consistency, verify_inclusion,
};
use futures::TryStreamExt;
use tokio::sync::Mutex;

use super::LogError;
use super::cosign::latest;
use super::erase::{EraseError, Erasure, request_erasure};
use super::settings::{LogSettings, Stores};
use super::store::TileStore;
use crate::error::Error;
use crate::ledger::{Ledger, LogTables, LogTablesError, TimestampRow};
use crate::objects::Objects;
use crate::s3_settings::S3Settings;

/// The maximum number of records in a receipt.
pub const MAX_RECEIPT_RECORDS: u64 = 1024;

/// The reason why there is no proof.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The log or the ledger failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No checkpoint is published yet.
    #[error("{place}: the transparency log has no checkpoint yet; sign one with eds checkpoint")]
    NoCheckpoint {
        /// The location of the log.
        place: String,
    },
    /// The log has no checkpoint of the requested size.
    #[error(
        "the transparency log has no published checkpoint of size {size}; pass the size of a checkpoint that it signed"
    )]
    UnknownSize {
        /// The size.
        size: u64,
    },
    /// No checkpoint has a time stamp.
    #[error(
        "no published checkpoint of the transparency log has a time stamp; set log.tsa, and run eds checkpoint stamp"
    )]
    NotStamped,
    /// More records than a proof can have, or none.
    #[error(
        "sequences {first} to {last} are not 1 to {MAX_RUN_RECORDS} records; prove a longer run in several parts"
    )]
    Run {
        /// The first sequence.
        first: u64,
        /// The last sequence.
        last: u64,
    },
    /// The record has no leaf before the checkpoint.
    #[error(
        "device {device_id:?}, sequence {sequence}: the record is not in the transparency log at size {size}; if the ledger \
         has it, the next checkpoint will cover it"
    )]
    NotLogged {
        /// The device.
        device_id: String,
        /// The sequence.
        sequence: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The older checkpoint belongs to another log.
    #[error("the older checkpoint is of log {older:?}, this log is {log:?}")]
    OtherLog {
        /// The log of the older checkpoint.
        older: String,
        /// The name of this log.
        log: String,
    },
    /// The older checkpoint is larger than the published one.
    #[error(
        "the older checkpoint has {older} leaves, and the published one {size}: the log was rolled back, or another \
         copy of it is read"
    )]
    Newer {
        /// The size of the older checkpoint.
        older: u64,
        /// The size of the published checkpoint.
        size: u64,
    },
    /// The older checkpoint has another root than the log at its size.
    #[error("the log does not extend the older checkpoint of size {older}: it had another root at this size")]
    Diverged {
        /// The size of the older checkpoint.
        older: u64,
    },
}

impl ProveError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ProveError::Log(error) => error.code(),
            ProveError::NoCheckpoint { .. } => "log_no_checkpoint",
            ProveError::UnknownSize { .. } => "checkpoint_unknown",
            ProveError::NotStamped => "log_not_stamped",
            ProveError::Run { .. } => "run_length",
            ProveError::NotLogged { .. } => "not_logged",
            ProveError::OtherLog { .. } => "log_origin",
            ProveError::Newer { .. } | ProveError::Diverged { .. } => "checkpoint_inconsistent",
        }
    }
}

impl From<LogTablesError> for ProveError {
    fn from(error: LogTablesError) -> ProveError {
        ProveError::Log(error.into())
    }
}

impl From<crate::error::StoreError> for ProveError {
    fn from(error: crate::error::StoreError) -> ProveError {
        ProveError::Log(error.into())
    }
}

/// A checkpoint that is published, or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// The signed note.
    pub note: Note,
    /// The content of the note.
    pub checkpoint: Checkpoint,
    /// The size of the published tree, whose files are read.
    tree: u64,
}

/// The heads tree of a checkpoint.
type LastHeads = (Checkpoint, Arc<HeadsTree>);

/// A reader of a log. It needs no key.
#[derive(Clone)]
pub struct LogReader {
    pub(super) tables: Arc<dyn LogTables>,
    store: TileStore,
    /// The heads trees of the last proof for the published checkpoint, and of the last one for an earlier checkpoint.
    /// Building one takes time in proportion to the devices, or to the leaves since the earlier checkpoint, and all proofs
    /// for one checkpoint share it. The mutexes also limit the work to one tree at a time, and proofs for the published
    /// checkpoint do not wait for those of earlier ones.
    heads: Arc<[Mutex<Option<LastHeads>>; 2]>,
}

impl LogReader {
    /// Creates a reader of the log of a ledger. `store` has its tiles.
    pub fn new(tables: Arc<dyn LogTables>, store: Arc<dyn Objects>) -> LogReader {
        LogReader { tables, store: TileStore::new(store), heads: Arc::default() }
    }

    /// Returns the location of the files.
    pub fn place(&self) -> &str {
        self.store.place()
    }

    /// Notes that the payload of a record is to be erased, see [`request_erasure`].
    ///
    /// # Errors
    /// As [`request_erasure`].
    pub async fn request_erasure(
        &self,
        device_id: &str,
        sequence: u64,
        reason: &str,
    ) -> Result<Erasure, EraseError> {
        request_erasure(&*self.tables, device_id, sequence, reason).await
    }

    /// Returns the published checkpoint.
    ///
    /// # Errors
    /// No checkpoint is published, it is damaged, or it belongs to another log than that of the ledger.
    pub async fn published(&self) -> Result<Published, ProveError> {
        let Some(bytes) = self.store.checkpoint().await? else {
            return Err(ProveError::NoCheckpoint { place: self.place().to_owned() });
        };
        let damaged = |problem: String| self.store.damaged(format!("checkpoint: {problem}"));
        let (note, checkpoint) = parse_checkpoint(&bytes).map_err(damaged)?;
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        if state.origin != checkpoint.origin() {
            let problem =
                format!("it is of log {:?}, the ledger has log {:?}", checkpoint.origin(), state.origin);
            return Err(damaged(problem).into());
        }
        let tree = checkpoint.size();
        Ok(Published { note, checkpoint, tree })
    }

    /// Returns the checkpoint of a size that was published earlier; by default, the published one.
    ///
    /// # Errors
    /// [`ProveError::UnknownSize`]; the log or the ledger failed.
    pub async fn published_at(&self, size: Option<u64>) -> Result<Published, ProveError> {
        let published = self.published().await?;
        let Some(size) = size.filter(|size| *size != published.tree) else { return Ok(published) };
        let unknown = ProveError::UnknownSize { size };
        if size > published.tree {
            return Err(unknown);
        }
        let row = self.tables.checkpoint_of(size).await?.ok_or(unknown)?;
        let inconsistent =
            |problem: String| LogTablesError::Inconsistent(format!("checkpoint of size {size}: {problem}"));
        let (mut note, checkpoint) = parse_checkpoint(&row.note).map_err(inconsistent)?;
        let cosignatures = self.tables.cosignatures(size).await?;
        for cosignature in cosignatures.into_iter().filter(|cosignature| cosignature.at <= latest()) {
            let line = NoteSignature::parse(&cosignature.line);
            line.and_then(|line| note.add(line)).map_err(|error| inconsistent(error.to_string()))?;
        }
        if (checkpoint.origin(), checkpoint.size()) != (published.checkpoint.origin(), size) {
            return Err(inconsistent("its note is of another one".to_owned()).into());
        }
        Ok(Published { note, checkpoint, ..published })
    }

    /// Returns the last published checkpoint with a time stamp.
    ///
    /// # Errors
    /// [`ProveError::NotStamped`]; the log or the ledger failed.
    pub async fn published_stamped(&self) -> Result<Published, ProveError> {
        let published = self.published().await?;
        let size = self.tables.last_stamped(published.tree).await?.ok_or(ProveError::NotStamped)?;
        self.published_at(Some(size)).await
    }

    /// Returns the time stamps of a checkpoint.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn timestamps(&self, published: &Published) -> Result<Vec<TimestampRow>, ProveError> {
        Ok(self.tables.timestamps(published.checkpoint.size()).await?)
    }

    /// Returns the bytes of a tile or bundle of the published tree; `None` if the tree does not contain it.
    ///
    /// The files of an unsigned batch are not served, because they can still be replaced.
    ///
    /// # Errors
    /// The store failed, or the published checkpoint is damaged.
    pub async fn tile(&self, id: TileId) -> Result<Option<Bytes>, ProveError> {
        let size = match self.published().await {
            Ok(published) => published.checkpoint.size(),
            Err(ProveError::NoCheckpoint { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let level = if let TileKind::Hashes(level) = id.kind() { level } else { 0 };
        let width = u128::from(edgesentry_log::TILE_WIDTH);
        let end = (u128::from(id.index()) * width + u128::from(id.width())) << (8 * u32::from(level));
        if end > u128::from(size) {
            return Ok(None);
        }
        Ok(self.store.find(id).await?)
    }

    /// Proves that a record is in the log.
    ///
    /// # Errors
    /// [`ProveError::NotLogged`]; the log or the ledger failed.
    pub async fn prove_record(
        &self,
        published: &Published,
        device_id: &str,
        sequence: u64,
    ) -> Result<LogProof, ProveError> {
        let RunProof { mut leaves, checkpoint } =
            self.prove_run(published, device_id, sequence, sequence).await?;
        let Some(RunLeaf { leaf, index, path }) = leaves.pop() else {
            return Err(ProveError::Run { first: sequence, last: sequence });
        };
        Ok(LogProof { extra: Some(leaf), index, path, checkpoint })
    }

    /// Proves that the records of a device from sequence `first` to `last` are in the log.
    ///
    /// # Errors
    /// [`ProveError::Run`], [`ProveError::NotLogged`]; the log or the ledger failed.
    pub async fn prove_run(
        &self,
        published: &Published,
        device_id: &str,
        first: u64,
        last: u64,
    ) -> Result<RunProof, ProveError> {
        let indexes = self.positions(published, device_id, first, last).await?;
        let (size, root) = (published.checkpoint.size(), published.checkpoint.root());
        let leaves = self.store.leaves(&indexes, size, root, published.tree).await?;
        for (leaf, sequence) in leaves.iter().zip(first..) {
            let is_it = matches!(Leaf::parse(&leaf.leaf), Ok(Leaf::Record(record))
                if record.device_id == device_id && record.sequence == sequence);
            if !is_it {
                let index = leaf.index;
                let problem = format!(
                    "leaf {index} is not the record of device {device_id:?} with sequence {sequence}"
                );
                return Err(LogTablesError::Inconsistent(problem).into());
            }
        }
        Ok(RunProof { leaves, checkpoint: published.note.clone() })
    }

    /// Proves the records of a device that the checkpoint covers, from sequence `first` on: at most
    /// [`MAX_RECEIPT_RECORDS`], and at most up to `last`.
    ///
    /// # Errors
    /// [`ProveError::NotLogged`] if it does not cover the first one; [`ProveError::Run`]; the log or the ledger failed.
    pub async fn prove_receipt(
        &self,
        published: &Published,
        device_id: &str,
        first: u64,
        last: u64,
    ) -> Result<RunProof, ProveError> {
        let last = last.min(first.saturating_add(MAX_RECEIPT_RECORDS - 1));
        match self.prove_run(published, device_id, first, last).await {
            Err(ProveError::NotLogged { sequence, .. }) if sequence > first => {
                self.prove_run(published, device_id, first, sequence - 1).await
            }
            proof => proof,
        }
    }

    /// Proves the last record of a device, or that the log lacks the device.
    ///
    /// # Errors
    /// The log or the ledger failed.
    pub async fn prove_head(&self, published: &Published, device_id: &str) -> Result<HeadsProof, ProveError> {
        let (tree, proof) = self.proven_heads(published).await?;
        HeadsProof::of_device(device_id, &tree, proof)
            .map_err(|error| LogTablesError::Inconsistent(error.to_string()).into())
    }

    /// Returns the heads tree of the checkpoint.
    pub(super) async fn last_heads(&self, published: &Published) -> Result<Arc<HeadsTree>, ProveError> {
        Ok(self.proven_heads(published).await?.0)
    }

    /// Returns the heads tree of the checkpoint, and the proof of the leaf with its root.
    async fn proven_heads(&self, published: &Published) -> Result<(Arc<HeadsTree>, LogProof), ProveError> {
        let size = published.checkpoint.size();
        let last = size.checked_sub(1).ok_or_else(|| self.store.damaged("the log is empty".to_owned()))?;
        let root = published.checkpoint.root();
        let RunLeaf { leaf, index, path } = self.store.leaf(last, size, root, published.tree).await?;
        let Ok(Leaf::Heads(heads)) = Leaf::parse(&leaf) else {
            return Err(self.store.damaged(format!("leaf {last} is not a heads leaf")).into());
        };
        let proof = LogProof { extra: Some(leaf), index, path, checkpoint: published.note.clone() };
        Ok((self.heads_tree(published, heads.heads_root).await?, proof))
    }

    /// Returns the index of the leaf of a record.
    pub(super) async fn position(
        &self,
        published: &Published,
        device_id: &str,
        sequence: u64,
    ) -> Result<u64, ProveError> {
        let indexes = self.positions(published, device_id, sequence, sequence).await?;
        indexes.first().copied().ok_or(ProveError::Run { first: sequence, last: sequence })
    }

    /// Returns the indexes of the leaves of consecutive records.
    async fn positions(
        &self,
        published: &Published,
        device_id: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<u64>, ProveError> {
        let records = last.checked_sub(first).and_then(|more| usize::try_from(more).ok());
        let records = records.filter(|more| *more < MAX_RUN_RECORDS).map(|more| more + 1);
        let records = records.ok_or(ProveError::Run { first, last })?;
        let size = published.checkpoint.size();
        let mut indexes = self.tables.positions(device_id, first, last).await?;
        indexes.truncate(indexes.iter().take_while(|index| **index < size).count());
        if indexes.len() < records {
            let (device_id, sequence) = (device_id.to_owned(), first + indexes.len() as u64);
            return Err(ProveError::NotLogged { device_id, sequence, size });
        }
        Ok(indexes)
    }

    /// Returns the hashes of perfect subtrees of the tree.
    pub(super) async fn nodes(
        &self,
        published: &Published,
        nodes: Vec<NodeId>,
    ) -> Result<HashMap<NodeId, TreeHash>, LogError> {
        self.store.nodes(nodes, published.tree).await
    }

    /// Returns the bundles with the leaves of a range, in order.
    pub(super) fn entries(
        &self,
        published: &Published,
        leaves: &Range<u64>,
    ) -> impl futures::Stream<Item = Result<(TileId, Bytes), LogError>> + Send {
        self.store.entries(leaves.clone(), published.tree)
    }

    pub(super) fn damaged(&self, problem: &str) -> LogError {
        self.store.damaged(problem.to_owned())
    }

    async fn heads_tree(&self, published: &Published, root: TreeHash) -> Result<Arc<HeadsTree>, ProveError> {
        let Published { checkpoint, tree, .. } = published;
        let [last, earlier] = &*self.heads;
        let mut kept = if checkpoint.size() == *tree { last } else { earlier }.lock().await;
        if let Some((of, tree)) = &*kept
            && of == checkpoint
        {
            return Ok(Arc::clone(tree));
        }
        *kept = None;
        let entries = self.tables.heads_at(checkpoint.size()).await?;
        // Hashing the entries of many devices would block other tasks.
        let tree = tokio::task::spawn_blocking(move || HeadsTree::new(entries)).await;
        let inconsistent = |problem: String| LogTablesError::Inconsistent(problem);
        let tree = tree.map_err(|error| inconsistent(error.to_string()))?;
        let tree = Arc::new(tree.map_err(|error| inconsistent(error.to_string()))?);
        if tree.root() != root {
            let size = checkpoint.size();
            let problem =
                format!("the heads of the ledger do not have the root of the heads leaf at size {size}");
            return Err(inconsistent(problem).into());
        }
        *kept = Some((checkpoint.clone(), Arc::clone(&tree)));
        Ok(tree)
    }

    /// Proves that the log extends an older checkpoint.
    ///
    /// # Errors
    /// [`ProveError::OtherLog`], [`ProveError::Newer`], [`ProveError::Diverged`]; the log failed.
    pub async fn prove_consistency(
        &self,
        published: &Published,
        older: &Checkpoint,
    ) -> Result<ConsistencyProof, ProveError> {
        let checkpoint = &published.checkpoint;
        if older.origin() != checkpoint.origin() {
            let (older, log) = (older.origin().to_owned(), checkpoint.origin().to_owned());
            return Err(ProveError::OtherLog { older, log });
        }
        let proof = self.prove_growth(published, older.size()).await?;
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_consistency(older.size(), older.root(), size, root, &proof.path)
            .map_err(|_| ProveError::Diverged { older: older.size() })?;
        Ok(proof)
    }

    /// Returns the consistency proof from an older size. The verifier knows the root at that size.
    ///
    /// # Errors
    /// [`ProveError::Newer`]; the log failed.
    pub async fn prove_growth(
        &self,
        published: &Published,
        older: u64,
    ) -> Result<ConsistencyProof, ProveError> {
        let size = published.checkpoint.size();
        if older > size {
            return Err(ProveError::Newer { older, size });
        }
        let nodes = consistency_nodes(older, size).map_err(|error| self.store.damaged(error.to_string()))?;
        let nodes = self.store.nodes(nodes, published.tree).await?;
        let proof = ConsistencyProof::new(older, published.note.clone(), |node| nodes.get(&node).copied())
            .map_err(|error| self.store.damaged(error.to_string()))?;
        // Damaged files must not look like a log that was rewritten.
        if let Some(row) = self.tables.checkpoint_of(older).await? {
            verify_consistency(older, row.root, size, published.checkpoint.root(), &proof.path)
                .map_err(|error| self.store.damaged(format!("growth since size {older}: {error}")))?;
        }
        Ok(proof)
    }
}

fn parse_checkpoint(bytes: &[u8]) -> Result<(Note, Checkpoint), String> {
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(format!("{} bytes", bytes.len()));
    }
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
    Ok((note, checkpoint))
}

impl TileStore {
    /// Returns a leaf of the tree of this size and root with its verified path, from the files of the tree of size `tree`,
    /// which extends it.
    pub(super) async fn leaf(
        &self,
        index: u64,
        size: u64,
        root: TreeHash,
        tree: u64,
    ) -> Result<RunLeaf, LogError> {
        let leaf = self.leaves(&[index], size, root, tree).await?.pop();
        leaf.ok_or_else(|| self.damaged(format!("leaf {index} is missing")))
    }

    /// Returns leaves in the order of their ascending indexes, like [`TileStore::leaf`].
    async fn leaves(
        &self,
        indexes: &[u64],
        size: u64,
        root: TreeHash,
        tree: u64,
    ) -> Result<Vec<RunLeaf>, LogError> {
        let damaged = |problem: &dyn std::fmt::Display| self.damaged(problem.to_string());
        let mut bundles: BTreeMap<TileId, Vec<u64>> = BTreeMap::new();
        let mut nodes = BTreeSet::new();
        for index in indexes {
            nodes.extend(inclusion_nodes(*index, size).map_err(|error| damaged(&error))?);
            let id = TileId::of_entry(*index, tree);
            let id = id.ok_or_else(|| damaged(&format!("leaf {index} is beyond size {tree}")))?;
            bundles.entry(id).or_default().push(*index);
        }
        let mut leaves = Vec::with_capacity(indexes.len());
        let mut files = std::pin::pin!(self.get_all(bundles.keys().copied()));
        while let Some((id, bytes)) = files.try_next().await? {
            let bundle = EntryBundle::parse(id, &bytes).map_err(|error| damaged(&error))?;
            for index in bundles.get(&id).into_iter().flatten() {
                let at = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
                let leaf = bundle.entries().get(at);
                let leaf = leaf.ok_or_else(|| damaged(&format!("{id} lacks leaf {index}")))?;
                leaves.push(RunLeaf { leaf: leaf.to_vec(), index: *index, path: Vec::new() });
            }
        }
        let nodes = self.nodes(nodes, tree).await?;
        for RunLeaf { leaf, index, path } in &mut leaves {
            let made = inclusion_path(*index, size, |node| nodes.get(&node).copied());
            *path = made.map_err(|error| damaged(&error))?;
            verify_inclusion(TreeHash::of_leaf(leaf), *index, size, path, root)
                .map_err(|error| damaged(&format!("leaf {index}: {error}")))?;
        }
        Ok(leaves)
    }

    /// Returns the consistency proof from a smaller size to the tree of this size.
    pub(super) async fn growth(&self, old: u64, size: u64) -> Result<Vec<TreeHash>, LogError> {
        let damaged = |error: ProofError| self.damaged(error.to_string());
        let nodes = self.nodes(consistency_nodes(old, size).map_err(damaged)?, size).await?;
        consistency_path(old, size, |node| nodes.get(&node).copied()).map_err(damaged)
    }

    /// Returns the hashes of nodes from the files of the tree of size `tree`.
    async fn nodes(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
        tree: u64,
    ) -> Result<HashMap<NodeId, TreeHash>, LogError> {
        let mut tiles: BTreeMap<TileId, Vec<NodeId>> = BTreeMap::new();
        for node in nodes {
            if let Some(id) = TileId::of_node(node, tree) {
                tiles.entry(id).or_default().push(node);
            }
        }
        let mut hashes = HashMap::new();
        let mut files = std::pin::pin!(self.get_all(tiles.keys().copied()));
        while let Some((id, bytes)) = files.try_next().await? {
            let tile = Tile::parse(id, &bytes).map_err(|error| self.damaged(error.to_string()))?;
            let nodes = tiles.get(&id).into_iter().flatten();
            hashes.extend(nodes.filter_map(|node| Some((*node, tile.node(*node)?))));
        }
        Ok(hashes)
    }
}

impl LogSettings {
    /// Opens the log of a ledger for reading. `ledger_file` is the file of a SQLite ledger.
    ///
    /// # Errors
    /// The store cannot be opened, or the ledger cannot have a log.
    pub async fn open_reader(
        &self,
        ledger: &dyn Ledger,
        ledger_file: Option<&Path>,
        s3: &S3Settings,
    ) -> Result<LogReader, Error> {
        let tables = ledger
            .log()
            .ok_or_else(|| Error::Config("this ledger cannot have a transparency log".to_owned()))?;
        Ok(LogReader::new(tables, self.store(ledger_file, s3, Stores::Existing).await?))
    }
}
