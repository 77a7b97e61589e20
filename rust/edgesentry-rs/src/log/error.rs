//! Why a log does not go on.

use edgesentry_chain::Hash;
use edgesentry_log::{AppendError, BatchError, CheckpointError, Tampered};

use crate::error::StoreError;
use crate::ledger::LogTablesError;

/// Why a log does not go on. Ingest goes on in any case.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The tables of the ledger, or a record in it.
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
    /// A checkpoint is signed that the ledger does not have: it was restored to an earlier time.
    #[error(
        "{place}: the log has signed checkpoint {number}, and the ledger is at size {size}: the ledger was restored to an \
         earlier time; nothing is signed until eds checkpoint recover has put the records of the log back"
    )]
    Behind {
        /// Where the lock is.
        place: String,
        /// The size of the log in the ledger.
        size: u64,
        /// The number of the first checkpoint that the ledger does not have.
        number: u64,
    },
    /// The lock lacks a checkpoint that the ledger has.
    #[error(
        "{place}: signed checkpoint {number} is missing, and the ledger has it; nothing is signed until log.lock names \
         the place of the signed checkpoints, or they are put back from a backup"
    )]
    LockLost {
        /// Where the lock is.
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
        /// Where the lock is.
        place: String,
        /// The number of the checkpoint.
        number: u64,
        /// What does not fit.
        problem: String,
    },
    /// The store has something else than the log.
    #[error("{place}: the files of the transparency log are damaged: {problem}; restore them from a backup")]
    Damaged {
        /// Where the files are.
        place: String,
        /// What does not fit.
        problem: String,
    },
    /// The ledger has not what trusted heads say.
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
        /// The hash of the record in the ledger, computed again.
        actual: Option<Hash>,
    },
    /// A checkpoint cannot be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl LogError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            LogError::Tables(error) => match error {
                LogTablesError::NotOpened => "log_not_opened",
                LogTablesError::Superseded => "log_superseded",
                LogTablesError::Tampered(_) | LogTablesError::Heads { .. } => "ledger_tampered",
                LogTablesError::Conflict(_) => "log_conflict",
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
            LogError::Checkpoint(_) => "log_checkpoint",
        }
    }

    /// The evidence that a record was changed.
    pub fn tampered(&self) -> Option<&Tampered> {
        match self {
            LogError::Tables(LogTablesError::Tampered(tampered)) => Some(tampered),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without a change by the operator.
    pub fn is_retryable(&self) -> bool {
        match self {
            LogError::Store(error) | LogError::Tables(LogTablesError::Store(error)) => error.is_retryable(),
            LogError::LedElsewhere | LogError::Tables(LogTablesError::Superseded) => true,
            _ => false,
        }
    }

    /// What building a batch in this place has failed with.
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
