//! What commands outside of `eds serve` use of the service on the network.

pub(crate) use edgesentry_serve::metrics::MetricsServer;

use edgesentry_rs::{Error, Settings};
use edgesentry_serve::ServeSettings;

/// Refuses a section `[serve]` that is wrong.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    ServeSettings::of(settings).map(drop)
}
