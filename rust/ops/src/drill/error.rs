//! Why a drill could not finish. Its report has the results so far.

use std::io;
use std::path::PathBuf;

use crate::servers::ServerError;

/// A drill could not finish.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// A server of the drill is missing or does not work.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The service or its ledger failed although the drill did not make it fail.
    #[error("the service of the drill")]
    Service(#[from] edgesentry_rs::Error),
    /// A file of the drill.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Such as `write`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A precondition of the drill does not hold, and what to do about it.
    #[error("{0}")]
    Unfit(String),
}

impl DrillError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            DrillError::Server(ServerError::Missing { .. }) => "program_missing",
            DrillError::Server(_) => "server",
            DrillError::Service(error) => error.code(),
            DrillError::Io { .. } => "io",
            DrillError::Unfit(_) => "unfit",
        }
    }
}
