//! Payloads in memory: for tests and for measurements without a payload store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::content_path;

use super::{Leftovers, PayloadStore, Put, Version};
use crate::admission::Admitted;
use crate::error::StoreError;

/// Payloads in memory. They do not survive the process.
#[derive(Debug, Default)]
pub struct Memory {
    payloads: Mutex<HashMap<String, Bytes>>,
}

impl Memory {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Bytes>> {
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PayloadStore for Memory {
    fn place(&self) -> &str {
        "memory"
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let there = self.lock().insert(content_path(admitted.record()), admitted.payload().clone());
        Ok(if there.is_some() { Put::AlreadyThere } else { Put::Stored })
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().get(&content_path(record)).cloned())
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        let key = content_path(record);
        let size = self.lock().get(&key).map(|payload| payload.len() as u64);
        let version = |size_bytes| Version {
            key,
            id: String::new(),
            size_bytes,
            stored_at_ms: 0,
            current: true,
            deleted: false,
        };
        Ok(size.map(version).into_iter().collect())
    }

    async fn erase(&self, _: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        self.lock().remove(name);
        Ok(Leftovers::default())
    }
}
