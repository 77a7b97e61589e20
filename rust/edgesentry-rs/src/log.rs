//! The transparency log of a ledger: positions for committed records, tiles, and signed checkpoints.
//!
//! One round of the leader is: give positions to records that are committed; recompute their links and store bundles and
//! tiles; sign. Every step can be repeated from the state of the one before, whenever it was interrupted.
//!
//! A checkpoint is signed only under the *lock*: numbered objects outside of the database, written once, that hold every
//! signed checkpoint. A database that was restored to an earlier time finds a lock that is ahead of it and signs nothing,
//! so the log never has two trees of one size.

mod error;
mod keep;
mod lock;
mod logged;
mod prove;
mod recover;
mod settings;
mod store;
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
pub use writer::Sequenced;

/// The log of a ledger, with its store and its key.
#[derive(Clone)]
pub struct TransparencyLog {
    tables: Arc<dyn LogTables>,
    store: TileStore,
    lock: Lock,
    key: Arc<SignerKey>,
    max_records: u64,
}

/// How far a log is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStatus {
    /// The log.
    pub state: LogState,
    /// The last checkpoint; none before the first.
    pub checkpoint: Option<CheckpointRow>,
    /// The batch that is under way, if any.
    pub open_batch: Option<BatchRow>,
    /// Records without a position.
    pub backlog: u64,
}

impl TransparencyLog {
    /// A log whose tiles and checkpoints are kept in `store` and whose signed checkpoints are locked in `lock`; the two may
    /// be one. The name of the key is the origin of the log. A batch has at most `max_records` records.
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

    /// The name of the log.
    pub fn origin(&self) -> &str {
        self.key.verifier().name()
    }

    /// The key under which the log signs.
    pub fn key(&self) -> &edgesentry_log::VerifierKey {
        self.key.verifier()
    }

    /// Where the tiles are.
    pub fn place(&self) -> &str {
        self.store.place()
    }

    /// Opens the log in the ledger, unless it is open. Nothing is signed.
    ///
    /// # Errors
    /// [`LogError::Behind`] if the lock has a checkpoint already: the log is to be recovered then; [`LogError::Origin`] if
    /// the ledger has another log.
    pub async fn init(&self, at_ms: u64) -> Result<LogState, LogError> {
        if self.tables.state().await?.is_some() {
            // A log goes on under its own key only.
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

    /// Becomes the one that sequences.
    ///
    /// # Errors
    /// [`LogError::LedElsewhere`] if another process is; [`LogError::Behind`] if the numbers of the lock have a gap.
    pub async fn lead(&self) -> Result<Leader, LogError> {
        self.check_gap().await?;
        self.tables.lead().await?.ok_or(LogError::LedElsewhere)
    }

    /// How far the log is.
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

    /// The log in the ledger.
    ///
    /// # Errors
    /// There is none, or it has another name.
    pub async fn opened(&self) -> Result<LogState, LogError> {
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        self.check_origin(&state)?;
        Ok(state)
    }

    /// Whether ledger and lock are in step, without a change to either.
    ///
    /// # Errors
    /// [`LogError::Behind`], [`LogError::LockLost`], [`LogError::Forked`].
    pub async fn check(&self) -> Result<(), LogError> {
        self.check_gap().await?;
        self.check_lock().await.map(|_| ())
    }

    /// Whether the stores can be reached.
    ///
    /// # Errors
    /// One cannot.
    pub async fn check_stores(&self) -> Result<(), StoreError> {
        self.store.check().await?;
        self.lock.check().await
    }
}

/// Compares a ledger with heads from outside of the service: the record at each head must have its hash. The first batches
/// then recompute every link before it.
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
