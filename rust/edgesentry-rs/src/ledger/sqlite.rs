//! A ledger in an embedded database file.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{AuditRecord, Head, Heads};
use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::change::{self, Change};
use super::plan::{self, Chains, Held, Locked, LogRow, Plan, hash};
use super::stream::{self, CHUNK};
use super::{
    AppendError, Entry, Filter, Ledger, LogEntry, LogQuery, RecordStream, RegisteredDevice, Registration,
};
use crate::clock::now_ms;
use crate::error::{Component, Error, StoreError};
use crate::ingest::verify::{Outcome, Registry};
use crate::payload::{SqlitePayloads, Stored};
use crate::sql::{failed, key};
use crate::sqlite::{Database, insert};
use crate::telemetry::metrics::timing_operation_log;

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "ledger", include_str!("../../migrations/sqlite/0001_ledger.sql"))];

/// The embedded ledger: one file, beside it a write-ahead log while it is open. Several processes may use the file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Arc<Database>,
}

impl Sqlite {
    /// Opens the file, creating it where it is missing.
    pub async fn open(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::open_or(path, true).await
    }

    /// Opens the file, which must exist.
    pub async fn open_existing(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::open_or(path, false).await
    }

    async fn open_or(path: &Path, create: bool) -> Result<Sqlite, StoreError> {
        let database = Database::open(path, Component::AuditLedger, create, &MIGRATIONS).await?;
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
        let mut reader = self.database.readers.acquire().await.map_err(self.failed("read the devices"))?;
        devices(&mut reader, device_id).await.map_err(self.failed("read the devices"))
    }
}

#[async_trait]
impl Ledger for Sqlite {
    fn place(&self) -> &str {
        &self.database.place
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Outcome>, AppendError> {
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
        Ok(plan.outcomes)
    }

    async fn close(&self) {
        self.database.close().await;
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let names = serde_json::json!(device_ids.iter().map(|id| &**id).collect::<Vec<_>>()).to_string();
        let rows = sqlx::query(
            "SELECT h.device_id, h.keys_version, d.public_key, d.scheme, d.valid_from, d.revoked_from
             FROM json_each(?) j JOIN chain_heads h ON h.device_id = j.value
             JOIN devices d ON d.device_id = h.device_id ORDER BY d.device_id, d.valid_from",
        )
        .bind(names)
        .fetch_all(&self.database.readers)
        .await
        .map_err(self.failed("read device keys"))?;
        let decoded: Result<Vec<_>, sqlx::Error> = rows.iter().map(keys_row).collect();
        Ok(stream::registry(decoded.map_err(self.failed("read device keys"))?))
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        change::check(registration)?;
        let failed = || self.failed("register a device");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        let known = devices(&mut transaction, Some(&registration.device_id)).await.map_err(failed())?;
        let change = change::change(registration, known.first())?;
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
        let rows = sqlx::query(
            "SELECT device_id, sequence, record_hash FROM chain_heads WHERE sequence > start_sequence",
        )
        .fetch_all(&self.database.readers)
        .await
        .map_err(self.failed("read the heads"))?;
        let decoded: Result<Heads, sqlx::Error> = rows.iter().map(head_row).collect();
        decoded.map_err(self.failed("read the heads"))
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        let (database, filter) = (Arc::clone(&self.database), filter.clone());
        let reading = failed(&database.place, Component::AuditLedger, "read records");
        stream::spawn(move |sender| async move {
            let sql =
                format!("SELECT {COLUMNS} FROM audit_records WHERE {FILTER} ORDER BY device_id, sequence");
            let names = (!filter.devices.is_empty()).then(|| serde_json::json!(filter.devices).to_string());
            let read = async {
                let mut rows = sqlx::query(AssertSqlSafe(sql))
                    .bind(names)
                    .bind(stream::column(filter.from_sequence, 0))
                    .bind(stream::column(filter.to_sequence, u64::MAX))
                    .bind(stream::column(filter.from_ms, 0))
                    .bind(stream::column(filter.before_ms.map(|ms| ms.saturating_sub(1)), u64::MAX))
                    .bind(filter.before_ms == Some(0))
                    .fetch(&database.readers);
                let mut chunk = Vec::with_capacity(CHUNK);
                while let Some(row) = rows.try_next().await? {
                    chunk.push(record_row(&row)?);
                    if chunk.len() == CHUNK {
                        let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                        if sender.send(Ok(full)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                if !chunk.is_empty() {
                    // A receiver that has gone away wants nothing.
                    let _ = sender.send(Ok(chunk)).await;
                }
                Ok(())
            };
            if let Err(error) = read.await {
                let _ = sender.send(Err(reading(error))).await;
            }
        })
    }

    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at_ms, device_id, sequence, outcome, reason, record_hash, expected, actual, evidence
             FROM operation_logs WHERE id > ?1 AND (?2 IS NULL OR device_id = ?2) AND (?3 IS NULL OR outcome = ?3)
             AND (?4 IS NULL OR reason = ?4) ORDER BY id LIMIT ?5",
        )
        .bind(stream::column(Some(query.after_id), 0))
        .bind(query.device_id.as_deref())
        .bind(query.outcome.as_deref())
        .bind(query.reason.as_deref())
        .bind(i64::from(query.limit))
        .fetch_all(&self.database.readers)
        .await
        .map_err(failed(&self.database.place, Component::OperationLog, "read the operation log"))?;
        let decoded: Result<Vec<LogEntry>, sqlx::Error> = rows.iter().map(log_entry).collect();
        decoded.map_err(failed(&self.database.place, Component::OperationLog, "read the operation log"))
    }
}

const COLUMNS: &str =
    "device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref";
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

async fn devices(
    connection: &mut SqliteConnection,
    device_id: Option<&str>,
) -> Result<Vec<RegisteredDevice>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT h.device_id, h.sequence, h.record_hash, h.start_sequence, h.start_hash, d.public_key, d.scheme,
                d.valid_from, d.revoked_from
         FROM chain_heads h JOIN devices d ON d.device_id = h.device_id WHERE ?1 IS NULL OR h.device_id = ?1
         ORDER BY h.device_id, d.valid_from",
    )
    .bind(device_id)
    .fetch_all(connection)
    .await?;
    let rows: Result<Vec<_>, sqlx::Error> = rows.iter().map(device_row).collect();
    Ok(stream::devices(rows?))
}

fn device_row(row: &SqliteRow) -> Result<stream::DeviceRow, sqlx::Error> {
    let device_id: String = row.try_get(0)?;
    let key = key(&device_id, row.try_get(5)?, row.try_get(6)?, row.try_get(7)?, row.try_get(8)?)?;
    let head = stream::head(row.try_get(1)?, row.try_get(2)?);
    let start = stream::head(row.try_get(3)?, row.try_get(4)?);
    Ok(stream::DeviceRow { device_id, head, start, key })
}

fn keys_row(row: &SqliteRow) -> Result<stream::KeysRow, sqlx::Error> {
    let device_id: &str = row.try_get(0)?;
    let key = key(device_id, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?, row.try_get(5)?)?;
    Ok(stream::KeysRow { device_id: device_id.into(), version: row.try_get(1)?, key })
}

fn head_row(row: &SqliteRow) -> Result<(Arc<str>, Head), sqlx::Error> {
    Ok((row.try_get::<&str, _>(0)?.into(), stream::head(row.try_get(1)?, row.try_get(2)?)))
}

fn record_row(row: &SqliteRow) -> Result<AuditRecord, sqlx::Error> {
    Ok(AuditRecord {
        device_id: row.try_get(0)?,
        sequence: row.try_get::<i64, _>(1)?.cast_unsigned(),
        timestamp_ms: row.try_get::<i64, _>(2)?.cast_unsigned(),
        payload_hash: hash(row.try_get(3)?),
        signature: row.try_get::<&[u8], _>(4)?.try_into().unwrap_or([0; 64]),
        prev_record_hash: hash(row.try_get(5)?),
        object_ref: row.try_get(6)?,
    })
}

fn log_entry(row: &SqliteRow) -> Result<LogEntry, sqlx::Error> {
    Ok(LogEntry {
        id: row.try_get::<i64, _>(0)?.cast_unsigned(),
        at_ms: row.try_get::<i64, _>(1)?.cast_unsigned(),
        device_id: row.try_get(2)?,
        sequence: row.try_get::<Option<i64>, _>(3)?.map(i64::cast_unsigned),
        outcome: row.try_get(4)?,
        reason: row.try_get(5)?,
        record_hash: hash(row.try_get(6)?),
        expected: row.try_get(7)?,
        actual: row.try_get(8)?,
        evidence: row.try_get(9)?,
    })
}
