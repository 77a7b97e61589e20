//! Failures. A verdict about a record is an [`Outcome`](crate::Outcome), never an error.

use std::fmt;
use std::sync::Arc;

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
}

impl Component {
    /// Those of the ingest service.
    pub const SERVICE: [Component; 3] =
        [Component::RawDataStore, Component::AuditLedger, Component::OperationLog];

    /// `raw_data_store`, `audit_ledger`, `operation_log` or `outbox`.
    pub fn name(self) -> &'static str {
        match self {
            Component::RawDataStore => "raw_data_store",
            Component::AuditLedger => "audit_ledger",
            Component::OperationLog => "operation_log",
            Component::Outbox => "outbox",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    /// Whether the same call may succeed later. Nothing that failed leaves a trace that would block it.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// The error and everything below it in one line.
    pub fn describe(&self) -> String {
        describe(self)
    }
}

/// An error and its sources, outermost first, in one line.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some libraries repeat the source in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
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
    /// An earlier record of the same device, in the same batch, could not be stored; this one was not tried.
    #[error(
        "device {device_id:?} sequence {sequence}: not tried, because an earlier record of the device could not be stored; send both again"
    )]
    NotTried {
        /// The device.
        device_id: String,
        /// The sequence of the record.
        sequence: u64,
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
            Error::Store(error) => error.retryable,
            Error::NotTried { .. } | Error::Stopped => true,
            Error::Service { retryable, .. } => *retryable,
            Error::Config(_) | Error::Registry { .. } | Error::Export(_) | Error::Agent(_) => false,
        }
    }
}

impl From<edgesentry_formats::Error> for Error {
    fn from(error: edgesentry_formats::Error) -> Error {
        Error::Export(Arc::new(error))
    }
}
