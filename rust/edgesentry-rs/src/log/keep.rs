//! Writes the log while a service runs.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tracing::{error, warn};

use super::{LogError, TransparencyLog};
use crate::ledger::Leader;
use crate::telemetry::metrics::Metrics;

impl TransparencyLog {
    /// Sequences new records at every interval, unless another node does.
    ///
    /// The future never ends. It may be dropped at any point.
    pub async fn keep(self, interval: Duration, metrics: Metrics) {
        let mut leader = None;
        loop {
            let led = leader.is_some();
            let lost = match AssertUnwindSafe(self.turn(&mut leader, &metrics)).catch_unwind().await {
                Ok(Ok(())) => false,
                Ok(Err(error)) => {
                    // Give up the lock, so that another node can continue.
                    leader = None;
                    if !is_elsewhere(&error) {
                        metrics.count_log_refusal(error.code());
                    }
                    if error.is_retryable() && !is_elsewhere(&error) {
                        warn!(error = %error, "a round of the transparency log failed and is repeated");
                    }
                    led && error.is_retryable()
                }
                Err(_) => {
                    leader = None;
                    metrics.count_log_refusal("internal");
                    error!("a round of the transparency log panicked and is repeated at the next interval");
                    false
                }
            };
            metrics.log_leader(leader.is_some());
            // A leader that lost its lock takes it again at once. If that fails, it waits.
            if !lost {
                pause(interval, &mut leader).await;
            }
        }
    }

    async fn turn(&self, leader: &mut Option<Leader>, metrics: &Metrics) -> Result<(), LogError> {
        let leads = match leader {
            Some(leader) => leader,
            None => leader.insert(self.lead().await?),
        };
        metrics.log_leader(true);
        let done = self.sequence(leads).await;
        match self.status().await {
            Ok(status) => {
                let (size, signed_at_ms) =
                    status.checkpoint.map_or((0, 0), |last| (last.size, last.signed_at_ms));
                metrics.log_progress(size, signed_at_ms, status.backlog);
            }
            // Report the error of the round, not that of the status.
            Err(_) if done.is_err() => {}
            Err(error) => return Err(error),
        }
        done.map(|_| ())
    }
}

/// Waits, and keeps the lock of the leader alive. Returns early if the lock is lost.
async fn pause(interval: Duration, leader: &mut Option<Leader>) {
    let Some(alive) = leader.as_ref().map(Leader::keep_alive) else {
        return tokio::time::sleep(interval).await;
    };
    tokio::select! {
        () = tokio::time::sleep(interval) => {}
        lost = alive => {
            warn!(error = %lost, "the lock of the transparency log is lost and is taken again");
            *leader = None;
        }
    }
}

fn is_elsewhere(error: &LogError) -> bool {
    matches!(error.code(), "log_led_elsewhere" | "log_superseded")
}
