//! Retention of rejections in the operation log: any sender can cause them, and must not fill the ledger.

use std::time::Duration;

use edgesentry_formats::times::now_ms;
use tracing::warn;

pub use super::limits::RejectionSettings;
use super::storage::IngestService;
use crate::error::StoreError;
use crate::ledger::{RejectionLimits, Rejections};

/// The time between two checks of the rejections of a ledger.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// How long the start of a service waits for the number of rejections.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);
/// Rounds of one check; each deletes some thousand entries of a reason.
const MAX_ROUNDS: usize = 100;

impl RejectionSettings {
    fn limits(&self) -> RejectionLimits {
        let age_ms = self.days.saturating_mul(86_400_000);
        RejectionLimits {
            unsigned_entries: self.entries,
            unsigned_from_ms: now_ms().saturating_sub(age_ms),
            signed_entries: self.entries_per_device,
        }
    }
}

impl IngestService {
    /// Deletes the rejections beyond the limits, the oldest first, and returns the remaining numbers.
    ///
    /// # Errors
    /// The ledger fails.
    pub async fn prune_rejections(&self) -> Result<Vec<Rejections>, StoreError> {
        let limits = self.limits().rejections.limits();
        let mut last = Vec::new();
        let (mut by_number, mut by_age) = (0, 0);
        for _ in 0..MAX_ROUNDS {
            last = self.ledger().prune_rejections(&limits).await?;
            let pruned = |of: fn(&Rejections) -> u64| last.iter().map(of).sum::<u64>();
            let (number, age) = (pruned(|one| one.pruned_by_number), pruned(|one| one.pruned_by_age));
            self.metrics().observe_rejections(&last, number, age);
            by_number += number;
            by_age += age;
            if number + age == 0 {
                break;
            }
        }
        if by_number + by_age > 0 {
            warn!(by_number, by_age, "old rejections were deleted from the operation log");
        }
        Ok(last)
    }

    /// Sets the metric of the stored rejections, before the first check. If the ledger is slow, the check sets it.
    pub async fn observe_rejections(&self) {
        match tokio::time::timeout(COUNT_TIMEOUT, self.ledger().count_rejections()).await {
            Ok(Ok(kept)) => self.metrics().observe_rejections(&kept, 0, 0),
            Ok(Err(error)) => {
                warn!(error = error.describe(), "the rejections in the operation log cannot be counted");
            }
            Err(_) => warn!("the rejections in the operation log were not counted in time"),
        }
    }

    /// Calls [`IngestService::prune_rejections`] twice a minute, until it is dropped.
    pub async fn keep_rejections_bounded(self) {
        loop {
            if let Err(error) = self.prune_rejections().await {
                warn!(error = error.describe(), "old rejections cannot be deleted from the operation log");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
