//! Time stamps of RFC 3161: requests, and the verification of stamps (docs/reference/log.md, "Time stamps").
//!
//! The crate does no I/O and uses no clock. It reads DER itself, by the rules of the page, which other verifiers follow
//! too. Signatures are verified by ring, and each chain once more by `rustls-webpki`.

mod certificate;
mod chain;
mod name;
mod pem;
mod read;
mod request;
mod signer;
mod stamp;
mod token;

pub use pem::{CertificatesError, ClaimedCertificates, MAX_CERTIFICATES_BYTES, TrustedRoots};
pub use request::StampRequest;
pub use stamp::{Expected, Stamp, StampError, StampProblem, verify_stamp};

/// The maximum size of a stamp.
pub const MAX_STAMP_BYTES: usize = 64 << 10;
