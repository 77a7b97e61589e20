//! Payloads in the file of the embedded ledger.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::Hash;
use sqlx::{Connection, Row, SqliteConnection};

use super::{PayloadStore, Put, Version};
use crate::error::{Component, StoreError};
use crate::ingest::verify::Admitted;
use crate::sql::failed;
use crate::sqlite::{Database, insert};

/// Payloads in the table `payloads` of an embedded ledger, see
/// [`Sqlite::payloads`](crate::ledger::Sqlite::payloads).
#[derive(Debug, Clone)]
pub struct SqlitePayloads {
    database: Arc<Database>,
}

impl SqlitePayloads {
    pub(crate) fn new(database: Arc<Database>) -> SqlitePayloads {
        SqlitePayloads { database }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::RawDataStore, action)
    }

    /// All in one transaction.
    async fn put_all(&self, admitted: &[Admitted]) -> Result<Vec<Put>, StoreError> {
        let mut writer = self.database.writer().await.map_err(self.failed("begin a transaction"))?;
        let mut transaction =
            writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed("begin a transaction"))?;
        let puts = put_all(&mut transaction, admitted).await.map_err(self.failed("store payloads"))?;
        transaction.commit().await.map_err(self.failed("commit payloads"))?;
        Ok(puts)
    }
}

#[async_trait]
impl PayloadStore for SqlitePayloads {
    fn place(&self) -> &str {
        &self.database.place
    }

    fn refuses(&self, _object_ref: &str) -> Option<String> {
        None
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

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let mut puts = self.put_all(std::slice::from_ref(admitted)).await?;
        Ok(puts.remove(0))
    }

    async fn put_many(&self, admitted: &[Admitted], _concurrency: usize) -> Vec<Result<Put, StoreError>> {
        match self.put_all(admitted).await {
            Ok(puts) => puts.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); admitted.len()],
        }
    }

    async fn get(&self, object_ref: &str) -> Result<Option<Bytes>, StoreError> {
        let payload: Result<Option<Vec<u8>>, sqlx::Error> =
            sqlx::query_scalar("SELECT payload FROM payloads WHERE object_ref = ?")
                .bind(object_ref)
                .fetch_optional(&self.database.readers)
                .await;
        let payload = self.database.unchanged(payload).map_err(self.failed("read a payload"))?;
        Ok(payload.map(Bytes::from))
    }

    async fn exists(&self, object_ref: &str) -> Result<bool, StoreError> {
        Ok(!self.versions(object_ref).await?.is_empty())
    }

    async fn versions(&self, object_ref: &str) -> Result<Vec<Version>, StoreError> {
        let row = sqlx::query("SELECT length(payload), stored_at_ms FROM payloads WHERE object_ref = ?")
            .bind(object_ref)
            .fetch_optional(&self.database.readers)
            .await;
        let version = row.and_then(|row| {
            row.map(|row| {
                Ok(Version {
                    id: String::new(),
                    size_bytes: row.try_get::<i64, _>(0)?.cast_unsigned(),
                    stored_at_ms: row.try_get::<i64, _>(1)?.cast_unsigned(),
                    current: true,
                    deleted: false,
                })
            })
            .transpose()
        });
        Ok(version.map_err(self.failed("look for a payload"))?.into_iter().collect())
    }
}

async fn put_all(connection: &mut SqliteConnection, admitted: &[Admitted]) -> Result<Vec<Put>, sqlx::Error> {
    let references: Vec<&str> =
        admitted.iter().map(|admitted| admitted.record().object_ref.as_str()).collect();
    let taken: Vec<String> = sqlx::query_scalar(
        "SELECT object_ref FROM payloads WHERE object_ref IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::json!(references).to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut there: std::collections::HashMap<String, Hash> = std::collections::HashMap::new();
    for object_ref in taken {
        let payload: Vec<u8> = sqlx::query_scalar("SELECT payload FROM payloads WHERE object_ref = ?")
            .bind(&object_ref)
            .fetch_one(&mut *connection)
            .await?;
        there.insert(object_ref, Hash::of(&payload));
    }
    let mut new = Vec::new();
    let mut puts = Vec::with_capacity(admitted.len());
    for admitted in admitted {
        let record = admitted.record();
        puts.push(match there.get(&record.object_ref) {
            Some(hash) if *hash == record.payload_hash => Put::AlreadyThere,
            Some(hash) => Put::Conflict(*hash),
            None => {
                there.insert(record.object_ref.clone(), record.payload_hash);
                new.push(admitted);
                Put::Stored
            }
        });
    }
    let now = crate::clock::now_ms();
    insert(connection, "INSERT INTO payloads", 3, &new, |query, admitted: &&Admitted| {
        query.bind(admitted.record().object_ref.clone()).bind(admitted.payload().to_vec()).bind(now)
    })
    .await?;
    Ok(puts)
}
