//! The ingest service: admission, payloads, ledger, in this order, for many callers at once.
//!
//! Callers share the work: all waiting records are verified as one batch and committed as one transaction. Nothing is
//! acknowledged before the commit, and a failure before it leaves no trace that would block a retry. Payloads are
//! written only for records that continue their chains; every verdict on a chain is the ledger's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_chain::{AuditRecord, Head, SUCCESSION_PREFIX};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tracing::field::Empty;
use tracing::{Instrument, debug, error, info_span};

use super::chains::{Chains, Claims};
use super::commit::{Committed, Committer, KeysChanged, locked_device, refused};
use super::group::{Group, Lanes};
use super::keys::{Keys, Verified, verify_units};
pub use super::limits::Limits;
use super::outcomes::{record_error, record_of, shared_record_of};
use super::puts::Puts;
pub use crate::admission::Rotation;
use crate::admission::{Admitted, Outcome, Rejection, RejectionCode, Submission};
use crate::error::{Component, Error, FailureKind, NotTried, StoreError};
use crate::ledger::{Decision, Entry, ErasureStep, Ledger, Registration, RevocationReason};
use crate::payload::{PayloadStore, Stored};
use crate::telemetry::metrics::{Metrics, Queue};

/// How often a record is admitted again whose device's keys keep changing.
const READMISSIONS: usize = 5;
/// How long a record waits for another one at its place that is in progress in another call.
const UNDER_WAY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a unit is cut behind the succession of a key. Records behind further ones are rejected, and sent again.
const MAX_CUTS: usize = 8;

/// Ingests records. Cheap to clone; clones are one service.
///
/// Any number of services, in any number of processes, may work on one ledger.
#[derive(Clone)]
pub struct IngestService(Arc<Service>);

struct Service {
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    metrics: Metrics,
    keys: Arc<Keys>,
    chains: Arc<Chains>,
    verify: Group<Submission, Verified>,
    puts: Puts,
    commit: Group<Entry, Committed>,
}

impl IngestService {
    /// Starts the tasks of a service on the current Tokio runtime; they end when the last clone is dropped. It counts
    /// on [`Metrics::global`].
    pub fn start(ledger: Arc<dyn Ledger>, payloads: Arc<dyn PayloadStore>, limits: Limits) -> IngestService {
        IngestService::start_with(ledger, payloads, limits, Metrics::global())
    }

    /// Like [`IngestService::start`], for a service that counts on `metrics`.
    pub fn start_with(
        ledger: Arc<dyn Ledger>,
        payloads: Arc<dyn PayloadStore>,
        limits: Limits,
        metrics: Metrics,
    ) -> IngestService {
        let most = limits.batch_records.max(1);
        let chains = Arc::new(Chains::default());
        let keys = Arc::new(Keys::new(Arc::clone(&ledger), Arc::clone(&chains), limits.clone()));
        let verify = {
            let keys = Arc::clone(&keys);
            Group::start(most, (&metrics, Queue::Verify), move |units| verify_units(Arc::clone(&keys), units))
        };
        let puts = Puts::start(payloads, &limits, &metrics);
        let commit = {
            let committer = Arc::new(Committer {
                ledger: Arc::clone(&ledger),
                limits: limits.clone(),
                metrics: metrics.clone(),
            });
            let lanes = Lanes { count: ledger.concurrent_appends().max(1), key: locked_device };
            Group::start_lanes(most, lanes, (&metrics, Queue::Commit), move |units| {
                let committer = Arc::clone(&committer);
                async move { committer.commit(units).await }
            })
        };
        IngestService(Arc::new(Service { ledger, limits, metrics, keys, chains, verify, puts, commit }))
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.0.ledger
    }

    /// Returns its limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Returns the metrics that it counts on.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the payload store.
    pub fn payloads(&self) -> &Arc<dyn PayloadStore> {
        self.0.puts.store()
    }

    /// Returns true if this device is known to be registered, without asking the ledger.
    pub fn knows(&self, device_id: &str) -> bool {
        self.0.keys.knows(device_id)
    }

    /// Registers a key, see [`Ledger::register`].
    ///
    /// # Errors
    /// As [`Ledger::register`].
    pub async fn register(&self, registration: &Registration) -> Result<(), Error> {
        self.0.ledger.register(registration).await?;
        self.0.keys.forget([registration.device_id.as_str()]);
        Ok(())
    }

    /// Revokes the keys of a device, see [`Ledger::revoke_for`].
    ///
    /// # Errors
    /// As [`Ledger::revoke_for`].
    pub async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        let from = self.0.ledger.revoke_for(device_id, reason).await?;
        self.0.keys.forget([device_id]);
        Ok(from)
    }

    /// Revokes the keys of a device without a reason.
    ///
    /// # Errors
    /// As [`Ledger::revoke_for`].
    pub async fn revoke(&self, device_id: &str) -> Result<u64, Error> {
        self.revoke_for(device_id, RevocationReason::Unspecified).await
    }

    /// Ingests one record. When it returns [`Outcome::Accepted`] or [`Outcome::Duplicate`], record and payload are
    /// durable. After an error the same call may be made again.
    ///
    /// # Errors
    /// A store fails, an earlier record of the device was not stored, or the service has stopped;
    /// [`Error::is_retryable`] says whether to send the record again. A rejection is an outcome.
    pub async fn ingest(&self, submission: Submission) -> Result<Outcome, Error> {
        self.ingest_many(vec![submission]).await.pop().unwrap_or(Err(Error::Stopped))
    }

    /// Ingests records and returns one outcome for each, in order. The records of one device must be in the order of
    /// its chain. A bad record affects only later records of its own device.
    pub async fn ingest_many(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let span = info_span!("ingest", records = submissions.len(), device_id = Empty, sequence = Empty);
        if let [Submission { record, .. }] = &submissions[..] {
            span.record("device_id", record.device_id.as_str()).record("sequence", record.sequence);
        }
        let units = split(submissions, self.0.limits.batch_records.max(1));
        self.ingest_stream(futures::stream::iter(units)).concat().instrument(span).await
    }

    /// Like [`IngestService::ingest_many`], for records that arrive in units: returns outcomes unit by unit, in order.
    /// While one unit is committed, the payloads of the next are written, and the one behind it is verified.
    pub fn ingest_stream<'a>(
        &'a self,
        units: impl Stream<Item = Vec<Submission>> + Send + 'a,
    ) -> impl Stream<Item = Vec<Result<Outcome, Error>>> + Send + 'a {
        let service = &self.0;
        // One unit after the other: a unit is placed in its chains after the unit before it has claimed its places. The
        // types are named and boxed because the compiler cannot prove the plain ones to be Send.
        let checked: BoxStream<'a, (Instant, CheckedUnit)> = units
            .flat_map(|unit| futures::stream::iter(cut(unit)))
            .then(move |part| -> BoxFuture<'a, (Instant, CheckedUnit)> {
                let begin = Instant::now();
                Box::pin(async move { (begin, service.check(part).await) })
            })
            .boxed();
        let prepared: BoxStream<'a, (Instant, PreparedUnit)> = checked
            .map(move |(begin, unit)| -> BoxFuture<'a, (Instant, PreparedUnit)> {
                Box::pin(async move { (begin, service.store_unit(unit).await) })
            })
            .buffered(2)
            .boxed();
        let state = (prepared, Failed::default());
        futures::stream::unfold(state, move |(mut prepared, mut failed)| async move {
            let mut answers = Vec::new();
            loop {
                let (begin, unit) = prepared.next().await?;
                let is_last = unit.is_last;
                service.finish(unit, &mut failed, &mut answers).await;
                service.metrics.observe_ingest(begin.elapsed());
                if is_last {
                    return Some((answers, (prepared, failed)));
                }
            }
        })
    }
}

/// The failures of earlier units of the same call.
#[derive(Default)]
struct Failed {
    devices: HashMap<String, NotTried>,
    /// Those whose failed record states the key of the records behind it.
    succeeding: HashSet<String>,
    ledger: Option<NotTried>,
}

impl Failed {
    fn note(&mut self, record: &AuditRecord, error: &Error) {
        self.devices.insert(record.device_id.clone(), NotTried::behind(error));
        if record.object_ref.starts_with(SUCCESSION_PREFIX) {
            self.succeeding.insert(record.device_id.clone());
        }
        let concerns_all = match error {
            Error::Store(error) => error.is_retryable() && error.component != Component::RawDataStore,
            other => matches!(other, Error::Stopped),
        };
        if concerns_all {
            self.ledger = Some(NotTried::behind(error));
        }
    }

    /// Returns true if the rejection of a record by its key may be due to a succession that was not stored.
    fn may_lack_key(&self, Rejection { code, record, .. }: &Rejection) -> bool {
        [RejectionCode::SignatureInvalid, RejectionCode::KeyNotValidAtSequence].contains(code)
            && self.succeeding.contains(&record.device_id)
    }

    /// Returns the reason not to try a record, if there is one.
    fn behind(&self, record: &AuditRecord) -> Option<Error> {
        let why = self.ledger.or_else(|| self.devices.get(&record.device_id).copied())?;
        Some(why.error(record))
    }
}

/// A verified record, by whether to write its payload before asking the ledger; or the reason why it is not one.
enum Checked {
    Continues(Admitted),
    Doubtful(Admitted),
    Rejected(Rejection),
    Failed(Arc<AuditRecord>, Error),
}

/// A verified unit, and the claimed places of its records.
struct CheckedUnit {
    records: Vec<Checked>,
    claims: Claims,
    is_last: bool,
}

/// A prepared record: an entry for the ledger, or the error.
type Prepared = Result<Entry, (Arc<AuditRecord>, Error)>;

/// A unit with stored payloads, and the claimed places of its records.
struct PreparedUnit {
    records: Vec<Prepared>,
    claims: Claims,
    /// False if another part of the same unit follows.
    is_last: bool,
}

/// Splits a large call into a few units; a unit also ends if its payloads grow large.
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

/// Cuts a unit behind the succession of a key if records of the same device follow: they are verified under the new key,
/// which is valid after the commit. Each part states whether it is the last one.
fn cut(unit: Vec<Submission>) -> Vec<(Vec<Submission>, bool)> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    let is_succession = |submission: &Submission| submission.record.object_ref.starts_with(SUCCESSION_PREFIX);
    let mut cuts = Vec::new();
    if unit.iter().any(is_succession) {
        last.extend(unit.iter().enumerate().map(|(at, submission)| (&*submission.record.device_id, at)));
        let is_cut = |(at, submission): (usize, &Submission)| {
            let more = last.get(&*submission.record.device_id).is_some_and(|last| *last > at);
            (is_succession(submission) && more).then_some(at + 1)
        };
        cuts.extend(unit.iter().enumerate().filter_map(is_cut).take(MAX_CUTS));
    }
    let mut parts = Vec::with_capacity(cuts.len() + 1);
    let mut rest = unit;
    for at in cuts.into_iter().rev() {
        let tail = rest.split_off(at);
        parts.push((tail, parts.is_empty()));
    }
    parts.push((rest, parts.is_empty()));
    parts.reverse();
    parts
}

impl Service {
    /// Verifies one unit, and determines which of its records continue their chains.
    async fn check(&self, (unit, is_last): (Vec<Submission>, bool)) -> CheckedUnit {
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
        // Records behind a succession are signed by its key.
        self.chains.succeeded(&records, tokio::time::Instant::now() + UNDER_WAY_TIMEOUT).await;
        let mut claims = Claims::new(&self.chains);
        let error = match self.verify.submit(unit, info_span!("verify", records = records.len())).await {
            Some(Ok(verified)) => {
                let records = self.place(verified, &mut claims).await;
                return CheckedUnit { records, claims, is_last };
            }
            Some(Err(error)) => {
                for record in &records {
                    record_error(&self.metrics, record, &error);
                }
                Error::from(error)
            }
            None => Error::Stopped,
        };
        let failed = |record| Checked::Failed(record, error.clone());
        CheckedUnit { records: records.into_iter().map(failed).collect(), claims, is_last }
    }

    /// Separates the records that continue their chains from all others, and claims their places.
    async fn place(&self, verified: Vec<Result<Admitted, Rejection>>, claims: &mut Claims) -> Vec<Checked> {
        let admitted: Vec<&Admitted> =
            verified.iter().filter_map(|verified| verified.as_ref().ok()).collect();
        let mut continues = claims.add(admitted.iter().copied());
        let doubtful: Vec<usize> = (0..admitted.len()).filter(|at| !continues[*at]).collect();
        if !doubtful.is_empty() {
            let unknown = self.chains.unknown(doubtful.iter().map(|at| &**admitted[*at].record()));
            // If the heads cannot be read, the ledger decides without them.
            if !unknown.is_empty() && self.keys.read(&unknown).await.is_ok() {
                let again = claims.add(doubtful.iter().map(|at| admitted[*at]));
                for (at, now) in doubtful.into_iter().zip(again) {
                    continues[at] = now;
                }
            }
        }
        let mut continues = continues.into_iter();
        let checked = |verified| match verified {
            Err(rejection) => Checked::Rejected(rejection),
            Ok(admitted) => match continues.next() {
                Some(true) => Checked::Continues(admitted),
                _ => Checked::Doubtful(admitted),
            },
        };
        verified.into_iter().map(checked).collect()
    }

    /// Writes the payloads of the records that continue their chains.
    async fn store_unit(&self, unit: CheckedUnit) -> PreparedUnit {
        let payloads = unit.records.iter().filter_map(|checked| match checked {
            Checked::Continues(admitted) => Some(admitted.clone()),
            _ => None,
        });
        let mut stored = self.store_payloads(payloads.collect()).await.into_iter();
        let prepared = |checked| match checked {
            Checked::Continues(admitted) => {
                stored.next().unwrap_or_else(|| Err((Arc::clone(admitted.record()), Error::Stopped)))
            }
            Checked::Doubtful(admitted) => Ok(Entry::Doubtful(admitted)),
            Checked::Rejected(rejection) => Ok(Entry::Rejected(rejection)),
            Checked::Failed(record, error) => Err((record, error)),
        };
        PreparedUnit {
            records: unit.records.into_iter().map(prepared).collect(),
            claims: unit.claims,
            is_last: unit.is_last,
        }
    }

    /// Writes payloads, unless the ledger stores them with the records; if the store can never keep one, its record is
    /// rejected.
    async fn store_payloads(&self, admitted: Vec<Admitted>) -> Vec<Prepared> {
        if self.ledger.stores_payloads(&**self.puts.store()) {
            let with_record = |admitted| Ok(Entry::Record(Stored::with_record(admitted)));
            return admitted.into_iter().map(with_record).collect();
        }
        let puts = self.puts.put_all(admitted.clone()).await;
        let mut puts = puts.into_iter();
        let entry = |admitted: Admitted| match puts.next() {
            Some(Ok(put)) => Ok(Entry::Record(Stored::new(admitted, put))),
            Some(Err(error)) if error.kind == FailureKind::Item => {
                let expected = "a payload that the store can keep";
                Ok(Entry::Rejected(refused(admitted.record(), expected, &error)))
            }
            Some(Err(error)) => {
                record_error(&self.metrics, admitted.record(), &error);
                Err((Arc::clone(admitted.record()), error.into()))
            }
            None => Err((Arc::clone(admitted.record()), Error::Stopped)),
        };
        admitted.into_iter().map(entry).collect()
    }

    /// Commits one unit and adds the outcomes of its records to `answers`.
    async fn finish(
        &self,
        unit: PreparedUnit,
        failed: &mut Failed,
        answers: &mut Vec<Result<Outcome, Error>>,
    ) {
        let mut entries: Vec<(usize, Entry)> = Vec::with_capacity(unit.records.len());
        for prepared in unit.records {
            match prepared {
                Ok(entry) => {
                    // A rejection by admission stands, regardless of earlier records, unless one of them has its key.
                    let behind = match &entry {
                        Entry::Rejected(rejection) if !failed.may_lack_key(rejection) => None,
                        entry => failed.behind(record_of(entry)),
                    };
                    match behind {
                        Some(error) => answers.push(Err(error)),
                        None => {
                            entries.push((answers.len(), entry));
                            // Overwritten below.
                            answers.push(Err(Error::Stopped));
                        }
                    }
                }
                Err((record, error)) => {
                    failed.note(&record, &error);
                    answers.push(Err(error));
                }
            }
        }
        if entries.is_empty() {
            return;
        }
        let (places, entries): (Vec<usize>, Vec<Entry>) = entries.into_iter().unzip();
        let records: Vec<Arc<AuditRecord>> =
            entries.iter().map(|entry| Arc::clone(shared_record_of(entry))).collect();
        let outcomes = self.append(entries, unit.claims).await;
        for ((place, record), outcome) in places.into_iter().zip(records).zip(outcomes) {
            if let Err(error) = &outcome {
                failed.note(&record, error);
            }
            answers[place] = outcome;
        }
    }

    /// Commits entries until each is decided: if a record turns out to continue its chain, the ledger needs its payload
    /// first.
    async fn append(&self, mut entries: Vec<Entry>, claims: Claims) -> Vec<Result<Outcome, Error>> {
        let mut outcomes: Vec<Result<Outcome, Error>> = entries.iter().map(|_| Err(Error::Stopped)).collect();
        let mut places: Vec<usize> = (0..entries.len()).collect();
        let mut claims = Some(claims);
        let deadline = tokio::time::Instant::now() + UNDER_WAY_TIMEOUT;
        while !entries.is_empty() {
            let decisions = self.commit(&mut entries).await;
            self.erase_again(&entries, &decisions).await;
            self.discard(&entries, &decisions).await;
            self.learn(&entries, &decisions);
            drop(claims.take());
            let mut wanted: Vec<(usize, Entry)> = Vec::new();
            for ((place, entry), decision) in places.into_iter().zip(entries).zip(decisions) {
                match decision {
                    Ok(Decision::Decided(outcome)) => outcomes[place] = Ok(outcome),
                    Ok(Decision::PayloadWanted) => wanted.push((place, entry)),
                    Err(error) => outcomes[place] = Err(error),
                }
            }
            (places, entries) = wanted.into_iter().unzip();
            if entries.is_empty() {
                break;
            }
            let mut next = Claims::new(&self.chains);
            if next.add_all(entries.iter().filter_map(Entry::admitted)) {
                claims = Some(next);
                (places, entries) = self.with_payloads(places, entries, &mut outcomes).await;
            } else {
                // Another call has a record at the place of one of them: its outcome decides.
                let records: Vec<&AuditRecord> = entries.iter().map(record_of).collect();
                if !self.chains.free(&records, deadline).await {
                    for (place, entry) in places.into_iter().zip(&entries) {
                        outcomes[place] = Err(NotTried::UnderWay.error(record_of(entry)));
                    }
                    break;
                }
            }
        }
        outcomes
    }

    /// Writes the payloads that the ledger requested; failures, and the records behind them, get their outcome here.
    async fn with_payloads(
        &self,
        places: Vec<usize>,
        entries: Vec<Entry>,
        outcomes: &mut [Result<Outcome, Error>],
    ) -> (Vec<usize>, Vec<Entry>) {
        let admitted = entries.iter().filter_map(Entry::admitted).cloned().collect();
        let stored = self.store_payloads(admitted).await;
        let mut failed = Failed::default();
        let mut ready = Vec::with_capacity(stored.len());
        for (place, prepared) in places.into_iter().zip(stored) {
            match prepared {
                Ok(entry) => match failed.behind(record_of(&entry)) {
                    Some(error) => outcomes[place] = Err(error),
                    None => ready.push((place, entry)),
                },
                Err((record, error)) => {
                    failed.note(&record, &error);
                    outcomes[place] = Err(error);
                }
            }
        }
        ready.into_iter().unzip()
    }

    /// Reopens the erasures of records whose payloads this service has stored again: another node had committed the
    /// records meanwhile. A record that is rejected, or whose commit fails, may have the payload of an erased one.
    async fn erase_again(&self, entries: &[Entry], decisions: &[Result<Decision, Error>]) {
        let again = entries.iter().zip(decisions).filter_map(|(entry, decision)| match (entry, decision) {
            (Entry::Record(_), Ok(Decision::Decided(Outcome::Accepted))) => None,
            (Entry::Record(stored), _) if !stored.is_with_record() => Some(stored.admitted().record()),
            _ => None,
        });
        let again: Vec<&Arc<AuditRecord>> = again.collect();
        let Some(log) = self.ledger.log().filter(|_| !again.is_empty()) else { return };
        let mut unreachable: Option<StoreError> = None;
        for record in again {
            let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
            let erasure = match &unreachable {
                // Each further read would wait for its timeout, too.
                Some(error) => Err(error.clone()),
                None => log.erasure(device_id, sequence).await,
            };
            unreachable = erasure.as_ref().err().filter(|error| error.is_retryable()).cloned();
            let done =
                match erasure.map(|erasure| erasure.is_some_and(|erasure| erasure.erased_at_ms.is_some())) {
                    Ok(true) => {
                        let step = ErasureStep::Kept("the record was sent again".to_owned(), None);
                        log.note_erasure(device_id, sequence, step).await.map_err(|error| error.to_string())
                    }
                    Ok(false) => Ok(()),
                    Err(error) => Err(error.describe()),
                };
            if let Err(error) = done {
                error!(
                    device_id,
                    sequence, error, "a payload that was erased may be stored again; run eds erase --again"
                );
            }
        }
    }

    /// Removes the payloads of records that the ledger rejected, as far as the store can tell that no other record relies
    /// on them.
    async fn discard(&self, entries: &[Entry], decisions: &[Result<Decision, Error>]) {
        for (entry, decision) in entries.iter().zip(decisions) {
            if let (Entry::Record(stored), Ok(Decision::Decided(Outcome::Rejected(_)))) = (entry, decision)
                && let Err(error) = self.puts.store().discard(stored.admitted().record()).await
            {
                // It only takes space.
                debug!(error = error.describe(), "the payload of a rejected record stays");
            }
        }
    }

    /// Stores the current heads of the ledger.
    fn learn(&self, entries: &[Entry], decisions: &[Result<Decision, Error>]) {
        let mut last: HashMap<&str, (Arc<str>, Head)> = HashMap::new();
        for (entry, decision) in entries.iter().zip(decisions) {
            let Some(admitted) = entry.admitted() else { continue };
            let record = admitted.record();
            match decision {
                Ok(Decision::Decided(Outcome::Accepted)) => {
                    let head = Head { sequence: record.sequence, hash: admitted.hash() };
                    match last.get_mut(record.device_id.as_str()) {
                        Some((_, known)) => *known = head,
                        None => {
                            let device_id = record.device_id.as_str().into();
                            last.insert(&record.device_id, (device_id, head));
                        }
                    }
                }
                // The view was wrong, such as after the ledger was restored to an earlier state.
                Ok(Decision::PayloadWanted) => self.chains.forget(&record.device_id),
                _ => {}
            }
        }
        for (device_id, head) in last.values() {
            self.chains.learn(device_id, *head);
        }
        let has_new_key = |entry: &&Entry| entry.admitted().is_some_and(|one| one.succeeding().is_some());
        let changed = entries.iter().filter(has_new_key);
        self.keys.forget(changed.map(|entry| record_of(entry).device_id.as_str()));
    }

    /// Commits entries once; admits them again if keys have changed meanwhile.
    async fn commit(&self, entries: &mut Vec<Entry>) -> Vec<Result<Decision, Error>> {
        for _ in 0..READMISSIONS {
            let span = info_span!("ledger_commit", records = entries.len());
            match self.commit.submit(entries.clone(), span).await {
                None => return entries.iter().map(|_| Err(Error::Stopped)).collect(),
                Some(Ok(decisions)) => return decisions,
                Some(Err(KeysChanged)) => {
                    self.keys.forget(entries.iter().map(|entry| record_of(entry).device_id.as_str()));
                    match self.readmit(entries).await {
                        Ok(readmitted) => *entries = readmitted,
                        Err(error) => return self.give_up(entries, &error),
                    }
                }
            }
        }
        let problem = "the keys of its devices change faster than records can be admitted";
        let error = Error::Store(StoreError {
            component: Component::AuditLedger,
            action: "append to the ledger",
            place: self.ledger.place().into(),
            kind: FailureKind::Passing,
            source: Arc::new(std::io::Error::other(problem)),
        });
        self.give_up(entries, &error)
    }

    /// Records the error of entries that no commit has completed.
    fn give_up(&self, entries: &[Entry], error: &Error) -> Vec<Result<Decision, Error>> {
        if let Error::Store(error) = error {
            for entry in entries {
                record_error(&self.metrics, record_of(entry), error);
            }
        }
        entries.iter().map(|_| Err(error.clone())).collect()
    }

    /// Admits the same entries under the current keys. Payloads that were stored stay stored.
    async fn readmit(&self, entries: &[Entry]) -> Result<Vec<Entry>, Error> {
        let submissions: Vec<Submission> =
            entries.iter().filter_map(Entry::admitted).map(Admitted::to_submission).collect();
        let span = info_span!("verify", records = submissions.len());
        let verified = self.verify.submit(submissions, span).await.ok_or(Error::Stopped)??;
        let mut verified = verified.into_iter();
        let readmitted = entries.iter().map(|entry| match entry {
            Entry::Rejected(_) => Ok(entry.clone()),
            Entry::Record(_) | Entry::Doubtful(_) => {
                let verified = verified.next().ok_or(Error::Stopped)?;
                Ok(match (entry, verified) {
                    (_, Err(rejection)) => Entry::Rejected(rejection),
                    (Entry::Record(stored), Ok(admitted)) => Entry::Record(stored.readmitted(admitted)),
                    (_, Ok(admitted)) => Entry::Doubtful(admitted),
                })
            }
        });
        readmitted.collect()
    }
}
