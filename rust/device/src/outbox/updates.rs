//! Records about updates: an outbox is also the journal of the update state.
//!
//! The record of an accepted update and the state that follows are in one transaction. The state itself is written after
//! it. A crash before the transaction leaves neither; after it, the next start completes the state from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Hash, Head};
use edgesentry_formats::UpdateStateFile;
use edgesentry_update::{Manifest, Refusal, STATE_BYTES, State, Verified, audit_payload, refusal_payload};
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Addition, Outbox, Plan, kept_records, next_sequence};
use crate::error::Error;

/// Records of accepted updates that fit into an outbox beyond its limit: a device that cannot send must still accept a
/// fix. Publishers have signed each of them.
const RESERVED_RECORDS: u64 = 16;
/// Records of refused updates that an outbox has at most: a sender needs no key for one. They also take at most a
/// quarter of a limited outbox.
const MAX_REFUSALS: u64 = 64;

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
    /// between both, the next call of this function or of [`Outbox::complete_update`] completes it: no record is lost, and
    /// the next acceptance of the same update has no second one.
    ///
    /// # Errors
    /// The outbox or the state cannot be written, or the outbox is full.
    pub async fn accept_update(
        &self,
        file: &mut UpdateStateFile,
        verified: &Verified,
        timestamp_ms: u64,
    ) -> Result<AuditRecord, Error> {
        if let Some(state) = self.unfinished_update(file.state()).await? {
            write(file, state)?;
        }
        let accepted = self.record_update(file.state(), verified, timestamp_ms).await?;
        write(file, accepted.state)?;
        self.finish_update().await?;
        Ok(accepted.record)
    }

    /// Completes an acceptance that was interrupted between its record and the state. Call it when the device starts; true
    /// if the state has changed. An acceptance whose state is complete already is ended, as by [`Outbox::finish_update`].
    ///
    /// # Errors
    /// The outbox cannot be read, the state cannot be written, or both are of different products.
    pub async fn complete_update(&self, file: &mut UpdateStateFile) -> Result<bool, Error> {
        let Some(state) = self.unfinished_update(file.state()).await? else {
            // Its record would be taken for that of the same update, however much later it is accepted again.
            let mut reader = self.database.readers.acquire().await.map_err(self.failed("read the outbox"))?;
            if self.kept_update(&mut reader).await?.is_some() {
                drop(reader);
                self.finish_update().await?;
            }
            return Ok(false);
        };
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
            let accepted = Accepted { state, next: &next, manifest, manifest_hash, timestamp_ms };
            let _turn = self.signing.lock().await;
            let record = self.add_record(&accepted).await?;
            Ok(AcceptedUpdate { record, state: next })
        })
    }

    /// Signs the record of a refused update. `manifest` is the claim of its sender, if it could be read.
    ///
    /// None if the outbox is full, or has 64 records of refusals, or a limited one a quarter of its records: a sender
    /// needs no key for one. The refusal is then counted, and the next record of one has the number, `left_out`.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub fn refuse_update<'a>(
        &'a self,
        manifest: Option<&'a Manifest>,
        refusal: &'a Refusal,
        timestamp_ms: u64,
    ) -> BoxFuture<'a, Result<Option<AuditRecord>, Error>> {
        Box::pin(async move {
            let _turn = self.signing.lock().await;
            if !self.takes_refusal().await? {
                let failed = || self.failed("count a refused update in the outbox");
                let mut writer = self.database.writer().await.map_err(failed())?;
                sqlx::query("UPDATE refusals_left_out SET refusals = refusals + 1")
                    .execute(&mut *writer)
                    .await
                    .map_err(failed())?;
                return Ok(None);
            }
            let refused = Refused { manifest, refusal, timestamp_ms, left_out: AtomicI64::new(0) };
            self.add_record(&refused).await.map(Some)
        })
    }

    async fn takes_refusal(&self) -> Result<bool, Error> {
        let failed = || self.failed("read the outbox");
        let mut reader = self.database.readers.acquire().await.map_err(failed())?;
        let kept = kept_records(&mut reader).await.map_err(failed())?;
        let refusals =
            "SELECT count(*) FROM refused_update WHERE sequence >= (SELECT min(sequence) FROM waiting)";
        let refusals: i64 = sqlx::query_scalar(refusals).fetch_one(&mut *reader).await.map_err(failed())?;
        let most = self.max_records.map_or(MAX_REFUSALS, |most| (most / 4).clamp(1, MAX_REFUSALS));
        Ok(refusals.cast_unsigned() < most && self.max_records.is_none_or(|most| kept < most))
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

    /// Plans the record of an update.
    async fn plan_update(
        &self,
        head: Option<Head>,
        connection: &mut SqliteConnection,
        (timestamp_ms, payload): (u64, String),
        reserve: u64,
    ) -> Result<Plan, Error> {
        let object_ref = format!("{}/updates/{}.json", self.device.device_id(), next_sequence(head));
        let items = Arc::new(vec![(timestamp_ms, Bytes::from(payload), object_ref)]);
        self.check_limits(&items)?;
        self.check_room(1, connection, reserve).await?;
        Ok(self.signing(items))
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
            return Err(Error::Outbox(format!("{place}: the accepted update in the outbox is damaged")));
        };
        Ok(Kept { manifest_hash: Hash(manifest_hash), state, record })
    }

    fn check_product(&self, state: &State, kept: &State) -> Result<(), Error> {
        if state.is_of_product_of(kept) {
            return Ok(());
        }
        let place = &self.database.place;
        Err(Error::Outbox(format!(
            "{place}: the outbox has an accepted update of another product than the update state; use the state that belongs \
             to this outbox"
        )))
    }
}

fn write(file: &mut UpdateStateFile, state: State) -> Result<(), Error> {
    file.replace(state).map_err(|error| Error::Outbox(edgesentry_formats::describe(&error)))
}

/// An accepted update. `next` is the state after it.
struct Accepted<'u> {
    state: &'u State,
    next: &'u State,
    manifest: &'u Manifest,
    manifest_hash: Hash,
    timestamp_ms: u64,
}

impl Addition for Accepted<'_> {
    fn plan<'a>(
        &'a self,
        outbox: &'a Outbox,
        head: Option<Head>,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            if let Some(kept) = outbox.kept_update(connection).await? {
                outbox.check_product(self.state, &kept.state)?;
                if self.state.joined(&kept.state) != *self.state {
                    let place = &outbox.database.place;
                    let problem =
                        format!("{place}: the acceptance of an update is unfinished; complete it first");
                    return Err(Error::Outbox(problem));
                }
                if kept.manifest_hash == self.manifest_hash {
                    return Ok(Plan::Kept(kept.record));
                }
            }
            let item = (self.timestamp_ms, audit_payload(Some(self.manifest), Ok(())));
            outbox.plan_update(head, connection, item, RESERVED_RECORDS).await
        })
    }

    fn keep_beside<'a>(
        &'a self,
        records: &'a [AuditRecord],
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            for record in records {
                sqlx::query("INSERT OR REPLACE INTO accepted_update VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)")
                    .bind(self.manifest_hash.as_bytes().to_vec())
                    .bind(self.next.encode_both().to_vec())
                    .bind(record.sequence.cast_signed())
                    .bind(record.timestamp_ms.cast_signed())
                    .bind(record.payload_hash.as_bytes().to_vec())
                    .bind(record.signature.to_vec())
                    .bind(record.prev_record_hash.as_bytes().to_vec())
                    .bind(record.object_ref.clone())
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    }
}

/// A refused update.
struct Refused<'u> {
    manifest: Option<&'u Manifest>,
    refusal: &'u Refusal,
    timestamp_ms: u64,
    /// The earlier refusals that the record counts.
    left_out: AtomicI64,
}

impl Addition for Refused<'_> {
    fn plan<'a>(
        &'a self,
        outbox: &'a Outbox,
        head: Option<Head>,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            let left_out: i64 = sqlx::query_scalar("SELECT refusals FROM refusals_left_out")
                .fetch_one(&mut *connection)
                .await
                .map_err(outbox.failed("read the outbox"))?;
            self.left_out.store(left_out, Ordering::Relaxed);
            let payload = refusal_payload(self.manifest, self.refusal, left_out.cast_unsigned());
            outbox.plan_update(head, connection, (self.timestamp_ms, payload), 0).await
        })
    }

    fn keep_beside<'a>(
        &'a self,
        records: &'a [AuditRecord],
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query("DELETE FROM refused_update WHERE sequence < (SELECT min(sequence) FROM waiting)")
                .execute(&mut *connection)
                .await?;
            for record in records {
                sqlx::query("INSERT INTO refused_update VALUES (?)")
                    .bind(record.sequence.cast_signed())
                    .execute(&mut *connection)
                    .await?;
            }
            sqlx::query("UPDATE refusals_left_out SET refusals = refusals - ?")
                .bind(self.left_out.load(Ordering::Relaxed))
                .execute(&mut *connection)
                .await?;
            Ok(())
        })
    }
}
