//! Admission: everything that is asked of a record before a ledger takes it.
//!
//! The record, its payload and the device registry are decided by `decide`; only it makes an [`Admitted`], and stores
//! accept nothing else. What needs the chain's head is decided by [`Chain::decide`] inside the ledger's transaction, under
//! the lock on that head. Nothing here emits an event: [`ingest::verify`](crate::ingest::verify) does.

mod admit;
mod chain;
mod registry;

pub(crate) use edgesentry_device::limits::is_valid_id;
pub use edgesentry_device::limits::{MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE};
pub use edgesentry_device::{CheckedValue, Outcome, OutcomeKind, Rejection, RejectionCode, Submission};

pub use admit::Admitted;
pub(crate) use admit::decide;
pub use chain::Chain;
pub use registry::{DeviceKeys, RegisteredKey, Registry};
