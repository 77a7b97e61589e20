//! Ledgers: the durable store of records, heads, device keys and the operation log.
//!
//! A ledger writes whole groups of decisions in one transaction ([`Ledger::append`]). Inside it, under a lock on the
//! heads of the devices concerned, every record is compared with its chain; so any number of threads, tasks and
//! processes may append at once, and no chain ever forks.

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
mod revocation;
mod rows;
mod sqlite;
mod stream;
mod views;

/// The most records, or entries of the operation log, in one response of a service (docs/reference/http.md).
pub const MAX_PAGE: u32 = 10_000;

use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Head, Heads, KeyError, KeyRing, PublicKey, Scheme};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::admission::{Admitted, Outcome, OutcomeKind, RegisteredKey, Registry, Rejection};
use crate::error::{Error, StoreError};
use crate::payload::{PayloadStore, Stored};

pub use location::{Location, PostgresUrl};
pub(crate) use log::MAX_COSIGNED;
pub(crate) use log::listed_erasures;
pub use log::{
    BatchLeaves, BatchRow, BatchStep, CheckpointRow, Conflicts, CosignatureRow, ErasureQuery, ErasureRow,
    ErasureSelection, ErasureStep, EvidenceRow, LOG_CONFLICT, Leader, LogCosignatures, LogErasures,
    LogPositions, LogState, LogTables, LogTablesError, LogTimestamps, MAX_EVIDENCE_PER_KIND,
    MAX_REASON_BYTES, NewBatch, NewEvidence, OBJECT_LOCK_KEEPS, OpenErasures, Replaced, RestoredBatch,
    TimestampRow, WitnessAccess, WitnessTables, WitnessedChange, WitnessedRow, open_witness,
};
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
pub use postgres_settings::PostgresSettings;
pub use revocation::{Revocation, RevocationReason, UnknownReason, revocation_reason};
pub use sqlite::Sqlite;
pub use views::{
    COUNTED_DEVICES, Census, DeviceQuery, DeviceRow, EntryQuery, LedgerViews, Needle, Part, RecordRow,
    SCANNED_DEVICES, SCANNED_ENTRIES, SCANNED_RECORDS,
};

/// The most devices that [`Ledger::devices_with_key`] returns.
const MAX_DEVICES_WITH_KEY: usize = 100;

/// The tables that identify a ledger.
const TABLES: [&str; 4] = ["audit_records", "chain_heads", "devices", "operation_logs"];

/// One entry of a group. Exhaustive: a ledger must decide about each kind.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record that passed admission and whose payload is stored: the ledger decides whether it continues its chain.
    Record(Stored),
    /// A record that passed admission and does not seem to continue its chain, so that its payload is not stored: the
    /// ledger decides it in the same way, but does not accept it without its payload.
    Doubtful(Admitted),
    /// A record that was already rejected: for the operation log only.
    Rejected(Rejection),
}

impl Entry {
    /// Returns the record and its payload, if admission has passed it.
    pub fn admitted(&self) -> Option<&Admitted> {
        match self {
            Entry::Record(stored) => Some(stored.admitted()),
            Entry::Doubtful(admitted) => Some(admitted),
            Entry::Rejected(_) => None,
        }
    }
}

/// The decision of a ledger on an entry. Exhaustive: no decision may be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is decided, and the decision is in the operation log.
    Decided(Outcome),
    /// Nothing is decided or written: a doubtful entry does continue its chain, or the entry is behind one that does.
    /// Append it again, as a record, after storing its payload.
    PayloadWanted,
}

/// Why a group was not appended; the ledger holds nothing of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Keys of a device have changed since its records were admitted: admit them again.
    #[error("device keys have changed since the records were admitted")]
    KeysChanged,
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A selection of records; the default is all.
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
    /// The `timestamp_ms` before which the records are.
    pub before_ms: Option<u64>,
}

/// A part of the records of a [`Filter`], in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Device and sequence of the last record of the page before.
    pub after: Option<(String, u64)>,
    /// At most so many records.
    pub limit: u32,
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
    /// The link after which the ledger begins, if that is not the beginning of the chain.
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
    /// The sequence; none if it is out of range.
    pub sequence: Option<u64>,
    /// The decision.
    pub outcome: OutcomeKind,
    /// The reason code of a rejection.
    pub reason: Option<String>,
    /// The record hash.
    pub record_hash: edgesentry_chain::Hash,
    /// What the failed check expected.
    pub expected: Option<String>,
    /// What the check found.
    pub actual: Option<String>,
    /// The canonical bytes of a rejected record, unless they are too large.
    pub evidence: Option<Vec<u8>>,
}

/// A selection of entries of the operation log, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogQuery {
    /// Only this device.
    pub device_id: Option<String>,
    /// Only this outcome.
    pub outcome: Option<OutcomeKind>,
    /// Only this reason code.
    pub reason: Option<String>,
    /// Only entries after this id: the last one of the previous page.
    pub after_id: u64,
    /// Only entries from this time on, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// The last entries instead of the first ones, in the same order.
    pub newest: bool,
    /// The maximum number of entries.
    pub limit: u32,
}

impl LogQuery {
    /// Returns the entries of a database in the order of their ids.
    pub(crate) fn in_order(&self, mut entries: Vec<LogEntry>) -> Vec<LogEntry> {
        if self.newest {
            entries.reverse();
        }
        entries
    }
}

impl Default for LogQuery {
    fn default() -> LogQuery {
        LogQuery {
            device_id: None,
            outcome: None,
            reason: None,
            after_id: 0,
            since_ms: None,
            newest: false,
            limit: 1000,
        }
    }
}

/// Retention of rejections in the operation log. Rejections that an attacker can cause are limited by age and number;
/// those of signed records by number only, for each device, so that no device can displace the entries of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RejectionLimits {
    /// Entries of records without a verified signature, for each reason.
    pub unsigned_entries: u64,
    /// The time before which such entries are deleted, Unix milliseconds.
    pub unsigned_from_ms: u64,
    /// Entries of records that a device has signed, for each reason and device.
    pub signed_entries: u64,
}

/// The rejections of one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejections {
    /// The reason code.
    pub reason: &'static str,
    /// Entries that remain.
    pub kept: u64,
    /// Entries that this call deleted because there were too many.
    pub pruned_by_number: u64,
    /// Entries that this call deleted because they were too old.
    pub pruned_by_age: u64,
}

/// All deletions from the operation log so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// The number of deleted entries.
    pub entries: u64,
    /// No entry after this id was deleted.
    pub up_to_id: u64,
}

/// Returns the keys of devices as a key ring. It omits revocations: our ledgers accept no record under a revoked key.
///
/// # Errors
/// Keys of two devices are in conflict, which no ledger of ours registers.
pub fn key_ring(devices: &[RegisteredDevice]) -> Result<KeyRing, KeyError> {
    let mut ring = KeyRing::new();
    for device in devices {
        for key in &device.keys {
            ring.insert(&device.device_id, key.key)?;
        }
    }
    Ok(ring)
}

/// Returns the start heads of devices whose chains did not begin in this ledger.
pub fn start_heads(devices: &[RegisteredDevice]) -> Heads {
    let starts = devices.iter().filter_map(|device| Some((device.device_id.as_str().into(), device.start?)));
    starts.collect()
}

/// Records in chain order, some thousands at a time.
pub type RecordStream = BoxStream<'static, Result<Vec<AuditRecord>, StoreError>>;

/// Stores records, heads, device keys and the operation log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Returns the location of the ledger, without secrets.
    fn place(&self) -> &str;

    /// Returns notes for users about reads and the connection; one sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the tables of the transparency log; none if the ledger cannot keep them.
    fn log(&self) -> Option<Arc<dyn LogTables>> {
        None
    }

    /// Returns the views for people; none if the ledger has none.
    fn views(&self) -> Option<Arc<dyn LedgerViews>> {
        None
    }

    /// Checks that the ledger can be reached.
    async fn check(&self) -> Result<(), StoreError> {
        self.keys(&[]).await.map(|_| ())
    }

    /// Returns true if the ledger's server accepts writes, which a standby does not; writes nothing. `None` for a
    /// ledger without a server.
    async fn takes_writes(&self) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }

    /// Closes the connections; later calls fail. Without it they close some time after the ledger is dropped.
    /// Operations in progress may finish, within seconds.
    async fn close(&self) {}

    /// Returns true if this ledger has the payloads of `store`. It then stores the payload of a record in the transaction of
    /// the record, and nothing calls [`PayloadStore::put`] before.
    fn stores_payloads(&self, _store: &dyn PayloadStore) -> bool {
        false
    }

    /// Decides and writes one group in one transaction; durable when it returns. The decisions are in the order of
    /// `entries`. The ledger holds nothing of the group after an error, except that after a lost connection it may hold
    /// all of it: repeating the call is always safe and then returns `duplicate`.
    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError>;

    /// Returns how many groups of different devices are best appended at once.
    fn concurrent_appends(&self) -> usize {
        1
    }

    /// Returns the registered keys of these devices; omits unknown devices.
    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError>;

    /// Registers a key: a new device, or another key of a known one from a sequence beyond its head. The same
    /// registration again changes nothing.
    async fn register(&self, registration: &Registration) -> Result<(), Error>;

    /// Returns the devices that have or had a key, by device id, at most a hundred. More than one is allowed, for example on
    /// a test bench, and each of them can sign in the name of the others.
    async fn devices_with_key(&self, key: &PublicKey) -> Result<Vec<String>, StoreError> {
        let has_key = |device: &RegisteredDevice| device.keys.iter().any(|known| known.key.key == *key);
        let devices = self.devices().await?.into_iter().filter(has_key);
        Ok(devices.map(|device| device.device_id).take(MAX_DEVICES_WITH_KEY).collect())
    }

    /// Revokes every key of a device from its next sequence on, and returns that sequence. Records in the ledger stay
    /// valid, and keys registered later are not affected.
    async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error>;

    /// Revokes every key of a device without a reason, see [`Ledger::revoke_for`].
    async fn revoke(&self, device_id: &str) -> Result<u64, Error> {
        self.revoke_for(device_id, RevocationReason::Unspecified).await
    }

    /// Returns the revocations with their reasons, by device and sequence; none from a ledger of an earlier release.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns all devices, by device id.
    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError>;

    /// Returns the last link of every chain that has one.
    async fn heads(&self) -> Result<Heads, StoreError>;

    /// Returns records by device and sequence, from one consistent state of the ledger.
    fn records(&self, filter: &Filter) -> RecordStream;

    /// Returns the records of a page, from one consistent state of the ledger, with a single query.
    fn page(&self, filter: &Filter, page: &Page) -> RecordStream;

    /// Returns a page of the operation log.
    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError>;

    /// Deletes the oldest rejections beyond `limits`, at most some ten thousand per reason, and counts the rest.
    /// Ledgers other than databases store nothing that could grow.
    async fn prune_rejections(&self, _limits: &RejectionLimits) -> Result<Vec<Rejections>, StoreError> {
        Ok(Vec::new())
    }

    /// Counts the rejections of each reason, up to some hundred thousand.
    async fn count_rejections(&self) -> Result<Vec<Rejections>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns all deletions of [`Ledger::prune_rejections`] so far.
    async fn pruned(&self) -> Result<Pruned, StoreError> {
        Ok(Pruned::default())
    }
}
