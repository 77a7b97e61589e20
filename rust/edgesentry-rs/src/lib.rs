//! EdgeSentry's core: the device [`agent`], [`ingest`] (admission and the service), durable [`ledger`]s and [`payload`]
//! stores, [`export`]s, [`objects`] of archives, [`telemetry`], and the [`settings`] that name them.
//!
//! The path of a record: payload hash, key and signature ([`ingest::verify`]), payload into its store, one ledger
//! transaction that compares the chain's head and writes the record and the operation log, acknowledgement. Only the
//! ledger holds state.

// A build with fewer features lacks the users of some helpers. The full build warns of unused code.
#![cfg_attr(not(all(feature = "postgres", feature = "s3")), allow(dead_code))]

pub mod admission;
pub mod agent;
mod background;
mod clock;
pub mod export;
pub mod extension;
mod files;
pub mod ingest;
#[cfg(feature = "s3")]
pub mod lake;
#[cfg(not(feature = "s3"))]
#[path = "lake_absent.rs"]
pub mod lake;
pub mod ledger;
pub mod log;
pub mod objects;
pub mod payload;
#[cfg(feature = "s3")]
mod s3;
mod s3_settings;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "client")]
pub mod transport;
pub mod verify;

pub use admission::{Admitted, CheckedValue, Outcome, OutcomeKind, Rejection, RejectionCode, Submission};
#[cfg(feature = "s3")]
use edgesentry_device::loopback;
#[cfg(feature = "client")]
use edgesentry_device::tls;
pub use edgesentry_device::{error, secret, signer, wire};
use edgesentry_device::{sql, sqlite};

pub use error::{BoxError, Component, Error, FailureKind, StoreError};
pub use ingest::storage::{IngestService, Limits};
pub use ledger::{Filter, Ledger};
pub use payload::PayloadStore;
pub use settings::{Settings, Stores};
