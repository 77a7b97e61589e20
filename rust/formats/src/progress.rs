//! Counters of a running verification or conversion, and its cancel flag.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Shared between the worker that counts and the caller that reads.
#[derive(Debug, Default)]
pub struct Progress {
    records: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Returns the number of records verified so far.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// Returns the number of bytes read so far, as stored (compressed bytes of a compressed file).
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Returns the size of all inputs in bytes; 0 while it is unknown.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Relaxed)
    }

    /// Requests a stop; the worker returns [`crate::Error::Cancelled`] before its next chunk.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Returns true if a stop was requested.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Counts finished records.
    pub fn add_records(&self, records: u64) {
        self.records.fetch_add(records, Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn set_total_bytes(&self, bytes: u64) {
        self.total_bytes.store(bytes, Relaxed);
    }
}
