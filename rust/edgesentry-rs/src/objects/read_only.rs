//! A store that is only read.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Object, Objects, Write, Written};
use crate::error::{Component, FailureKind, StoreError};

/// Reads another store, that of a transparency log, and refuses every write that would change it.
#[derive(Clone)]
pub struct ReadOnly {
    objects: Arc<dyn Objects>,
}

impl ReadOnly {
    /// Returns a store that reads `objects`.
    pub fn new(objects: Arc<dyn Objects>) -> ReadOnly {
        ReadOnly { objects }
    }

    fn refused(&self, action: &'static str) -> StoreError {
        StoreError {
            component: Component::TransparencyLog,
            action,
            place: self.place().into(),
            kind: FailureKind::Setup,
            source: Arc::new(std::io::Error::new(
                std::io::ErrorKind::ReadOnlyFilesystem,
                "the store is opened for reading only",
            )),
        }
    }

    /// Returns the result of a write that stores nothing.
    async fn unwritten(&self, key: &str, write: Write) -> Result<Written, StoreError> {
        if write == Write::IfAbsent && self.objects.get(key).await?.is_some() {
            return Ok(Written::Taken);
        }
        Err(self.refused("write an object"))
    }
}

#[async_trait]
impl Objects for ReadOnly {
    fn place(&self) -> &str {
        self.objects.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.objects.check().await
    }

    async fn put(&self, key: &str, _bytes: Bytes, write: Write) -> Result<Written, StoreError> {
        self.unwritten(key, write).await
    }

    async fn put_file(&self, key: &str, _file: &Path, write: Write) -> Result<Written, StoreError> {
        self.unwritten(key, write).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        self.objects.get_at_most(key, most).await
    }

    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError> {
        self.objects.get_file(key, file, most).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.objects.list(prefix).await
    }

    async fn delete(&self, _key: &str) -> Result<(), StoreError> {
        Err(self.refused("delete an object"))
    }
}
