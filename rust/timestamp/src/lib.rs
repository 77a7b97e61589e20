//! Time stamps of RFC 3161: requests, and the verification of stamps (docs/reference/log.md, "Time stamps").
//!
//! The crate does no I/O and uses no clock. It parses with `der` and `x509-cert`; signatures and chains are verified by
//! `rustls-webpki` and ring.

mod certificate;
mod chain;
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
