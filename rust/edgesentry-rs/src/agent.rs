//! The device side, from `edgesentry-device`.

pub use edgesentry_device::{Flushed, KeptRejection, Outbox, Sink, sign};

/// The earlier name of [`Outbox`].
#[deprecated(since = "0.1.0", note = "use `Outbox`")]
pub type Agent = Outbox;
