//! Payloads in memory: for tests and for measuring everything but the payload store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::Hash;

use super::{PayloadStore, Put, Version};
use crate::error::StoreError;
use crate::ingest::verify::Admitted;

/// Payloads in memory. Nothing here survives the process.
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

    fn refuses(&self, _object_ref: &str) -> Option<String> {
        None
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let record = admitted.record();
        let mut payloads = self.lock();
        Ok(match payloads.get(&record.object_ref) {
            Some(there) if there == admitted.payload() => Put::AlreadyThere,
            Some(there) => Put::Conflict(Hash::of(there)),
            None => {
                payloads.insert(record.object_ref.clone(), admitted.payload().clone());
                Put::Stored
            }
        })
    }

    async fn get(&self, object_ref: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().get(object_ref).cloned())
    }

    async fn exists(&self, object_ref: &str) -> Result<bool, StoreError> {
        Ok(self.lock().contains_key(object_ref))
    }

    async fn versions(&self, object_ref: &str) -> Result<Vec<Version>, StoreError> {
        let versions = self.lock().get(object_ref).map(|payload| Version {
            id: String::new(),
            size_bytes: payload.len() as u64,
            stored_at_ms: 0,
            current: true,
            deleted: false,
        });
        Ok(versions.into_iter().collect())
    }
}
