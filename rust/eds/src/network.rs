//! The parts of the network service that commands other than `eds serve` use.

pub(crate) use edgesentry_serve::metrics::MetricsServer;

use edgesentry_rs::{Error, Settings};
use edgesentry_serve::ServeSettings;

/// Rejects an invalid section `[serve]`.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    ServeSettings::of(settings).map(drop)
}
