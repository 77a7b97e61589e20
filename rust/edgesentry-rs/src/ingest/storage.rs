//! The ingest service: admission, payloads, ledger, in this order, for many callers at once.
//!
//! Callers share the work: whatever waits is verified as one batch and committed as one transaction. Nothing is
//! acknowledged before the commit, and nothing that fails before it leaves a trace that would block a retry.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use edgesentry_chain::AuditRecord;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, error, info, info_span, warn};

use super::group::{Group, Unit};
use super::verify::{self, Admitted, DeviceKeys, Outcome, Registry, Rejection, RejectionCode, Submission};
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
        let keys =
            Arc::new(Keys { ledger: Arc::clone(&ledger), limits: limits.clone(), known: Mutex::default() });
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
        let begin = Instant::now();
        let answers = self.0.ingest(submissions).instrument(span).await;
        self.0.metrics.observe_ingest(begin.elapsed());
        answers
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
    async fn ingest(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let mut answers = Vec::with_capacity(submissions.len());
        // While one unit is committed, the next is verified and its payloads are written.
        let units = split(submissions, self.limits.batch_records.max(1));
        let mut prepared =
            futures::stream::iter(units.into_iter().map(|unit| self.prepare(unit))).buffered(2);
        let mut failed = Failed::default();
        while let Some(unit) = prepared.next().await {
            self.finish(unit, &mut failed, &mut answers).await;
        }
        answers
    }

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

fn record_of(entry: &Entry) -> &AuditRecord {
    match entry {
        Entry::Record(stored) => stored.admitted().record(),
        Entry::Rejected(rejection) => &rejection.record,
    }
}

/// Tells what has become of a record, once that is certain.
fn tell(metrics: &Metrics, record: &AuditRecord, outcome: &Outcome) {
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

fn tell_error(metrics: &Metrics, record: &AuditRecord, problem: &StoreError) {
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

fn backoff(limits: &Limits) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(limits.attempts.saturating_sub(1))
        .with_jitter()
}

/// Device keys that were read before. They may be old: the ledger compares their version when it appends, and what
/// old keys reject is looked at again.
struct Keys {
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    known: Mutex<HashMap<Arc<str>, DeviceKeys>>,
}

impl Keys {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, DeviceKeys>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget<'a>(&self, device_ids: impl IntoIterator<Item = &'a str>) {
        let mut known = self.known();
        for device_id in device_ids {
            known.remove(device_id);
        }
    }

    /// The keys of devices, and which of them were not read just now.
    async fn of(&self, device_ids: HashSet<Arc<str>>) -> Result<(Registry, HashSet<Arc<str>>), StoreError> {
        let mut registry = Registry::new();
        let mut missing = Vec::new();
        {
            let known = self.known();
            for device_id in device_ids {
                match known.get(&device_id) {
                    Some(keys) => drop(registry.insert(device_id, keys.clone())),
                    None => missing.push(device_id),
                }
            }
        }
        let old = registry.keys().cloned().collect();
        if !missing.is_empty() {
            registry.extend(self.read(&missing).await?);
        }
        Ok((registry, old))
    }

    async fn read(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let read = || self.ledger.keys(device_ids);
        let registry = read.retry(backoff(&self.limits)).when(|error: &StoreError| error.retryable).await?;
        self.known().extend(registry.iter().map(|(device_id, keys)| (Arc::clone(device_id), keys.clone())));
        Ok(registry)
    }
}

type Verified = Result<Vec<Result<Admitted, Rejection>>, StoreError>;

/// Verifies units as one batch.
async fn verify_units(keys: Arc<Keys>, units: Vec<Unit<Submission>>) -> Vec<Verified> {
    let lengths: Vec<usize> = units.iter().map(|unit| unit.items.len()).collect();
    match verify_all(&keys, units.into_iter().flat_map(|unit| unit.items).collect()).await {
        Ok(verified) => {
            let mut verified = verified.into_iter();
            lengths.into_iter().map(|length| Ok(verified.by_ref().take(length).collect())).collect()
        }
        Err(error) => lengths.into_iter().map(|_| Err(error.clone())).collect(),
    }
}

async fn verify_all(keys: &Keys, submissions: Vec<Submission>) -> Verified {
    let device_ids = devices(submissions.iter().map(|submission| &*submission.record));
    let (registry, old) = keys.of(device_ids).await?;
    let payloads: Vec<bytes::Bytes> =
        submissions.iter().map(|submission| submission.payload.clone()).collect();
    let mut verified = admit_elsewhere(submissions, registry).await;
    // What the keys of a moment ago reject may be right under those of now.
    let doubtful = |verified: &Result<Admitted, Rejection>| match verified {
        Err(Rejection { code, record, .. }) => {
            let by_keys =
                [RejectionCode::SignatureInvalid, RejectionCode::KeyNotValidAtSequence].contains(code);
            by_keys && old.contains(record.device_id.as_str())
        }
        Ok(_) => false,
    };
    let places: Vec<usize> = (0..verified.len()).filter(|at| doubtful(&verified[*at])).collect();
    if places.is_empty() {
        return Ok(verified);
    }
    let again: Vec<Submission> = places
        .iter()
        .filter_map(|at| {
            let record = Arc::clone(&verified[*at].as_ref().err()?.record);
            Some(Submission { record, payload: payloads[*at].clone() })
        })
        .collect();
    let device_ids: Vec<Arc<str>> =
        devices(again.iter().map(|submission| &*submission.record)).into_iter().collect();
    let registry = keys.read(&device_ids).await?;
    for (at, anew) in places.into_iter().zip(admit_elsewhere(again, registry).await) {
        verified[at] = anew;
    }
    Ok(verified)
}

/// On a thread that may be busy for a while.
async fn admit_elsewhere(
    submissions: Vec<Submission>,
    registry: Registry,
) -> Vec<Result<Admitted, Rejection>> {
    match tokio::task::spawn_blocking(move || verify::decide(submissions, &registry)).await {
        Ok(admitted) => admitted,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn devices<'a>(records: impl Iterator<Item = &'a AuditRecord>) -> HashSet<Arc<str>> {
    let ids: HashSet<&str> = records.map(|record| record.device_id.as_str()).collect();
    // Others cannot be registered, and databases refuse them.
    ids.into_iter().filter(|id| verify::is_name(id)).map(Arc::from).collect()
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

/// The span of work that callers share: part of the one caller's trace, or a trace of its own that is linked with those
/// of all.
fn shared<T>(units: &[Unit<T>], new: impl FnOnce(Option<tracing::Id>, usize) -> Span) -> Span {
    let records = units.iter().map(|unit| unit.items.len()).sum();
    if let [unit] = units {
        return new(unit.span.id(), records);
    }
    let span = new(None, records);
    for unit in units {
        span.follows_from(&unit.span);
        unit.span.follows_from(&span);
    }
    span
}

/// Commits units, and tells what has become of their records: here, because the caller may be gone.
struct Committer {
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    metrics: Metrics,
}

impl Committer {
    /// As one transaction; one by one where that fails for a reason that may be one unit's.
    async fn commit(&self, units: Vec<Unit<Entry>>) -> Vec<Result<Vec<Outcome>, AppendError>> {
        let answers = match self.append(&units).await {
            Err(AppendError::Store(error)) if !error.retryable && units.len() > 1 => {
                self.one_by_one(&units).await
            }
            Err(AppendError::KeysChanged) if units.len() > 1 => self.one_by_one(&units).await,
            Err(error) => units.iter().map(|_| Err(error.clone())).collect(),
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                units.iter().map(|unit| Ok(outcomes.by_ref().take(unit.items.len()).collect())).collect()
            }
        };
        for (unit, answer) in units.iter().zip(&answers) {
            unit.span.in_scope(|| self.tell(&unit.items, answer));
        }
        answers
    }

    async fn one_by_one(&self, units: &[Unit<Entry>]) -> Vec<Result<Vec<Outcome>, AppendError>> {
        let mut answers = Vec::with_capacity(units.len());
        for unit in units {
            answers.push(self.append(std::slice::from_ref(unit)).await);
        }
        answers
    }

    async fn append(&self, units: &[Unit<Entry>]) -> Result<Vec<Outcome>, AppendError> {
        let span = shared(units, |parent, records| info_span!(parent: parent, "ledger_transaction", records));
        let entries: Vec<Entry> = units.iter().flat_map(|unit| &unit.items).cloned().collect();
        let append = || self.metrics.working(self.ledger.append(&entries));
        let retryable = |error: &AppendError| matches!(error, AppendError::Store(error) if error.retryable);
        append.retry(backoff(&self.limits)).when(retryable).instrument(span).await
    }

    fn tell(&self, entries: &[Entry], answer: &Result<Vec<Outcome>, AppendError>) {
        match answer {
            Ok(outcomes) => {
                for (entry, outcome) in entries.iter().zip(outcomes) {
                    tell(&self.metrics, record_of(entry), outcome);
                }
            }
            Err(AppendError::Store(error)) => {
                for entry in entries {
                    tell_error(&self.metrics, record_of(entry), error);
                }
            }
            // They are admitted anew.
            Err(AppendError::KeysChanged) => {}
        }
    }
}
