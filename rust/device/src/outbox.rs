//! The durable outbox of a device: sign, keep, send in order.
//!
//! It is one SQLite file. It stores a record, its payload and the new head before the caller gets the record, and drops
//! the record only when the service has confirmed that it holds the very same one, or, with [`ReceiptRules`], when a
//! proof shows that the record is in the transparency log. So a crash between any two steps costs only a resend, whose
//! outcome is `duplicate`.

mod clock;
mod receipts;
mod rotate;
mod state;
mod updates;

use std::path::Path;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Head, SignError, SignerError, count};
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::clock::ServiceTime;
use crate::error::{Component, Error, StoreError};
use crate::limits::{MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_SEQUENCE, is_valid_id};
use crate::rejection::Outcome;
use crate::sign::sign;
use crate::sink::Sink;
use crate::sql::failed;
use crate::sqlite::{Database, Schema, insert};
use crate::submission::Submission;
use crate::wire::ProblemCode;

use clock::keep_service_time;
pub use receipts::{CheckpointConflict, DEFAULT_MAX_RECEIPT_AGE, PendingReceipts, ReceiptRules, Receipts};
pub use state::MAX_CONFLICTS;
use state::acknowledge;
pub use updates::AcceptedUpdate;

static SCHEMA: Schema = Schema {
    name: "outbox",
    tables: &["device", "waiting", "rejection"],
    later_tables: &[
        "receipts",
        "acknowledged",
        "checkpoint",
        "conflict",
        "superseded",
        "accepted_update",
        "refused_update",
        "refusals_left_out",
    ],
    migrations: &[
        (1, "outbox", include_str!("../migrations/outbox/0001_outbox.sql")),
        (2, "receipts", include_str!("../migrations/outbox/0002_receipts.sql")),
        (3, "superseded", include_str!("../migrations/outbox/0003_superseded.sql")),
        (4, "updates", include_str!("../migrations/outbox/0004_updates.sql")),
        (5, "clock", include_str!("../migrations/outbox/0005_clock.sql")),
        (6, "refusals", include_str!("../migrations/outbox/0006_refusals.sql")),
    ],
};

/// Records and payload bytes of one send.
const SEND_RECORDS: i64 = 1024;
const SEND_BYTES: i64 = 16 << 20;

/// The result of one flush.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Flushed {
    /// Records that the service has accepted now.
    pub accepted: u64,
    /// Records that the service already held.
    pub duplicates: u64,
    /// Records that still wait to be sent.
    pub waiting: u64,
    /// The reason why the flush stopped, if the service rejected the first waiting record.
    pub rejection: Option<KeptRejection>,
    /// The receipts, if the outbox requires them.
    pub receipts: Option<Receipts>,
}

/// A record that the service rejected; the outbox keeps it and all records behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptRejection {
    /// The sequence of the record.
    pub sequence: u64,
    /// The reason code.
    pub code: String,
    /// What the check expected.
    pub expected: String,
    /// What the check found.
    pub actual: String,
}

/// A device with its outbox.
pub struct Outbox {
    device: Device,
    /// The same device under the key that has succeeded the one it was opened with.
    successor: RwLock<Option<Device>>,
    database: Database,
    rules: Option<ReceiptRules>,
    max_records: Option<u64>,
    /// One call of this process signs at a time, so that a slow signer signs each record once.
    signing: Mutex<()>,
}

/// The time, the payload and the object reference of a record to sign.
type Item = (u64, Bytes, String);

/// How often a signer that may block signs the same records, if another process keeps moving the head.
const SIGNING_ATTEMPTS: u32 = 16;

impl Outbox {
    /// Opens the outbox of a device, creating it if it is missing. A new outbox begins after the head of `device`; an
    /// existing one has its own head, and `device` must agree or have none.
    ///
    /// # Errors
    /// The file cannot be opened, is of another device, or continues another chain.
    pub async fn open(outbox: &Path, device: Device) -> Result<Outbox, Error> {
        let database = Database::open(outbox, Component::Outbox, true, &SCHEMA).await?;
        let outbox = Outbox {
            device,
            successor: RwLock::default(),
            database,
            rules: None,
            max_records: None,
            signing: Mutex::new(()),
        };
        outbox.claim().await?;
        Ok(outbox)
    }

    /// Refuses to sign if more than so many records would be in the outbox.
    pub fn limited(mut self, max_records: u64) -> Outbox {
        self.max_records = Some(max_records);
        self
    }

    // Boxed, like all futures that use a transaction: the compiler cannot prove the plain ones to be Send.
    fn claim(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let place = &self.database.place;
            let failed = || self.failed("open the outbox");
            let (device_id, head) = (self.device.device_id(), self.device.head());
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            match device_row(&mut transaction).await.map_err(failed())? {
                None => {
                    let Head { sequence, hash } = head.unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
                    sqlx::query(
                        "INSERT INTO device (only_row, device_id, sequence, record_hash) VALUES (1, ?, ?, ?)",
                    )
                    .bind(device_id)
                    .bind(sequence.cast_signed())
                    .bind(hash.as_bytes().to_vec())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed())?;
                }
                Some((owner, _)) if owner != device_id => {
                    let problem =
                        format!("{place}: the outbox belongs to device {owner:?}, not {device_id:?}");
                    return Err(Error::Outbox(problem));
                }
                Some((_, kept)) if head.is_some() && head != kept => {
                    let problem = format!(
                        "{place}: the outbox continues the chain of {device_id:?} after sequence {}, the device after {}",
                        kept.map_or(0, |head| head.sequence),
                        head.map_or(0, |head| head.sequence)
                    );
                    return Err(Error::Outbox(problem));
                }
                Some(_) => {}
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    /// Signs the next record of the chain; it is durably in the outbox when this returns.
    ///
    /// # Errors
    /// As [`Outbox::sign_many`].
    pub async fn sign(
        &self,
        timestamp_ms: u64,
        payload: Bytes,
        object_ref: &str,
    ) -> Result<AuditRecord, Error> {
        let mut records = self.sign_many([(timestamp_ms, payload, object_ref.to_owned())]).await?;
        records.pop().ok_or(Error::Internal { what: "nothing was signed", source: None })
    }

    /// Signs the next records of the chain, from times, payloads and object references. All of them are durably in the
    /// outbox when this returns, and none after an error. It waits for the disk once, not once per record.
    ///
    /// # Errors
    /// No ledger takes a record of these sizes, the chain or the outbox is full, another key has succeeded that of the device, or the
    /// signer of the device or the disk fails; nothing is signed then, and the chain has not changed.
    pub async fn sign_many(
        &self,
        items: impl IntoIterator<Item = (u64, Bytes, String)>,
    ) -> Result<Vec<AuditRecord>, Error> {
        let items: Arc<Vec<Item>> = Arc::new(items.into_iter().collect());
        self.check_limits(&items)?;
        let _turn = self.signing.lock().await;
        let added = self.add(&Items(&|_| Arc::clone(&items)), self.signer().may_block()).await?;
        Ok(added.records)
    }

    /// Signs one record behind the head of the outbox, and keeps it.
    async fn add_record(&self, addition: &dyn Addition) -> Result<AuditRecord, Error> {
        let mut added = self.add(addition, self.signer().may_block()).await?;
        added.records.pop().ok_or(Error::Internal { what: "nothing was signed", source: None })
    }

    /// Checks that a ledger accepts records of these sizes: another one would block the outbox for ever.
    fn check_limits(&self, items: &[Item]) -> Result<(), Error> {
        let unfit = |(timestamp_ms, payload, object_ref): &Item| {
            *timestamp_ms > MAX_SEQUENCE || payload.len() > MAX_PAYLOAD_BYTES || !is_valid_id(object_ref)
        };
        if items.iter().any(unfit) || !is_valid_id(self.device.device_id()) {
            let problem = format!(
                "expected a timestamp_ms of at most {MAX_SEQUENCE}, a payload of at most {MAX_PAYLOAD_BYTES} bytes, \
                 and a device id and object reference of 1 to {MAX_ID_BYTES} bytes without U+0000; nothing was signed"
            );
            return Err(Error::Outbox(problem));
        }
        Ok(())
    }

    /// Signs records behind the head of the outbox, and keeps them.
    ///
    /// A signer that may block must stop neither a flush nor another process, so it signs without a transaction. The
    /// head then decides whether its records are kept: each record moves it, those of other processes, too.
    fn add<'a>(&'a self, addition: &'a dyn Addition, may_block: bool) -> BoxFuture<'a, Result<Added, Error>> {
        Box::pin(async move {
            let failed = || self.failed("keep records in the outbox");
            let device = self.signer();
            if !may_block {
                let mut writer = self.database.writer().await.map_err(failed())?;
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
                let (head, plan) = self.plan(addition, &device, &mut transaction).await?;
                let device = device.resume(head);
                let signed = match plan {
                    Plan::Kept(record) => return Ok(Added { records: vec![record], device }),
                    Plan::Sign(work) => work(device)?,
                };
                let added = keep(&mut transaction, addition, signed).await.map_err(failed())?;
                transaction.commit().await.map_err(failed())?;
                return Ok(added);
            }
            for _ in 0..SIGNING_ATTEMPTS {
                let (head, plan) = {
                    let mut reader = self.database.readers.acquire().await.map_err(failed())?;
                    self.plan(addition, &device, &mut reader).await?
                };
                let device = device.clone().resume(head);
                let signed = match plan {
                    Plan::Kept(record) => return Ok(Added { records: vec![record], device }),
                    Plan::Sign(work) => run_signer(move || work(device)).await??,
                };
                let mut writer = self.database.writer().await.map_err(failed())?;
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
                let (_, now) = device_row(&mut transaction).await.map_err(failed())?.unwrap_or_default();
                if now == head {
                    let added = keep(&mut transaction, addition, signed).await.map_err(failed())?;
                    transaction.commit().await.map_err(failed())?;
                    return Ok(added);
                }
            }
            let problem = format!(
                "another process has kept records in the outbox during each of {SIGNING_ATTEMPTS} signatures; nothing was \
                 signed; sign again"
            );
            Err(Error::Signer(SignerError::passing(self.database.place.to_string(), problem)))
        })
    }

    /// Plans an addition after the head of the outbox: another process may have moved it. The head is read first, so
    /// that a change of the other answers changes the head, too.
    async fn plan(
        &self,
        addition: &dyn Addition,
        device: &Device,
        connection: &mut SqliteConnection,
    ) -> Result<(Option<Head>, Plan), Error> {
        let failed = || self.failed("read the outbox");
        let (_, head) = device_row(connection).await.map_err(failed())?.unwrap_or_default();
        self.refuse_other_keys(device, connection).await?;
        Ok((head, addition.plan(self, head, connection).await?))
    }

    /// Returns the work that signs items.
    fn signing(&self, items: Arc<Vec<Item>>) -> Plan {
        let device_id = self.device.device_id().to_owned();
        Plan::Sign(Box::new(move |mut device| {
            let records = items.iter().map(|(timestamp_ms, payload, object_ref)| {
                sign(&mut device, *timestamp_ms, payload, object_ref.as_str())
            });
            let records = records.collect::<Result<Vec<AuditRecord>, SignError>>();
            let records = records.map_err(|error| match error {
                SignError::Signer(error) => Error::Signer(error),
                error => Error::Outbox(format!("device {device_id:?}: {error}")),
            })?;
            Ok(Signed { records, items, device })
        }))
    }

    /// Checks that records fit into the outbox, or into its reserve.
    async fn check_room(
        &self,
        new: usize,
        connection: &mut SqliteConnection,
        reserve: u64,
    ) -> Result<(), Error> {
        let kept = kept_records(connection).await.map_err(self.failed("read the outbox"))?;
        let is_full = |most: &u64| kept.saturating_add(new as u64) > most.saturating_add(reserve);
        let Some(most) = self.max_records.filter(is_full) else {
            return Ok(());
        };
        let pending = self.pending().await?;
        Err(Error::Outbox(format!(
            "{}: the outbox is full: it has {kept} of at most {}, and {} of them are acknowledged and wait for \
             their receipts, the oldest for {} s; nothing was signed; flush the outbox, and see why the service sends no \
             receipts",
            self.database.place,
            count(most, "record"),
            pending.records,
            pending.age.as_secs()
        )))
    }

    /// Sends the waiting records in order, until none is left, the service rejects one, or an error occurs, which it
    /// returns. The next flush continues from there.
    ///
    /// If receipts are required, it then collects them, and drops each record whose receipt holds.
    ///
    /// # Errors
    /// The sink fails, or the file. What the service holds by then has left the outbox, or waits for its receipt.
    /// [`Error::Receipt`]: a receipt or a checkpoint of the log does not hold.
    pub async fn flush(&self, sink: &dyn Sink) -> Result<Flushed, Error> {
        if let Some(collection) = self.collection(sink).await? {
            return self.flush_and_collect(sink, &collection).await;
        }
        let mut flushed = Flushed::default();
        self.send(sink, &mut flushed).await?;
        Ok(flushed)
    }

    /// Sends the waiting records, see [`Outbox::flush`].
    async fn send(&self, sink: &dyn Sink, flushed: &mut Flushed) -> Result<(), Error> {
        // A record that was rejected before is sent alone: the service would reject those behind it, too.
        let mut most = if self.rejection().await?.is_some() { 1 } else { SEND_RECORDS };
        loop {
            let batch = self.next_batch(most).await?;
            most = SEND_RECORDS;
            if batch.is_empty() {
                return Ok(());
            }
            let sequences: Vec<u64> = batch.iter().map(|submission| submission.record.sequence).collect();
            let known = sink.service_time();
            let outcomes = sink.send(batch).await;
            let told = sink.service_time().filter(|told| known != Some(*told));
            let mut last_held = None;
            let mut end: Option<Result<KeptRejection, Error>> = None;
            for (sequence, outcome) in sequences.iter().zip(outcomes) {
                match outcome {
                    Ok(Outcome::Accepted) => flushed.accepted += 1,
                    Ok(Outcome::Duplicate) => flushed.duplicates += 1,
                    Ok(Outcome::Rejected(rejection)) => {
                        end = Some(Ok(KeptRejection {
                            sequence: *sequence,
                            code: rejection.code.name().to_owned(),
                            expected: rejection.expected.to_string(),
                            actual: rejection.actual.to_string(),
                        }));
                        break;
                    }
                    Err(error) => {
                        end = Some(Err(error));
                        break;
                    }
                }
                last_held = Some(*sequence);
            }
            let rejection = end.as_ref().and_then(|end| end.as_ref().ok());
            self.settle(last_held, rejection, told).await?;
            match end {
                None if last_held.is_none() => {
                    return Err(Error::Service {
                        place: Arc::clone(&self.database.place),
                        code: ProblemCode::NoAnswer,
                        detail: "the service returned no outcome for the records that were sent".to_owned(),
                        retryable: true,
                    });
                }
                None => {}
                Some(Ok(rejection)) => {
                    flushed.waiting = self.waiting().await?;
                    flushed.rejection = Some(rejection);
                    return Ok(());
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Closes the outbox; later calls fail.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Returns the number of records that wait to be sent.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn waiting(&self) -> Result<u64, Error> {
        let count = "SELECT count(*) FROM waiting WHERE sequence > (SELECT held FROM receipts)";
        let count: i64 = sqlx::query_scalar(count)
            .fetch_one(&self.database.readers)
            .await
            .map_err(self.failed("read the outbox"))?;
        Ok(count.cast_unsigned())
    }

    /// Returns the last signed link.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn head(&self) -> Result<Option<Head>, Error> {
        let failed = || self.failed("read the outbox");
        let mut reader = self.database.readers.acquire().await.map_err(failed())?;
        Ok(device_row(&mut reader).await.map_err(failed())?.and_then(|(_, head)| head))
    }

    /// Returns the latest rejection of the first waiting record.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn rejection(&self) -> Result<Option<KeptRejection>, Error> {
        let row = sqlx::query("SELECT sequence, code, expected, actual FROM rejection")
            .fetch_optional(&self.database.readers)
            .await;
        let kept = row.and_then(|row| {
            row.map(|row| {
                Ok(KeptRejection {
                    sequence: row.try_get::<i64, _>(0)?.cast_unsigned(),
                    code: row.try_get(1)?,
                    expected: row.try_get(2)?,
                    actual: row.try_get(3)?,
                })
            })
            .transpose()
        });
        Ok(kept.map_err(self.failed("read the outbox"))?)
    }

    async fn next_batch(&self, most: i64) -> Result<Vec<Submission>, Error> {
        let rows = sqlx::query(
            "SELECT sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref, payload FROM (
                 SELECT *, sum(length(payload)) OVER (ORDER BY sequence) - length(payload) AS before
                 FROM (
                     SELECT * FROM waiting WHERE sequence > (SELECT held FROM receipts) ORDER BY sequence LIMIT ?1
                 )
             ) WHERE before < ?2 ORDER BY sequence",
        )
        .bind(most)
        .bind(SEND_BYTES)
        .fetch_all(&self.database.readers)
        .await;
        let batch = rows.and_then(|rows| rows.iter().map(|row| self.read_submission(row)).collect());
        Ok(batch.map_err(self.failed("read the outbox"))?)
    }

    fn read_submission(&self, row: &SqliteRow) -> Result<Submission, sqlx::Error> {
        let record = Arc::new(self.read_record(row)?);
        Ok(Submission { record, payload: Bytes::from(row.try_get::<Vec<u8>, _>(6)?) })
    }

    fn read_record(&self, row: &SqliteRow) -> Result<AuditRecord, sqlx::Error> {
        Ok(AuditRecord {
            device_id: self.device.device_id().to_owned(),
            sequence: row.try_get::<i64, _>(0)?.cast_unsigned(),
            timestamp_ms: row.try_get::<i64, _>(1)?.cast_unsigned(),
            payload_hash: Hash(row.try_get::<&[u8], _>(2)?.try_into().unwrap_or_default()),
            signature: row.try_get::<&[u8], _>(3)?.try_into().unwrap_or([0; 64]),
            prev_record_hash: Hash(row.try_get::<&[u8], _>(4)?.try_into().unwrap_or_default()),
            object_ref: row.try_get(5)?,
        })
    }

    /// Notes that the service holds the records up to a sequence, and stores a rejection and a time of the service.
    fn settle<'a>(
        &'a self,
        up_to: Option<u64>,
        rejection: Option<&'a KeptRejection>,
        told: Option<ServiceTime>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = || self.failed("empty the outbox");
            let mut writer = self.database.writer().await.map_err(failed())?;
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            if let Some(up_to) = up_to {
                acknowledge(&mut transaction, up_to).await.map_err(failed())?;
            }
            if let Some(told) = told {
                keep_service_time(&mut transaction, told).await.map_err(failed())?;
            }
            if up_to.is_some() || rejection.is_some() {
                sqlx::query("DELETE FROM rejection").execute(&mut *transaction).await.map_err(failed())?;
            }
            if let Some(KeptRejection { sequence, code, expected, actual }) = rejection {
                sqlx::query("INSERT INTO rejection VALUES (?, ?, ?, ?)")
                    .bind(sequence.cast_signed())
                    .bind(code)
                    .bind(expected)
                    .bind(actual)
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed())?;
            }
            transaction.commit().await.map_err(failed())?;
            Ok(())
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        failed(&self.database.place, Component::Outbox, action)
    }
}

/// Returns the number of records in an outbox: their sequences have no gap.
async fn kept_records(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let span = "SELECT coalesce(max(sequence) - min(sequence) + 1, 0) FROM waiting";
    let records: i64 = sqlx::query_scalar(span).fetch_one(connection).await?;
    Ok(records.cast_unsigned())
}

/// A device id and its last signed link.
type Owner = (String, Option<Head>);

/// Reads the device of an outbox.
fn device_row(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<Option<Owner>, sqlx::Error>> {
    Box::pin(async move {
        let row = sqlx::query("SELECT device_id, sequence, record_hash FROM device")
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let sequence = row.try_get::<i64, _>(1)?.cast_unsigned();
        let hash = Hash(row.try_get::<&[u8], _>(2)?.try_into().unwrap_or_default());
        Ok(Some((row.try_get(0)?, (sequence > 0).then_some(Head { sequence, hash }))))
    })
}

/// Records that are signed together, and what the outbox keeps with them in one transaction.
trait Addition: Send + Sync {
    /// Checks that the outbox takes the records, and returns the work that signs them behind `head`.
    fn plan<'a>(
        &'a self,
        outbox: &'a Outbox,
        head: Option<Head>,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Plan, Error>>;

    /// Keeps what belongs to the signed records.
    fn keep_beside<'a>(
        &'a self,
        _: &'a [AuditRecord],
        _: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async { Ok(()) })
    }
}

enum Plan {
    Sign(Box<dyn FnOnce(Device) -> Result<Signed, Error> + Send>),
    /// The outbox already has the record.
    Kept(AuditRecord),
}

/// Signed records, their items, and the device that signs the next one.
struct Signed {
    records: Vec<AuditRecord>,
    items: Arc<Vec<Item>>,
    device: Device,
}

/// Records in the outbox, and the device that signs the next one.
struct Added {
    records: Vec<AuditRecord>,
    device: Device,
}

/// Records from items, which are made for the sequence of the first one.
struct Items<'a>(&'a (dyn Fn(u64) -> Arc<Vec<Item>> + Send + Sync));

impl Addition for Items<'_> {
    fn plan<'a>(
        &'a self,
        outbox: &'a Outbox,
        head: Option<Head>,
        connection: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            let items = self.0(next_sequence(head));
            outbox.check_room(items.len(), connection, 0).await?;
            Ok(outbox.signing(items))
        })
    }
}

/// Returns the sequence of the record behind a head.
fn next_sequence(head: Option<Head>) -> u64 {
    head.map_or(1, |head| head.sequence.saturating_add(1))
}

/// Signs on a thread that may block.
async fn run_signer<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Error::internal("the thread of a signer has ended", error))
}

async fn keep(
    connection: &mut SqliteConnection,
    addition: &dyn Addition,
    signed: Signed,
) -> Result<Added, sqlx::Error> {
    let Signed { records, items, device } = signed;
    let waiting: Vec<(&AuditRecord, &Bytes)> =
        records.iter().zip(&*items).map(|(record, (_, payload, _))| (record, payload)).collect();
    insert(connection, "INSERT INTO waiting", 7, &waiting, |query, (record, payload)| {
        query
            .bind(record.sequence.cast_signed())
            .bind(record.timestamp_ms.cast_signed())
            .bind(record.payload_hash.as_bytes().to_vec())
            .bind(record.signature.to_vec())
            .bind(record.prev_record_hash.as_bytes().to_vec())
            .bind(record.object_ref.clone())
            .bind(payload.to_vec())
    })
    .await?;
    if let Some(head) = device.head() {
        sqlx::query("UPDATE device SET sequence = ?, record_hash = ?")
            .bind(head.sequence.cast_signed())
            .bind(head.hash.as_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    addition.keep_beside(&records, connection).await?;
    Ok(Added { records, device })
}
