//! The pure verification core of EdgeSentry: records and their canonical bytes, keys and signatures, links,
//! segments, findings and the report.
//!
//! No I/O, no async, no clock, no logging. `docs/reference/spec.md` numbers the steps; comments in the code give these
//! numbers.

pub mod canonical;
mod challenge;
mod checks;
mod count;
mod coverage;
mod device;
pub mod escape;
mod extension;
mod finding;
mod hash;
mod hash_many;
mod head;
mod hint;
mod history;
#[doc(hidden)]
pub mod internals;
mod kept;
mod key;
mod level;
mod order;
pub mod part;
mod record;
mod record_ref;
mod report;
mod requirement;
mod rsum;
mod runs;
mod segment;
mod signature;
mod signer;
mod slice;
pub mod state;
mod statistics;
mod succession;
mod vector;

pub use checks::{Checks, Claim, Claims, PayloadError, Payloads};
pub use count::{count, plural};
pub use coverage::{
    Coverage, HeadCoverage, LinkCoverage, LogCoverage, NotChecked, PayloadCoverage, Predecessor, RootCheck,
    SignatureCoverage, TimeStamp,
};
pub use device::{ChainFull, Device, SEED_BYTES, SignError};
pub use extension::check_extension;
pub use finding::{Cause, Evidence, Finding, FindingCode, Location, UnknownCode};
pub use hash::{Hash, HashTextError};
pub use head::{Head, Heads};
pub use hint::Hint;
pub use kept::Kept;
pub use key::{FollowError, KeyError, KeyRing, MAX_FOLLOWED, PublicKey, RingKey, Scheme};
pub use level::{InputKind, Level, ProvidedBy, Providers, UnknownLevel};
pub use record::{AuditRecord, FIELDS, RECORD_SIGNATURE_CONTEXT};
pub use record_ref::{BufferTooSmall, RecordRef};
pub use report::{Input, MAX_KEPT_BYTES, Report, Verdict};
pub use requirement::{MissingInput, NotCovered, missing_inputs, require};
pub use runs::Order;
pub use segment::{ChainSpan, SLICE_RECORDS, Segments, slice_size};
pub use signature::{Signed, signed_message, verify_signature, verify_signatures};
pub use signer::{SeedSigner, Signer, SignerError, sign_with};
pub use statistics::DeviceStatistics;
pub use succession::{SUCCESSION_PREFIX, Succession, SuccessionError};
