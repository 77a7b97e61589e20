//! The ingest service: admission, payloads, ledger, in this order, for many callers at once.
//!
//! Callers share the work: whatever waits is verified as one batch and committed as one transaction. Nothing is
//! acknowledged before the commit, and nothing that fails before it leaves a trace that would block a retry.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::{Stream, StreamExt};
use tokio::sync::Semaphore;
use tracing::{debug, error, info, warn};

use super::group::Group;
use super::verify::{Admitted, DeviceKeys, Outcome, Registry, Rejection, RejectionCode, Submission, admit};
use crate::error::{Component, Error, StoreError};
use crate::ledger::{AppendError, Entry, Ledger, Registration};
use crate::payload::{PayloadStore, Put, Stored};

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
    keys: Arc<Keys>,
    verify: Group<Vec<Submission>, Verified>,
    puts: Puts,
    commit: Group<Vec<Entry>, Result<Vec<Outcome>, AppendError>>,
}

/// How payloads are written: many at once, or all that wait in one call.
enum Puts {
    Each(Semaphore),
    Batches(Group<Vec<Admitted>, Vec<Result<Put, StoreError>>>),
}

impl IngestService {
    /// Starts the tasks of a service on the current Tokio runtime; they end when the last clone is dropped.
    pub fn start(ledger: Arc<dyn Ledger>, payloads: Arc<dyn PayloadStore>, limits: Limits) -> IngestService {
        let most = limits.batch_records.max(1);
        let keys =
            Arc::new(Keys { ledger: Arc::clone(&ledger), limits: limits.clone(), known: Mutex::default() });
        let verify = {
            let keys = Arc::clone(&keys);
            Group::start(most, Vec::len, move |units| verify(Arc::clone(&keys), units))
        };
        let puts = if payloads.prefers_batches() {
            let (store, limits) = (Arc::clone(&payloads), limits.clone());
            Puts::Batches(Group::start(most, Vec::len, move |units| {
                put_batches(Arc::clone(&store), limits.clone(), units)
            }))
        } else {
            Puts::Each(Semaphore::new(limits.payload_puts.max(1)))
        };
        let commit = {
            let (ledger, limits) = (Arc::clone(&ledger), limits.clone());
            Group::start(most, Vec::len, move |units| commit(Arc::clone(&ledger), limits.clone(), units))
        };
        IngestService(Arc::new(Service { ledger, payloads, limits, keys, verify, puts, commit }))
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
        let mut answers = Vec::with_capacity(submissions.len());
        let units = split(submissions, self.0.limits.batch_records.max(1));
        let mut answered = std::pin::pin!(self.ingest_stream(futures::stream::iter(units)));
        while let Some(unit) = answered.next().await {
            answers.extend(unit);
        }
        answers
    }

    /// [`IngestService::ingest_many`] for records that arrive in units: answers unit by unit, in order. While one
    /// unit is committed, the next is verified and its payloads are written, and the one behind it is asked for.
    pub fn ingest_stream<'a>(
        &'a self,
        units: impl Stream<Item = Vec<Submission>> + Send + 'a,
    ) -> impl Stream<Item = Vec<Result<Outcome, Error>>> + Send + 'a {
        let service = &self.0;
        let prepared = units.map(|unit| service.prepare(unit)).buffered(2);
        let state = (Box::pin(prepared), Failed::default());
        futures::stream::unfold(state, move |(mut prepared, mut failed)| async move {
            let unit = prepared.next().await?;
            let mut answers = Vec::with_capacity(unit.len());
            service.finish(unit, &mut failed, &mut answers).await;
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
type Prepared = Vec<Result<Entry, (Arc<edgesentry_chain::AuditRecord>, Error)>>;

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
        let records: Vec<Arc<edgesentry_chain::AuditRecord>> =
            unit.iter().map(|submission| Arc::clone(&submission.record)).collect();
        let give_up =
            |error: Error| records.iter().map(|record| Err((Arc::clone(record), error.clone()))).collect();
        match self.verify.submit(unit).await {
            None => give_up(Error::Stopped),
            Some(Err(error)) => {
                for record in &records {
                    tell_error(record, &error);
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
                    tell_error(admitted.record(), &error);
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
        match &self.puts {
            // Without an answer the service has stopped.
            Puts::Batches(group) => group.submit(admitted).await.unwrap_or_default(),
            Puts::Each(permits) => {
                let put = |admitted: Admitted| async move {
                    // Never closed, so always granted.
                    let _permit = permits.acquire().await;
                    let put = || self.payloads.put(&admitted);
                    put.retry(backoff(&self.limits)).when(|error: &StoreError| error.retryable).await
                };
                let puts = admitted.into_iter().map(put);
                futures::stream::iter(puts).buffered(self.limits.payload_puts.max(1)).collect().await
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
        let records: Vec<_> = entries.iter().map(|entry| Arc::clone(record_of(entry))).collect();
        match self.append(entries).await {
            Ok(outcomes) => {
                for ((place, outcome), record) in places.into_iter().zip(outcomes).zip(&records) {
                    if let Ok(outcome) = &outcome {
                        tell(record, outcome);
                    }
                    answers[place] = outcome;
                }
            }
            Err(error) => {
                failed.ledger = true;
                for (place, record) in places.into_iter().zip(&records) {
                    if let Error::Store(error) = &error {
                        tell_error(record, error);
                    }
                    answers[place] = Err(error.clone());
                }
            }
        }
        debug_assert!(answers.len() > first);
    }

    /// Commits entries; admits them anew where keys have changed meanwhile.
    async fn append(&self, mut entries: Vec<Entry>) -> Result<Vec<Result<Outcome, Error>>, Error> {
        for _ in 0..READMISSIONS {
            match self.commit.submit(entries.clone()).await {
                None => return Err(Error::Stopped),
                Some(Ok(outcomes)) => return Ok(outcomes.into_iter().map(Ok).collect()),
                Some(Err(AppendError::Store(error))) => return Err(error.into()),
                Some(Err(AppendError::KeysChanged)) => {
                    self.keys.forget(entries.iter().map(|entry| record_of(entry).device_id.as_str()));
                    entries = self.readmit(entries).await?;
                }
            }
        }
        let problem = "the keys of its devices change faster than records can be admitted";
        Err(Error::Store(StoreError {
            component: Component::AuditLedger,
            action: "append to the ledger",
            place: self.ledger.place().into(),
            retryable: true,
            source: Arc::new(std::io::Error::other(problem)),
        }))
    }

    /// The same entries under the keys of now. Payloads are stored already.
    async fn readmit(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, Error> {
        let submissions = entries.iter().filter_map(|entry| match entry {
            Entry::Record(stored) => Some(stored.admitted().to_submission()),
            Entry::Rejected(_) => None,
        });
        let verified = self.verify.submit(submissions.collect()).await.ok_or(Error::Stopped)??;
        let mut verified = verified.into_iter();
        let readmitted = entries.into_iter().map(|entry| match entry {
            Entry::Rejected(rejection) => Ok(Entry::Rejected(rejection)),
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

fn record_of(entry: &Entry) -> &Arc<edgesentry_chain::AuditRecord> {
    match entry {
        Entry::Record(stored) => stored.admitted().record(),
        Entry::Rejected(rejection) => &rejection.record,
    }
}

fn tell(record: &edgesentry_chain::AuditRecord, outcome: &Outcome) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    match outcome {
        Outcome::Accepted => info!(device_id, sequence, object_ref = record.object_ref, "record accepted"),
        // Told by the chain.
        Outcome::Duplicate => {}
        Outcome::Rejected(Rejection { code: RejectionCode::PayloadHashMismatch, .. }) => {
            warn!(device_id, sequence, "payload hash mismatch — record rejected");
        }
        Outcome::Rejected(rejection) => {
            warn!(device_id, sequence, reason = rejection.code.name(), "integrity policy rejected record");
        }
    }
}

fn tell_error(record: &edgesentry_chain::AuditRecord, problem: &StoreError) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    let text = problem.describe();
    match problem.component {
        Component::RawDataStore => error!(device_id, sequence, error = text, "raw data store write failed"),
        Component::AuditLedger | Component::Outbox => {
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
async fn verify(keys: Arc<Keys>, units: Vec<Vec<Submission>>) -> Vec<Verified> {
    let lengths: Vec<usize> = units.iter().map(Vec::len).collect();
    match verify_all(&keys, units.into_iter().flatten().collect()).await {
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
    let span = tracing::Span::current();
    let admitted = tokio::task::spawn_blocking(move || span.in_scope(|| admit(submissions, &registry))).await;
    match admitted {
        Ok(admitted) => admitted,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn devices<'a>(records: impl Iterator<Item = &'a edgesentry_chain::AuditRecord>) -> HashSet<Arc<str>> {
    let ids: HashSet<&str> = records.map(|record| record.device_id.as_str()).collect();
    // Others cannot be registered, and databases refuse them.
    ids.into_iter().filter(|id| super::verify::is_name(id)).map(Arc::from).collect()
}

async fn put_batches(
    store: Arc<dyn PayloadStore>,
    limits: Limits,
    units: Vec<Vec<Admitted>>,
) -> Vec<Vec<Result<Put, StoreError>>> {
    let lengths: Vec<usize> = units.iter().map(Vec::len).collect();
    let all = units.concat();
    let put = || async {
        let puts = store.put_many(&all, limits.payload_puts).await;
        let failed = puts.iter().find_map(|put| put.as_ref().err().filter(|error| error.retryable));
        match failed {
            Some(error) => Err((error.clone(), puts)),
            None => Ok(puts),
        }
    };
    let puts = match put.retry(backoff(&limits)).await {
        Ok(puts) | Err((_, puts)) => puts,
    };
    let mut puts = puts.into_iter();
    lengths.into_iter().map(|length| puts.by_ref().take(length).collect()).collect()
}

/// Commits units as one transaction; one by one where that fails for a reason that may be one unit's.
async fn commit(
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    units: Vec<Vec<Entry>>,
) -> Vec<Result<Vec<Outcome>, AppendError>> {
    let append = |entries: Vec<Entry>| {
        let (ledger, limits) = (&ledger, &limits);
        async move {
            let append = || ledger.append(&entries);
            let retryable =
                |error: &AppendError| matches!(error, AppendError::Store(error) if error.retryable);
            append.retry(backoff(limits)).when(retryable).await
        }
    };
    let lengths: Vec<usize> = units.iter().map(Vec::len).collect();
    match append(units.concat()).await {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            lengths.into_iter().map(|length| Ok(outcomes.by_ref().take(length).collect())).collect()
        }
        Err(AppendError::Store(error)) if error.retryable || units.len() == 1 => {
            units.iter().map(|_| Err(AppendError::Store(error.clone()))).collect()
        }
        Err(error) if units.len() == 1 => vec![Err(error)],
        Err(_) => {
            let mut answers = Vec::with_capacity(units.len());
            for unit in units {
                answers.push(append(unit).await);
            }
            answers
        }
    }
}
