//! A ledger in an embedded database file.

mod appender;
mod log;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::{Head, Heads, PublicKey, RingKey};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, QueryBuilder, Row, SqliteConnection};

use self::appender::Appender;
use super::append::{self, Dialect};
use super::change;
use super::log::{SQLITE_WITNESS, WitnessAccess as Access};
use super::plan::{Chains, Held, LogRow, Plan};
use super::rows::Kind;
use super::stream::{self, CHUNK, MAX_EVIDENCE_BYTES, MAX_TEXT_BYTES};
use super::{
    AppendError, Decision, Entry, Filter, Ledger, LedgerViews, LogEntry, LogQuery, LogTables,
    MAX_DEVICES_WITH_KEY, Page, Pruned, RecordStream, RegisteredDevice, Registration, RejectionLimits,
    Rejections, Revocation, RevocationReason, prune, rows,
};
use crate::admission::{Admitted, OutcomeKind, Registry, RejectionCode};
use crate::clock::now_ms;
use crate::error::{Component, Error, StoreError};
use crate::payload::{self, PayloadStore, SqlitePayloads, Stored};
use crate::sql::failed;
use crate::sqlite::{Database, Schema, insert};
use crate::telemetry::metrics::observe_operation_log;

static SCHEMA: Schema = Schema {
    name: "ledger",
    tables: &super::TABLES,
    later_tables: &[
        "payloads",
        "record_payloads",
        "pruned_rejections",
        "log_state",
        "log_batches",
        "log_runs",
        "log_events",
        "log_heads",
        "log_keys",
        "checkpoints",
        "erasures",
        "cosignatures",
        "timestamps",
        "revocations",
    ],
    migrations: &[
        (1, "ledger", include_str!("../../migrations/sqlite/0001_ledger.sql")),
        (2, "record payloads", include_str!("../../migrations/sqlite/0002_record_payloads.sql")),
        (3, "log", include_str!("../../migrations/sqlite/0003_log.sql")),
        (4, "erasures", include_str!("../../migrations/sqlite/0004_erasures.sql")),
        (5, "cosignatures", include_str!("../../migrations/sqlite/0005_cosignatures.sql")),
        (6, "timestamps", include_str!("../../migrations/sqlite/0006_timestamps.sql")),
        (7, "revocations", include_str!("../../migrations/sqlite/0007_revocations.sql")),
    ],
};

/// The embedded ledger: one file, with a write-ahead log beside it while it is open. Several processes may use the
/// file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Arc<Database>,
    appender: Arc<Appender>,
}

impl Sqlite {
    /// Opens the file, creating it if it is missing. A file that holds other tables is an error, and stays unchanged.
    ///
    /// # Errors
    /// The file cannot be opened, holds other tables, or is of a newer release.
    pub async fn open(path: &Path) -> Result<Sqlite, Error> {
        Sqlite::open_or(path, true).await
    }

    /// Opens the file, which must exist and hold a ledger.
    ///
    /// # Errors
    /// The file is missing, or holds no ledger.
    pub async fn open_existing(path: &Path) -> Result<Sqlite, Error> {
        Sqlite::open_or(path, false).await
    }

    /// Opens the file for reading: it neither changes nor migrates the file and the files beside it, and takes no lock
    /// that blocks writers. A write-ahead log beside it is read, too; [`Ledger::notes`] reports it.
    ///
    /// # Errors
    /// The file is missing, holds no ledger, or cannot be read.
    pub async fn read(path: &Path) -> Result<Sqlite, Error> {
        let database = Database::read(path, Component::AuditLedger, &SCHEMA).await?;
        Ok(Sqlite::new(database, path))
    }

    /// Opens the file of the state of a witness, which holds no ledger.
    ///
    /// # Errors
    /// The file cannot be opened, holds other tables, or is of a newer release; it is missing, unless `create`.
    pub(crate) async fn open_witness(path: &Path, access: Access) -> Result<Sqlite, Error> {
        let component = Component::TransparencyLog;
        let database = match access {
            Access::Read => Database::read(path, component, &SQLITE_WITNESS).await?,
            access => Database::open(path, component, access == Access::Create, &SQLITE_WITNESS).await?,
        };
        Ok(Sqlite::new(database, path))
    }

    async fn open_or(path: &Path, create: bool) -> Result<Sqlite, Error> {
        let database = Database::open(path, Component::AuditLedger, create, &SCHEMA).await?;
        Ok(Sqlite::new(database, path))
    }

    fn new(database: Database, path: &Path) -> Sqlite {
        // SQLite does not treat `file:` and `:memory:` as names of files.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Sqlite { database: Arc::new(database), appender: Arc::new(Appender::new(path)) }
    }

    /// Returns the payload store in the same file.
    pub fn payloads(&self) -> SqlitePayloads {
        SqlitePayloads::new(Arc::clone(&self.database))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::AuditLedger, action)
    }

    /// The records of a [`select`].
    fn stream(&self, mut query: QueryBuilder<sqlx::Sqlite>) -> RecordStream {
        let database = Arc::clone(&self.database);
        let reading = failed(&database.place, Component::AuditLedger, "read records");
        stream::spawn(move |sender| async move {
            let read = async {
                let mut found = query.build().fetch(&database.readers);
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

    fn log(&self) -> Option<Arc<dyn LogTables>> {
        Some(Arc::new(self.clone()))
    }

    fn views(&self) -> Option<Arc<dyn LedgerViews>> {
        Some(Arc::new(self.clone()))
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        let mut writer = self.database.writer().await.map_err(self.failed("begin a transaction"))?;
        if let Some(appended) = self.appender.append(entries).await {
            observe_operation_log(appended.log_insert);
            return Ok(appended.decisions);
        }
        let transaction =
            writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed("begin a transaction"))?;
        append::append(transaction, &self.database.place, entries).await
    }

    fn stores_payloads(&self, store: &dyn PayloadStore) -> bool {
        store.database().is_some_and(|database| std::ptr::eq(database, &*self.database))
    }

    async fn close(&self) {
        self.database.close().await;
        self.appender.close().await;
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let names = serde_json::json!(device_ids.iter().map(|id| &**id).collect::<Vec<_>>()).to_string();
        let columns = columns(&rows::KEYS);
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
        let transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        append::register(transaction, &self.database.place, registration).await
    }

    async fn devices_with_key(&self, key: &PublicKey) -> Result<Vec<String>, StoreError> {
        let devices = sqlx::query_scalar(
            "SELECT DISTINCT device_id FROM devices WHERE public_key = ? ORDER BY device_id LIMIT ?",
        )
        .bind(key.as_bytes().to_vec())
        .bind(MAX_DEVICES_WITH_KEY as i64)
        .fetch_all(&self.database.readers)
        .await;
        self.database.unchanged(devices).map_err(self.failed("read the devices"))
    }

    async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        let failed = || self.failed("revoke the keys of a device");
        let mut writer = self.database.writer().await.map_err(failed())?;
        let transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        append::revoke(transaction, &self.database.place, device_id, reason).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let columns = columns(&rows::REVOCATION);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM revocations ORDER BY device_id, revoked_from",
        )))
        .fetch_all(&self.database.readers)
        .await;
        match rows {
            // A ledger opened for reading may be of an earlier release. SQLite has no code for a missing table.
            Err(sqlx::Error::Database(error)) if error.message().starts_with("no such table") => {
                Ok(Vec::new())
            }
            rows => {
                let decoded = rows.and_then(|rows| rows.iter().map(rows::revocation).collect());
                self.database.unchanged(decoded).map_err(self.failed("read the revocations"))
            }
        }
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        self.registered(None).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let columns = columns(&rows::HEAD);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM chain_heads h WHERE sequence > start_sequence",
        )))
        .fetch_all(&self.database.readers)
        .await;
        let decoded = rows.and_then(|rows| rows.iter().map(rows::head).collect());
        self.database.unchanged(decoded).map_err(self.failed("read the heads"))
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        self.stream(select(filter, None))
    }

    fn page(&self, filter: &Filter, page: &Page) -> RecordStream {
        self.stream(select(filter, Some(page)))
    }

    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let columns = columns(&rows::LOG);
        let order = if query.newest { "DESC" } else { "ASC" };
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {columns} FROM operation_logs WHERE id > ?1 AND (?2 IS NULL OR device_id = ?2) AND (?3 IS NULL OR outcome = ?3)
             AND (?4 IS NULL OR reason = ?4) AND (?6 IS NULL OR at_ms >= ?6) ORDER BY id {order} LIMIT ?5",
        )))
        .bind(stream::column(Some(query.after_id), 0))
        .bind(query.device_id.as_deref())
        .bind(query.outcome.map(OutcomeKind::as_str))
        .bind(query.reason.as_deref())
        .bind(i64::from(query.limit))
        .bind(query.since_ms.map(|since_ms| stream::column(Some(since_ms), 0)))
        .fetch_all(&self.database.readers)
        .await;
        let decoded = rows.and_then(|rows| rows.iter().map(rows::log_entry).collect());
        let decoded = decoded.map(|entries: Vec<LogEntry>| query.in_order(entries));
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
            // A ledger opened for reading may be of an earlier release, or grant nothing on this table.
            Err(sqlx::Error::Database(_)) => Ok(Pruned::default()),
            pruned => pruned.map_err(failed(
                &self.database.place,
                Component::OperationLog,
                "read the operation log",
            )),
        }
    }
}

/// The records of a filter, or of a page of it. A condition that is not asked for is left out, so that the others find
/// their rows by the primary key.
fn select(filter: &Filter, page: Option<&Page>) -> QueryBuilder<sqlx::Sqlite> {
    let columns = columns(&rows::RECORD);
    let mut query = QueryBuilder::new(format!("SELECT {columns} FROM audit_records WHERE true"));
    if !filter.devices.is_empty() {
        let devices = serde_json::json!(filter.devices).to_string();
        query.push(" AND device_id IN (SELECT value FROM json_each(").push_bind(devices).push("))");
    }
    // The column is a signed integer: a larger bound excludes nothing.
    let before_ms = filter.before_ms.filter(|ms| i64::try_from(*ms).is_ok());
    let mut bound = |condition: &str, value: Option<u64>| {
        if value.is_some() {
            query.push(condition).push_bind(stream::column(value, 0));
        }
    };
    bound(" AND sequence >= ", filter.from_sequence);
    bound(" AND sequence <= ", filter.to_sequence);
    bound(" AND timestamp_ms >= ", filter.from_ms);
    bound(" AND timestamp_ms < ", before_ms);
    if let Some((device_id, sequence)) = page.and_then(|page| page.after.as_ref()) {
        let sequence = stream::column(Some(*sequence), 0);
        if filter.devices == [device_id.as_str()] {
            // The primary key finds the first row; with both columns it would begin at the first row of the device.
            query.push(" AND sequence > ").push_bind(sequence);
        } else {
            query.push(" AND (device_id, sequence) > (").push_bind(device_id.clone()).push(", ");
            query.push_bind(sequence).push(")");
        }
    }
    query.push(" ORDER BY device_id, sequence");
    if let Some(page) = page {
        query.push(" LIMIT ").push_bind(i64::from(page.limit));
    }
    query
}

/// Returns the columns of a SELECT. A value of another type, or one that is too long, is replaced by a marker.
fn columns(columns: &[rows::Column]) -> String {
    let column = |(name, kind): &rows::Column| {
        let (of_type, max_bytes) = match kind {
            Kind::Integer => ("integer", MAX_TEXT_BYTES),
            Kind::Text => ("text", MAX_TEXT_BYTES),
            Kind::Bytes => ("blob", MAX_TEXT_BYTES),
            Kind::Evidence => ("blob", MAX_EVIDENCE_BYTES),
        };
        let is_good = format!("typeof({name}) = '{of_type}' AND octet_length({name}) <= {max_bytes}");
        // A marker of a type that the column cannot have.
        let marker = if *kind == Kind::Integer { "'' || " } else { "- " };
        format!(
            "CASE WHEN {name} IS NULL THEN NULL WHEN {is_good} THEN {name} ELSE {marker}octet_length({name}) END"
        )
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

#[async_trait]
impl Dialect for SqliteConnection {
    /// Reads the heads of the devices of a group. The transaction already holds the file's only write lock.
    async fn lock(&mut self, device_ids: Vec<String>) -> Result<Chains, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT device_id, sequence, record_hash, keys_version FROM chain_heads
             WHERE device_id IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::json!(device_ids).to_string())
        .fetch_all(&mut *self)
        .await?;
        rows.iter().map(rows::locked).collect()
    }

    async fn held(&mut self, places: &[(&str, u64)]) -> Result<Held, sqlx::Error> {
        if places.is_empty() {
            return Ok(Held::new());
        }
        let rows = sqlx::query(
            "SELECT DISTINCT r.device_id, r.sequence, r.record_hash FROM json_each(?) j JOIN audit_records r
             ON r.device_id = json_extract(j.value, '$[0]') AND r.sequence = json_extract(j.value, '$[1]')",
        )
        .bind(serde_json::json!(places).to_string())
        .fetch_all(&mut *self)
        .await?;
        rows.iter().map(rows::held).collect()
    }

    async fn write_payloads(&mut self, admitted: &[&Admitted]) -> Result<Vec<bool>, sqlx::Error> {
        let puts = payload::put_all(self, admitted).await?;
        Ok(puts.iter().map(Option::is_some).collect())
    }

    async fn write_records(&mut self, plan: &Plan<'_>) -> Result<(), sqlx::Error> {
        let now = now_ms();
        let columns = "INSERT INTO audit_records (device_id, sequence, timestamp_ms, payload_hash, signature, \
                       prev_record_hash, object_ref, record_hash, received_at_ms)";
        insert(self, columns, 9, &plan.accepted, |query, stored: &&Stored| {
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
            .execute(&mut *self)
            .await?;
        }
        Ok(())
    }

    async fn write_log(&mut self, rows: &[LogRow]) -> Result<(), sqlx::Error> {
        let now = now_ms();
        let columns = "INSERT INTO operation_logs (at_ms, device_id, sequence, outcome, reason, record_hash, expected, \
                       actual, evidence)";
        insert(self, columns, 9, rows, |query, row| {
            query
                .bind(now)
                .bind(row.device_id.clone())
                .bind(row.sequence)
                .bind(row.outcome.as_str())
                .bind(row.reason)
                .bind(row.record_hash.as_bytes().to_vec())
                .bind(row.expected.clone())
                .bind(row.actual.clone())
                .bind(row.evidence.clone())
        })
        .await
    }

    async fn lock_device(&mut self, device_id: &str) -> Result<Option<RegisteredDevice>, sqlx::Error> {
        Ok(devices(self, Some(device_id)).await?.pop())
    }

    /// Returns those of the keys that a device has. The transaction already holds the file's only write lock.
    async fn registered_keys(&mut self, keys: &[RingKey]) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
        let keys: Vec<String> = keys.iter().map(|key| key.key.to_string().to_uppercase()).collect();
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT public_key FROM devices WHERE hex(public_key) IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::json!(keys).to_string())
        .fetch_all(&mut *self)
        .await?;
        Ok(found.into_iter().filter_map(|key| key.try_into().ok()).collect())
    }

    /// Returns a device that has the key under the other scheme. The transaction already holds the file's only write
    /// lock.
    async fn other_scheme(&mut self, registration: &Registration) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT min(device_id) FROM devices WHERE public_key = ? AND scheme <> ?")
            .bind(registration.key.as_bytes().to_vec())
            .bind(registration.scheme.name())
            .fetch_one(&mut *self)
            .await
    }

    async fn write_head(&mut self, device_id: &str, start: Head) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO chain_heads VALUES (?1, ?2, ?3, ?2, ?3, 1, ?4)")
            .bind(device_id)
            .bind(start.sequence.cast_signed())
            .bind(start.hash.as_bytes().to_vec())
            .bind(now_ms())
            .execute(&mut *self)
            .await?;
        Ok(())
    }

    async fn write_key(&mut self, device_id: &str, key: RingKey) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, NULL, ?)")
            .bind(device_id)
            .bind(key.valid_from.cast_signed())
            .bind(key.key.as_bytes().to_vec())
            .bind(key.scheme.name())
            .bind(now_ms())
            .execute(&mut *self)
            .await?;
        Ok(())
    }

    async fn count_change_of_keys(&mut self, device_id: &str) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "UPDATE chain_heads SET keys_version = keys_version + 1 WHERE device_id = ? RETURNING sequence + 1",
        )
        .bind(device_id)
        .fetch_optional(&mut *self)
        .await
    }

    async fn revoke_keys(&mut self, device_id: &str, from: i64) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE devices SET revoked_from = ? WHERE device_id = ? AND revoked_from IS NULL")
            .bind(from)
            .bind(device_id)
            .execute(&mut *self)
            .await?;
        Ok(())
    }

    async fn write_revocation(
        &mut self,
        device_id: &str,
        from: i64,
        reason: RevocationReason,
    ) -> Result<(), sqlx::Error> {
        // A repetition without a reason says nothing new.
        sqlx::query(
            "INSERT INTO revocations VALUES (?1, ?2, ?3, ?4) ON CONFLICT (device_id, revoked_from)
             DO UPDATE SET reason = ?3, at_ms = ?4 WHERE ?3 <> 'unspecified' OR reason = 'unspecified'",
        )
        .bind(device_id)
        .bind(from)
        .bind(reason.name())
        .bind(now_ms())
        .execute(&mut *self)
        .await?;
        Ok(())
    }
}

async fn devices(
    connection: &mut SqliteConnection,
    device_id: Option<&str>,
) -> Result<Vec<RegisteredDevice>, sqlx::Error> {
    let columns = columns(&rows::DEVICE);
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
