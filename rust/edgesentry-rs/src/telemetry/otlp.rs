//! Traces to a collector. Only the end of the program waits for it, and not for long.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanProcessor};
use tokio::runtime::{Handle, Runtime};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::Registry;

use super::{OtlpProtocol, TelemetrySettings};
use crate::error::{BoxError, Error};
use crate::tls;

/// How long the end of the program waits for the last spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends spans while it is started.
#[derive(Clone, Default)]
pub(super) struct Exporter(Arc<RwLock<Option<Running>>>);

/// Pending batches of spans, and the runtime of the connection.
struct Running {
    batches: BatchSpanProcessor,
    runtime: Option<Runtime>,
}

impl Exporter {
    /// Returns the layer that passes spans to this exporter.
    pub(super) fn layer(&self) -> OpenTelemetryLayer<Registry, opentelemetry_sdk::trace::SdkTracer> {
        let provider = SdkTracerProvider::builder().with_span_processor(self.clone()).build();
        let tracer = provider.tracer("edgesentry");
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false)
    }

    /// Starts sending spans to a collector.
    pub(super) fn start(&self, settings: &TelemetrySettings, endpoint: &str) -> Result<(), Error> {
        let wrong = "telemetry.otlp_endpoint: expected a URL with http:// or https:// and a host, such as \
             http://127.0.0.1:4317";
        let url = url::Url::parse(endpoint).map_err(|error| Error::unusable(wrong, error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Error::Config(wrong.to_owned()));
        }
        tls::install_provider();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("edgesentry-otlp")
            .enable_all()
            .build()
            .map_err(|error| Error::Threads("telemetry", Arc::new(error)))?;
        let timeout = Duration::from_secs(settings.otlp_timeout_seconds.max(1));
        let exporter = {
            let _inside = runtime.enter();
            exporter(settings.otlp_protocol, url, timeout, runtime.handle())
                .map_err(|error| Error::unusable(wrong, error))?
        };
        let mut batches = BatchSpanProcessor::builder(exporter).build();
        batches.set_resource(&Resource::builder().with_service_name(settings.service_name.clone()).build());
        self.replace(Some(Running { batches, runtime: Some(runtime) }));
        Ok(())
    }

    /// Sends the pending spans, and stops.
    pub(super) fn stop(&self) {
        self.replace(None);
    }

    fn replace(&self, new: Option<Running>) {
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), new);
        // Not under the lock: spans that end meanwhile do not wait.
        drop(old);
    }

    fn with(&self, tell: impl FnOnce(&BatchSpanProcessor)) {
        if let Some(running) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            tell(&running.batches);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Spans that the collector does not receive in time are lost.
        let _ = self.batches.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanProcessor for Exporter {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.with(|batches| batches.on_start(span, context));
    }

    fn on_end(&self, span: SpanData) {
        self.with(|batches| batches.on_end(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn exporter(
    protocol: OtlpProtocol,
    mut url: url::Url,
    timeout: Duration,
    runtime: &Handle,
) -> Result<SpanExporter, BoxError> {
    let builder = SpanExporter::builder();
    let exporter = match protocol {
        OtlpProtocol::Grpc => {
            let builder = builder.with_tonic().with_endpoint(url.as_str()).with_timeout(timeout);
            if url.scheme() == "https" {
                builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()).build()
            } else {
                builder.build()
            }
        }
        OtlpProtocol::Http => {
            if url.path() == "/" {
                url.set_path("/v1/traces");
            }
            let client = Client { client: http_client(timeout)?, runtime: runtime.clone() };
            let builder = builder.with_http().with_http_client(client).with_protocol(Protocol::HttpBinary);
            builder.with_endpoint(url.as_str()).with_timeout(timeout).build()
        }
    };
    Ok(exporter?)
}

type Https = hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>;

fn http_client(timeout: Duration) -> Result<HyperClient<Https>, String> {
    let config = rustls::ClientConfig::builder()
        .with_native_roots()
        .map_err(|error| format!("the system's certificates cannot be read: {error}"))?
        .with_no_client_auth();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    Ok(HyperClient::new(connector, timeout, None))
}

/// Sends on the runtime: the thread that batches spans does not belong to one.
#[derive(Debug)]
struct Client {
    client: HyperClient<Https>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
