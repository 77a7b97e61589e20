//! A record as it arrives.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::AuditRecord;

/// A record and its payload, as somebody sent them.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The signed record.
    pub record: Arc<AuditRecord>,
    /// The bytes that it commits to.
    pub payload: Bytes,
}
