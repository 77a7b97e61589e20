//! A submitted record.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::AuditRecord;

/// A record and its payload, as the sender submitted them.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The signed record.
    pub record: Arc<AuditRecord>,
    /// The bytes that it commits to.
    pub payload: Bytes,
}
