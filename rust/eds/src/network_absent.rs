//! A build without the service on the network.

use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::{Error, Settings};
use serde_json::Value;

/// The program that serves a ledger on the network, in the repository: this build does not.
pub(crate) const SERVING_PROGRAM: &str = "cargo run --release --locked --bin eds --";

/// Accepts every section `[serve]`, which this build ignores.
pub(crate) fn check(_: &Settings) -> Result<(), Error> {
    Ok(())
}

/// Returns none: this build has no console.
pub(crate) fn console(_: &Settings) -> Result<Option<Value>, Error> {
    Ok(None)
}

/// A server of metrics, which this build does not have.
pub(crate) enum MetricsServer {}

impl MetricsServer {
    pub(crate) async fn start(_: &str, _: Metrics) -> Result<MetricsServer, Error> {
        let problem = "metrics: this build serves nothing on the network; build with --features serve";
        Err(Error::Config(problem.to_owned()))
    }

    pub(crate) async fn stop(self) {
        match self {}
    }
}
