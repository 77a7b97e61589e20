//! Verification under the device keys of the ledger, which are cached and read again if they may be stale.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use backon::Retryable;
use edgesentry_chain::AuditRecord;

use super::chains::Chains;
use super::group::Unit;
use super::limits::{Limits, backoff};

use crate::admission::{
    self, Admitted, DeviceKeys, Registry, Rejection, RejectionCode, Rotation, Submission,
};
use crate::error::StoreError;
use crate::ledger::Ledger;

/// Cached device keys. They may be stale: the ledger compares their version when it appends, and rejections under stale
/// keys are checked again.
pub(super) struct Keys {
    ledger: Arc<dyn Ledger>,
    chains: Arc<Chains>,
    limits: Limits,
    known: Mutex<HashMap<Arc<str>, DeviceKeys>>,
}

impl Keys {
    pub(super) fn new(ledger: Arc<dyn Ledger>, chains: Arc<Chains>, limits: Limits) -> Keys {
        Keys { ledger, chains, limits, known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, DeviceKeys>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if keys of this device are cached.
    pub(super) fn knows(&self, device_id: &str) -> bool {
        self.known().contains_key(device_id)
    }

    /// Drops these keys from the cache.
    pub(super) fn forget<'a>(&self, device_ids: impl IntoIterator<Item = &'a str>) {
        let mut known = self.known();
        for device_id in device_ids {
            known.remove(device_id);
        }
    }

    /// Returns the keys of devices, and the devices whose keys came from the cache.
    async fn of(&self, device_ids: HashSet<Arc<str>>) -> Result<(Registry, HashSet<Arc<str>>), StoreError> {
        let mut registry = Registry::new();
        let mut missing = Vec::new();
        {
            let known = self.known();
            for device_id in device_ids {
                match known.get(&device_id) {
                    Some(keys) => drop(registry.insert(device_id, keys.clone())),
                    None => missing.push(device_id),
                }
            }
        }
        let old = registry.keys().cloned().collect();
        if !missing.is_empty() {
            registry.extend(self.read(&missing).await?);
        }
        Ok((registry, old))
    }

    /// Reads keys, and with them the heads of their chains.
    pub(super) async fn read(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let read = || self.ledger.keys(device_ids);
        let registry = read.retry(backoff(&self.limits)).when(StoreError::is_retryable).await?;
        for (device_id, keys) in &registry {
            self.chains.learn(device_id, keys.head);
        }
        self.known().extend(registry.iter().map(|(device_id, keys)| (Arc::clone(device_id), keys.clone())));
        Ok(registry)
    }
}

/// The result of the verification of a unit.
pub(super) type Verified = Result<Vec<Result<Admitted, Rejection>>, StoreError>;

/// Verifies units as one batch.
pub(super) async fn verify_units(keys: Arc<Keys>, units: Vec<Unit<Submission>>) -> Vec<Verified> {
    let lengths: Vec<usize> = units.iter().map(|unit| unit.items.len()).collect();
    match verify_all(&keys, units.into_iter().flat_map(|unit| unit.items).collect()).await {
        Ok(verified) => {
            let mut verified = verified.into_iter();
            lengths.into_iter().map(|length| Ok(verified.by_ref().take(length).collect())).collect()
        }
        Err(error) => lengths.into_iter().map(|_| Err(error.clone())).collect(),
    }
}

async fn verify_all(keys: &Keys, submissions: Vec<Submission>) -> Verified {
    let device_ids = devices(submissions.iter().map(|submission| &*submission.record));
    let (registry, old) = keys.of(device_ids).await?;
    let payloads: Vec<bytes::Bytes> =
        submissions.iter().map(|submission| submission.payload.clone()).collect();
    let mut verified = admit_elsewhere(submissions, registry, keys.limits.rotation).await;
    // Records that cached keys reject may be valid under the current ones.
    let doubtful = |verified: &Result<Admitted, Rejection>| match verified {
        Err(Rejection { code, record, .. }) => {
            let by_keys =
                [RejectionCode::SignatureInvalid, RejectionCode::KeyNotValidAtSequence].contains(code);
            by_keys && old.contains(record.device_id.as_str())
        }
        Ok(_) => false,
    };
    let places: Vec<usize> = (0..verified.len()).filter(|at| doubtful(&verified[*at])).collect();
    if places.is_empty() {
        return Ok(verified);
    }
    let again: Vec<Submission> = places
        .iter()
        .filter_map(|at| {
            let record = Arc::clone(&verified[*at].as_ref().err()?.record);
            Some(Submission { record, payload: payloads[*at].clone() })
        })
        .collect();
    let device_ids: Vec<Arc<str>> =
        devices(again.iter().map(|submission| &*submission.record)).into_iter().collect();
    let registry = keys.read(&device_ids).await?;
    for (at, anew) in places.into_iter().zip(admit_elsewhere(again, registry, keys.limits.rotation).await) {
        verified[at] = anew;
    }
    Ok(verified)
}

/// Admits on a blocking thread.
async fn admit_elsewhere(
    submissions: Vec<Submission>,
    registry: Registry,
    rotation: Rotation,
) -> Vec<Result<Admitted, Rejection>> {
    match tokio::task::spawn_blocking(move || admission::decide(submissions, &registry, rotation)).await {
        Ok(admitted) => admitted,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn devices<'a>(records: impl Iterator<Item = &'a AuditRecord>) -> HashSet<Arc<str>> {
    let ids: HashSet<&str> = records.map(|record| record.device_id.as_str()).collect();
    // Other ids cannot be registered, and databases refuse them.
    ids.into_iter().filter(|id| admission::is_valid_id(id)).map(Arc::from).collect()
}
