//! The device side of EdgeSentry: sign records, keep them in a durable [`Outbox`], send them with a [`Client`].
//!
//! Without features it signs, hashes, encodes and verifies records, and has the types that cross the network
//! ([`wire`]); it then needs neither a database nor an async runtime nor a network. `outbox` adds the outbox, one SQLite
//! file; `client` adds the client of a service over HTTPS. Keys may be outside of the process ([`signer`]): `pkcs11` adds
//! tokens, `program` other programs.
//!
//! [`sign_ref`] and the functions of [`RecordRef`] allocate nothing after the first record:
//!
//! ```
//! use edgesentry_device::{Device, Scheme, sign_ref};
//! let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
//! let key = device.public_key()?;
//! let mut buffer = [0; 256];
//! let record = sign_ref(&mut device, 1_700_000_001_000, b"door closed", "lift-01/1.bin")?;
//! let size = record.write_canonical_bytes(&mut buffer)?;
//! let hash = record.hash();
//! assert!(record.has_valid_signature(&key, Scheme::Record));
//! assert_eq!((device.head().map(|head| head.hash), size), (Some(hash), 158));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "client")]
pub mod client;
mod clock;
pub mod error;
pub mod limits;
#[cfg(feature = "client")]
pub mod loopback;
#[cfg(feature = "outbox")]
mod outbox;
mod rejection;
pub mod secret;
mod sign;
pub mod signer;
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
pub use clock::{ClockRecord, ServiceTime};
pub use edgesentry_chain::{
    AuditRecord, BufferTooSmall, ChainFull, Device, Hash, Head, KeyError, PublicKey, RecordRef, SEED_BYTES,
    Scheme, SeedSigner, SignError, Signer, SignerError, sign_with,
};
pub use error::Error;
#[cfg(feature = "outbox")]
pub use outbox::{
    AcceptedUpdate, CheckpointConflict, DEFAULT_MAX_RECEIPT_AGE, Flushed, KeptRejection, MAX_CONFLICTS,
    Outbox, PendingReceipts, ReceiptRules, Receipts,
};
pub use rejection::{CheckedValue, Outcome, OutcomeKind, Rejection, RejectionCode, UnknownOutcome};
pub use sign::{sign, sign_ref};
pub use sink::{ReceiptSource, Sink};
pub use submission::Submission;
