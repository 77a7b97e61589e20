//! The two transactions that write the chains: appending a group, and registering a key. They are the same for every
//! database; [`Dialect`] has the statements that differ.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Transaction;

use super::change::{self, Change};
use super::plan::{self, Chains, Held, LogRow, Plan};
use super::{AppendError, Decision, Entry, RegisteredDevice, Registration};
use crate::error::{Component, Error};
use crate::sql::failed;
use crate::telemetry::metrics::timing_operation_log;

/// The statements of one database, on a connection that is in a transaction.
#[async_trait]
pub(super) trait Dialect: Send {
    /// Locks the heads of these devices, in the order given, until the transaction ends.
    async fn lock(&mut self, device_ids: Vec<String>) -> Result<Chains, sqlx::Error>;

    /// The hashes of the records at these devices and sequences, as far as there are some.
    async fn held(&mut self, places: &[(&str, u64)]) -> Result<Held, sqlx::Error>;

    /// Inserts the accepted records and moves the heads.
    async fn write_records(&mut self, plan: &Plan<'_>) -> Result<(), sqlx::Error>;

    /// Inserts into the operation log.
    async fn write_log(&mut self, rows: &[LogRow]) -> Result<(), sqlx::Error>;

    /// Locks the head of a device, if it has one, and reads the device.
    async fn lock_device(&mut self, device_id: &str) -> Result<Option<RegisteredDevice>, sqlx::Error>;

    /// A device that has the key of `registration` under the other scheme. Until the transaction ends no other key is
    /// registered.
    async fn other_scheme(&mut self, registration: &Registration) -> Result<Option<String>, sqlx::Error>;

    /// Writes a registration.
    async fn write_registration(
        &mut self,
        registration: &Registration,
        change: Change,
    ) -> Result<(), sqlx::Error>;
}

/// Decides and writes a group, and commits it: under the lock on the heads every record is compared with its chain, so no
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
        return Err(AppendError::KeysChanged);
    }
    let behind = plan::behind_heads(entries, &chains);
    let held = transaction.held(&behind).await.map_err(ledger("read records"))?;
    let plan = plan::plan(entries, chains, held);
    transaction.write_records(&plan).await.map_err(ledger("append to the ledger"))?;
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
    transaction.write_registration(registration, change).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    Ok(())
}
