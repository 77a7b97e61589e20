//! The limits of the service, and its retries.

use std::time::Duration;

use backon::ExponentialBuilder;
use serde::Deserialize;

use crate::admission::Rotation;

/// The limits of the service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Records at which a batch for verification or commit is full; those of one call stay together up to this number.
    pub batch_records: usize,
    /// Payload writes in progress at once, over all callers.
    pub payload_puts: usize,
    /// How often a store operation is tried before it fails.
    pub attempts: usize,
    /// The source of new keys of devices.
    pub rotation: Rotation,
    /// Retention of rejections in the operation log.
    pub rejections: RejectionSettings,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_records: 4096,
            payload_puts: 64,
            attempts: 5,
            rotation: Rotation::default(),
            rejections: RejectionSettings::default(),
        }
    }
}

/// Retention of rejections in the operation log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RejectionSettings {
    /// Days to keep rejections without a verified signature.
    pub days: u64,
    /// How many of them to keep for each reason.
    pub entries: u64,
    /// How many to keep, for each reason and device, of rejections that a device has signed, such as forks.
    pub entries_per_device: u64,
}

impl Default for RejectionSettings {
    fn default() -> RejectionSettings {
        RejectionSettings { days: 90, entries: 50_000, entries_per_device: 10_000 }
    }
}

/// Returns the retry policy for a store.
pub(super) fn backoff(limits: &Limits) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(limits.attempts.saturating_sub(1))
        .with_jitter()
}
