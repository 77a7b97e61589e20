//! The section `[telemetry]` of the settings.

use serde::Deserialize;

/// What is told, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Where log lines go.
    pub log_output: LogOutput,
    /// Which events are logged, such as `edgesentry_rs=info,edgesentry_rs::ingest::verify=debug`. The variable
    /// `RUST_LOG` comes before it.
    pub log_filter: Option<String>,
    /// The collector that traces are sent to, such as `http://127.0.0.1:4317`; none are sent without one.
    pub otlp_endpoint: Option<String>,
    /// How they are sent.
    pub otlp_protocol: OtlpProtocol,
    /// Seconds that the collector may take to answer.
    pub otlp_timeout_seconds: u64,
    /// What the service is called in traces.
    pub service_name: String,
    /// Where `GET /metrics` is answered, such as `127.0.0.1:9464`; nowhere by default.
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

/// How a log line looks.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// A JSON object.
    #[default]
    Json,
    /// Text for people.
    Text,
    /// None is written.
    Off,
}

/// Where log lines go.
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
