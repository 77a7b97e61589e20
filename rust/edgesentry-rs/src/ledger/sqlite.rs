//! A ledger in an embedded database file.

mod rows;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{Head, Heads};
use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::change::{self, Change};
use super::plan::{self, Chains, Held, Locked, LogRow, Plan, hash};
use super::stream::{self, CHUNK};
use super::{
    AppendError, Decision, Entry, Filter, Ledger, LogEntry, LogQuery, Pruned, RecordStream, RegisteredDevice,
    Registration, RejectionLimits, Rejections, prune,
};
use crate::clock::now_ms;
use crate::error::{Component, Error, StoreError};
use crate::ingest::verify::{Registry, RejectionCode};
use crate::payload::{SqlitePayloads, Stored};
use crate::sql::failed;
use crate::sqlite::{Database, Schema, insert};
use crate::telemetry::metrics::timing_operation_log;

static SCHEMA: Schema = Schema {
    name: "ledger",
    tables: &super::TABLES,
    migrations: &[
        (1, "ledger", include_str!("../../migrations/sqlite/0001_ledger.sql")),
        (2, "record payloads", include_str!("../../migrations/sqlite/0002_record_payloads.sql")),
    ],
};

/// The embedded ledger: one file, beside it a write-ahead log while it is open. Several processes may use the file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Arc<Database>,
}

impl Sqlite {
    /// Opens the file, creating it if it is missing. A file that holds other tables is an error, and stays as it is.
    pub async fn open(path: &Path) -> Result<Sqlite, Error> {
        Sqlite::open_or(path, true).await
    }

    /// Opens the file, which must exist and hold a ledger.
    pub async fn open_existing(path: &Path) -> Result<Sqlite, Error> {
        Sqlite::open_or(path, false).await
    }

    /// Opens the file for reading: neither the file nor anything beside it is changed, migrated or locked against
    /// those who write. A write-ahead log beside it is part of what is read; [`Ledger::notes`] says
    /// so.
    pub async fn read(path: &Path) -> Result<Sqlite, Error> {
        let database = Database::read(path, Component::AuditLedger, &SCHEMA).await?;
        Ok(Sqlite { database: Arc::new(database) })
    }

    async fn open_or(path: &Path, create: bool) -> Result<Sqlite, Error> {
        let database = Database::open(path, Component::AuditLedger, create, &SCHEMA).await?;
        Ok(Sqlite { database: Arc::new(database) })
    }

    /// The payload store in the same file.
    pub fn payloads(&self) -> SqlitePayloads {
        SqlitePayloads::new(Arc::clone(&self.database))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::AuditLedger, action)
    }

    async fn registered(&self, device_id: Option<&str>) -> Result<Vec<RegisteredDevice>, StoreError> {
        let mut reader = self.database.reader().await.map_err(self.failed("read the devices"))?;
        let devices = devices(&mut reader, device_id).await;
        self.database.unchanged(devices).map_err(self.failed("read the devices"))
    }

    /// Deletes and counts the rejections of one reason, in one transaction.
    async fn prune_reason(
        &self,
        code: RejectionCode,
        limits: &RejectionLimits,
    ) -> Result<Rejections, StoreError> {
        let failed = || failed(&self.database.place, Component::OperationLog, "prune the operation log");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        let counts = prune::prune(&mut *transaction, code, limits).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(counts)
    }
}

#[async_trait]
impl Ledger for Sqlite {
    fn place(&self) -> &str {
        &self.database.place
    }

    fn notes(&self) -> Vec<String> {
        self.database.note().into_iter().collect()
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        let mut writer = self.database.writer().await.map_err(self.failed("begin a transaction"))?;
        let mut transaction =
            writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed("begin a transaction"))?;
        let chains = lock(&mut transaction, entries).await.map_err(self.failed("read the heads"))?;
        if !plan::keys_are_current(entries, &chains) {
            return Err(AppendError::KeysChanged);
        }
        let held = held(&mut transaction, entries, &chains).await.map_err(self.failed("read records"))?;
        let plan = plan::plan(entries, chains, held);
        write_records(&mut transaction, &plan).await.map_err(self.failed("append to the ledger"))?;
        let log_failed = failed(&self.database.place, Component::OperationLog, "write the operation log");
        timing_operation_log(write_log(&mut transaction, &plan.log)).await.map_err(log_failed)?;
        transaction.commit().await.map_err(self.failed("commit to the ledger"))?;
        Ok(plan.decisions)
    }

    async fn close(&self) {
        self.database.close().await;
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let names = serde_json::json!(device_ids.iter().map(|id| &**id).collect::<Vec<_>>()).to_string();
        let columns = rows::columns(&rows::KEYS);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM json_each(?) j JOIN chain_heads h ON h.device_id = j.value
             JOIN devices d ON d.device_id = h.device_id ORDER BY d.device_id, d.valid_from",
        )))
        .bind(names)
        .fetch_all(&self.database.readers)
        .await;
        let decoded = rows.and_then(|rows| rows.iter().map(rows::keys).collect::<Result<Vec<_>, _>>());
        let decoded = self.database.unchanged(decoded).map_err(self.failed("read device keys"))?;
        Ok(stream::registry(decoded))
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        change::check(registration)?;
        let failed = || self.failed("register a device");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        let known = devices(&mut transaction, Some(&registration.device_id)).await.map_err(failed())?;
        let change = change::change(registration, known.first())?;
        if change != Change::Nothing {
            let other = other_scheme(&mut transaction, registration).await.map_err(failed())?;
            change::check_scheme(registration, other)?;
        }
        write_registration(&mut transaction, registration, change).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(())
    }

    async fn revoke(&self, device_id: &str) -> Result<u64, Error> {
        let failed = || self.failed("revoke the keys of a device");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        let next: Option<i64> =
            sqlx::query_scalar("UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = ? RETURNING sequence + 1")
                .bind(device_id)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed())?;
        let Some(next) = next else { return Err(change::unknown(device_id)) };
        sqlx::query("UPDATE devices SET revoked_from = ? WHERE device_id = ? AND revoked_from IS NULL")
            .bind(next)
            .bind(device_id)
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(next.cast_unsigned())
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        self.registered(None).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let columns = rows::columns(&rows::HEAD);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM chain_heads h WHERE sequence > start_sequence",
        )))
        .fetch_all(&self.database.readers)
        .await;
        let decoded = rows.and_then(|rows| rows.iter().map(rows::head).collect());
        self.database.unchanged(decoded).map_err(self.failed("read the heads"))
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        let (database, filter) = (Arc::clone(&self.database), filter.clone());
        let reading = failed(&database.place, Component::AuditLedger, "read records");
        stream::spawn(move |sender| async move {
            let columns = rows::columns(&rows::RECORD);
            let sql =
                format!("SELECT {columns} FROM audit_records WHERE {FILTER} ORDER BY device_id, sequence");
            let names = (!filter.devices.is_empty()).then(|| serde_json::json!(filter.devices).to_string());
            let read = async {
                let mut found = sqlx::query(AssertSqlSafe(sql))
                    .bind(names)
                    .bind(stream::column(filter.from_sequence, 0))
                    .bind(stream::column(filter.to_sequence, u64::MAX))
                    .bind(stream::column(filter.from_ms, 0))
                    .bind(stream::column(filter.before_ms.map(|ms| ms.saturating_sub(1)), u64::MAX))
                    .bind(filter.before_ms == Some(0))
                    .fetch(&database.readers);
                let mut chunk = Vec::with_capacity(CHUNK);
                while let Some(row) = found.try_next().await? {
                    chunk.push(rows::record(&row)?);
                    if chunk.len() == CHUNK {
                        let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                        database.unchanged(Ok(()))?;
                        if sender.send(Ok(full)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                database.unchanged(Ok(()))?;
                if !chunk.is_empty() {
                    // A receiver that has gone away wants nothing.
                    let _ = sender.send(Ok(chunk)).await;
                }
                Ok(())
            };
            if let Err(error) = read.await {
                // Damage that is none: rows that were read while the file was written.
                let error = database.unchanged::<()>(Err(error)).err().unwrap_or(sqlx::Error::WorkerCrashed);
                let _ = sender.send(Err(reading(error))).await;
            }
        })
    }

    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let columns = rows::columns(&rows::LOG);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM operation_logs WHERE id > ?1 AND (?2 IS NULL OR device_id = ?2) AND (?3 IS NULL OR outcome = ?3)
             AND (?4 IS NULL OR reason = ?4) ORDER BY id LIMIT ?5",
        )))
        .bind(stream::column(Some(query.after_id), 0))
        .bind(query.device_id.as_deref())
        .bind(query.outcome.as_deref())
        .bind(query.reason.as_deref())
        .bind(i64::from(query.limit))
        .fetch_all(&self.database.readers)
        .await;
        let decoded = rows.and_then(|rows| rows.iter().map(rows::log_entry).collect());
        let reading = failed(&self.database.place, Component::OperationLog, "read the operation log");
        self.database.unchanged(decoded).map_err(reading)
    }

    async fn prune_rejections(&self, limits: &RejectionLimits) -> Result<Vec<Rejections>, StoreError> {
        let mut counts = Vec::with_capacity(RejectionCode::ALL.len());
        for code in RejectionCode::ALL {
            counts.push(self.prune_reason(code, limits).await?);
        }
        Ok(counts)
    }

    async fn count_rejections(&self) -> Result<Vec<Rejections>, StoreError> {
        let failed = || failed(&self.database.place, Component::OperationLog, "read the operation log");
        let mut reader = self.database.reader().await.map_err(failed())?;
        let mut counts = Vec::with_capacity(RejectionCode::ALL.len());
        for code in RejectionCode::ALL {
            let count = prune::count(&mut *reader, code).await;
            counts.push(self.database.unchanged(count).map_err(failed())?);
        }
        Ok(counts)
    }

    async fn pruned(&self) -> Result<Pruned, StoreError> {
        let row = sqlx::query(
            "SELECT CAST(coalesce(sum(entries), 0) AS bigint), coalesce(max(up_to_id), 0) FROM pruned_rejections",
        )
        .fetch_one(&self.database.readers)
        .await;
        let pruned = row.and_then(|row| {
            Ok(Pruned {
                entries: row.try_get::<i64, _>(0)?.cast_unsigned(),
                up_to_id: row.try_get::<i64, _>(1)?.cast_unsigned(),
            })
        });
        match pruned {
            // A ledger that is only read may be as an earlier release left it, or grant nothing on this table.
            Err(sqlx::Error::Database(_)) => Ok(Pruned::default()),
            pruned => pruned.map_err(failed(
                &self.database.place,
                Component::OperationLog,
                "read the operation log",
            )),
        }
    }
}

const FILTER: &str = "(?1 IS NULL OR device_id IN (SELECT value FROM json_each(?1)))
    AND sequence BETWEEN ?2 AND ?3 AND timestamp_ms BETWEEN ?4 AND ?5 AND NOT ?6";

/// The heads of the devices of a group. The transaction has the file's only write lock already.
async fn lock(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<Chains, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT device_id, sequence, record_hash, keys_version FROM chain_heads
         WHERE device_id IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::json!(plan::devices(entries)).to_string())
    .fetch_all(connection)
    .await?;
    let locked = |row: &SqliteRow| {
        let locked = Locked::new(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((Arc::from(row.try_get::<&str, _>(0)?), locked))
    };
    rows.iter().map(locked).collect()
}

async fn held(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    chains: &Chains,
) -> Result<Held, sqlx::Error> {
    let behind = plan::behind_heads(entries, chains);
    if behind.is_empty() {
        return Ok(Held::new());
    }
    let rows = sqlx::query(
        "SELECT DISTINCT r.device_id, r.sequence, r.record_hash FROM json_each(?) j JOIN audit_records r
         ON r.device_id = json_extract(j.value, '$[0]') AND r.sequence = json_extract(j.value, '$[1]')",
    )
    .bind(serde_json::json!(behind).to_string())
    .fetch_all(connection)
    .await?;
    let held = |row: &SqliteRow| {
        let sequence: i64 = row.try_get(1)?;
        Ok(((Arc::from(row.try_get::<&str, _>(0)?), sequence.cast_unsigned()), hash(row.try_get(2)?)))
    };
    rows.iter().map(held).collect()
}

async fn write_records(connection: &mut SqliteConnection, plan: &Plan<'_>) -> Result<(), sqlx::Error> {
    let now = now_ms();
    let columns = "INSERT INTO audit_records (device_id, sequence, timestamp_ms, payload_hash, signature, \
                   prev_record_hash, object_ref, record_hash, received_at_ms)";
    insert(connection, columns, 9, &plan.accepted, |query, stored: &&Stored| {
        let admitted = stored.admitted();
        let record = admitted.record();
        query
            .bind(record.device_id.clone())
            .bind(record.sequence.cast_signed())
            .bind(record.timestamp_ms.cast_signed())
            .bind(record.payload_hash.as_bytes().to_vec())
            .bind(record.signature.to_vec())
            .bind(record.prev_record_hash.as_bytes().to_vec())
            .bind(record.object_ref.clone())
            .bind(admitted.hash().as_bytes().to_vec())
            .bind(now)
    })
    .await?;
    for (device_id, head) in &plan.heads {
        sqlx::query(
            "UPDATE chain_heads SET sequence = ?, record_hash = ?, moved_at_ms = ? WHERE device_id = ?",
        )
        .bind(head.sequence.cast_signed())
        .bind(head.hash.as_bytes().to_vec())
        .bind(now)
        .bind(device_id.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn write_log(connection: &mut SqliteConnection, rows: &[LogRow]) -> Result<(), sqlx::Error> {
    let now = now_ms();
    let columns = "INSERT INTO operation_logs (at_ms, device_id, sequence, outcome, reason, record_hash, expected, \
                   actual, evidence)";
    insert(connection, columns, 9, rows, |query, row| {
        query
            .bind(now)
            .bind(row.device_id.clone())
            .bind(row.sequence)
            .bind(row.outcome)
            .bind(row.reason)
            .bind(row.record_hash.as_bytes().to_vec())
            .bind(row.expected.clone())
            .bind(row.actual.clone())
            .bind(row.evidence.clone())
    })
    .await
}

async fn write_registration(
    connection: &mut SqliteConnection,
    registration: &Registration,
    change: Change,
) -> Result<(), sqlx::Error> {
    let Registration { device_id, start, .. } = registration;
    let key = match change {
        Change::Nothing => return Ok(()),
        Change::NewDevice(key) => {
            let start = start.unwrap_or(Head { sequence: 0, hash: edgesentry_chain::Hash::ZERO });
            sqlx::query("INSERT INTO chain_heads VALUES (?1, ?2, ?3, ?2, ?3, 1, ?4)")
                .bind(device_id)
                .bind(start.sequence.cast_signed())
                .bind(start.hash.as_bytes().to_vec())
                .bind(now_ms())
                .execute(&mut *connection)
                .await?;
            key
        }
        Change::Key(key) => {
            sqlx::query("UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = ?")
                .bind(device_id)
                .execute(&mut *connection)
                .await?;
            key
        }
    };
    sqlx::query("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, NULL, ?)")
        .bind(device_id)
        .bind(key.valid_from.cast_signed())
        .bind(key.key.as_bytes().to_vec())
        .bind(key.scheme.name())
        .bind(now_ms())
        .execute(connection)
        .await?;
    Ok(())
}

/// A device that has the key under the other scheme. The transaction has the file's only write lock already.
async fn other_scheme(
    connection: &mut SqliteConnection,
    registration: &Registration,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT min(device_id) FROM devices WHERE public_key = ? AND scheme <> ?")
        .bind(registration.key.as_bytes().to_vec())
        .bind(registration.scheme.name())
        .fetch_one(connection)
        .await
}

async fn devices(
    connection: &mut SqliteConnection,
    device_id: Option<&str>,
) -> Result<Vec<RegisteredDevice>, sqlx::Error> {
    let columns = rows::columns(&rows::DEVICE);
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {columns} FROM chain_heads h JOIN devices d ON d.device_id = h.device_id
         WHERE ?1 IS NULL OR h.device_id = ?1 ORDER BY h.device_id, d.valid_from",
    )))
    .bind(device_id)
    .fetch_all(connection)
    .await?;
    let rows: Result<Vec<_>, sqlx::Error> = rows.iter().map(rows::device).collect();
    Ok(stream::devices(rows?))
}
