//! Writes the log while a service runs.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tracing::{error, warn};

use super::{Eraser, LogError, TransparencyLog};
use crate::error::describe;
use crate::ledger::Leader;
use crate::telemetry::metrics::Metrics;

impl TransparencyLog {
    /// Sequences new records at every interval, unless another node does, and then deletes the payloads that are to be
    /// erased.
    ///
    /// The future never ends. It may be dropped at any point: the next start continues from there.
    pub async fn keep(self, eraser: Eraser, interval: Duration, metrics: Metrics) {
        metrics.log_origin(self.origin());
        self.observe_authorities(&metrics);
        let (round_ended, signed, to_stamp) = (Notify::new(), Notify::new(), Notify::new());
        let told = [&signed, &to_stamp];
        tokio::join!(
            self.write(interval, &metrics, &round_ended, &told),
            self.observe(interval, &metrics, &round_ended),
            erase(&eraser, &signed),
            self.stamp_rounds(&metrics, &to_stamp),
        );
    }

    /// `signed` are told after each round of this node as the leader.
    async fn write(&self, interval: Duration, metrics: &Metrics, round_ended: &Notify, signed: &[&Notify]) {
        let mut leader = None;
        loop {
            let led = leader.is_some();
            let mut lost = false;
            let turn = self.turn(&mut leader, metrics, signed);
            let failed = match AssertUnwindSafe(turn).catch_unwind().await {
                Ok(Ok(())) => None,
                Ok(Err(error @ LogError::QuorumMissing { .. })) => {
                    // The log goes on: the next round signs further records and asks again.
                    warn!(error = %error, "a checkpoint of the transparency log waits for witnesses");
                    Some(error.code())
                }
                Ok(Err(error)) => {
                    // Give up the lock, so that another node can continue.
                    leader = None;
                    lost = led && error.is_retryable();
                    if error.is_elsewhere() {
                        metrics.log_written_elsewhere();
                    }
                    if error.is_retryable() && !error.is_elsewhere() {
                        warn!(error = %error, "a round of the transparency log failed and is repeated");
                    }
                    (!error.is_elsewhere()).then(|| error.code())
                }
                Err(_) => {
                    leader = None;
                    error!("a round of the transparency log panicked and is repeated at the next interval");
                    Some("internal")
                }
            };
            metrics.log_round(failed);
            metrics.log_leader(leader.is_some());
            round_ended.notify_one();
            // A leader that lost its lock takes it again at once. If that fails, it waits.
            if !lost {
                pause(interval, &mut leader).await;
            }
        }
    }

    async fn turn(
        &self,
        leader: &mut Option<Leader>,
        metrics: &Metrics,
        signed: &[&Notify],
    ) -> Result<(), LogError> {
        let leader = match leader {
            Some(leader) => leader,
            None => leader.insert(self.lead().await?),
        };
        metrics.log_leader(true);
        let done = self.sequence(leader).await.map(drop);
        if matches!(done, Ok(()) | Err(LogError::QuorumMissing { .. })) {
            signed.iter().for_each(|signed| signed.notify_one());
        }
        done
    }

    /// Asks for the time stamps that are due after each round of this node. No round waits for an authority.
    async fn stamp_rounds(&self, metrics: &Metrics, to_stamp: &Notify) {
        loop {
            to_stamp.notified().await;
            match AssertUnwindSafe(self.stamp(false, metrics)).catch_unwind().await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => warn!(error = %error, "time stamps were not kept, and are asked for again"),
                Err(_) => error!("a round of time stamps panicked and is repeated at the next interval"),
            }
        }
    }

    /// Records the progress of the log at every interval and after each round, on every node: the round of the leader
    /// may take long, or hang.
    async fn observe(&self, interval: Duration, metrics: &Metrics, round_ended: &Notify) {
        loop {
            // A ledger that fails also fails the round, which reports it.
            if let Ok(Ok(status)) = AssertUnwindSafe(self.status()).catch_unwind().await {
                let (size, signed_at_ms) =
                    status.checkpoint.map_or((0, 0), |last| (last.size, last.signed_at_ms));
                // A batch under way has positions, and no checkpoint covers it yet. Its last leaf is not a record.
                let under_way =
                    status.open_batch.map_or(0, |batch| batch.size.saturating_sub(batch.first_index + 1));
                let waiting = status.backlog.saturating_add(under_way);
                metrics.log_progress(size, signed_at_ms, waiting);
                metrics.log_erasures(status.open_erasures.count, status.open_erasures.oldest_at_ms);
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = round_ended.notified() => {}
            }
        }
    }
}

/// Deletes payloads that are to be erased after each round of this node, also those that are there again. The next round
/// does not wait for a payload store that is slow, hangs or fails; a deletion needs no leader, only the signed leaf.
async fn erase(eraser: &Eraser, signed: &Notify) {
    let mut turn = None;
    loop {
        signed.notified().await;
        let round = async {
            if let Err(error) = eraser.look_again(&mut turn).await {
                warn!(error = %describe(&error), "finished erasures were not looked at again");
            }
            eraser.finish_due().await
        };
        match AssertUnwindSafe(round).catch_unwind().await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(error = %error, "payloads to erase were not deleted, and are tried again at the next interval");
            }
            Err(_) => {
                error!("the deletion of payloads to erase panicked and is repeated at the next interval")
            }
        }
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
