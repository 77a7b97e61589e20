//! Group commit: waiting units in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use backon::Retryable;
use tracing::{Instrument, info_span};

use super::group::{Unit, shared_span};
use super::limits::{Limits, backoff};
use super::outcomes::{record_error, record_of, record_outcome};

use crate::admission::{Rejection, RejectionCode};
use crate::error::{Error, FailureKind, StoreError};
use crate::ledger::{AppendError, Decision, Entry, Ledger};
use crate::telemetry::metrics::Metrics;

/// The keys of a device have changed since its records were admitted; the ledger holds nothing of the unit.
#[derive(Debug)]
pub(super) struct KeysChanged;

/// The result of a commit for each entry of a unit.
pub(super) type Committed = Result<Vec<Result<Decision, Error>>, KeysChanged>;

/// Commits units and records their outcomes: here, because the caller may be gone.
pub(super) struct Committer {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
}

impl Committer {
    /// Commits in one transaction; in parts if it fails for a reason that may concern one unit or record only.
    pub(super) async fn commit(&self, units: Vec<Unit<Entry>>) -> Vec<Committed> {
        let answers = match self.append(&units).await {
            Ok(decisions) => {
                let mut decisions = decisions.into_iter().map(Ok);
                units.iter().map(|unit| Ok(decisions.by_ref().take(unit.items.len()).collect())).collect()
            }
            Err(AppendError::Store(error)) if error.is_retryable() => {
                units.iter().map(|unit| Ok(all_failed(&unit.items, &error))).collect()
            }
            Err(error) if units.len() == 1 => vec![self.commit_rest(&units[0], error).await],
            Err(_) => {
                let mut answers = Vec::with_capacity(units.len());
                for unit in &units {
                    answers.push(match self.append(std::slice::from_ref(unit)).await {
                        Ok(decisions) => Ok(decisions.into_iter().map(Ok).collect()),
                        Err(error) => self.commit_rest(unit, error).await,
                    });
                }
                answers
            }
        };
        for (unit, answer) in units.iter().zip(&answers) {
            unit.span.in_scope(|| self.record(&unit.items, answer));
        }
        answers
    }

    /// Commits one unit that has failed alone. A unit that fails for good is halved until the entry at fault is alone:
    /// the others do not wait for it. Entries of its device behind it fail with it.
    async fn commit_rest(&self, unit: &Unit<Entry>, error: AppendError) -> Committed {
        let error = match error {
            AppendError::KeysChanged => return Err(KeysChanged),
            AppendError::Store(error) if error.is_retryable() => return Ok(all_failed(&unit.items, &error)),
            AppendError::Store(error) => error,
        };
        if let [entry] = &unit.items[..] {
            return Ok(vec![self.commit_refused(unit, entry, error).await]);
        }
        let entries = &unit.items;
        let mut answers: Vec<Option<Result<Decision, Error>>> = vec![None; entries.len()];
        let mut failed: HashMap<&str, StoreError> = HashMap::new();
        let middle = entries.len() / 2;
        let mut parts = vec![(middle, entries.len()), (0, middle)];
        while let Some((from, to)) = parts.pop() {
            let is_behind = |at: &usize| match &entries[*at] {
                Entry::Rejected(_) => None,
                entry => failed.get(record_of(entry).device_id.as_str()),
            };
            let (behind, places): (Vec<usize>, Vec<usize>) =
                (from..to).partition(|at| is_behind(at).is_some());
            for at in behind {
                answers[at] = is_behind(&at).map(|error| Err(error.clone().into()));
            }
            if places.is_empty() {
                continue;
            }
            let part: Vec<Entry> = places.iter().map(|at| entries[*at].clone()).collect();
            match self.append(&[Unit { items: part, span: unit.span.clone() }]).await {
                Ok(decisions) => {
                    for (at, decision) in places.into_iter().zip(decisions) {
                        answers[at] = Some(Ok(decision));
                    }
                }
                // If the unit comes again, the entries committed so far are duplicates.
                Err(AppendError::KeysChanged) => return Err(KeysChanged),
                Err(AppendError::Store(error)) if error.is_retryable() => {
                    // The rest would fail, too.
                    let answers = answers.into_iter();
                    return Ok(answers
                        .map(|answer| answer.unwrap_or_else(|| Err(error.clone().into())))
                        .collect());
                }
                Err(AppendError::Store(error)) => match places[..] {
                    [at] => {
                        let answer = self.commit_refused(unit, &entries[at], error).await;
                        if let Err(Error::Store(error)) = &answer {
                            failed.insert(&record_of(&entries[at]).device_id, error.clone());
                        }
                        answers[at] = Some(answer);
                    }
                    _ => {
                        let middle = from + (to - from) / 2;
                        parts.extend([(middle, to), (from, middle)]);
                    }
                },
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or(Err(Error::Stopped))).collect())
    }

    /// Handles an entry that fails alone, for good: a rejection if the ledger can never hold it.
    async fn commit_refused(
        &self,
        unit: &Unit<Entry>,
        entry: &Entry,
        error: StoreError,
    ) -> Result<Decision, Error> {
        let admitted = match entry {
            Entry::Record(stored) => stored.admitted(),
            Entry::Doubtful(admitted) => admitted,
            Entry::Rejected(_) => return Err(error.into()),
        };
        if error.kind != FailureKind::Item {
            return Err(error.into());
        }
        let rejection = refused(admitted.record(), "a record that the ledger can hold", &error);
        let again = Unit { items: vec![Entry::Rejected(rejection)], span: unit.span.clone() };
        match self.append(&[again]).await {
            Ok(mut decisions) => decisions.pop().ok_or(Error::Stopped),
            // Not even its rejection can be stored.
            Err(_) => Err(error.into()),
        }
    }

    async fn append(&self, units: &[Unit<Entry>]) -> Result<Vec<Decision>, AppendError> {
        let span =
            shared_span(units, |parent, records| info_span!(parent: parent, "ledger_transaction", records));
        let entries: Vec<Entry> = units.iter().flat_map(|unit| &unit.items).cloned().collect();
        let append = || self.metrics.working(self.ledger.append(&entries));
        let retryable =
            |error: &AppendError| matches!(error, AppendError::Store(error) if error.is_retryable());
        append.retry(backoff(&self.limits)).when(retryable).instrument(span).await
    }

    fn record(&self, entries: &[Entry], answer: &Committed) {
        // If keys have changed, the records are admitted again.
        for (entry, answer) in entries.iter().zip(answer.iter().flatten()) {
            match answer {
                Ok(Decision::Decided(outcome)) => record_outcome(&self.metrics, record_of(entry), outcome),
                Err(Error::Store(error)) => record_error(&self.metrics, record_of(entry), error),
                Ok(Decision::PayloadWanted) | Err(_) => {}
            }
        }
    }
}

/// Returns the device whose head the commit of an entry locks.
pub(super) fn locked_device(entry: &Entry) -> Option<&str> {
    entry.admitted().map(|admitted| admitted.record().device_id.as_str())
}

fn all_failed(entries: &[Entry], error: &StoreError) -> Vec<Result<Decision, Error>> {
    entries.iter().map(|_| Err(error.clone().into())).collect()
}

/// Returns the rejection of a record that a store can never keep.
pub(super) fn refused(
    record: &Arc<edgesentry_chain::AuditRecord>,
    expected: &str,
    error: &StoreError,
) -> Rejection {
    Rejection {
        code: RejectionCode::StoreRefused,
        expected: expected.into(),
        // Without the location of the store, which stays inside the service.
        actual: crate::error::describe(&*error.source).into(),
        record: Arc::clone(record),
    }
}
