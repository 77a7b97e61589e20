//! Records about updates: an outbox is also the journal of the update state.
//!
//! The record of an accepted update and the state that follows are in one transaction. The state itself is written after
//! it. A crash before the transaction leaves neither; after it, the next start completes the state from here.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash};
use edgesentry_formats::UpdateStateFile;
use edgesentry_update::{Manifest, Refusal, STATE_BYTES, State, Verified, audit_payload};
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::{Outbox, device_row, kept_records};
use crate::error::Error;

/// Records of accepted updates that fit into an outbox beyond its limit: a device that cannot send must still accept a
/// fix. Publishers have signed each of them.
const RESERVED_RECORDS: u64 = 16;

/// An accepted update: its record is durable, and its state must be written next.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AcceptedUpdate {
    /// The record.
    pub record: AuditRecord,
    /// The update state, to be written durably before the image starts. Then call [`Outbox::finish_update`].
    pub state: State,
}

/// The row of an accepted update.
struct Kept {
    manifest_hash: Hash,
    state: State,
    record: AuditRecord,
}

impl Outbox {
    /// Accepts a verified update: signs its record and writes the state, in this order. If either fails, or power is lost
    /// between both, the next call of this function or of [`Outbox::complete_update`] completes it: no record is lost, and a
    /// repetition of the same acceptance has no second one.
    ///
    /// # Errors
    /// The outbox or the state cannot be written, or the outbox is full.
    pub async fn accept_update(
        &self,
        file: &mut UpdateStateFile,
        verified: &Verified,
        timestamp_ms: u64,
    ) -> Result<AuditRecord, Error> {
        self.complete_update(file).await?;
        let accepted = self.record_update(file.state(), verified, timestamp_ms).await?;
        write(file, accepted.state)?;
        self.finish_update().await?;
        Ok(accepted.record)
    }

    /// Completes an acceptance that was interrupted between its record and the state. Call it when the device starts; true
    /// if the state has changed.
    ///
    /// # Errors
    /// The outbox cannot be read, the state cannot be written, or both are of different products.
    pub async fn complete_update(&self, file: &mut UpdateStateFile) -> Result<bool, Error> {
        let Some(state) = self.unfinished_update(file.state()).await? else { return Ok(false) };
        write(file, state)?;
        Ok(true)
    }

    /// Signs the record of a verified update, for a device that writes its state itself. `state` is the current one.
    ///
    /// # Errors
    /// As [`Outbox::accept_update`]; or an earlier acceptance is unfinished: see [`Outbox::unfinished_update`].
    pub fn record_update<'a>(
        &'a self,
        state: &'a State,
        verified: &'a Verified,
        timestamp_ms: u64,
    ) -> BoxFuture<'a, Result<AcceptedUpdate, Error>> {
        Box::pin(async move {
            let manifest = verified.manifest();
            let manifest_hash = Hash::of(&manifest.signed_message());
            let next = state.after(verified);
            let failed = || self.failed("keep the record of an update in the outbox");
            let _turn = self.signing.lock().await;
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            if let Some(kept) = self.kept_update(&mut transaction).await? {
                self.check_product(state, &kept.state)?;
                if state.joined(&kept.state) != *state {
                    let place = &self.database.place;
                    let problem =
                        format!("{place}: the acceptance of an update is unfinished; complete it first");
                    return Err(Error::Agent(problem));
                }
                if kept.manifest_hash == manifest_hash {
                    return Ok(AcceptedUpdate { record: kept.record, state: next });
                }
            }
            let payload = audit_payload(Some(manifest), Ok(()));
            let record = self.sign_update(&mut transaction, payload, timestamp_ms, RESERVED_RECORDS).await?;
            sqlx::query("INSERT OR REPLACE INTO accepted_update VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(manifest_hash.as_bytes().to_vec())
                .bind(next.encode_both().to_vec())
                .bind(record.sequence.cast_signed())
                .bind(record.timestamp_ms.cast_signed())
                .bind(record.payload_hash.as_bytes().to_vec())
                .bind(record.signature.to_vec())
                .bind(record.prev_record_hash.as_bytes().to_vec())
                .bind(record.object_ref.clone())
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
            transaction.commit().await.map_err(failed())?;
            Ok(AcceptedUpdate { record, state: next })
        })
    }

    /// Signs the record of a refused update. `manifest` is the claim of its sender, if it could be read.
    ///
    /// # Errors
    /// The outbox cannot be written, or is full.
    pub fn refuse_update<'a>(
        &'a self,
        manifest: Option<&'a Manifest>,
        refusal: &'a Refusal,
        timestamp_ms: u64,
    ) -> BoxFuture<'a, Result<AuditRecord, Error>> {
        Box::pin(async move {
            let failed = || self.failed("keep the record of an update in the outbox");
            let _turn = self.signing.lock().await;
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            let payload = audit_payload(manifest, Err(refusal));
            let record = self.sign_update(&mut transaction, payload, timestamp_ms, 0).await?;
            transaction.commit().await.map_err(failed())?;
            Ok(record)
        })
    }

    /// Returns the state that completes an acceptance which was interrupted after its record; `state` is the current one.
    /// None if there is nothing to complete.
    ///
    /// # Errors
    /// The outbox cannot be read, or `state` is of another product.
    pub async fn unfinished_update(&self, state: &State) -> Result<Option<State>, Error> {
        let failed = || self.failed("read the outbox");
        let mut reader = self.database.readers.acquire().await.map_err(failed())?;
        let Some(kept) = self.kept_update(&mut reader).await? else { return Ok(None) };
        self.check_product(state, &kept.state)?;
        let joined = state.joined(&kept.state);
        Ok((joined != *state).then_some(joined))
    }

    /// Ends an acceptance whose state is durable: the same update is a new one from now on.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub async fn finish_update(&self) -> Result<(), Error> {
        let failed = || self.failed("change the outbox");
        let mut writer = self.database.writer().await.map_err(failed())?;
        sqlx::query("DELETE FROM accepted_update").execute(&mut *writer).await.map_err(failed())?;
        Ok(())
    }

    async fn sign_update(
        &self,
        connection: &mut SqliteConnection,
        payload: String,
        timestamp_ms: u64,
        reserve: u64,
    ) -> Result<AuditRecord, Error> {
        let failed = || self.failed("keep the record of an update in the outbox");
        let head = device_row(connection).await.map_err(failed())?.and_then(|(_, head)| head);
        let sequence = head.map_or(1, |head| head.sequence.saturating_add(1));
        let object_ref = format!("{}/updates/{sequence}.json", self.device.device_id());
        let items = Arc::new(vec![(timestamp_ms, Bytes::from(payload), object_ref)]);
        self.check_limits(&items)?;
        self.check_room(1, kept_records(connection).await.map_err(failed())?, reserve).await?;
        let mut records = self.sign_within(connection, &items).await?;
        records.pop().ok_or(Error::Internal { what: "nothing was signed", source: None })
    }

    async fn kept_update(&self, connection: &mut SqliteConnection) -> Result<Option<Kept>, Error> {
        let row = sqlx::query(
            "SELECT sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref, manifest_hash, state
             FROM accepted_update",
        )
        .fetch_optional(connection)
        .await
        .map_err(self.failed("read the outbox"))?;
        row.map(|row| self.read_update(&row)).transpose()
    }

    fn read_update(&self, row: &SqliteRow) -> Result<Kept, Error> {
        let failed = || self.failed("read the outbox");
        let record = self.read_record(row).map_err(failed())?;
        let manifest_hash = row.try_get::<&[u8], _>(6).map_err(failed())?;
        let state = row.try_get::<&[u8], _>(7).map_err(failed())?;
        let state = <&[u8; STATE_BYTES]>::try_from(state).ok().and_then(|both| State::decode(both).ok());
        let (Ok(manifest_hash), Some(state)) = (manifest_hash.try_into(), state) else {
            let place = &self.database.place;
            return Err(Error::Agent(format!("{place}: the accepted update in the outbox is damaged")));
        };
        Ok(Kept { manifest_hash: Hash(manifest_hash), state, record })
    }

    fn check_product(&self, state: &State, kept: &State) -> Result<(), Error> {
        if state.is_of_product_of(kept) {
            return Ok(());
        }
        let place = &self.database.place;
        Err(Error::Agent(format!(
            "{place}: the outbox has an accepted update of another product than the update state; use the state that belongs \
             to this outbox"
        )))
    }
}

fn write(file: &mut UpdateStateFile, state: State) -> Result<(), Error> {
    file.replace(state).map_err(|error| Error::Agent(edgesentry_formats::describe(&error)))
}
