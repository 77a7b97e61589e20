//! What the library tells about its work: events and spans by `tracing`, and [`metrics`].
//!
//! Events and spans go to whatever subscriber the program has; without one they cost nothing. Metrics are counted
//! inside the process whatever the log level. A program that has no subscriber of its own can have one with the
//! feature `subscriber`: logs, and with the feature `otlp` traces. `docs/reference/telemetry.md` lists every event, span and
//! metric.

#[cfg(feature = "otlp")]
pub mod context;
#[cfg(not(feature = "otlp"))]
#[path = "telemetry/context_absent.rs"]
pub mod context;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(all(feature = "subscriber", not(feature = "otlp")))]
#[path = "telemetry/otlp_absent.rs"]
mod otlp;
mod settings;
#[cfg(feature = "subscriber")]
pub mod subscriber;

pub use context::TraceContext;
pub use settings::{LogFormat, LogOutput, OtlpProtocol, TelemetrySettings};
