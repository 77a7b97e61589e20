//! Metrics over HTTP, for Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use edgesentry_rs::error::Error;
use edgesentry_rs::telemetry::metrics::{self, Metrics};

/// How long a scrape in progress may take to finish.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns a router that serves `GET /metrics`.
pub fn router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(|| async move { exposition(&metrics) }))
}

/// Returns the response with the metrics.
pub(crate) fn exposition(metrics: &Metrics) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()).into_response()
}

/// A server of metrics only; it ends when it is stopped or dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl MetricsServer {
    /// Serves `GET /metrics` at an address such as `127.0.0.1:9464`, on the current Tokio runtime; port 0 picks a free
    /// one. There is no access control: any client that reaches the address can read the metrics.
    pub async fn start(listen: &str, metrics: Metrics) -> Result<MetricsServer, Error> {
        let failed = |error: std::io::Error| {
            Error::unusable(format!("metrics: cannot listen at {listen:?}; choose a free HOST:PORT"), error)
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router(metrics)).with_graceful_shutdown(async move {
            // A dropped sender stops the server, too.
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async move {
            // The server returns only after a stop.
            let _ = serving.await;
        });
        Ok(MetricsServer { address, stop, serving })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and lets a scrape in progress finish.
    pub async fn stop(self) {
        let MetricsServer { stop, mut serving, .. } = self;
        drop(stop);
        if tokio::time::timeout(SCRAPE_TIMEOUT, &mut serving).await.is_err() {
            serving.abort();
        }
    }
}
