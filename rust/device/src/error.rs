//! Failures. A verdict about a record is an [`Outcome`](crate::Outcome), never an error.

use std::fmt;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, SignerError};
pub use edgesentry_formats::describe;

use crate::wire::ProblemCode;

/// The error of a lower layer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whose fault an error is. The exit codes of `eds` follow it. Exhaustive: each fault needs an exit code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The caller's: an argument, a setting, a key, a registration, or a file that one of them names.
    Usage,
    /// That of the data: an archive, an export, an outbox.
    Data,
    /// That of the environment: a disk, the network, a server, a program, random numbers, threads.
    Environment,
    /// Ours: a bug.
    Internal,
    /// The caller interrupted the work.
    Interrupted,
}

/// The part that failed, as logs and metrics name it. Exhaustive: each has its event and its metric.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Component {
    /// Payloads.
    RawDataStore,
    /// Records, heads and devices.
    AuditLedger,
    /// The operation log: decisions of the service.
    OperationLog,
    /// The outbox of a device.
    Outbox,
    /// Backups and write-ahead log.
    Archive,
    /// Tiles and checkpoints of the transparency log.
    TransparencyLog,
}

impl Component {
    /// The components of the ingest service.
    pub const SERVICE: [Component; 3] =
        [Component::RawDataStore, Component::AuditLedger, Component::OperationLog];

    /// Returns `raw_data_store`, `audit_ledger`, `operation_log`, `outbox`, `archive` or `transparency_log`.
    pub fn name(self) -> &'static str {
        match self {
            Component::RawDataStore => "raw_data_store",
            Component::AuditLedger => "audit_ledger",
            Component::OperationLog => "operation_log",
            Component::Outbox => "outbox",
            Component::Archive => "archive",
            Component::TransparencyLog => "transparency_log",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a failure of a store lasts, and whom it concerns. It decides what becomes of a record that it hits, and is
/// exhaustive for that.
///
/// Each store decides it in one function: file systems by the error number, S3 by its code and status, SQLite by its
/// result code, PostgreSQL by the class of its SQLSTATE. An unknown error is [`FailureKind::Passing`] for a file system
/// and a connection, and [`FailureKind::Setup`] for a response of S3 or of a database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureKind {
    /// It passes, or it affects the whole store until it is fixed: a full disk, a timeout, a lost connection,
    /// throttling. The service tries again, then reports "send again"; transports may hold the record back.
    Passing,
    /// It lasts until the setup of the store changes, and may affect this record only: a permission, a policy, a file
    /// that blocks the path. The record is sound, so the service does not reject it. It returns an error that is not
    /// retryable: the record stays with its device, the operator is alerted, and no other record waits for it.
    Setup,
    /// The store can never keep this record or payload, because of its size or its name. The service rejects the record
    /// as `store_refused`, logs it, and continues.
    Item,
}

/// The failure of an operation of a store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: cannot {action}")]
pub struct StoreError {
    /// The component that failed.
    pub component: Component,
    /// The operation, such as `append to the ledger`.
    pub action: &'static str,
    /// The file, bucket or server; without secrets.
    pub place: Arc<str>,
    /// How long the failure lasts. A failed operation leaves no trace that would block a retry.
    pub kind: FailureKind,
    /// The cause.
    #[source]
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Returns the error and its sources in one line.
    pub fn describe(&self) -> String {
        describe(self)
    }

    /// Returns true if the same call may succeed later without intervention: it is [`FailureKind::Passing`].
    pub fn is_retryable(&self) -> bool {
        self.kind == FailureKind::Passing
    }
}

/// The error of this library; [`Error::fault`] names its cause.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting, a URL or an argument is wrong.
    #[error("{0}")]
    Config(String),
    /// A setting or an argument names something that cannot be used, such as a file that cannot be read.
    #[error("{problem}")]
    Unusable {
        /// Which setting or file, and what to do.
        problem: String,
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The device registry refused a change.
    #[error("device {device_id:?}: {problem}")]
    Registry {
        /// The device.
        device_id: String,
        /// The problem, and what to do.
        problem: String,
    },
    /// A record was not tried, because of another record of its device.
    #[error("device {device_id:?} sequence {sequence}: not tried, because {why}")]
    NotTried {
        /// The device.
        device_id: String,
        /// The sequence of the record.
        sequence: u64,
        /// The state of the other record.
        why: NotTried,
    },
    /// The service is shutting down.
    #[error("the ingest service has stopped; nothing was stored, send the record again")]
    Stopped,
    /// A service on the network refused a request, or was unreachable.
    #[error("{place}: {code}: {detail}")]
    Service {
        /// Its URL.
        place: Arc<str>,
        /// The code of its problem document, or `unreachable`.
        code: ProblemCode,
        /// The detail of the problem document, or the cause.
        detail: String,
        /// True if the same call may succeed later.
        retryable: bool,
    },
    /// Reading or writing an export failed.
    #[error(transparent)]
    Export(#[from] Arc<edgesentry_formats::Error>),
    /// The device's chain or outbox cannot continue.
    #[error("{0}")]
    Outbox(String),
    /// The signer of a key failed; nothing was signed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A receipt or a checkpoint of the transparency log does not hold; the records stay in the outbox.
    #[error("{place}: {problem}; the records stay in the outbox")]
    Receipt {
        /// The outbox.
        place: Arc<str>,
        /// The code of `eds verify-proof`, such as `proof_invalid` or `checkpoint_inconsistent`.
        code: &'static str,
        /// The receipt, and why it does not hold.
        problem: String,
    },
    /// The operating system starts no thread.
    #[error("{0}: cannot start a thread")]
    Threads(&'static str, #[source] Arc<std::io::Error>),
    /// A bug: an invariant does not hold, or a worker thread has panicked.
    #[error("{what}; this is a bug in EdgeSentry, please report it")]
    Internal {
        /// What went wrong.
        what: &'static str,
        /// Why, if there is an error below.
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// Something that a setting or an argument names cannot be used.
    pub fn unusable(problem: impl Into<String>, source: impl Into<BoxError>) -> Error {
        Error::Unusable { problem: problem.into(), source: source.into().into() }
    }

    /// A bug that shows as an error of a layer below.
    pub fn internal(what: &'static str, source: impl Into<BoxError>) -> Error {
        Error::Internal { what, source: Some(source.into().into()) }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Config(_) | Error::Unusable { .. } | Error::Registry { .. } => Fault::Usage,
            Error::Export(_) | Error::Outbox(_) | Error::Receipt { .. } => Fault::Data,
            // A wrong PIN or a missing key is the caller's, a token that is not attached is not.
            Error::Signer(error) if !error.retryable => Fault::Usage,
            Error::Signer(_)
            | Error::Store(_)
            | Error::NotTried { .. }
            | Error::Stopped
            | Error::Service { .. }
            | Error::Threads(..) => Fault::Environment,
            Error::Internal { .. } => Fault::Internal,
        }
    }

    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(_) => "store",
            Error::Config(_) | Error::Unusable { .. } => "config",
            Error::Registry { .. } => "registry",
            Error::NotTried { .. } => "not_tried",
            Error::Stopped => "stopped",
            Error::Service { .. } => "service",
            Error::Export(_) => "export",
            Error::Outbox(_) => "agent",
            Error::Signer(_) => "signer",
            Error::Receipt { code, .. } => code,
            Error::Threads(..) => "threads",
            Error::Internal { .. } => "internal",
        }
    }

    /// Returns true if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Store(error) => error.is_retryable(),
            Error::Signer(error) => error.retryable,
            Error::NotTried { why, .. } => *why != NotTried::BehindPermanent,
            Error::Stopped => true,
            Error::Service { retryable, .. } => *retryable,
            Error::Config(_)
            | Error::Unusable { .. }
            | Error::Registry { .. }
            | Error::Export(_)
            | Error::Outbox(_)
            | Error::Receipt { .. }
            | Error::Threads(..)
            | Error::Internal { .. } => false,
        }
    }
}

/// Why a record was not tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotTried {
    /// An earlier record of the device could not be stored, for a reason that may pass.
    BehindPassing,
    /// An earlier record of the device could not be stored, for a reason that lasts.
    BehindPermanent,
    /// Another call holds a record of the device at the same sequence, and its outcome takes long.
    UnderWay,
}

impl NotTried {
    /// Returns the reason for the records behind one that failed.
    pub fn behind(error: &Error) -> NotTried {
        if error.is_retryable() { NotTried::BehindPassing } else { NotTried::BehindPermanent }
    }

    /// Returns the error for a record that was not tried.
    pub fn error(self, record: &AuditRecord) -> Error {
        Error::NotTried { device_id: record.device_id.clone(), sequence: record.sequence, why: self }
    }
}

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotTried::BehindPassing => "an earlier record of the device could not be stored; send both again",
            NotTried::BehindPermanent => {
                "an earlier record of the device cannot be stored; keep both until the service is repaired"
            }
            NotTried::UnderWay => {
                "another record of the device at this sequence is still in progress; send it again"
            }
        })
    }
}

impl From<edgesentry_formats::Error> for Error {
    fn from(error: edgesentry_formats::Error) -> Error {
        Error::Export(Arc::new(error))
    }
}
