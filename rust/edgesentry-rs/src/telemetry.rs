//! Telemetry of the library: events and spans by `tracing`, and [`metrics`].
//!
//! Events and spans go to the subscriber of the program; without one they cost nothing. Metrics are counted inside the
//! process at every log level. The feature `subscriber` offers one to programs that have none: logs, and with the
//! feature `otlp` traces. `docs/reference/telemetry.md` lists every event, span and metric.

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
