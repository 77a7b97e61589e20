//! A service over HTTP, for a limited time.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_device::wire::ProblemCode;
use edgesentry_device::{Client, Error, Outcome, ReceiptSource, ServiceTime, Sink, Submission};
use tokio::time::{Instant, timeout_at};

/// A client whose answers count until a time.
pub(super) struct Limited {
    client: Client,
    until: Instant,
    /// The records of the next request. It grows, so that a slow connection makes progress in each call.
    records: AtomicUsize,
}

impl Limited {
    pub(super) fn new(client: Client, until: Instant) -> Limited {
        Limited { client, until, records: AtomicUsize::new(1) }
    }

    async fn limited<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        timeout_at(self.until, work).await.map_err(|_| Error::Service {
            place: self.client.url().into(),
            code: ProblemCode::Unreachable,
            detail: "the time of the call is over".to_owned(),
            retryable: true,
        })
    }
}

#[async_trait]
impl Sink for Limited {
    async fn send(&self, mut submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let mut outcomes = Vec::with_capacity(submissions.len());
        while !submissions.is_empty() {
            let count = self.records.load(Ordering::Relaxed).min(submissions.len());
            let later = submissions.split_off(count);
            match self.limited(self.client.send(submissions)).await {
                Ok(answers) => outcomes.extend(answers),
                Err(late) => outcomes.push(Err(late)),
            }
            // The outbox keeps the record that failed and those behind it.
            if !outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(Outcome::is_success)) {
                break;
            }
            self.records.store(count.saturating_mul(2), Ordering::Relaxed);
            submissions = later;
        }
        outcomes
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(self)
    }

    fn service_time(&self) -> Option<ServiceTime> {
        self.client.service_time()
    }
}

#[async_trait]
impl ReceiptSource for Limited {
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error> {
        self.limited(self.client.receipt(device_id, first, last)).await?
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error> {
        self.limited(self.client.consistency(from, to)).await?
    }
}
