//! Payloads in the file of the embedded ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::content_path;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::{Leftovers, PayloadStore, Put, Version, damaged, is_of};
use crate::admission::Admitted;
use crate::error::{Component, FailureKind, StoreError};
use crate::sql::failed;
use crate::sqlite::{Database, insert};

/// Payloads in the table `record_payloads` of an embedded ledger, see
/// [`Sqlite::payloads`](crate::ledger::Sqlite::payloads), by device, sequence and hash. Those that earlier releases stored
/// are found in the table `payloads`, by object reference.
#[derive(Debug, Clone)]
pub struct SqlitePayloads {
    database: Arc<Database>,
    /// True once `record_payloads` was seen: a file opened for reading may still be of an earlier release.
    migrated: Arc<AtomicBool>,
}

impl SqlitePayloads {
    pub(crate) fn new(database: Arc<Database>) -> SqlitePayloads {
        SqlitePayloads { database, migrated: Arc::default() }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::RawDataStore, action)
    }

    async fn is_migrated(&self) -> Result<bool, StoreError> {
        if !self.migrated.load(Ordering::Relaxed) {
            let tables: i64 =
                sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'record_payloads'")
                    .fetch_one(&self.database.readers)
                    .await
                    .map_err(self.failed("read the payloads"))?;
            self.migrated.store(tables > 0, Ordering::Relaxed);
        }
        Ok(self.migrated.load(Ordering::Relaxed))
    }

    /// Writes all in one transaction.
    async fn put_all(&self, admitted: &[Admitted]) -> Result<Vec<Result<Put, StoreError>>, StoreError> {
        let mut writer = self.database.writer().await.map_err(self.failed("begin a transaction"))?;
        let mut transaction =
            writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed("begin a transaction"))?;
        let admitted: Vec<&Admitted> = admitted.iter().collect();
        let puts = put_all(&mut transaction, &admitted).await.map_err(self.failed("store payloads"))?;
        transaction.commit().await.map_err(self.failed("commit payloads"))?;
        let put = |(put, admitted): (Option<Put>, &Admitted)| {
            put.ok_or_else(|| has_other_bytes(&self.database.place, admitted.record()))
        };
        Ok(puts.into_iter().zip(admitted).map(put).collect())
    }

    /// Reads the columns of a payload from its own table, and from the one of earlier releases.
    async fn rows(
        &self,
        record: &AuditRecord,
        [own, old]: [&'static str; 2],
        action: &'static str,
    ) -> Result<[Option<SqliteRow>; 2], StoreError> {
        let own = if self.is_migrated().await? {
            let row = sqlx::query(own)
                .bind(&record.device_id)
                .bind(record.sequence.cast_signed())
                .bind(record.payload_hash.as_bytes().to_vec())
                .fetch_optional(&self.database.readers);
            row.await.map_err(self.failed(action))?
        } else {
            None
        };
        let old = sqlx::query(old).bind(&record.object_ref).fetch_optional(&self.database.readers);
        // Both rows count only if the file is unchanged since it was opened for reading.
        let old = self.database.unchanged(old.await).map_err(self.failed(action))?;
        Ok([own, old])
    }
}

#[async_trait]
impl PayloadStore for SqlitePayloads {
    fn place(&self) -> &str {
        &self.database.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT count(*) FROM payloads WHERE object_ref = ''")
            .execute(&self.database.readers)
            .await
            .map_err(self.failed("read the payloads"))?;
        Ok(())
    }

    fn prefers_batches(&self) -> bool {
        true
    }

    fn database(&self) -> Option<&Database> {
        Some(&self.database)
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        self.put_all(std::slice::from_ref(admitted)).await?.remove(0)
    }

    async fn put_many(&self, admitted: &[Admitted], _concurrency: usize) -> Vec<Result<Put, StoreError>> {
        match self.put_all(admitted).await {
            Ok(puts) => puts,
            Err(error) if error.is_retryable() || admitted.len() == 1 => vec![Err(error); admitted.len()],
            // One of them may be at fault; the others do not wait for it.
            Err(_) => {
                let mut puts = Vec::with_capacity(admitted.len());
                for admitted in admitted {
                    puts.push(self.put(admitted).await);
                }
                puts
            }
        }
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        let own =
            "SELECT payload FROM record_payloads WHERE device_id = ? AND sequence = ? AND payload_hash = ?";
        let old = "SELECT payload FROM payloads WHERE object_ref = ?";
        let action = "read a payload";
        let [own, old] = self.rows(record, [own, old], action).await?;
        let payload = |row: Option<SqliteRow>| row.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose();
        let own = payload(own).map_err(self.failed(action))?;
        let old = payload(old).map_err(self.failed(action))?;
        let is_right =
            |payload: &Option<Vec<u8>>| payload.as_ref().is_some_and(|payload| is_of(record, payload));
        let chosen = if own.is_none() || (!is_right(&own) && is_right(&old)) { old } else { own };
        Ok(chosen.map(Bytes::from))
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        let own = "SELECT length(payload), stored_at_ms FROM record_payloads
                   WHERE device_id = ? AND sequence = ? AND payload_hash = ?";
        let old = "SELECT length(payload), stored_at_ms FROM payloads WHERE object_ref = ?";
        let action = "look for a payload";
        let [own, old] = self.rows(record, [own, old], action).await?;
        let rows = [(content_path(record), own), (record.object_ref.clone(), old)];
        let versions = rows.into_iter().filter_map(|(key, row)| row.map(|row| version(key, &row)));
        versions.collect::<Result<_, _>>().map_err(self.failed(action))
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        let own = content_path(record);
        let old = Some(record.object_ref.clone()).filter(|old| *old != own);
        std::iter::once(own).chain(old).collect()
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        let failed = || self.failed("delete a payload");
        let is_own = name == content_path(record);
        let mut writer = self.database.writer().await.map_err(failed())?;
        let deleted = delete(&mut writer, record, is_own).await.map_err(failed())?;
        if deleted.is_none() {
            let problem = "its bytes are deleted, but other connections still use a write-ahead log that has them; \
                           try again when they are closed";
            return Err(StoreError {
                component: Component::RawDataStore,
                action: "delete a payload",
                place: Arc::clone(&self.database.place),
                kind: FailureKind::Passing,
                source: Arc::new(std::io::Error::other(problem)),
            });
        }
        Ok(Leftovers::default())
    }
}

/// Deletes a payload from its table and from the write-ahead log, and overwrites its pages with zeros. Returns `None` if
/// the write-ahead log is in use and may still have its bytes.
async fn delete(
    connection: &mut SqliteConnection,
    record: &AuditRecord,
    is_own: bool,
) -> Result<Option<()>, sqlx::Error> {
    sqlx::query("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
    let deleted = delete_rows(connection, record, is_own).await;
    sqlx::query("PRAGMA secure_delete = OFF").execute(&mut *connection).await?;
    deleted?;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await?;
    Ok((row.try_get::<i64, _>(0)? == 0).then_some(()))
}

async fn delete_rows(
    connection: &mut SqliteConnection,
    record: &AuditRecord,
    is_own: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if is_own {
        let own = "DELETE FROM record_payloads WHERE device_id = ? AND sequence = ? AND payload_hash = ?";
        sqlx::query(own)
            .bind(&record.device_id)
            .bind(record.sequence.cast_signed())
            .bind(record.payload_hash.as_bytes().to_vec())
            .execute(&mut *transaction)
            .await?;
    } else {
        let old = "SELECT payload FROM payloads WHERE object_ref = ?";
        let row = sqlx::query(old).bind(&record.object_ref).fetch_optional(&mut *transaction).await?;
        let payload = row.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
        if payload.is_some_and(|payload| is_of(record, &payload)) {
            let delete = "DELETE FROM payloads WHERE object_ref = ?";
            sqlx::query(delete).bind(&record.object_ref).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

fn version(key: String, row: &SqliteRow) -> Result<Version, sqlx::Error> {
    Ok(Version {
        key,
        id: String::new(),
        size_bytes: row.try_get::<i64, _>(0)?.cast_unsigned(),
        stored_at_ms: row.try_get::<i64, _>(1)?.cast_unsigned(),
        current: true,
        deleted: false,
    })
}

/// The key of a payload in the table.
type Key<'a> = (&'a str, u64, Hash);

fn key_of(admitted: &Admitted) -> Key<'_> {
    let record = admitted.record();
    (&record.device_id, record.sequence, record.payload_hash)
}

/// Returns the error for a payload whose place has other bytes.
pub(crate) fn has_other_bytes(place: &Arc<str>, record: &AuditRecord) -> StoreError {
    StoreError {
        component: Component::RawDataStore,
        action: "store the payload",
        place: Arc::clone(place),
        kind: FailureKind::Setup,
        source: Arc::new(std::io::Error::other(damaged(&content_path(record)))),
    }
}

/// Returns the result for each payload; none if other bytes are in its place.
pub(crate) async fn put_all(
    connection: &mut SqliteConnection,
    admitted: &[&Admitted],
) -> Result<Vec<Option<Put>>, sqlx::Error> {
    // Almost always none of them exists: the table's primary key detects it.
    let mut savepoint = connection.begin().await?;
    match insert_all(&mut savepoint, admitted).await {
        Ok(()) => {
            savepoint.commit().await?;
            return Ok(vec![Some(Put::Stored); admitted.len()]);
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => savepoint.rollback().await?,
        Err(error) => return Err(error),
    }
    let asked: Vec<(&str, u64)> = admitted
        .iter()
        .map(|admitted| key_of(admitted))
        .map(|(device_id, sequence, _)| (device_id, sequence))
        .collect();
    let rows = sqlx::query(
        "SELECT DISTINCT p.device_id, p.sequence, p.payload_hash, p.payload FROM json_each(?) j JOIN record_payloads p
         ON p.device_id = json_extract(j.value, '$[0]') AND p.sequence = json_extract(j.value, '$[1]')",
    )
    .bind(serde_json::json!(asked).to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut there: HashMap<Key<'_>, &[u8]> = HashMap::with_capacity(admitted.len());
    for row in &rows {
        let hash = Hash(row.try_get::<&[u8], _>(2)?.try_into().unwrap_or_default());
        there.insert((row.try_get(0)?, row.try_get::<i64, _>(1)?.cast_unsigned(), hash), row.try_get(3)?);
    }
    let mut new = Vec::new();
    let mut puts = Vec::with_capacity(admitted.len());
    for admitted in admitted.iter().copied() {
        let payload = &admitted.payload()[..];
        puts.push(match there.insert(key_of(admitted), payload) {
            Some(other) if other != payload => {
                there.insert(key_of(admitted), other);
                None
            }
            Some(_) => Some(Put::AlreadyThere),
            None => {
                new.push(admitted);
                Some(Put::Stored)
            }
        });
    }
    insert_all(connection, &new).await?;
    Ok(puts)
}

async fn insert_all(connection: &mut SqliteConnection, admitted: &[&Admitted]) -> Result<(), sqlx::Error> {
    let now = crate::clock::now_ms();
    let columns = "INSERT INTO record_payloads (device_id, sequence, payload_hash, payload, stored_at_ms)";
    insert(connection, columns, 5, admitted, |query, admitted: &&Admitted| {
        let record = admitted.record();
        query
            .bind(record.device_id.clone())
            .bind(record.sequence.cast_signed())
            .bind(record.payload_hash.as_bytes().to_vec())
            .bind(admitted.payload().to_vec())
            .bind(now)
    })
    .await
}
