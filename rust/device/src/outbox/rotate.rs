//! The succession of the key of an outbox.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Head, KeyError, PublicKey, SuccessionError};
use futures::future::BoxFuture;
use sqlx::SqliteConnection;

use super::{Added, Addition, Outbox, Plan, Signed};
use crate::error::Error;
use crate::limits::{MAX_ID_BYTES, MAX_SEQUENCE, is_valid_id};

impl Outbox {
    /// Signs the next record of the chain as the succession of the device's key; `successor` signs all later ones. The
    /// record is durably in the outbox when this returns, and from then on the outbox signs nothing with the old key, in no
    /// process. Keep the seed of `successor` before, and delete the old one after.
    ///
    /// After an error or a crash the succession may be in the outbox: open it with `successor`, or make it again with the
    /// old key. One of the two succeeds.
    ///
    /// # Errors
    /// `successor` has another device id, the same key, one that was succeeded before, a weak one, or a weaker scheme, the
    /// chain or the outbox is full, the key of the outbox was succeeded already, or the disk fails.
    pub fn succeed(&self, timestamp_ms: u64, successor: Device) -> BoxFuture<'_, Result<AuditRecord, Error>> {
        Box::pin(async move {
            let device_id = self.device.device_id();
            let refused = |problem: String| Error::Outbox(format!("device {device_id:?}: {problem}"));
            // A record that no ledger accepts would block the outbox for ever.
            if timestamp_ms > MAX_SEQUENCE || !is_valid_id(device_id) {
                return Err(refused(format!(
                    "expected a timestamp_ms of at most {MAX_SEQUENCE}, and a device id of 1 to {MAX_ID_BYTES} bytes without \
                     U+0000; nothing was signed"
                )));
            }
            let _turn = self.signing.lock().await;
            let device = self.signer();
            let may_block = device.may_block() || successor.may_block();
            let (old, new) = (self.public_key(&device)?, self.public_key(&successor)?);
            let rotation = Rotation { old, new, timestamp_ms, successor };
            let Added { mut records, device } = self.add(&rotation, may_block).await?;
            *self.successor.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(device);
            records.pop().ok_or(Error::Internal { what: "nothing was signed", source: None })
        })
    }

    /// Returns the device that signs.
    pub(super) fn signer(&self) -> Device {
        let successor = self.successor.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        successor.as_ref().unwrap_or(&self.device).clone()
    }

    /// Returns the sequence of the succession that has replaced the key with which the outbox was opened, and the new key,
    /// 64 hex digits; `None` if the key still signs, or this process has made the succession.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn succeeded(&self) -> Result<Option<(u64, String)>, Error> {
        let mut reader = self.database.readers.acquire().await.map_err(self.failed("read the outbox"))?;
        self.successor_of(&self.signer(), &mut reader).await
    }

    /// Refuses every key but that of the last succession, which another process may have made: the chain would end for
    /// every ledger.
    pub(super) async fn refuse_other_keys(
        &self,
        device: &Device,
        connection: &mut SqliteConnection,
    ) -> Result<(), Error> {
        let row: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT sequence, successor FROM superseded ORDER BY sequence DESC LIMIT 1")
                .fetch_optional(connection)
                .await
                .map_err(self.failed("read the outbox"))?;
        let Some((sequence, successor)) = row else { return Ok(()) };
        let key = self.public_key(device)?;
        if key.as_bytes()[..] == successor {
            return Ok(());
        }
        Err(Error::Outbox(format!(
            "{}: the key of the device was succeeded at sequence {sequence} by key {}, and the outbox was opened with key {key}; \
             open it with the seed or the signer of the former; nothing was signed",
            self.database.place,
            hex::encode(successor)
        )))
    }

    /// Refuses the succession by a key that was succeeded before.
    async fn refuse_superseded(
        &self,
        successor: &Device,
        connection: &mut SqliteConnection,
    ) -> Result<(), Error> {
        let Some((sequence, _)) = self.successor_of(successor, connection).await? else { return Ok(()) };
        Err(Error::Outbox(format!(
            "{}: the new key was succeeded at sequence {sequence} and never comes back; make another one; nothing was signed",
            self.database.place
        )))
    }

    fn public_key(&self, device: &Device) -> Result<PublicKey, Error> {
        let weak = |error: KeyError| Error::Outbox(format!("device {:?}: {error}", device.device_id()));
        device.public_key().map_err(weak)
    }

    fn successor_of<'a>(
        &'a self,
        device: &'a Device,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Option<(u64, String)>, Error>> {
        Box::pin(async move {
            let key = self.public_key(device)?;
            let row: Option<(i64, Vec<u8>)> =
                sqlx::query_as("SELECT sequence, successor FROM superseded WHERE public_key = ?")
                    .bind(key.as_bytes().to_vec())
                    .fetch_optional(connection)
                    .await
                    .map_err(self.failed("read the outbox"))?;
            Ok(row.map(|(sequence, successor)| (sequence.cast_unsigned(), hex::encode(successor))))
        })
    }
}

/// A succession of the key `old` by that of `successor`, `new`.
struct Rotation {
    old: PublicKey,
    new: PublicKey,
    timestamp_ms: u64,
    successor: Device,
}

impl Addition for Rotation {
    fn plan<'a>(
        &'a self,
        outbox: &'a Outbox,
        _: Option<Head>,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            outbox.check_room(1, connection, 0).await?;
            outbox.refuse_superseded(&self.successor, connection).await?;
            let (timestamp_ms, successor) = (self.timestamp_ms, self.successor.clone());
            Ok(Plan::Sign(Box::new(move |mut device: Device| {
                let made = device.succeed(timestamp_ms, successor);
                let (record, payload) = made.map_err(|error| match error {
                    SuccessionError::Signer(error) => Error::Signer(error),
                    error => Error::Outbox(format!("device {:?}: {error}", device.device_id())),
                })?;
                let item = (timestamp_ms, Bytes::from(payload), record.object_ref.clone());
                Ok(Signed { records: vec![record], items: Arc::new(vec![item]), device })
            })))
        })
    }

    fn keep_beside<'a>(
        &'a self,
        records: &'a [AuditRecord],
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            for record in records {
                sqlx::query("INSERT INTO superseded VALUES (?, ?, ?)")
                    .bind(self.old.as_bytes().to_vec())
                    .bind(self.new.as_bytes().to_vec())
                    .bind(record.sequence.cast_signed())
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    }
}
