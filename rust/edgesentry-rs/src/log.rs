//! The transparency log of a ledger: positions for committed records, tiles, and signed checkpoints.
//!
//! A round of the leader has three steps: assign positions to committed records; recompute their links and store
//! bundles and tiles; sign. Each step can be repeated from the state of the previous one after an interruption at any
//! point.
//!
//! A checkpoint is signed only under the *lock*: numbered, write-once objects outside of the database that hold every
//! signed checkpoint. If a database was restored to an earlier time, the lock is ahead of it and the log signs nothing.
//! So the log never has two trees of one size.

mod error;
mod keep;
mod lock;
mod logged;
mod prove;
mod recover;
mod settings;
mod store;
mod withdraw;
mod writer;

use std::sync::Arc;

use edgesentry_chain::Heads;
use edgesentry_log::SignerKey;
use futures::TryStreamExt;

use self::lock::Lock;
use self::store::TileStore;
use crate::error::StoreError;
use crate::ledger::{BatchRow, CheckpointRow, Filter, Leader, Ledger, LogState, LogTables, LogTablesError};
use crate::objects::Objects;

pub use error::LogError;
pub use logged::Logged;
pub use prove::{LogReader, ProveError, Published};
pub use recover::Recovered;
pub use settings::{LogSettings, Stores};
pub use withdraw::Withdrawn;
pub use writer::Sequenced;

/// The transparency log of a ledger, with its store and its key.
#[derive(Clone)]
pub struct TransparencyLog {
    tables: Arc<dyn LogTables>,
    store: TileStore,
    lock: Lock,
    key: Arc<SignerKey>,
    max_records: u64,
}

/// The progress of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStatus {
    /// The log.
    pub state: LogState,
    /// The last checkpoint; `None` before the first.
    pub checkpoint: Option<CheckpointRow>,
    /// The batch in progress, if any.
    pub open_batch: Option<BatchRow>,
    /// Records without a position.
    pub backlog: u64,
}

impl TransparencyLog {
    /// Creates a log that keeps its tiles and checkpoints in `store` and locks its signed checkpoints in `lock`.
    ///
    /// Both can be the same store. The name of the key is the origin of the log. A batch has at most `max_records`
    /// records.
    pub fn new(
        tables: Arc<dyn LogTables>,
        store: Arc<dyn Objects>,
        lock: Arc<dyn Objects>,
        key: SignerKey,
        max_records: u64,
    ) -> TransparencyLog {
        let (store, lock) = (TileStore::new(store), Lock::new(lock));
        TransparencyLog { tables, store, lock, key: Arc::new(key), max_records }
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        self.key.verifier().name()
    }

    /// Returns the key with which the log signs.
    pub fn key(&self) -> &edgesentry_log::VerifierKey {
        self.key.verifier()
    }

    /// Returns the location of the tiles.
    pub fn place(&self) -> &str {
        self.store.place()
    }

    /// Opens the log in the ledger, unless it is open. Signs nothing.
    ///
    /// # Errors
    /// [`LogError::Behind`] if the lock already has a checkpoint, and the log must be recovered; [`LogError::Origin`]
    /// if the ledger has another log.
    pub async fn init(&self, at_ms: u64) -> Result<LogState, LogError> {
        if self.tables.state().await?.is_some() {
            // A log continues only with its own key.
            self.check_last().await?;
        } else if let Some(number) = self.lock.numbers().await?.first() {
            return Err(self.behind(*number).await?);
        }
        self.open(at_ms).await
    }

    async fn open(&self, at_ms: u64) -> Result<LogState, LogError> {
        let state = self.tables.open(self.origin(), at_ms).await?;
        self.check_origin(&state)?;
        Ok(state)
    }

    fn check_origin(&self, state: &LogState) -> Result<(), LogError> {
        if state.origin == self.origin() {
            return Ok(());
        }
        Err(LogError::Origin { ledger: state.origin.clone(), key: self.origin().to_owned() })
    }

    /// Becomes the leader, the process that sequences.
    ///
    /// # Errors
    /// [`LogError::LedElsewhere`] if another process leads; [`LogError::Behind`] if the numbers of the lock have a gap.
    pub async fn lead(&self) -> Result<Leader, LogError> {
        self.check_gap().await?;
        self.tables.lead().await?.ok_or(LogError::LedElsewhere)
    }

    /// Returns the progress of the log.
    ///
    /// # Errors
    /// The ledger has no log, or fails.
    pub async fn status(&self) -> Result<LogStatus, LogError> {
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        Ok(LogStatus {
            state,
            checkpoint: self.tables.last_checkpoint().await?,
            open_batch: self.tables.open_batch().await?,
            backlog: self.tables.backlog().await?,
        })
    }

    /// Returns the log in the ledger.
    ///
    /// # Errors
    /// The ledger has no log, its log has another name, or it fails.
    pub async fn opened(&self) -> Result<LogState, LogError> {
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        self.check_origin(&state)?;
        Ok(state)
    }

    /// Checks that ledger and lock agree, and changes neither.
    ///
    /// # Errors
    /// [`LogError::Behind`], [`LogError::LockLost`], [`LogError::Forked`].
    pub async fn check(&self) -> Result<(), LogError> {
        self.check_gap().await?;
        self.check_lock().await.map(|_| ())
    }

    /// Checks that the stores can be reached.
    ///
    /// # Errors
    /// A store cannot be reached.
    pub async fn check_stores(&self) -> Result<(), StoreError> {
        self.store.check().await?;
        self.lock.check().await
    }
}

/// Compares a ledger with heads from outside of the service: the record at each head must have its hash. The first
/// batches then recompute every earlier link.
///
/// # Errors
/// [`LogError::HeadMismatch`].
pub async fn compare_heads(ledger: &dyn Ledger, heads: &Heads) -> Result<(), LogError> {
    for (device_id, head) in heads {
        let filter = Filter {
            devices: vec![device_id.to_string()],
            from_sequence: Some(head.sequence),
            to_sequence: Some(head.sequence),
            ..Filter::default()
        };
        let found: Vec<_> = ledger.records(&filter).try_concat().await?;
        let actual = found.first().map(edgesentry_chain::AuditRecord::hash);
        if actual != Some(head.hash) {
            let (device_id, sequence, expected) = (device_id.to_string(), head.sequence, head.hash);
            return Err(LogError::HeadMismatch { device_id, sequence, expected, actual });
        }
    }
    Ok(())
}
