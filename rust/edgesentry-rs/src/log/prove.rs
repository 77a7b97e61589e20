//! Proofs from the files of a log: checkpoint, tiles and bundles. The ledger provides positions and heads.
//!
//! Every proof is verified against the checkpoint before it leaves this module. So damaged files cause an error and
//! never a proof that does not hold.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_log::{
    Checkpoint, ConsistencyProof, EntryBundle, HeadsProof, HeadsTree, Leaf, LogProof, MAX_NOTE_BYTES, NodeId,
    Note, Tile, TileId, TileKind, TreeHash, consistency_nodes, inclusion_nodes, inclusion_path,
    verify_consistency, verify_inclusion,
};
use futures::TryStreamExt;
use tokio::sync::Mutex;

use super::LogError;
use super::settings::{LogSettings, Stores};
use super::store::TileStore;
use crate::error::Error;
use crate::ledger::{Ledger, LogTables, LogTablesError};
use crate::objects::Objects;
use crate::s3_settings::S3Settings;

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

/// A published checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// The signed note.
    pub note: Note,
    /// The content of the note.
    pub checkpoint: Checkpoint,
}

/// The heads tree of a checkpoint.
type LastHeads = (Checkpoint, Arc<HeadsTree>);

/// A reader of a log. It needs no key.
#[derive(Clone)]
pub struct LogReader {
    tables: Arc<dyn LogTables>,
    store: TileStore,
    /// The heads tree of the last proof. Building it takes time in proportion to the devices, and all proofs for one
    /// checkpoint share it. The mutex also limits the work to one tree at a time.
    heads: Arc<Mutex<Option<LastHeads>>>,
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

    /// Returns the published checkpoint.
    ///
    /// # Errors
    /// No checkpoint is published, it is damaged, or it belongs to another log than that of the ledger.
    pub async fn published(&self) -> Result<Published, ProveError> {
        let Some(bytes) = self.store.checkpoint().await? else {
            return Err(ProveError::NoCheckpoint { place: self.place().to_owned() });
        };
        let damaged = |problem: String| self.store.damaged(format!("checkpoint: {problem}"));
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(damaged(format!("{} bytes", bytes.len())).into());
        }
        let note = Note::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        if state.origin != checkpoint.origin() {
            let problem =
                format!("it is of log {:?}, the ledger has log {:?}", checkpoint.origin(), state.origin);
            return Err(damaged(problem).into());
        }
        Ok(Published { note, checkpoint })
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
        let size = published.checkpoint.size();
        let index = self.tables.position(device_id, sequence).await?.filter(|index| *index < size);
        let index = index.ok_or_else(|| {
            let device_id = device_id.to_owned();
            ProveError::NotLogged { device_id, sequence, size }
        })?;
        let (leaf, proof) = self.prove_leaf(published, index).await?;
        match leaf {
            Ok(Leaf::Record(record)) if record.device_id == device_id && record.sequence == sequence => {
                Ok(proof)
            }
            _ => {
                let problem = format!(
                    "leaf {index} is not the record of device {device_id:?} with sequence {sequence}"
                );
                Err(LogTablesError::Inconsistent(problem).into())
            }
        }
    }

    /// Proves the last record of a device, or that the log lacks the device.
    ///
    /// # Errors
    /// The log or the ledger failed.
    pub async fn prove_head(&self, published: &Published, device_id: &str) -> Result<HeadsProof, ProveError> {
        let size = published.checkpoint.size();
        let last = size.checked_sub(1).ok_or_else(|| self.store.damaged("the log is empty".to_owned()))?;
        let (leaf, proof) = self.prove_leaf(published, last).await?;
        let Ok(Leaf::Heads(heads)) = leaf else {
            return Err(self.store.damaged(format!("leaf {last} is not a heads leaf")).into());
        };
        let tree = self.heads_tree(&published.checkpoint, heads.heads_root).await?;
        HeadsProof::of_device(device_id, &tree, proof)
            .map_err(|error| LogTablesError::Inconsistent(error.to_string()).into())
    }

    async fn heads_tree(
        &self,
        checkpoint: &Checkpoint,
        root: TreeHash,
    ) -> Result<Arc<HeadsTree>, ProveError> {
        let mut kept = self.heads.lock().await;
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
        let nodes = self.store.nodes(nodes, size).await?;
        ConsistencyProof::new(older, published.note.clone(), |node| nodes.get(&node).copied())
            .map_err(|error| self.store.damaged(error.to_string()).into())
    }

    async fn prove_leaf(
        &self,
        published: &Published,
        index: u64,
    ) -> Result<(Result<Leaf, edgesentry_log::LeafError>, LogProof), ProveError> {
        let (size, root) = (published.checkpoint.size(), published.checkpoint.root());
        let (leaf, path) = self.store.leaf(index, size, root).await?;
        let parsed = Leaf::parse(&leaf);
        Ok((parsed, LogProof { extra: Some(leaf), index, path, checkpoint: published.note.clone() }))
    }
}

impl TileStore {
    /// Returns a leaf of the tree of this size and root with its verified path.
    pub(super) async fn leaf(
        &self,
        index: u64,
        size: u64,
        root: TreeHash,
    ) -> Result<(Vec<u8>, Vec<TreeHash>), LogError> {
        let damaged = |problem: &dyn std::fmt::Display| self.damaged(problem.to_string());
        let id = TileId::of_entry(index, size);
        let id = id.ok_or_else(|| damaged(&format!("leaf {index} is beyond size {size}")))?;
        let bytes = self.get(id).await?;
        let bundle = EntryBundle::parse(id, &bytes).map_err(|error| damaged(&error))?;
        let at = usize::try_from(index % u64::from(edgesentry_log::TILE_WIDTH)).unwrap_or(usize::MAX);
        let leaf = bundle.entries().get(at).ok_or_else(|| damaged(&format!("{id} lacks leaf {index}")))?;
        let nodes = inclusion_nodes(index, size).map_err(|error| damaged(&error))?;
        let nodes = self.nodes(nodes, size).await?;
        let path = inclusion_path(index, size, |node| nodes.get(&node).copied());
        let path = path.map_err(|error| damaged(&error))?;
        verify_inclusion(TreeHash::of_leaf(leaf), index, size, &path, root)
            .map_err(|error| damaged(&format!("leaf {index}: {error}")))?;
        Ok((leaf.to_vec(), path))
    }

    async fn nodes(&self, nodes: Vec<NodeId>, size: u64) -> Result<HashMap<NodeId, TreeHash>, LogError> {
        let tiles: BTreeSet<TileId> = nodes.iter().filter_map(|node| TileId::of_node(*node, size)).collect();
        let files: Vec<(TileId, Bytes)> = self.get_all(tiles.into_iter()).try_collect().await?;
        let mut hashes = HashMap::new();
        for (id, bytes) in files {
            let tile = Tile::parse(id, &bytes).map_err(|error| self.damaged(error.to_string()))?;
            hashes.extend(nodes.iter().filter_map(|node| Some((*node, tile.node(*node)?))));
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
