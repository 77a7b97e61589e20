//! The parts of the network service that commands other than `eds serve` use.

pub(crate) use edgesentry_serve::metrics::MetricsServer;

use edgesentry_rs::secret::without_password;
use edgesentry_rs::{Error, Settings};
use edgesentry_serve::ServeSettings;
use serde_json::{Value, json};

/// The program that serves a ledger on the network.
pub(crate) const SERVING_PROGRAM: &str = "eds";

/// Rejects an invalid section `[serve]`.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    ServeSettings::of(settings).map(drop)
}

/// Returns the settings of the console, without secrets; none if it is off.
///
/// # Errors
/// The section `[serve]` is invalid.
pub(crate) fn console(settings: &Settings) -> Result<Option<Value>, Error> {
    let console = ServeSettings::of(settings)?.console;
    Ok(console.enabled.then(|| {
        json!({
            "alertmanager": console.alertmanager.as_deref().map(without_password),
            "operations": console.operations,
            "policy": console.policy,
        })
    }))
}
