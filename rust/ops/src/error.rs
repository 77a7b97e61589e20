//! Failures of operations. The finding of a drill or a checklist is a [`Check`](crate::check::Check), never an error.

use std::io;
use std::path::{Path, PathBuf};

use edgesentry_rs::error::{BoxError, Fault};

/// Why an operation failed; [`Error::fault`] says whose fault it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument, a setting or the state of the system is wrong; nothing was changed.
    #[error("{0}")]
    Config(String),
    /// A setting or an argument names something that cannot be used, such as a file that cannot be read.
    #[error("{problem}")]
    Unusable {
        /// Which setting or file, and what to do.
        problem: String,
        /// Why.
        source: BoxError,
    },
    /// A required program is missing or of the wrong version.
    #[error("{0}")]
    Missing(String),
    /// A file or a directory.
    #[error("{}: cannot {action}", place.display())]
    Io {
        /// The attempted action, such as `write the manifest`.
        action: &'static str,
        /// The path.
        place: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program failed or timed out.
    #[error("{program} failed: {said}")]
    Program {
        /// Its name.
        program: String,
        /// Its output, or its exit status.
        said: String,
    },
    /// A server does not work as required.
    #[error("{server}: {problem}")]
    Server {
        /// The server, without secrets.
        server: String,
        /// The problem, with the end of its log if there is one.
        problem: String,
    },
    /// The content of an archive prevents the operation.
    #[error("{place}: {problem}")]
    Archive {
        /// The archive or the file, without secrets.
        place: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// The operating system gives no random bytes.
    #[error("the system provides no random bytes")]
    Random(#[source] getrandom::Error),
    /// The caller has stopped the work.
    #[error("{0} was interrupted")]
    Interrupted(&'static str),
    /// A bug: a worker thread has panicked, or something that cannot fail has failed.
    #[error("{what}; this is a bug in EdgeSentry, please report it")]
    Internal {
        /// What went wrong.
        what: &'static str,
        /// Why.
        source: BoxError,
    },
    /// The ingest service, a ledger, a payload store or the store of an archive.
    #[error(transparent)]
    Service(#[from] edgesentry_rs::Error),
}

impl Error {
    /// Something that a setting or an argument names cannot be used.
    pub(crate) fn unusable(problem: impl Into<String>, source: impl Into<BoxError>) -> Error {
        Error::Unusable { problem: problem.into(), source: source.into() }
    }

    /// A bug that shows as an error of a layer below.
    pub(crate) fn internal(what: &'static str, source: impl Into<BoxError>) -> Error {
        Error::Internal { what, source: source.into() }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Config(_) | Error::Unusable { .. } | Error::Missing(_) => Fault::Usage,
            Error::Archive { .. } => Fault::Data,
            Error::Io { .. } | Error::Program { .. } | Error::Server { .. } | Error::Random(_) => {
                Fault::Environment
            }
            Error::Interrupted(_) => Fault::Interrupted,
            Error::Internal { .. } => Fault::Internal,
            Error::Service(error) => error.fault(),
        }
    }

    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Config(_) | Error::Unusable { .. } => "config",
            Error::Missing(_) => "program_missing",
            Error::Io { .. } => "io",
            Error::Program { .. } => "program",
            Error::Server { .. } => "server",
            Error::Archive { .. } => "archive",
            Error::Random(_) => "random",
            Error::Interrupted(_) => "interrupted",
            Error::Internal { .. } => "internal",
            Error::Service(error) => error.code(),
        }
    }

    /// Returns the error and its causes in one line.
    pub fn describe(&self) -> String {
        edgesentry_rs::error::describe(self)
    }

    /// Adds the action and the path to an I/O error.
    pub fn io(action: &'static str, place: &Path) -> impl FnOnce(io::Error) -> Error {
        let place = place.to_owned();
        move |source| Error::Io { action, place, source }
    }
}

impl From<edgesentry_rs::StoreError> for Error {
    fn from(error: edgesentry_rs::StoreError) -> Error {
        Error::Service(error.into())
    }
}
