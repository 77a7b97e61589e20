//! Failures of operations. What a drill or a checklist has found is a [`Check`](crate::check::Check), never an error.

use std::io;
use std::path::{Path, PathBuf};

use edgesentry_rs::error::{BoxError, Fault};

/// Why an operation could not be done; [`Error::fault`] says whose fault it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument, a setting or the state of the place is wrong; nothing was touched.
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
    /// A program that is needed is missing or does not fit.
    #[error("{0}")]
    Missing(String),
    /// A file or a folder.
    #[error("{}: cannot {action}", place.display())]
    Io {
        /// What was tried, such as `write the manifest`.
        action: &'static str,
        /// Where.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program was started and failed, or did not end in time.
    #[error("{program} failed: {said}")]
    Program {
        /// Its name.
        program: String,
        /// What it said, or how it ended.
        said: String,
    },
    /// A server does not do what is needed of it.
    #[error("{server}: {problem}")]
    Server {
        /// Which one, without secrets.
        server: String,
        /// What is wrong, with the end of its log where there is one.
        problem: String,
    },
    /// What is in an archive, or is not, stands against it.
    #[error("{place}: {problem}")]
    Archive {
        /// The archive or the file, without secrets.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes")]
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

    /// A stable name for programs.
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

    /// The error and everything below it in one line.
    pub fn describe(&self) -> String {
        edgesentry_rs::error::describe(self)
    }

    /// Completes an I/O error with what was tried and where.
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
