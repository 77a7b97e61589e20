//! Errors of a transparency log.

use edgesentry_chain::Hash;
use edgesentry_log::{AppendError, BatchError, CheckpointError, Tampered};

use crate::error::StoreError;
use crate::ledger::LogTablesError;

/// The reason why a log stops. Ingest continues in any case.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An error of the tables of the ledger, or of a record in it.
    #[error(transparent)]
    Tables(#[from] LogTablesError),
    /// The ledger or the store of the log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process sequences this log.
    #[error("another process sequences the transparency log of this ledger")]
    LedElsewhere,
    /// The ledger has a log of another name.
    #[error(
        "the ledger has the log {ledger:?}, and log.origin is {key:?}; set log.origin to the name of the log"
    )]
    Origin {
        /// The name in the ledger.
        ledger: String,
        /// The name in the settings.
        key: String,
    },
    /// The lock has a signed checkpoint that the ledger lacks: the ledger was restored to an earlier time.
    #[error(
        "{place}: the log has signed checkpoint {number}, and the ledger is at size {size}: the ledger was restored to an \
         earlier time; nothing is signed until eds checkpoint recover has put the records of the log back"
    )]
    Behind {
        /// The location of the lock.
        place: String,
        /// The size of the log in the ledger.
        size: u64,
        /// The number of the first checkpoint that the ledger lacks.
        number: u64,
    },
    /// The lock lacks a checkpoint that the ledger has.
    #[error(
        "{place}: signed checkpoint {number} is missing, and the ledger has it; nothing is signed until log.lock names \
         the place of the signed checkpoints, or they are put back from a backup"
    )]
    LockLost {
        /// The location of the lock.
        place: String,
        /// The number.
        number: u64,
    },
    /// The lock has a checkpoint of another tree.
    #[error(
        "{place}: the ledger does not continue signed checkpoint {number}: {problem}; nothing is signed. Restore the \
         ledger that the log belongs to, or open a log with a new origin"
    )]
    Forked {
        /// The location of the lock.
        place: String,
        /// The number of the checkpoint.
        number: u64,
        /// The contradiction.
        problem: String,
    },
    /// The files in the store differ from the log.
    #[error("{place}: the files of the transparency log are damaged: {problem}; restore them from a backup")]
    Damaged {
        /// The location of the files.
        place: String,
        /// The contradiction.
        problem: String,
    },
    /// The ledger contradicts trusted heads.
    #[error(
        "device {device_id:?}, sequence {sequence}: the trusted head is {expected}, and the ledger has {}; no log was opened",
        .actual.map_or_else(|| "no such record".to_owned(), |actual| actual.to_string())
    )]
    HeadMismatch {
        /// The device.
        device_id: String,
        /// The sequence of the head.
        sequence: u64,
        /// The trusted hash.
        expected: Hash,
        /// The recomputed hash of the record in the ledger.
        actual: Option<Hash>,
    },
    /// A store replaces an object although the write has the condition that there is none.
    #[error(
        "{place}: the store replaced an object although the write was conditional (If-None-Match: *), so it cannot hold \
         a log; use a store with conditional writes for log.store and log.lock"
    )]
    NotWriteOnce {
        /// The location of the store.
        place: String,
    },
    /// The token or the program that signs for the log failed.
    #[error(
        "{signer}: the signer of the transparency log failed: {problem}; nothing is signed until it works"
    )]
    Signer {
        /// The key: a program, or a PKCS#11 URI.
        signer: String,
        /// The reason.
        problem: String,
    },
    /// The batch under way cannot be withdrawn.
    #[error("no batch of the transparency log was withdrawn: {0}")]
    NotWithdrawn(String),
    /// The log cannot be opened in place of another one.
    #[error("the log was not opened: {0}")]
    NotSucceeded(String),
    /// A signed checkpoint is not published, because a quorum of witnesses has not cosigned it.
    #[error(
        "the checkpoint of size {size} is signed and not published: {problem}; the next round asks the witnesses again"
    )]
    QuorumMissing {
        /// The size of the checkpoint.
        size: u64,
        /// The missing cosignatures, and what the witnesses said.
        problem: String,
    },
    /// A request of a witness cannot be made, or its cosignature not be used.
    #[error("{0}")]
    Witness(String),
    /// A checkpoint cannot be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl LogError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            LogError::Tables(error) => match error {
                LogTablesError::NotOpened => "log_not_opened",
                LogTablesError::Superseded => "log_superseded",
                LogTablesError::Tampered(_) | LogTablesError::Heads { .. } => "ledger_tampered",
                LogTablesError::Fork { .. } | LogTablesError::Conflict(_) => "log_conflict",
                LogTablesError::Inconsistent(_) => "log_inconsistent",
                LogTablesError::Store(_) => "store",
            },
            LogError::Store(_) => "store",
            LogError::LedElsewhere => "log_led_elsewhere",
            LogError::Origin { .. } => "log_origin",
            LogError::Behind { .. } | LogError::LockLost { .. } => "log_behind",
            LogError::Forked { .. } => "log_forked",
            LogError::Damaged { .. } => "log_damaged",
            LogError::HeadMismatch { .. } => "head_mismatch",
            LogError::NotWriteOnce { .. } => "log_store_unfit",
            LogError::Signer { .. } => "log_signer",
            LogError::NotWithdrawn(_) => "log_not_withdrawn",
            LogError::NotSucceeded(_) => "log_not_succeeded",
            LogError::QuorumMissing { .. } => "log_quorum_missing",
            LogError::Witness(_) => "log_witness",
            LogError::Checkpoint(_) => "log_checkpoint",
        }
    }

    /// Returns the evidence that a record was changed.
    pub fn tampered(&self) -> Option<&Tampered> {
        match self {
            LogError::Tables(LogTablesError::Tampered(tampered)) => Some(tampered),
            _ => None,
        }
    }

    /// Returns true if a retry can succeed without a change by the operator.
    pub fn is_retryable(&self) -> bool {
        match self {
            LogError::Store(error) | LogError::Tables(LogTablesError::Store(error)) => error.is_retryable(),
            LogError::LedElsewhere
            | LogError::Signer { .. }
            | LogError::QuorumMissing { .. }
            | LogError::Tables(LogTablesError::Superseded) => true,
            _ => false,
        }
    }

    /// Returns true if another process writes the log.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, LogError::LedElsewhere | LogError::Tables(LogTablesError::Superseded))
    }

    /// Converts the error of a batch that is built from the files at a location.
    pub(super) fn of_batch(place: &str, error: BatchError) -> LogError {
        match error {
            BatchError::Tampered(tampered) => LogTablesError::Tampered(tampered).into(),
            BatchError::Append(error) => LogError::of_append(place, &error),
            other => LogTablesError::Inconsistent(other.to_string()).into(),
        }
    }

    pub(super) fn of_append(place: &str, error: &AppendError) -> LogError {
        LogError::Damaged { place: place.to_owned(), problem: error.to_string() }
    }
}
