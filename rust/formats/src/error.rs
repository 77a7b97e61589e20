//! Read and write errors. A malformed record is a finding, not an error.

use std::io;
use std::sync::Arc;

use edgesentry_chain::PayloadError;
use edgesentry_chain::part::PartError;

use crate::DestinationError;

/// The reason why an input could not be read or an output could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Opening, reading or writing failed.
    #[error("{name}: cannot {action}")]
    Io {
        /// The file or stream.
        name: Arc<str>,
        /// The attempted action: open, read, write.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file as a whole is unreadable; there are no records to continue with.
    #[error("{name}: {problem}")]
    Unreadable {
        /// The file or stream.
        name: Arc<str>,
        /// The problem, its place, and the fix.
        problem: String,
    },
    /// A payload could not be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Output cannot go to its destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Neither the auditor nor the bundle has a policy, so no signature of its checkpoint can be decided.
    #[error("the bundle has no policy; bring yours with --policy")]
    PolicyMissing,
    /// The result of a part of the inputs cannot be used.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The caller cancelled the operation.
    #[error("cancelled")]
    Cancelled,
    /// A source of the caller failed.
    #[error("{name}: the records could not be read")]
    Source {
        /// The source.
        name: Arc<str>,
        /// The error of the source.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Returns an error and its sources, outermost first, in one line.
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some libraries repeat the source at the end of their own text.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// The reason why a decoder rejects data; it is the source of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Undecodable {
    /// The problem and the fix.
    pub(crate) problem: String,
}

impl Error {
    /// Converts the error of a failed read: the input is not decodable if its decoder reports so.
    pub(crate) fn reading(name: &Arc<str>, source: io::Error) -> Error {
        let name = Arc::clone(name);
        match source.get_ref().and_then(|source| source.downcast_ref::<Undecodable>()) {
            Some(undecodable) => Error::Unreadable { name, problem: undecodable.to_string() },
            None => Error::Io { name, action: "read", source },
        }
    }
}
