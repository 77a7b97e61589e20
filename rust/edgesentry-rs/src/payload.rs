//! Payload stores: they keep the bytes that records commit to, under the records' object references.
//!
//! A write is conditional: what is there already is never overwritten, neither by a mistake nor by an attacker.

mod folder;
mod memory;
mod s3;
mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::Hash;
use futures::StreamExt;

use crate::error::StoreError;
use crate::ingest::verify::Admitted;

pub use crate::s3::S3Settings;
pub use folder::Folder;
pub use memory::Memory;
pub use s3::S3;
pub use sqlite::SqlitePayloads;

/// What a conditional write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// The payload is there now, durably.
    Stored,
    /// The same bytes were there already.
    AlreadyThere,
    /// Other bytes are there; they stay.
    Conflict(Hash),
}

/// One version of a payload, in stores that keep versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The store's name of the version; empty in stores without versions.
    pub id: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was stored, Unix milliseconds; 0 where the store does not say.
    pub stored_at_ms: u64,
    /// Whether it is what a plain read returns.
    pub current: bool,
    /// Whether this version says that the object was deleted.
    pub deleted: bool,
}

/// Keeps payloads.
#[async_trait]
pub trait PayloadStore: Send + Sync + 'static {
    /// Where payloads are kept, without secrets.
    fn place(&self) -> &str;

    /// Whether the store can be reached.
    async fn check(&self) -> Result<(), StoreError>;

    /// What is wrong with an object reference that this store cannot keep anything under.
    fn refuses(&self, object_ref: &str) -> Option<String>;

    /// Whether a few large calls of [`PayloadStore::put_many`] cost less than many small ones at once.
    fn prefers_batches(&self) -> bool {
        false
    }

    /// Writes the payload of `admitted` unless something is there already; durable when it returns.
    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError>;

    /// [`PayloadStore::put`] for many, in any order, `concurrency` at a time; results in the order of `admitted`.
    async fn put_many(&self, admitted: &[Admitted], concurrency: usize) -> Vec<Result<Put, StoreError>> {
        // Collected first: a closure over borrowed items would tie the future to one lifetime.
        let puts: Vec<_> = admitted.iter().map(|admitted| self.put(admitted)).collect();
        futures::stream::iter(puts).buffered(concurrency.max(1)).collect().await
    }

    /// The payload; `None` where the store proves that there is none.
    async fn get(&self, object_ref: &str) -> Result<Option<Bytes>, StoreError>;

    /// Whether there is a payload.
    async fn exists(&self, object_ref: &str) -> Result<bool, StoreError>;

    /// The versions of a payload, newest first; at most one in a store without versions.
    async fn versions(&self, object_ref: &str) -> Result<Vec<Version>, StoreError>;
}

/// An admitted record for which a payload store has answered; only [`Stored::new`] makes one.
#[derive(Clone, Debug)]
pub struct Stored {
    admitted: Admitted,
    conflict: Option<Hash>,
}

impl Stored {
    /// What a payload store has answered for a record.
    pub fn new(admitted: Admitted, put: Put) -> Stored {
        let conflict = match put {
            Put::Stored | Put::AlreadyThere => None,
            Put::Conflict(there) => Some(there),
        };
        Stored { admitted, conflict }
    }

    /// The admitted record.
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// The hash of the other bytes that are under its object reference: the record cannot be accepted.
    pub fn conflict(&self) -> Option<Hash> {
        self.conflict
    }
}
