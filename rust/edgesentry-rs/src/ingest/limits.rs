//! The limits of the service, and its retries.

use std::time::Duration;

use backon::ExponentialBuilder;

use super::retention::RejectionSettings;
use crate::admission::Rotation;

/// The limits of the service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
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

/// Returns the retry policy for a store.
pub(super) fn backoff(limits: &Limits) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(limits.attempts.saturating_sub(1))
        .with_jitter()
}
