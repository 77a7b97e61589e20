//! The device side of EdgeSentry: sign records, keep them in a durable [`Outbox`], send them with a [`Client`].
//!
//! Without features it signs and has the types that cross the network ([`wire`]); it then needs neither a database nor
//! an async runtime nor a network. `outbox` adds the outbox, one SQLite file; `client` adds the client of a service
//! over HTTPS.

#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod limits;
#[cfg(feature = "client")]
pub mod loopback;
#[cfg(feature = "outbox")]
mod outbox;
mod rejection;
pub mod secret;
mod sign;
mod sink;
#[cfg(feature = "outbox")]
pub mod sql;
#[cfg(feature = "outbox")]
pub mod sqlite;
mod submission;
#[cfg(feature = "client")]
pub mod tls;
pub mod wire;

#[cfg(feature = "client")]
pub use client::Client;
pub use error::Error;
#[cfg(feature = "outbox")]
pub use outbox::{
    CheckpointConflict, DEFAULT_MAX_RECEIPT_AGE, Flushed, KeptRejection, MAX_CONFLICTS, Outbox,
    PendingReceipts, ReceiptRules, Receipts,
};
pub use rejection::{CheckedValue, Outcome, OutcomeKind, Rejection, RejectionCode, UnknownOutcome};
pub use sign::sign;
pub use sink::{ReceiptSource, Sink};
pub use submission::Submission;
