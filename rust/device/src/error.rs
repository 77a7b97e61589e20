//! Failures. A verdict about a record is an [`Outcome`](crate::Outcome), never an error.

use std::fmt;
use std::sync::Arc;

use edgesentry_chain::AuditRecord;
pub use edgesentry_formats::describe;

/// The error of a layer below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The part that failed, as logs and metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Component {
    /// Payloads.
    RawDataStore,
    /// Records, heads and devices.
    AuditLedger,
    /// Decisions of the service.
    OperationLog,
    /// A device's own buffer.
    Outbox,
    /// Backups and write-ahead log.
    Archive,
}

impl Component {
    /// Those of the ingest service.
    pub const SERVICE: [Component; 3] =
        [Component::RawDataStore, Component::AuditLedger, Component::OperationLog];

    /// `raw_data_store`, `audit_ledger`, `operation_log`, `outbox` or `archive`.
    pub fn name(self) -> &'static str {
        match self {
            Component::RawDataStore => "raw_data_store",
            Component::AuditLedger => "audit_ledger",
            Component::OperationLog => "operation_log",
            Component::Outbox => "outbox",
            Component::Archive => "archive",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a failure of a store lasts, and whom it concerns. It decides what becomes of a record that it hits.
///
/// Each store decides it in one function: file systems by the error number, S3 by its code and status, SQLite by its
/// result code, PostgreSQL by the class of its SQLSTATE. What is not known there is [`FailureKind::Passing`] for a file
/// system and a connection, and [`FailureKind::Setup`] for an answer of S3 or of a database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureKind {
    /// It passes, or it concerns the whole store until it is mended: a full disk, a time-out, a lost connection,
    /// throttling. The service tries again, then answers "send again"; transports may hold the record back.
    Passing,
    /// It lasts until the set-up of the store is changed, and may concern this one record only: a permission, a policy,
    /// a file that stands in the way. The record is sound, so it is no rejection. The answer is an error that is not
    /// retryable: the record stays with its device, the operator is told, and no other record waits for it.
    Setup,
    /// The store can never keep this record or payload, because of its size or its name. The service rejects the record
    /// as `store_refused`, logs it, and goes on.
    Item,
}

/// A store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: cannot {action}")]
pub struct StoreError {
    /// The part that failed.
    pub component: Component,
    /// What was tried, such as `append to the ledger`.
    pub action: &'static str,
    /// Where: a file, a bucket, a server; without secrets.
    pub place: Arc<str>,
    /// Whether it passes. Nothing that failed leaves a trace that would block the same call later.
    pub kind: FailureKind,
    /// Why.
    #[source]
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// The error and everything below it in one line.
    pub fn describe(&self) -> String {
        describe(self)
    }

    /// Whether the same call may succeed later without anybody's doing: it is [`FailureKind::Passing`].
    pub fn is_retryable(&self) -> bool {
        self.kind == FailureKind::Passing
    }
}

/// Why something could not be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting, a URL or an argument is wrong.
    #[error("{0}")]
    Config(String),
    /// The device registry refuses a change.
    #[error("device {device_id:?}: {problem}")]
    Registry {
        /// The device.
        device_id: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A record was not tried, because of another one of its device.
    #[error("device {device_id:?} sequence {sequence}: not tried, because {why}")]
    NotTried {
        /// The device.
        device_id: String,
        /// The sequence of the record.
        sequence: u64,
        /// What is with the other one.
        why: NotTried,
    },
    /// The service is shutting down.
    #[error("the ingest service has stopped; nothing was stored, send the record again")]
    Stopped,
    /// A service on the network refused a request, or could not be reached.
    #[error("{place}: {code}: {detail}")]
    Service {
        /// Its URL.
        place: Arc<str>,
        /// The code of its problem document, or `unreachable`.
        code: String,
        /// What it said, or what went wrong.
        detail: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// Reading or writing an export failed.
    #[error(transparent)]
    Export(#[from] Arc<edgesentry_formats::Error>),
    /// The device's own chain or outbox cannot go on.
    #[error("{0}")]
    Agent(String),
}

impl Error {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(_) => "store",
            Error::Config(_) => "config",
            Error::Registry { .. } => "registry",
            Error::NotTried { .. } => "not_tried",
            Error::Stopped => "stopped",
            Error::Service { .. } => "service",
            Error::Export(_) => "export",
            Error::Agent(_) => "agent",
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Store(error) => error.is_retryable(),
            Error::NotTried { why, .. } => *why != NotTried::BehindPermanent,
            Error::Stopped => true,
            Error::Service { retryable, .. } => *retryable,
            Error::Config(_) | Error::Registry { .. } | Error::Export(_) | Error::Agent(_) => false,
        }
    }
}

/// Why a record was not tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotTried {
    /// An earlier record of the device could not be stored, for a reason that passes.
    BehindPassing,
    /// An earlier record of the device could not be stored, for a reason that does not pass by itself.
    BehindPermanent,
    /// Another call has a record of the device at the same sequence, and its outcome takes long.
    UnderWay,
}

impl NotTried {
    /// What stands behind a record that has failed so.
    pub fn behind(error: &Error) -> NotTried {
        if error.is_retryable() { NotTried::BehindPassing } else { NotTried::BehindPermanent }
    }

    /// The answer to a record.
    pub fn error(self, record: &AuditRecord) -> Error {
        Error::NotTried { device_id: record.device_id.clone(), sequence: record.sequence, why: self }
    }
}

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotTried::BehindPassing => "an earlier record of the device could not be stored; send both again",
            NotTried::BehindPermanent => {
                "an earlier record of the device cannot be stored; keep both until the service is mended"
            }
            NotTried::UnderWay => {
                "another record of the device at this sequence is still under way; send it again"
            }
        })
    }
}

impl From<edgesentry_formats::Error> for Error {
    fn from(error: edgesentry_formats::Error) -> Error {
        Error::Export(Arc::new(error))
    }
}
