//! Traces in a build without the feature `otlp`.

use tracing_subscriber::layer::Identity;

use super::TelemetrySettings;
use crate::error::Error;

/// Sends nothing.
#[derive(Clone, Default)]
pub(super) struct Exporter;

impl Exporter {
    /// Returns a layer that does nothing.
    pub(super) fn layer(&self) -> Identity {
        Identity::new()
    }

    /// Refuses every collector.
    pub(super) fn start(&self, _: &TelemetrySettings, _: &str) -> Result<(), Error> {
        let problem = "telemetry.otlp_endpoint: this build has no OTLP support; build with --features otlp";
        Err(Error::Config(problem.to_owned()))
    }

    /// Does nothing.
    pub(super) fn stop(&self) {}
}
