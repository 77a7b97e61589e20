//! The transactions that write the chains: appending a group, registering a key, and revoking the keys of a device.
//! They are the same for every database; [`Dialect`] has the statements that differ.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{Hash, Head, RingKey};
use sqlx::Transaction;

use super::change::{self, Change};
use super::plan::{self, Chains, Held, LogRow, Plan};
use super::{AppendError, Decision, Entry, RegisteredDevice, Registration, RevocationReason};
use crate::admission::Admitted;
use crate::error::{Component, Error};
use crate::payload;
use crate::sql::failed;
use crate::telemetry::metrics::timing_operation_log;

/// The statements of one database, on a connection that is in a transaction.
#[async_trait]
pub(super) trait Dialect: Send {
    /// Locks the heads of these devices, in the order given, until the transaction ends.
    async fn lock(&mut self, device_ids: Vec<String>) -> Result<Chains, sqlx::Error>;

    /// Returns the hashes of the records at these devices and sequences, if they exist.
    async fn held(&mut self, places: &[(&str, u64)]) -> Result<Held, sqlx::Error>;

    /// Stores payloads that the ledger stores with their records; returns false for each whose place has other bytes.
    async fn write_payloads(&mut self, admitted: &[&Admitted]) -> Result<Vec<bool>, sqlx::Error>;

    /// Inserts the accepted records and moves the heads.
    async fn write_records(&mut self, plan: &Plan<'_>) -> Result<(), sqlx::Error>;

    /// Inserts into the operation log.
    async fn write_log(&mut self, rows: &[LogRow]) -> Result<(), sqlx::Error>;

    /// Locks the head of a device, if it has one, and reads the device.
    async fn lock_device(&mut self, device_id: &str) -> Result<Option<RegisteredDevice>, sqlx::Error>;

    /// Returns those of the keys that a device has, or has had. No other key can be registered until the transaction ends.
    async fn registered_keys(&mut self, keys: &[RingKey]) -> Result<HashSet<[u8; 32]>, sqlx::Error>;

    /// Returns a device that has the key of `registration` under the other scheme. No other key can be registered until
    /// the transaction ends.
    async fn other_scheme(&mut self, registration: &Registration) -> Result<Option<String>, sqlx::Error>;

    /// Inserts the head of a new device.
    async fn write_head(&mut self, device_id: &str, start: Head) -> Result<(), sqlx::Error>;

    /// Inserts a key, replacing one that begins at the same sequence.
    async fn write_key(&mut self, device_id: &str, key: RingKey) -> Result<(), sqlx::Error>;

    /// Increments the version of a device's keys, locks its head, and returns the next sequence of its chain; none if
    /// there is no such device.
    async fn count_change_of_keys(&mut self, device_id: &str) -> Result<Option<i64>, sqlx::Error>;

    /// Revokes the keys of a device that are not revoked yet, from a sequence on.
    async fn revoke_keys(&mut self, device_id: &str, from: i64) -> Result<(), sqlx::Error>;

    /// Keeps the reason of a revocation; the last one at a sequence counts.
    async fn write_revocation(
        &mut self,
        device_id: &str,
        from: i64,
        reason: RevocationReason,
    ) -> Result<(), sqlx::Error>;
}

/// Decides, writes and commits a group: under the lock on the heads every record is compared with its chain, so no
/// chain ever forks.
pub(super) async fn append<DB>(
    mut transaction: Transaction<'_, DB>,
    place: &Arc<str>,
    entries: &[Entry],
) -> Result<Vec<Decision>, AppendError>
where
    DB: sqlx::Database,
    DB::Connection: Dialect,
{
    let ledger = |action| failed(place, Component::AuditLedger, action);
    let chains = transaction.lock(plan::devices(entries)).await.map_err(ledger("lock the heads"))?;
    if !plan::keys_are_current(entries, &chains) {
        // Now, and not when the connection is returned: the pool would wait for the response without a timeout.
        transaction.rollback().await.map_err(ledger("end a transaction"))?;
        return Err(AppendError::KeysChanged);
    }
    let behind = plan::behind_heads(entries, &chains);
    let held = transaction.held(&behind).await.map_err(ledger("read records"))?;
    let new_keys = plan::new_keys(entries);
    let taken = match new_keys.is_empty() {
        true => HashSet::new(),
        false => transaction.registered_keys(&new_keys).await.map_err(ledger("read device keys"))?,
    };
    let plan = plan::plan(entries, chains, held, taken);
    let with_records = plan.accepted.iter().filter(|stored| stored.is_with_record());
    let with_records: Vec<&Admitted> = with_records.map(|stored| stored.admitted()).collect();
    if !with_records.is_empty() {
        let payloads = failed(place, Component::RawDataStore, "store payloads");
        let written = transaction.write_payloads(&with_records).await.map_err(payloads)?;
        if let Some((admitted, _)) = with_records.iter().zip(written).find(|(_, is_written)| !is_written) {
            return Err(payload::has_other_bytes(place, admitted.record()).into());
        }
    }
    transaction.write_records(&plan).await.map_err(ledger("append to the ledger"))?;
    for (device_id, key) in &plan.keys {
        transaction.count_change_of_keys(device_id).await.map_err(ledger("register a key"))?;
        transaction.write_key(device_id, *key).await.map_err(ledger("register a key"))?;
    }
    let log_failed = failed(place, Component::OperationLog, "write the operation log");
    timing_operation_log(transaction.write_log(&plan.log)).await.map_err(log_failed)?;
    transaction.commit().await.map_err(ledger("commit to the ledger"))?;
    Ok(plan.decisions)
}

/// Decides and writes a checked registration, and commits it.
pub(super) async fn register<DB>(
    mut transaction: Transaction<'_, DB>,
    place: &Arc<str>,
    registration: &Registration,
) -> Result<(), Error>
where
    DB: sqlx::Database,
    DB::Connection: Dialect,
{
    let failed = || failed(place, Component::AuditLedger, "register a device");
    let known = transaction.lock_device(&registration.device_id).await.map_err(failed())?;
    let change = change::change(registration, known.as_ref())?;
    if change != Change::Nothing {
        let other = transaction.other_scheme(registration).await.map_err(failed())?;
        change::check_scheme(registration, other)?;
    }
    let Registration { device_id, start, .. } = registration;
    let key = match change {
        Change::Nothing => None,
        Change::NewDevice(key) => {
            let start = start.unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
            transaction.write_head(device_id, start).await.map_err(failed())?;
            Some(key)
        }
        Change::Key(key) => {
            transaction.count_change_of_keys(device_id).await.map_err(failed())?;
            Some(key)
        }
    };
    if let Some(key) = key {
        transaction.write_key(device_id, key).await.map_err(failed())?;
    }
    transaction.commit().await.map_err(failed())?;
    Ok(())
}

/// Revokes every key of a device from its next sequence on, commits, and returns that sequence.
pub(super) async fn revoke<DB>(
    mut transaction: Transaction<'_, DB>,
    place: &Arc<str>,
    device_id: &str,
    reason: RevocationReason,
) -> Result<u64, Error>
where
    DB: sqlx::Database,
    DB::Connection: Dialect,
{
    let failed = || failed(place, Component::AuditLedger, "revoke the keys of a device");
    let next = transaction.count_change_of_keys(device_id).await.map_err(failed())?;
    let next = next.ok_or_else(|| change::unknown(device_id))?;
    transaction.revoke_keys(device_id, next).await.map_err(failed())?;
    transaction.write_revocation(device_id, next, reason).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    Ok(next.cast_unsigned())
}
