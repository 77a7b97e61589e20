//! Payload stores: they keep the bytes that records commit to.
//!
//! A payload is stored under the name of its record ([`edgesentry_formats::content_path`]): device, sequence and hash.
//! No device can take, block or probe a name of another device through the object references of its records; an object
//! reference is a name for people and other systems.
//!
//! Payloads of earlier releases are under the object references of their records. They are looked up there after the
//! name of the record.
//!
//! A write is conditional: it never overwrites. Other bytes under the name of a record mean a damaged store: an error,
//! not a verdict on the record.

mod folder;
mod memory;
mod pack;
#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(not(feature = "s3"))]
#[path = "payload/s3_absent.rs"]
pub(crate) mod s3;
mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::content_path;
use futures::StreamExt;

use crate::admission::Admitted;
use crate::error::StoreError;
use crate::sqlite::Database;

pub use crate::s3_settings::S3Settings;
pub use folder::{Folder, Layout};
pub use memory::Memory;
pub use pack::Unpacked;
#[cfg(feature = "s3")]
pub use s3::S3;
pub use sqlite::SqlitePayloads;
pub(crate) use sqlite::{has_other_bytes, put_all};

/// The result of a conditional write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Put {
    /// The payload is stored durably.
    Stored,
    /// The store already held it.
    AlreadyThere,
}

/// One version of a payload, in stores that keep versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The name under which the store keeps it.
    pub key: String,
    /// The store's name of the version; empty in stores without versions.
    pub id: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was stored, Unix milliseconds; 0 if the store does not report it.
    pub stored_at_ms: u64,
    /// True if a plain read of the key returns it.
    pub current: bool,
    /// True if this version marks the deletion of the object.
    pub deleted: bool,
}

/// The rest of a payload after [`PayloadStore::erase`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Leftovers {
    /// The versions that the store keeps, because Object Lock forbids their deletion.
    pub locked: Vec<Locked>,
}

/// A version that Object Lock keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Locked {
    /// The version.
    pub version: Version,
    /// When its retention ends, Unix milliseconds; `None` under a legal hold, which has no end.
    pub until_ms: Option<u64>,
}

/// Stores payloads.
#[async_trait]
pub trait PayloadStore: Send + Sync + 'static {
    /// Returns the location of the payloads, without secrets.
    fn place(&self) -> &str;

    /// Checks that the store can be reached.
    async fn check(&self) -> Result<(), StoreError>;

    /// Returns true if a few large calls of [`PayloadStore::put_many`] cost less than many small concurrent ones.
    fn prefers_batches(&self) -> bool {
        false
    }

    /// Returns the database of an embedded ledger that has these payloads, if they are in one.
    fn database(&self) -> Option<&Database> {
        None
    }

    /// Like [`PayloadStore::check`], and reads what a store keeps about its payloads; a store that is open for writing
    /// repairs it.
    async fn examine(&self) -> Result<(), StoreError> {
        self.check().await
    }

    /// Writes the payload of `admitted` unless the store holds it; durable when it returns. An error of kind
    /// [`FailureKind::Item`](crate::FailureKind::Item) means that the store can never keep this payload.
    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError>;

    /// Calls [`PayloadStore::put`] for many, in any order, `concurrency` at a time; results in the order of `admitted`.
    async fn put_many(&self, admitted: &[Admitted], concurrency: usize) -> Vec<Result<Put, StoreError>> {
        // Collected first: a closure over borrowed items would tie the future to one lifetime.
        let puts: Vec<_> = admitted.iter().map(|admitted| self.put(admitted)).collect();
        futures::stream::iter(puts).buffered(concurrency.max(1)).collect().await
    }

    /// Removes the payload that [`PayloadStore::put`] has just stored for a record that the ledger then rejected, if the
    /// store can tell that no other record relies on it. A store may keep it.
    async fn discard(&self, record: &AuditRecord) -> Result<(), StoreError> {
        let _ = record;
        Ok(())
    }

    /// Returns the payload of a record: the bytes that it commits to if the store has them, else other bytes in their
    /// place; `None` if the store proves that there are none.
    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError>;

    /// Returns the versions of a payload, those under the name of the record first, newest first; at most one per name
    /// in a store without versions.
    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError>;

    /// Returns the names under which the payload of a record may be: its own, then that of earlier releases, if there is
    /// one.
    fn names(&self, record: &AuditRecord) -> Vec<String> {
        vec![content_path(record)]
    }

    /// Deletes a payload for good under one of its [`PayloadStore::names`]; durable when it returns, and repeatable.
    ///
    /// Everything under the record's own name goes, with delete markers. Under another name only versions with the bytes
    /// of the record go: object references are chosen by devices, and others may refer to the rest.
    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError>;
}

/// An admitted record whose payload is stored, or will be in the same transaction as the record.
#[derive(Clone, Debug)]
pub struct Stored {
    admitted: Admitted,
    is_with_record: bool,
}

impl Stored {
    /// Creates a stored record from the result of a payload store.
    pub fn new(admitted: Admitted, _answer: Put) -> Stored {
        Stored { admitted, is_with_record: false }
    }

    /// Creates a record whose payload the ledger stores with it. The ledger must have the payload store, see
    /// [`Ledger::stores_payloads`](crate::ledger::Ledger::stores_payloads).
    pub(crate) fn with_record(admitted: Admitted) -> Stored {
        Stored { admitted, is_with_record: true }
    }

    /// Returns the same record, admitted again.
    pub(crate) fn readmitted(&self, admitted: Admitted) -> Stored {
        Stored { admitted, is_with_record: self.is_with_record }
    }

    /// Returns true if the ledger stores the payload with the record.
    pub(crate) fn is_with_record(&self) -> bool {
        self.is_with_record
    }

    /// Returns the admitted record.
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }
}

/// Returns true if a record commits to these bytes.
fn is_of(record: &AuditRecord, payload: &[u8]) -> bool {
    Hash::of(payload) == record.payload_hash
}

/// Returns the problem of a store that has other bytes under the name of a record.
fn damaged(key: &str) -> String {
    format!(
        "{key} does not have the hash in its name: the store is damaged or was changed; keep the object as evidence \
         and move it away"
    )
}
