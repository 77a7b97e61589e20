//! Why a drill could not be finished. What it found is in its report.

use std::io;
use std::path::PathBuf;

use crate::servers::ServerError;

/// A drill could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// A server of the drill is missing or does not work.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The service or its ledger, where the drill did not ask them to fail.
    #[error("the service of the drill")]
    Service(#[from] edgesentry_rs::Error),
    /// A file of the drill.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Such as `write`.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is not as the drill needs it: what, and what to do.
    #[error("{0}")]
    Unfit(String),
}

impl DrillError {
    /// A stable name for programs.
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
