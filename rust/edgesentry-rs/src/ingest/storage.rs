//! The ingest service: admission, payloads, ledger, in this order, for many callers at once.
//!
//! Callers share the work: whatever waits is verified as one batch and committed as one transaction. Nothing is
//! acknowledged before the commit, and nothing that fails before it leaves a trace that would block a retry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use edgesentry_chain::AuditRecord;
use futures::{Stream, StreamExt};
use tokio::sync::Semaphore;
use tracing::field::Empty;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::commit::Committer;
use super::group::{Group, Unit, shared};
use super::keys::{Keys, Verified, verify_units};
use super::verify::{self, Admitted, Outcome, Rejection, RejectionCode, Submission};
use crate::error::{Component, Error, StoreError};
use crate::ledger::{AppendError, Entry, Ledger, Registration};
use crate::payload::{PayloadStore, Put, Stored};
use crate::telemetry::metrics::{Metrics, Queue};

/// How often a record whose device's keys keep changing is admitted anew.
const READMISSIONS: usize = 5;

/// How much is done at once.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Records verified and committed together, at least; one call's records stay together up to this number.
    pub batch_records: usize,
    /// Payload writes under way at once, over all callers.
    pub payload_puts: usize,
    /// How often a store is tried before an error is answered.
    pub attempts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { batch_records: 4096, payload_puts: 64, attempts: 5 }
    }
}

/// Takes records in. Cheap to clone; clones are one service.
///
/// Any number of services, in any number of processes, may work on one ledger.
#[derive(Clone)]
pub struct IngestService(Arc<Service>);

struct Service {
    ledger: Arc<dyn Ledger>,
    payloads: Arc<dyn PayloadStore>,
    limits: Limits,
    metrics: Metrics,
    keys: Arc<Keys>,
    verify: Group<Submission, Verified>,
    puts: Puts,
    commit: Group<Entry, Result<Vec<Outcome>, AppendError>>,
}

/// How payloads are written: many at once, or all that wait in one call.
enum Puts {
    Each(Semaphore),
    Batches(Group<Admitted, Vec<Result<Put, StoreError>>>),
}

impl IngestService {
    /// Starts the tasks of a service on the current Tokio runtime; they end when the last clone is dropped. It counts on
    /// [`Metrics::global`].
    pub fn start(ledger: Arc<dyn Ledger>, payloads: Arc<dyn PayloadStore>, limits: Limits) -> IngestService {
        IngestService::start_with(ledger, payloads, limits, Metrics::global())
    }

    /// [`IngestService::start`] for a service that counts on `metrics`.
    pub fn start_with(
        ledger: Arc<dyn Ledger>,
        payloads: Arc<dyn PayloadStore>,
        limits: Limits,
        metrics: Metrics,
    ) -> IngestService {
        let most = limits.batch_records.max(1);
        let keys = Arc::new(Keys::new(Arc::clone(&ledger), limits.clone()));
        let verify = {
            let keys = Arc::clone(&keys);
            Group::start(most, (&metrics, Queue::Verify), move |units| verify_units(Arc::clone(&keys), units))
        };
        let puts = if payloads.prefers_batches() {
            let (store, limits) = (Arc::clone(&payloads), limits.clone());
            Puts::Batches(Group::start(most, (&metrics, Queue::Payload), move |units| {
                put_units(Arc::clone(&store), limits.clone(), units)
            }))
        } else {
            Puts::Each(Semaphore::new(limits.payload_puts.max(1)))
        };
        let commit = {
            let committer = Arc::new(Committer {
                ledger: Arc::clone(&ledger),
                limits: limits.clone(),
                metrics: metrics.clone(),
            });
            Group::start(most, (&metrics, Queue::Commit), move |units| {
                let committer = Arc::clone(&committer);
                async move { committer.commit(units).await }
            })
        };
        IngestService(Arc::new(Service { ledger, payloads, limits, metrics, keys, verify, puts, commit }))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.0.ledger
    }

    /// The metrics that it counts on.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The payload store.
    pub fn payloads(&self) -> &Arc<dyn PayloadStore> {
        &self.0.payloads
    }

    /// Registers a key, see [`Ledger::register`].
    pub async fn register(&self, registration: &Registration) -> Result<(), Error> {
        self.0.ledger.register(registration).await?;
        self.0.keys.forget([registration.device_id.as_str()]);
        Ok(())
    }

    /// Revokes the keys of a device, see [`Ledger::revoke`].
    pub async fn revoke(&self, device_id: &str) -> Result<u64, Error> {
        let from = self.0.ledger.revoke(device_id).await?;
        self.0.keys.forget([device_id]);
        Ok(from)
    }

    /// Takes one record in. When it answers [`Outcome::Accepted`] or [`Outcome::Duplicate`], record and payload are
    /// durable. After an error the same call may be made again.
    pub async fn ingest(&self, submission: Submission) -> Result<Outcome, Error> {
        self.ingest_many(vec![submission]).await.pop().unwrap_or(Err(Error::Stopped))
    }

    /// Takes records in and answers each, in their order. The records of one device must be in the order of its
    /// chain. A bad record costs its own device's later records; those of other devices it does not touch.
    pub async fn ingest_many(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let span = info_span!("ingest", records = submissions.len(), device_id = Empty, sequence = Empty);
        if let [Submission { record, .. }] = &submissions[..] {
            span.record("device_id", record.device_id.as_str()).record("sequence", record.sequence);
        }
        let units = split(submissions, self.0.limits.batch_records.max(1));
        self.ingest_stream(futures::stream::iter(units)).concat().instrument(span).await
    }

    /// [`IngestService::ingest_many`] for records that arrive in units: answers unit by unit, in order. While one
    /// unit is committed, the next is verified and its payloads are written, and the one behind it is asked for.
    pub fn ingest_stream<'a>(
        &'a self,
        units: impl Stream<Item = Vec<Submission>> + Send + 'a,
    ) -> impl Stream<Item = Vec<Result<Outcome, Error>>> + Send + 'a {
        let service = &self.0;
        let prepare = move |unit| async move { (Instant::now(), service.prepare(unit).await) };
        let prepared = units.map(prepare).buffered(2);
        let state = (Box::pin(prepared), Failed::default());
        futures::stream::unfold(state, move |(mut prepared, mut failed)| async move {
            let (begin, unit) = prepared.next().await?;
            let mut answers = Vec::with_capacity(unit.len());
            service.finish(unit, &mut failed, &mut answers).await;
            service.metrics.observe_ingest(begin.elapsed());
            Some((answers, (prepared, failed)))
        })
    }
}

/// What an earlier unit of the same call has left undone.
#[derive(Default)]
struct Failed {
    devices: HashSet<String>,
    ledger: bool,
}

/// A record on its way: an entry for the ledger, or why it will not be one.
type Prepared = Vec<Result<Entry, (Arc<AuditRecord>, Error)>>;

/// Calls of few large pieces; a piece also ends where its payloads grow large.
fn split(submissions: Vec<Submission>, records: usize) -> Vec<Vec<Submission>> {
    const BYTES: usize = 32 << 20;
    let mut units = Vec::new();
    let (mut unit, mut bytes) = (Vec::new(), 0);
    for submission in submissions {
        if unit.len() == records || (bytes > 0 && bytes + submission.payload.len() > BYTES) {
            units.push(std::mem::take(&mut unit));
            bytes = 0;
        }
        bytes += submission.payload.len();
        unit.push(submission);
    }
    if !unit.is_empty() {
        units.push(unit);
    }
    units
}

impl Service {
    /// Verification and payloads of one unit.
    async fn prepare(&self, unit: Vec<Submission>) -> Prepared {
        for Submission { record, payload } in &unit {
            debug!(
                device_id = record.device_id,
                sequence = record.sequence,
                object_ref = record.object_ref,
                payload_bytes = payload.len(),
                "ingest started"
            );
        }
        let records: Vec<Arc<AuditRecord>> =
            unit.iter().map(|submission| Arc::clone(&submission.record)).collect();
        let give_up =
            |error: Error| records.iter().map(|record| Err((Arc::clone(record), error.clone()))).collect();
        match self.verify.submit(unit, info_span!("verify", records = records.len())).await {
            None => give_up(Error::Stopped),
            Some(Err(error)) => {
                for record in &records {
                    tell_error(&self.metrics, record, &error);
                }
                give_up(error.into())
            }
            Some(Ok(verified)) => self.store_payloads(verified).await,
        }
    }

    /// Writes the payloads of what was admitted.
    async fn store_payloads(&self, verified: Vec<Result<Admitted, Rejection>>) -> Prepared {
        let refuse = |verified: Result<Admitted, Rejection>| {
            let admitted = verified?;
            match self.payloads.refuses(&admitted.record().object_ref) {
                None => Ok(admitted),
                Some(expected) => Err(Rejection {
                    code: RejectionCode::ObjectRefInvalid,
                    expected,
                    actual: format!("{:?}", admitted.record().object_ref),
                    record: Arc::clone(admitted.record()),
                }),
            }
        };
        let verified: Vec<Result<Admitted, Rejection>> = verified.into_iter().map(refuse).collect();
        let admitted: Vec<Admitted> =
            verified.iter().filter_map(|verified| verified.as_ref().ok().cloned()).collect();
        let mut puts = self.put_all(admitted).await.into_iter();
        let entry = |verified| match verified {
            Err(rejection) => Ok(Entry::Rejected(rejection)),
            Ok(admitted) => match puts.next() {
                Some(Ok(put)) => Ok(Entry::Record(Stored::new(admitted, put))),
                Some(Err(error)) => {
                    tell_error(&self.metrics, admitted.record(), &error);
                    Err((Arc::clone(admitted.record()), error.into()))
                }
                None => Err((Arc::clone(admitted.record()), Error::Stopped)),
            },
        };
        verified.into_iter().map(entry).collect()
    }

    async fn put_all(&self, admitted: Vec<Admitted>) -> Vec<Result<Put, StoreError>> {
        if admitted.is_empty() {
            return Vec::new();
        }
        let span = info_span!("payload_put", records = admitted.len());
        match &self.puts {
            // Without an answer the service has stopped.
            Puts::Batches(group) => group.submit(admitted, span).await.unwrap_or_default(),
            Puts::Each(permits) => {
                let put = |admitted: Admitted| {
                    let waiting = self.metrics.waiting(Queue::Payload, 1);
                    async move {
                        // Never closed, so always granted.
                        let _permit = permits.acquire().await;
                        drop(waiting);
                        let put = || self.payloads.put(&admitted);
                        put.retry(backoff(&self.limits)).when(|error: &StoreError| error.retryable).await
                    }
                };
                // All of them wait from now on, also those that the stream has not come to.
                let puts: Vec<_> = admitted.into_iter().map(put).collect();
                let puts = futures::stream::iter(puts).buffered(self.limits.payload_puts.max(1));
                puts.collect().instrument(span).await
            }
        }
    }

    /// Commits one unit and answers its records.
    async fn finish(&self, unit: Prepared, failed: &mut Failed, answers: &mut Vec<Result<Outcome, Error>>) {
        let first = answers.len();
        let mut entries: Vec<(usize, Entry)> = Vec::with_capacity(unit.len());
        for prepared in unit {
            let record = match &prepared {
                Ok(Entry::Record(stored)) => stored.admitted().record(),
                Ok(Entry::Rejected(rejection)) => &rejection.record,
                Err((record, _)) => record,
            };
            let not_tried =
                Error::NotTried { device_id: record.device_id.clone(), sequence: record.sequence };
            let device_failed = failed.ledger || failed.devices.contains(&record.device_id);
            match prepared {
                // A rejection stands, whatever became of earlier records.
                Ok(Entry::Record(_)) if device_failed => answers.push(Err(not_tried)),
                Ok(entry) => {
                    entries.push((answers.len(), entry));
                    // Overwritten below.
                    answers.push(Err(not_tried));
                }
                Err((record, error)) => {
                    failed.devices.insert(record.device_id.clone());
                    answers.push(Err(error));
                }
            }
        }
        let (places, entries): (Vec<usize>, Vec<Entry>) = entries.into_iter().unzip();
        if entries.is_empty() {
            return;
        }
        match self.append(entries).await {
            Ok(outcomes) => {
                for (place, outcome) in places.into_iter().zip(outcomes) {
                    answers[place] = Ok(outcome);
                }
            }
            Err(error) => {
                failed.ledger = true;
                for place in places {
                    answers[place] = Err(error.clone());
                }
            }
        }
        debug_assert!(answers.len() > first);
    }

    /// Commits entries; admits them anew where keys have changed meanwhile.
    async fn append(&self, mut entries: Vec<Entry>) -> Result<Vec<Outcome>, Error> {
        for _ in 0..READMISSIONS {
            let span = info_span!("ledger_commit", records = entries.len());
            match self.commit.submit(entries.clone(), span).await {
                None => return Err(Error::Stopped),
                Some(Ok(outcomes)) => return Ok(outcomes),
                // Told by the commit.
                Some(Err(AppendError::Store(error))) => return Err(error.into()),
                Some(Err(AppendError::KeysChanged)) => {
                    self.keys.forget(entries.iter().map(|entry| record_of(entry).device_id.as_str()));
                    entries = match self.readmit(&entries).await {
                        Ok(entries) => entries,
                        Err(error) => return Err(self.give_up(&entries, error)),
                    };
                }
            }
        }
        let problem = "the keys of its devices change faster than records can be admitted";
        let error = Error::Store(StoreError {
            component: Component::AuditLedger,
            action: "append to the ledger",
            place: self.ledger.place().into(),
            retryable: true,
            source: Arc::new(std::io::Error::other(problem)),
        });
        Err(self.give_up(&entries, error))
    }

    /// Tells of entries that no commit has tried to the end.
    fn give_up(&self, entries: &[Entry], error: Error) -> Error {
        if let Error::Store(error) = &error {
            for entry in entries {
                tell_error(&self.metrics, record_of(entry), error);
            }
        }
        error
    }

    /// The same entries under the keys of now. Payloads are stored already.
    async fn readmit(&self, entries: &[Entry]) -> Result<Vec<Entry>, Error> {
        let submissions = entries.iter().filter_map(|entry| match entry {
            Entry::Record(stored) => Some(stored.admitted().to_submission()),
            Entry::Rejected(_) => None,
        });
        let submissions: Vec<Submission> = submissions.collect();
        let span = info_span!("verify", records = submissions.len());
        let verified = self.verify.submit(submissions, span).await.ok_or(Error::Stopped)??;
        let mut verified = verified.into_iter();
        let readmitted = entries.iter().map(|entry| match entry {
            Entry::Rejected(_) => Ok(entry.clone()),
            Entry::Record(stored) => {
                let put = stored.conflict().map_or(Put::AlreadyThere, Put::Conflict);
                match verified.next().ok_or(Error::Stopped)? {
                    Ok(admitted) => Ok(Entry::Record(Stored::new(admitted, put))),
                    Err(rejection) => Ok(Entry::Rejected(rejection)),
                }
            }
        });
        readmitted.collect()
    }
}

/// The record of an entry.
pub(super) fn record_of(entry: &Entry) -> &AuditRecord {
    match entry {
        Entry::Record(stored) => stored.admitted().record(),
        Entry::Rejected(rejection) => &rejection.record,
    }
}

/// Tells what has become of a record, once that is certain.
pub(super) fn tell(metrics: &Metrics, record: &AuditRecord, outcome: &Outcome) {
    metrics.count(outcome);
    verify::tell(record, outcome);
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match outcome {
        Outcome::Accepted => info!(device_id, sequence, object_ref = record.object_ref, "record accepted"),
        // Told by the verification.
        Outcome::Duplicate => {}
        Outcome::Rejected(Rejection { code: RejectionCode::PayloadHashMismatch, .. }) => {
            warn!(device_id, sequence, "payload hash mismatch — record rejected");
        }
        Outcome::Rejected(rejection) => {
            warn!(device_id, sequence, reason = rejection.code.name(), "integrity policy rejected record");
        }
    }
}

/// Tells that a store has failed to take a record.
pub(super) fn tell_error(metrics: &Metrics, record: &AuditRecord, problem: &StoreError) {
    metrics.count_error(problem.component);
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    let text = problem.describe();
    match problem.component {
        Component::RawDataStore => error!(device_id, sequence, error = text, "raw data store write failed"),
        Component::AuditLedger | Component::Outbox | Component::Archive => {
            error!(device_id, sequence, error = text, "audit ledger append failed")
        }
        Component::OperationLog => error!(device_id, sequence, error = text, "operation log write failed"),
    }
}

/// How a store is tried again.
pub(super) fn backoff(limits: &Limits) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(limits.attempts.saturating_sub(1))
        .with_jitter()
}

/// Writes the payloads of units in one call of the store.
async fn put_units(
    store: Arc<dyn PayloadStore>,
    limits: Limits,
    units: Vec<Unit<Admitted>>,
) -> Vec<Vec<Result<Put, StoreError>>> {
    let lengths: Vec<usize> = units.iter().map(|unit| unit.items.len()).collect();
    let span = shared(&units, |parent, records| info_span!(parent: parent, "payload_batch", records));
    let all: Vec<Admitted> = units.into_iter().flat_map(|unit| unit.items).collect();
    let put = || async {
        let puts = store.put_many(&all, limits.payload_puts).await;
        let failed = puts.iter().find_map(|put| put.as_ref().err().filter(|error| error.retryable));
        match failed {
            Some(error) => Err((error.clone(), puts)),
            None => Ok(puts),
        }
    };
    let puts = match put.retry(backoff(&limits)).instrument(span).await {
        Ok(puts) | Err((_, puts)) => puts,
    };
    let mut puts = puts.into_iter();
    lengths.into_iter().map(|length| puts.by_ref().take(length).collect()).collect()
}
