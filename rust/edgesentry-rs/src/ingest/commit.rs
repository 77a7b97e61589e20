//! Group commit: whatever waits, as one transaction.

use std::sync::Arc;

use backon::Retryable;
use tracing::{Instrument, info_span};

use super::group::{Unit, shared};
use super::storage::{Limits, backoff, record_of, tell, tell_error};
use super::verify::Outcome;
use crate::ledger::{AppendError, Entry, Ledger};
use crate::telemetry::metrics::Metrics;

/// Commits units, and tells what has become of their records: here, because the caller may be gone.
pub(super) struct Committer {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
}

impl Committer {
    /// As one transaction; one by one where that fails for a reason that may be one unit's.
    pub(super) async fn commit(&self, units: Vec<Unit<Entry>>) -> Vec<Result<Vec<Outcome>, AppendError>> {
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
