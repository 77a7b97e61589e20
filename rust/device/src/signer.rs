//! Keys: in seed files, in tokens with PKCS#11, in other programs.
//!
//! [`KeySource`] is the text of a setting or an argument that names a key. A signer of a token or a program may block: it
//! waits for [`SIGNING_TIMEOUT`] at most.

mod pin;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(not(feature = "pkcs11"))]
#[path = "signer/pkcs11_absent.rs"]
mod pkcs11;
#[cfg(feature = "program")]
mod program;
mod source;
mod uri;

use std::time::Duration;

pub use edgesentry_chain::{SeedSigner, Signer, SignerError, sign_with};
pub use pin::{FORMER_PIN_VARIABLE, PIN_VARIABLE, Pin};
pub use pkcs11::{Pkcs11Signer, generate};
#[cfg(feature = "program")]
pub use program::ProgramSigner;
pub use source::KeySource;
pub use uri::{Pkcs11Uri, UriError};

/// The time that a token or a program has for an answer.
pub const SIGNING_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that a caller can set for it.
pub const MAX_SIGNING_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The longest message that a token or a program signs. A device signs 32 bytes, a successor also the statement of its
/// succession, and a log a few lines.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;
