//! Tells whether the stores fail for one device or for all of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use edgesentry_rs::admission::Outcome;
use edgesentry_rs::error::{Component, Error};

/// How many devices must fail, with no success between, before the stores count as failing for all.
const DEVICES: usize = 2;
/// How long a failure counts.
const FAILURE_LIFETIME: Duration = Duration::from_secs(60);

/// Returns true if the same record may succeed later. An error of the ledger may pass, even if the ledger itself is not
/// retried at once: it is seldom about one record.
pub(super) fn may_pass(error: &Error) -> bool {
    match error {
        Error::Store(error) => error.is_retryable() || error.component != Component::RawDataStore,
        error => error.is_retryable(),
    }
}

/// The devices whose records the stores have failed to store since their last success. HTTP and MQTT share it.
#[derive(Debug, Default)]
pub(super) struct StoreFailures(Mutex<Vec<(String, Instant)>>);

impl StoreFailures {
    /// Observes the outcome of a record.
    pub(super) fn observe(&self, device_id: &str, outcome: &Result<Outcome, Error>) {
        let now = Instant::now();
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(Outcome::Accepted) => failing.clear(),
            Err(error @ Error::Store(_)) if may_pass(error) => {
                failing.retain(|(_, last)| now - *last < FAILURE_LIFETIME);
                if let Some((_, last)) = failing.iter_mut().find(|(device, _)| device == device_id) {
                    *last = now;
                } else if failing.len() < DEVICES {
                    failing.push((device_id.to_owned(), now));
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Returns true if records of several devices have failed since the last success.
    pub(super) fn are_for_all(&self) -> bool {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.iter().filter(|(_, last)| last.elapsed() < FAILURE_LIFETIME).count() >= DEVICES
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use edgesentry_rs::error::{FailureKind, StoreError};

    #[test]
    fn one_device_that_fails_is_not_all_of_them() {
        let failed = |retryable| {
            Err(Error::Store(StoreError {
                component: Component::RawDataStore,
                action: "store a payload",
                place: "here".into(),
                kind: if retryable { FailureKind::Passing } else { FailureKind::Setup },
                source: Arc::new(std::io::Error::other("full")),
            }))
        };
        let failures = StoreFailures::default();
        for _ in 0..3 {
            failures.observe("lift-01", &failed(true));
        }
        failures.observe("lift-02", &failed(false));
        assert!(!failures.are_for_all());
        failures.observe("lift-02", &failed(true));
        assert!(failures.are_for_all());
        failures.observe("lift-03", &Ok(Outcome::Duplicate));
        assert!(failures.are_for_all());
        failures.observe("lift-03", &Ok(Outcome::Accepted));
        failures.observe("lift-02", &failed(true));
        assert!(!failures.are_for_all());
    }
}
