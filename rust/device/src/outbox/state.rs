//! The tables of an outbox about receipts.

use std::collections::HashMap;
use std::time::Duration;

use edgesentry_chain::AuditRecord;
use edgesentry_formats::times::now_ms;
use futures::future::BoxFuture;
use sqlx::{Connection, Row, SqliteConnection};

use super::Outbox;
use super::receipts::{CheckpointConflict, Receipt};
use crate::error::Error;

/// The maximum number of conflicts that an outbox keeps of one log with checkpoints of the same size, and of one log with
/// others; the first ones are the evidence.
pub const MAX_CONFLICTS: u32 = 16;

/// Notes that the service holds the records up to a sequence: they leave the outbox, or wait for their receipts.
pub(super) async fn acknowledge(connection: &mut SqliteConnection, up_to: u64) -> Result<(), sqlx::Error> {
    let required: bool =
        sqlx::query_scalar("SELECT required FROM receipts").fetch_one(&mut *connection).await?;
    if !required {
        sqlx::query("DELETE FROM waiting WHERE sequence <= ?")
            .bind(up_to.cast_signed())
            .execute(connection)
            .await?;
        return Ok(());
    }
    sqlx::query("UPDATE receipts SET held = max(held, ?)")
        .bind(up_to.cast_signed())
        .execute(&mut *connection)
        .await?;
    // A record that was sent again keeps the time of its first acknowledgement. One that another flush has sent, and whose
    // receipt it has, is not here any more.
    sqlx::query(
        "INSERT INTO acknowledged SELECT ?1, ?2 WHERE EXISTS (
             SELECT 1 FROM waiting
             WHERE sequence <= ?1 AND sequence > (SELECT coalesce(max(sequence), 0) FROM acknowledged))",
    )
    .bind(up_to.cast_signed())
    .bind(now_ms().cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}

impl Outbox {
    /// Returns the checkpoints that did not extend the one kept before, the first ones.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn conflicts(&self) -> Result<Vec<CheckpointConflict>, Error> {
        let rows = sqlx::query("SELECT at_ms, kept, shown, reason FROM conflict ORDER BY id")
            .fetch_all(&self.database.readers)
            .await;
        let conflicts = rows.and_then(|rows| {
            let conflict = |row: &sqlx::sqlite::SqliteRow| {
                Ok(CheckpointConflict {
                    at_ms: row.try_get::<i64, _>(0)?.cast_unsigned(),
                    kept: row.try_get(1)?,
                    shown: row.try_get(2)?,
                    reason: row.try_get(3)?,
                })
            };
            rows.iter().map(conflict).collect()
        });
        Ok(conflicts.map_err(self.failed("read the outbox"))?)
    }

    /// Returns true if the file requires receipts.
    pub(super) async fn is_required(&self) -> Result<bool, Error> {
        let required = sqlx::query_scalar("SELECT required FROM receipts");
        Ok(required.fetch_one(&self.database.readers).await.map_err(self.failed("read the outbox"))?)
    }

    /// States whether the outbox requires receipts. Without them, the acknowledged records are sent again.
    pub(super) fn set_required(&self, required: bool) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            if self.is_required().await? == required {
                return Ok(());
            }
            let failed = || self.failed("change the outbox");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            for statement in ["UPDATE receipts SET held = 0", "DELETE FROM acknowledged"] {
                sqlx::query(statement).execute(&mut *transaction).await.map_err(failed())?;
            }
            sqlx::query("UPDATE receipts SET required = ?")
                .bind(required)
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Returns the first acknowledged records without a receipt.
    pub(super) async fn pending_records(&self, most: u32) -> Result<Vec<AuditRecord>, Error> {
        let rows = sqlx::query(
            "SELECT sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref FROM waiting
             WHERE sequence <= (SELECT coalesce(max(sequence), 0) FROM acknowledged) ORDER BY sequence LIMIT ?",
        )
        .bind(most)
        .fetch_all(&self.database.readers)
        .await;
        let records = rows.and_then(|rows| rows.iter().map(|row| self.read_record(row)).collect());
        Ok(records.map_err(self.failed("read the outbox"))?)
    }

    /// Returns the number of acknowledged records without a receipt, and the age of the oldest one.
    pub(super) async fn pending_age(&self) -> Result<(u64, Duration), Error> {
        let row: (i64, Option<i64>) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM waiting WHERE sequence <= (SELECT max(sequence) FROM acknowledged)),
                    (SELECT at_ms FROM acknowledged WHERE sequence >= (SELECT min(sequence) FROM waiting)
                     ORDER BY sequence LIMIT 1)",
        )
        .fetch_one(&self.database.readers)
        .await
        .map_err(self.failed("read the outbox"))?;
        let (records, since) = (row.0.cast_unsigned(), row.1.map(i64::cast_unsigned));
        let age = since.filter(|_| records > 0).map_or(0, |since| now_ms().saturating_sub(since));
        Ok((records, Duration::from_millis(age)))
    }

    /// Lets the ages of pending records begin again if the clock went back, so that they become overdue all the same.
    pub(super) async fn correct_ages(&self) -> Result<(), Error> {
        let now = now_ms().cast_signed();
        let ahead = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM acknowledged WHERE at_ms > ?)");
        let ahead = ahead.bind(now).fetch_one(&self.database.readers).await;
        if !ahead.map_err(self.failed("read the outbox"))? {
            return Ok(());
        }
        let failed = || self.failed("change the outbox");
        let mut writer = self.database.writer().await.map_err(failed())?;
        sqlx::query("UPDATE acknowledged SET at_ms = ?1 WHERE at_ms > ?1")
            .bind(now)
            .execute(&mut *writer)
            .await
            .map_err(failed())?;
        Ok(())
    }

    /// Lets all acknowledged records be sent again; returns their number.
    pub(super) fn send_again(&self) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async move {
            let failed = || self.failed("change the outbox");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            let records: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM waiting WHERE sequence <= (SELECT held FROM receipts)",
            )
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed())?;
            sqlx::query("UPDATE receipts SET held = 0").execute(&mut *transaction).await.map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(records.cast_unsigned())
        })
    }

    /// Returns the last trusted checkpoint of each log, by origin.
    pub(super) async fn kept_notes(&self) -> Result<HashMap<String, String>, Error> {
        let notes: Result<Vec<(String, String)>, _> =
            sqlx::query_as("SELECT origin, note FROM checkpoint").fetch_all(&self.database.readers).await;
        Ok(notes.map_err(self.failed("read the outbox"))?.into_iter().collect())
    }

    /// Drops the records of a verified receipt, and keeps its checkpoint if it is later than the kept one. Returns false
    /// if another process has kept another checkpoint meanwhile; nothing changes then.
    pub(super) fn take<'a>(
        &'a self,
        receipt: &'a Receipt,
        kept: Option<&'a str>,
        is_later: bool,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let failed = || self.failed("empty the outbox");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            let origin = receipt.checkpoint.origin();
            let stored: Option<String> = sqlx::query_scalar("SELECT note FROM checkpoint WHERE origin = ?")
                .bind(origin)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed())?;
            if stored.as_deref() != kept {
                return Ok(false);
            }
            if is_later {
                sqlx::query("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)")
                    .bind(origin)
                    .bind(receipt.note.to_string())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed())?;
            }
            for delete in
                ["DELETE FROM waiting WHERE sequence <= ?", "DELETE FROM acknowledged WHERE sequence <= ?"]
            {
                let delete = sqlx::query(delete).bind(receipt.last.cast_signed());
                delete.execute(&mut *transaction).await.map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(true)
        })
    }

    /// Keeps a checkpoint that does not extend the kept one, with it. The number is limited for each log and kind, so that
    /// a service cannot fill the room of a contradiction with other conflicts.
    pub(super) fn keep_conflict<'a>(
        &'a self,
        kept: &'a str,
        shown: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("keep a checkpoint in the outbox");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            let others: Vec<(String, String)> = sqlx::query_as("SELECT kept, shown FROM conflict")
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed())?;
            let is_like =
                |(other, shown_then): &&(String, String)| kind(other, shown_then) == kind(kept, shown);
            if others.iter().filter(is_like).count() >= MAX_CONFLICTS as usize {
                return Ok(());
            }
            sqlx::query("INSERT OR IGNORE INTO conflict (at_ms, kept, shown, reason) VALUES (?, ?, ?, ?)")
                .bind(now_ms().cast_signed())
                .bind(kept)
                .bind(shown)
                .bind(reason)
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }
}

/// Returns the log of a conflict, and whether both checkpoints have the same size.
fn kind<'a>(kept: &'a str, shown: &str) -> (Option<&'a str>, bool) {
    let size = |note: &str| note.lines().nth(1).map(str::to_owned);
    (kept.lines().next(), size(kept) == size(shown))
}
