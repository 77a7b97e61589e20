//! The section `[telemetry]` of the settings.

use serde::Deserialize;

/// Settings of logs, traces and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// The format of log lines.
    pub log_format: LogFormat,
    /// The output of log lines.
    pub log_output: LogOutput,
    /// A filter of logged events, such as `edgesentry_rs=info,edgesentry_rs::ingest::verify=debug`. The variable
    /// `RUST_LOG` overrides it.
    pub log_filter: Option<String>,
    /// The collector of traces, such as `http://127.0.0.1:4317`; without one, no traces are sent.
    pub otlp_endpoint: Option<String>,
    /// The protocol of the collector.
    pub otlp_protocol: OtlpProtocol,
    /// Seconds that the collector may take to respond.
    pub otlp_timeout_seconds: u64,
    /// The name of the service in traces.
    pub service_name: String,
    /// The address of `GET /metrics`, such as `127.0.0.1:9464`; none by default.
    pub metrics_listen: Option<String>,
}

impl Default for TelemetrySettings {
    fn default() -> TelemetrySettings {
        TelemetrySettings {
            log_format: LogFormat::default(),
            log_output: LogOutput::default(),
            log_filter: None,
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::default(),
            otlp_timeout_seconds: 5,
            service_name: "edgesentry".to_owned(),
            metrics_listen: None,
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// A JSON object.
    Json,
    /// Text for people.
    Text,
    /// No log.
    Off,
}

impl LogFormat {
    /// All formats.
    pub const ALL: [LogFormat; 4] = [LogFormat::Auto, LogFormat::Text, LogFormat::Json, LogFormat::Off];

    /// Returns its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
            LogFormat::Off => "off",
        }
    }
}

/// The output of log lines.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogOutput {
    /// Standard error: standard output is for data.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// A protocol of OTLP.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// gRPC, usually at port 4317.
    #[default]
    Grpc,
    /// Protobuf over HTTP, usually at port 4318; `/v1/traces` is added to an endpoint without a path.
    Http,
}
