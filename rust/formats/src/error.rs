//! Failures of reading and writing. A record that is no record is a finding, not an error.

use std::io;
use std::sync::Arc;

use edgesentry_chain::PayloadError;

use crate::DestinationError;

/// Why an input could not be read or an output not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Opening, reading or writing failed.
    #[error("{name}: cannot {action}")]
    Io {
        /// The file or stream.
        name: Arc<str>,
        /// What we tried: open, read, write.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file as a whole is not what it should be; there are no records to go on with.
    #[error("{name}: {problem}")]
    Unreadable {
        /// The file or stream.
        name: Arc<str>,
        /// What is wrong, where, and what to do.
        problem: String,
    },
    /// A payload could not be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Output cannot go where it was to go.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A source of the caller's own failed.
    #[error("{name}: the records could not be read")]
    Source {
        /// The source.
        name: Arc<str>,
        /// Its own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error and its sources, outermost first, in one line.
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
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

/// Why data that is read through a decoder cannot be; travels as the source of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Undecodable {
    /// What is wrong and what to do.
    pub(crate) problem: String,
}

impl Error {
    /// What a failed read means: that the input cannot be decoded, if its decoder says so.
    pub(crate) fn reading(name: &Arc<str>, source: io::Error) -> Error {
        let name = Arc::clone(name);
        match source.get_ref().and_then(|source| source.downcast_ref::<Undecodable>()) {
            Some(undecodable) => Error::Unreadable { name, problem: undecodable.to_string() },
            None => Error::Io { name, action: "read", source },
        }
    }
}
