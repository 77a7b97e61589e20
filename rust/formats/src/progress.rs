//! Counters that a running verification or conversion keeps, and the flag that stops it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Shared between the worker that counts and the caller that looks.
#[derive(Debug, Default)]
pub struct Progress {
    records: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Records verified so far.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// Bytes read so far, as stored (compressed bytes of a compressed file).
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The size of all inputs in bytes; 0 while it is not known.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Relaxed)
    }

    /// Asks the worker to stop; it ends with [`crate::Error::Cancelled`] before its next chunk.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Counts records that are done.
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
