//! Writing the log for as long as a service runs.

use std::time::Duration;

use tracing::warn;

use super::{LogError, TransparencyLog};
use crate::ledger::Leader;
use crate::telemetry::metrics::Metrics;

impl TransparencyLog {
    /// Sequences what is new at every interval, if no other node does. Never ends; the future may be dropped at any point.
    pub async fn keep(self, interval: Duration, metrics: Metrics) {
        let mut leader = None;
        loop {
            if let Err(error) = self.turn(&mut leader, &metrics).await {
                // Another node may be able to go on.
                leader = None;
                if !is_elsewhere(&error) {
                    metrics.count_log_refusal(error.code());
                }
                if error.is_retryable() && !is_elsewhere(&error) {
                    warn!(error = %error, "a round of the transparency log failed and is repeated");
                }
            }
            metrics.log_leader(leader.is_some());
            tokio::time::sleep(interval).await;
        }
    }

    async fn turn(&self, leader: &mut Option<Leader>, metrics: &Metrics) -> Result<(), LogError> {
        let leads = match leader {
            Some(leader) => leader,
            None => leader.insert(self.lead().await?),
        };
        metrics.log_leader(true);
        let done = self.sequence(leads).await;
        let status = self.status().await?;
        let (size, signed_at_ms) = status.checkpoint.map_or((0, 0), |last| (last.size, last.signed_at_ms));
        metrics.log_progress(size, signed_at_ms, status.backlog);
        done.map(|_| ())
    }
}

fn is_elsewhere(error: &LogError) -> bool {
    matches!(error.code(), "log_led_elsewhere" | "log_superseded")
}
