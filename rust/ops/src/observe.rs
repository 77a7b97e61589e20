//! The progress of a long operation for its caller.

/// A progress event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step begins.
    Step(&'a str),
    /// Progress of the step in bytes.
    Bytes {
        /// Done.
        done: u64,
        /// The total; 0 if it is unknown.
        total: u64,
    },
    /// Information for the caller.
    Note(&'a str),
}

/// Receives the progress.
pub type Observer<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Discards the progress.
pub fn ignore(_: Event<'_>) {}
