//! The C interface of EdgeSentry: `include/edgesentry.h` has the contract of each function.
//!
//! Callers allocate every buffer, and pass its size. A function fails with a status, and never ends the process: a
//! panic becomes `EDGESENTRY_INTERNAL`. The text of the last failure of a thread is kept, see
//! `edgesentry_last_error`.
//!
//! `border` holds all pointers. The modules of exports promise there what the header asks of callers, and are safe
//! otherwise.

mod border;
pub mod codes;
mod exports;
#[cfg(feature = "http")]
mod http_exports;
mod last_error;
#[cfg(feature = "outbox")]
mod outbox;
#[cfg(feature = "outbox")]
mod outbox_exports;
#[cfg(feature = "outbox")]
mod outbox_types;
mod records;
mod signer_exports;
#[cfg(feature = "pkcs11")]
mod token_exports;
mod types;
mod update;
mod update_exports;

pub use exports::*;
#[cfg(feature = "http")]
pub use http_exports::*;
#[cfg(feature = "outbox")]
pub use outbox_exports::*;
#[cfg(feature = "outbox")]
pub use outbox_types::*;
pub use signer_exports::*;
#[cfg(feature = "pkcs11")]
pub use token_exports::*;
pub use types::*;
pub use update_exports::*;
