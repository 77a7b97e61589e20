//! Admission: the checks of a record before a ledger accepts it.
//!
//! `decide` checks the record, its payload and the device registry; only it creates an [`Admitted`], and stores accept
//! nothing else. [`Chain::decide`] makes the checks that need the chain's head inside the ledger's transaction, under
//! the lock on that head. Nothing here emits an event: [`ingest::verify`](crate::ingest::verify) does.

mod admit;
mod chain;
mod registry;
mod rotation;
#[cfg(test)]
mod tests;

pub(crate) use edgesentry_device::limits::is_valid_id;
pub use edgesentry_device::limits::{MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE};
pub use edgesentry_device::{CheckedValue, Outcome, OutcomeKind, Rejection, RejectionCode, Submission};

pub use admit::Admitted;
pub(crate) use admit::decide;
pub use chain::Chain;
pub use registry::{DeviceKeys, RegisteredKey, Registry};
pub use rotation::Rotation;
pub(crate) use rotation::{Refusal, Succeeding, refusal};
