//! Writing payloads into their store.

use std::sync::Arc;

use backon::Retryable;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tracing::{Instrument, info_span};

use super::group::{Group, Unit, shared_span};
use super::limits::{Limits, backoff};

use crate::admission::Admitted;
use crate::error::StoreError;
use crate::payload::{PayloadStore, Put};
use crate::telemetry::metrics::{Metrics, Queue};

/// Writes payloads: many at once, or all waiting ones in one call.
pub(super) struct Puts {
    store: Arc<dyn PayloadStore>,
    limits: Limits,
    metrics: Metrics,
    way: Way,
}

enum Way {
    Each(Semaphore),
    Batches(Group<Admitted, Vec<Result<Put, StoreError>>>),
}

impl Puts {
    /// Starts the task that works for a store that prefers batches.
    pub(super) fn start(store: Arc<dyn PayloadStore>, limits: &Limits, metrics: &Metrics) -> Puts {
        let way = if store.prefers_batches() {
            let (store, limits) = (Arc::clone(&store), limits.clone());
            let most = limits.batch_records.max(1);
            Way::Batches(Group::start(most, (metrics, Queue::Payload), move |units| {
                put_units(Arc::clone(&store), limits.clone(), units)
            }))
        } else {
            Way::Each(Semaphore::new(limits.payload_puts.max(1)))
        };
        Puts { store, limits: limits.clone(), metrics: metrics.clone(), way }
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &Arc<dyn PayloadStore> {
        &self.store
    }

    /// Writes payloads and returns the results in order; fewer if the service has stopped.
    pub(super) async fn put_all(&self, admitted: Vec<Admitted>) -> Vec<Result<Put, StoreError>> {
        if admitted.is_empty() {
            return Vec::new();
        }
        let span = info_span!("payload_put", records = admitted.len());
        match &self.way {
            Way::Batches(group) => group.submit(admitted, span).await.unwrap_or_default(),
            Way::Each(permits) => {
                let put = |admitted: Admitted| {
                    let waiting = self.metrics.waiting(Queue::Payload, 1);
                    async move {
                        // The semaphore is never closed.
                        let _permit = permits.acquire().await;
                        drop(waiting);
                        let put = || self.store.put(&admitted);
                        put.retry(backoff(&self.limits)).when(StoreError::is_retryable).await
                    }
                };
                // All of them count as waiting from now on, including those that the stream has not reached.
                let puts: Vec<_> = admitted.into_iter().map(put).collect();
                let puts = futures::stream::iter(puts).buffered(self.limits.payload_puts.max(1));
                puts.collect().instrument(span).await
            }
        }
    }
}

/// Writes the payloads of units in one call of the store.
async fn put_units(
    store: Arc<dyn PayloadStore>,
    limits: Limits,
    units: Vec<Unit<Admitted>>,
) -> Vec<Vec<Result<Put, StoreError>>> {
    let lengths: Vec<usize> = units.iter().map(|unit| unit.items.len()).collect();
    let span = shared_span(&units, |parent, records| info_span!(parent: parent, "payload_batch", records));
    let all: Vec<Admitted> = units.into_iter().flat_map(|unit| unit.items).collect();
    let put = || async {
        let puts = store.put_many(&all, limits.payload_puts).await;
        let failed = puts.iter().find_map(|put| put.as_ref().err().filter(|error| error.is_retryable()));
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
