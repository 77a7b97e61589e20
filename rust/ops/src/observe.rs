//! What a long operation tells whoever waits for it.

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A step begins.
    Step(&'a str),
    /// So many bytes of the step are done.
    Bytes {
        /// Done.
        done: u64,
        /// Of all; 0 where that is not known.
        total: u64,
    },
    /// Something that whoever waits should know.
    Note(&'a str),
}

/// Whoever waits.
pub type Observer<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Nobody.
pub fn nobody(_: Event<'_>) {}
