//! Ledgers: the durable store of records, heads, device keys and the operation log.
//!
//! A ledger takes whole groups of decisions in one transaction ([`Ledger::append`]). Inside it, under a lock on
//! the heads of the devices concerned, every record is compared with its chain; so any number of threads, tasks
//! and processes may append at once, and no chain ever forks.

mod append;
mod change;
mod location;
mod log;
mod plan;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(not(feature = "postgres"))]
#[path = "ledger/postgres/absent.rs"]
pub(crate) mod postgres;
mod postgres_settings;
mod prune;
mod rows;
mod sqlite;
mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Head, Heads, KeyError, KeyRing, PublicKey, Scheme};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::admission::{Admitted, Outcome, RegisteredKey, Registry, Rejection};
use crate::error::{Error, StoreError};
use crate::payload::Stored;

pub use location::Location;
pub use log::{
    BatchLeaves, BatchRow, BatchStep, CheckpointRow, Leader, LogState, LogTables, LogTablesError, RestoredBatch,
};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, create_database, drop_database};
pub use postgres_settings::PostgresSettings;
pub use sqlite::Sqlite;

/// The tables by which a ledger is known.
const TABLES: [&str; 4] = ["audit_records", "chain_heads", "devices", "operation_logs"];

/// One entry of a group.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record that passed admission and whose payload is stored: the ledger decides whether it continues its chain.
    Record(Stored),
    /// A record that passed admission and does not seem to continue its chain, so that its payload is not stored: the
    /// ledger decides it in the same way, and does not take it in without its payload.
    Doubtful(Admitted),
    /// A record that was rejected before: for the operation log only.
    Rejected(Rejection),
}

impl Entry {
    /// The record and its payload, if admission has passed it.
    pub fn admitted(&self) -> Option<&Admitted> {
        match self {
            Entry::Record(stored) => Some(stored.admitted()),
            Entry::Doubtful(admitted) => Some(admitted),
            Entry::Rejected(_) => None,
        }
    }
}

/// What a ledger has decided of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is decided, and the operation log says so.
    Decided(Outcome),
    /// Nothing is decided or written: a doubtful entry does continue its chain, or the entry stands behind one that does.
    /// With its payload stored it is to be appended again, as a record.
    PayloadWanted,
}

/// Why a group was not taken; nothing of it is in the ledger.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Keys of a device have changed since its records were admitted: admit them again.
    #[error("device keys have changed since the records were admitted")]
    KeysChanged,
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which records; the default is all.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only these devices; empty for all.
    pub devices: Vec<String>,
    /// The lowest sequence.
    pub from_sequence: Option<u64>,
    /// The highest sequence.
    pub to_sequence: Option<u64>,
    /// The earliest `timestamp_ms`.
    pub from_ms: Option<u64>,
    /// The `timestamp_ms` before which records lie.
    pub before_ms: Option<u64>,
}

/// A key to register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The device.
    pub device_id: String,
    /// Its key.
    pub key: PublicKey,
    /// What its signatures cover.
    pub scheme: Scheme,
    /// The first sequence that it signs; by default the next one of the chain.
    pub valid_from: Option<u64>,
    /// For a device whose chain began elsewhere: the last link that this ledger does not hold.
    pub start: Option<Head>,
}

/// A device and its keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredDevice {
    /// The device.
    pub device_id: String,
    /// Its keys, by first valid sequence.
    pub keys: Vec<RegisteredKey>,
    /// The last link in the ledger; none before the first record.
    pub head: Option<Head>,
    /// The link after which the ledger begins, where that is not the beginning of the chain.
    pub start: Option<Head>,
}

/// One entry of the operation log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Grows with every entry.
    pub id: u64,
    /// When the decision was written, Unix milliseconds.
    pub at_ms: u64,
    /// The device that the record named; U+0000 replaced, cut at 1024 bytes.
    pub device_id: String,
    /// The sequence; none where it is out of range.
    pub sequence: Option<u64>,
    /// `accepted`, `duplicate` or `rejected`.
    pub outcome: String,
    /// The reason code of a rejection.
    pub reason: Option<String>,
    /// The record hash.
    pub record_hash: edgesentry_chain::Hash,
    /// What the failed check expected.
    pub expected: Option<String>,
    /// What it found.
    pub actual: Option<String>,
    /// The canonical bytes of a rejected record, where they are of reasonable size.
    pub evidence: Option<Vec<u8>>,
}

/// Which entries of the operation log, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogQuery {
    /// Only this device.
    pub device_id: Option<String>,
    /// Only this outcome.
    pub outcome: Option<String>,
    /// Only this reason code.
    pub reason: Option<String>,
    /// Only entries after this id: the last one of the page before.
    pub after_id: u64,
    /// At most so many.
    pub limit: u32,
}

impl Default for LogQuery {
    fn default() -> LogQuery {
        LogQuery { device_id: None, outcome: None, reason: None, after_id: 0, limit: 1000 }
    }
}

/// How many rejections the operation log keeps. What strangers can cause is bounded by age and number; what a device has
/// signed by number only, device by device, so that no device can push out what is known of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RejectionLimits {
    /// Entries of records whose signature was not known to hold, of each reason.
    pub unsigned_entries: u64,
    /// The time before which such entries go, Unix milliseconds.
    pub unsigned_from_ms: u64,
    /// Entries of records that a device has signed, of each reason and device.
    pub signed_entries: u64,
}

/// The rejections of one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejections {
    /// The reason code.
    pub reason: &'static str,
    /// Entries that are kept.
    pub kept: u64,
    /// Entries that were deleted by this call because there were too many.
    pub pruned_by_number: u64,
    /// Entries that were deleted by this call because they were too old.
    pub pruned_by_age: u64,
}

/// What was ever deleted of the operation log.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// How many entries.
    pub entries: u64,
    /// No entry after this id was deleted.
    pub up_to_id: u64,
}

/// The keys of devices as a key ring. It has no place for revocations: no ledger of ours takes a record under a
/// revoked key.
pub fn key_ring(devices: &[RegisteredDevice]) -> Result<KeyRing, KeyError> {
    let mut ring = KeyRing::new();
    for device in devices {
        for key in &device.keys {
            ring.insert(&device.device_id, key.key)?;
        }
    }
    Ok(ring)
}

/// Where the chains of devices begin that did not begin in this ledger.
pub fn start_heads(devices: &[RegisteredDevice]) -> Heads {
    let starts = devices.iter().filter_map(|device| Some((device.device_id.as_str().into(), device.start?)));
    starts.collect()
}

/// Records in chain order, some thousands at a time.
pub type RecordStream = BoxStream<'static, Result<Vec<AuditRecord>, StoreError>>;

/// Keeps records, heads, device keys and the operation log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Where the ledger is, without secrets.
    fn place(&self) -> &str;

    /// Remarks for people about what is read, and how it is reached; one sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The tables of the transparency log; none if the ledger cannot keep them.
    fn log(&self) -> Option<Arc<dyn LogTables>> {
        None
    }

    /// Whether the ledger can be reached.
    async fn check(&self) -> Result<(), StoreError> {
        self.keys(&[]).await.map(|_| ())
    }

    /// Whether the server of the ledger takes writes, as a standby does not; nothing is written. `None` for a ledger
    /// without a server.
    async fn takes_writes(&self) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }

    /// Ends the connections; whatever is asked for later fails. Without it they end when the ledger is dropped, some
    /// time later. What is under way may finish, within seconds.
    async fn close(&self) {}

    /// Decides and writes one group in one transaction; durable when it returns. The decisions are in the order of
    /// `entries`. Nothing of the group is in the ledger after an error, except that after a lost connection it may
    /// be there as a whole: repeating the call is always safe and then answers `duplicate`.
    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError>;

    /// The registered keys of these devices; unknown devices are left out.
    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError>;

    /// Registers a key: a new device, or another key of a known one from a sequence beyond its head. The same
    /// registration again changes nothing.
    async fn register(&self, registration: &Registration) -> Result<(), Error>;

    /// Revokes every key of a device from its next sequence on, and answers that sequence. Records that are in the
    /// ledger stay valid. A key registered later is not concerned.
    async fn revoke(&self, device_id: &str) -> Result<u64, Error>;

    /// All devices, by device id.
    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError>;

    /// The last link of every chain that has one.
    async fn heads(&self) -> Result<Heads, StoreError>;

    /// Records by device and sequence, as one consistent state of the ledger.
    fn records(&self, filter: &Filter) -> RecordStream;

    /// A page of the operation log.
    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError>;

    /// Deletes the oldest rejections beyond `limits`, at most some ten thousand of a reason, and counts what is left.
    /// Other ledgers than databases keep nothing that could grow.
    async fn prune_rejections(&self, _limits: &RejectionLimits) -> Result<Vec<Rejections>, StoreError> {
        Ok(Vec::new())
    }

    /// Counts the rejections of each reason, of many of them only some hundred thousand.
    async fn count_rejections(&self) -> Result<Vec<Rejections>, StoreError> {
        Ok(Vec::new())
    }

    /// What [`Ledger::prune_rejections`] has ever deleted.
    async fn pruned(&self) -> Result<Pruned, StoreError> {
        Ok(Pruned::default())
    }
}
