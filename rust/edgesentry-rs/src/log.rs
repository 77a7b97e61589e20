//! The transparency log of a ledger: positions for committed records, tiles, and signed checkpoints.
//!
//! A round of the leader has three steps: assign positions to committed records; recompute their links and store
//! bundles and tiles; sign. Each step can be repeated from the state of the previous one after an interruption at any
//! point.
//!
//! A checkpoint is signed only under the *lock*: numbered, write-once objects outside of the database that hold every
//! signed checkpoint. If a database was restored to an earlier time, the lock is ahead of it and the log signs nothing.
//! So the log never has two trees of one size.

mod bundle;
mod cosign;
mod erase;
mod error;
mod evidence;
mod keep;
mod lag;
mod lock;
mod logged;
#[cfg(feature = "client")]
mod monitor;
mod prove;
mod recover;
mod replaced;
mod settings;
mod signer;
mod stamp;
mod store;
mod succeed;
mod withdraw;
mod witness;
mod witness_state;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::Heads;
use edgesentry_formats::times::now_ms;
use edgesentry_log::VerifierKey;
use futures::TryStreamExt;

use self::lock::Lock;
use self::store::TileStore;
use crate::ledger::{
    BatchRow, CheckpointRow, CosignatureRow, Filter, Leader, Ledger, LogState, LogTables, LogTablesError,
    OpenErasures, TimestampRow,
};
use crate::objects::{Objects, Write, Written};

pub use bundle::{BUNDLE_TEXTS, BundleContent, BundleError, WrittenBundle};
pub use cosign::{AddedCosignature, Cosigners, WitnessClient, WitnessProgress, WitnessResponse};
pub use erase::{EraseError, Eraser, Erasure, ErasureState, Finished, MAX_LEFT, request_erasure};
pub use error::LogError;
pub use lag::Lag;
pub use logged::Logged;
#[cfg(feature = "client")]
pub use monitor::{
    Checked, Failure, FailureKind, FindingClass, Monitor, MonitorFinding, MonitorFindings, MonitorOutcome,
    MonitorSettings, VerifiedCheckpoint, WitnessView, monitor_pause,
};
pub use prove::{LogReader, MAX_RECEIPT_RECORDS, ProveError, Published};
pub use recover::Recovered;
pub use replaced::ErasedReplaced;
pub use settings::{LogSettings, Stores};
pub use signer::LogSigner;
pub use stamp::{StampClient, StampFailure, StampRound, Stamper, TsaSettings};
pub use withdraw::Withdrawn;
pub use witness::{Witness, WitnessError, WitnessSettings, bind_witness};
pub use witness_state::WitnessState;
pub use writer::Sequenced;

/// The transparency log of a ledger, with its store and its keys.
#[derive(Clone)]
pub struct TransparencyLog {
    tables: Arc<dyn LogTables>,
    store: TileStore,
    lock: Lock,
    signer: LogSigner,
    /// The signers of the keys before a rotation, which also sign.
    previous: Arc<[LogSigner]>,
    max_records: u64,
    /// The witnesses that cosign, if the log has a policy.
    cosigners: Option<Arc<Cosigners>>,
    stamper: Option<Arc<Stamper>>,
}

/// The progress of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStatus {
    /// The log.
    pub state: LogState,
    /// The last checkpoint; `None` before the first.
    pub checkpoint: Option<CheckpointRow>,
    /// The cosignatures of the last checkpoint.
    pub cosignatures: Vec<CosignatureRow>,
    /// The witnesses of the policy, in its order.
    pub witnesses: Vec<WitnessProgress>,
    /// The time stamps of the last checkpoint that has any.
    pub timestamps: Vec<TimestampRow>,
    /// The batch in progress, if any.
    pub open_batch: Option<BatchRow>,
    /// Records without a position.
    pub backlog: u64,
    /// Erasures whose payloads are not deleted yet.
    pub open_erasures: OpenErasures,
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
        key: impl Into<LogSigner>,
        max_records: u64,
    ) -> TransparencyLog {
        let (store, lock) = (TileStore::new(store), Lock::new(lock));
        TransparencyLog {
            tables,
            store,
            lock,
            signer: key.into(),
            previous: Arc::default(),
            max_records,
            cosigners: None,
            stamper: None,
        }
    }

    /// Signs with the keys before a rotation as well, so that auditors can change their policies one after the other.
    #[must_use]
    pub fn with_previous_keys(self, previous: impl IntoIterator<Item = LogSigner>) -> TransparencyLog {
        TransparencyLog { previous: previous.into_iter().collect(), ..self }
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        self.key().name()
    }

    /// Returns the key with which the log signs.
    pub fn key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Returns all keys with which the log signs: the current one, and those before a rotation.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> + Clone {
        self.signers().map(LogSigner::verifier)
    }

    fn signers(&self) -> impl Iterator<Item = &LogSigner> + Clone {
        std::iter::once(&self.signer).chain(self.previous.iter())
    }

    /// Returns the location of the tiles.
    pub fn place(&self) -> &str {
        self.store.place()
    }

    /// Returns the location of the signed checkpoints.
    pub fn lock_place(&self) -> &str {
        self.lock.place()
    }

    /// Returns the same log without the right to change its files: it can be recovered into a copy of the ledger, and
    /// signs nothing.
    #[must_use]
    pub fn read_only(self) -> TransparencyLog {
        let (store, lock) = (self.store.read_only(), self.lock.read_only());
        TransparencyLog { store, lock, ..self }
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
        let leader = self.tables.lead().await?.ok_or(LogError::LedElsewhere)?;
        self.note_published().await?;
        Ok(leader)
    }

    /// Returns the progress of the log.
    ///
    /// # Errors
    /// The ledger has no log, or fails.
    pub async fn status(&self) -> Result<LogStatus, LogError> {
        let state = self.tables.state().await?.ok_or(LogTablesError::NotOpened)?;
        let checkpoint = self.tables.last_checkpoint().await?;
        let cosignatures = match &checkpoint {
            Some(last) => self.tables.cosignatures(last.size).await?,
            None => Vec::new(),
        };
        let stamped = match &checkpoint {
            Some(last) => self.tables.last_stamped(last.size).await?,
            None => None,
        };
        let timestamps = match stamped {
            Some(size) => self.tables.timestamps(size).await?,
            None => Vec::new(),
        };
        Ok(LogStatus {
            state,
            checkpoint,
            cosignatures,
            witnesses: self.witness_progress().await?,
            timestamps,
            open_batch: self.tables.open_batch().await?,
            backlog: self.tables.backlog().await?,
            open_erasures: self.tables.open_erasures(now_ms()).await?,
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
        self.check_origin_of_ledger().await?;
        self.check_gap().await?;
        self.check_lock().await.map(|_| ())
    }

    /// Checks that the stores can be reached, and by a trial that they keep an object that exists. The trial leaves an
    /// object in each.
    ///
    /// # Errors
    /// [`LogError::NotWriteOnce`]; a store cannot be reached.
    pub async fn check_stores(&self) -> Result<(), LogError> {
        for objects in [self.store.objects(), self.lock.objects()] {
            objects.check().await?;
            try_write_once(objects).await?;
        }
        Ok(())
    }
}

/// Checks by a trial that a store keeps an object that exists. A store that ignores the condition of a write would
/// replace signed checkpoints.
async fn try_write_once(objects: &dyn Objects) -> Result<(), LogError> {
    const TRIAL: &str = "log/write-once-trial";
    let put = |text: &'static str| objects.put(TRIAL, Bytes::from_static(text.as_bytes()), Write::IfAbsent);
    let (first, second) = ("written once\n", "written twice\n");
    put(first).await?;
    let there = objects.get(TRIAL).await?;
    // An earlier trial that failed may have left the second text.
    let other = if there.as_deref() == Some(second.as_bytes()) { first } else { second };
    let is_kept =
        put(other).await? == Written::Taken && there.is_some() && objects.get(TRIAL).await? == there;
    if is_kept { Ok(()) } else { Err(LogError::NotWriteOnce { place: objects.place().to_owned() }) }
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
