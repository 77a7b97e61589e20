//! Failures of operations. The finding of a drill or a checklist is a [`Check`](crate::check::Check), never an error.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument, a setting or the state of the system is wrong; nothing was touched.
    #[error("{0}")]
    Config(String),
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
    /// The ingest service, a ledger, a payload store or the store of an archive.
    #[error(transparent)]
    Service(#[from] edgesentry_rs::Error),
}

impl Error {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Config(_) => "config",
            Error::Missing(_) => "program_missing",
            Error::Io { .. } => "io",
            Error::Program { .. } => "program",
            Error::Server { .. } => "server",
            Error::Archive { .. } => "archive",
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
