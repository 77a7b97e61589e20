//! Metrics over HTTP, for Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use edgesentry_rs::error::Error;
use edgesentry_rs::telemetry::metrics::{self, Metrics};

/// How long a scrape that is under way may take to end.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// A router that answers `GET /metrics`.
pub fn router(metrics: Metrics) -> Router {
    let text = || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()) };
    Router::new().route("/metrics", get(text))
}

/// A server of metrics alone; it ends when it is stopped or dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl MetricsServer {
    /// Serves `GET /metrics` at an address such as `127.0.0.1:9464`, on the current Tokio runtime; port 0 is any that is
    /// free. There is no access control: whoever reaches the address reads the metrics.
    pub async fn start(listen: &str, metrics: Metrics) -> Result<MetricsServer, Error> {
        let failed = |error: std::io::Error| {
            Error::unusable(format!("metrics: cannot listen at {listen:?}; name a free HOST:PORT"), error)
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router(metrics)).with_graceful_shutdown(async move {
            // Dropped without a word is stopped, too.
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async move {
            // It only ends when it is stopped.
            let _ = serving.await;
        });
        Ok(MetricsServer { address, stop, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and lets a scrape that is under way end.
    pub async fn stop(self) {
        let MetricsServer { stop, mut serving, .. } = self;
        drop(stop);
        if tokio::time::timeout(SCRAPE_TIMEOUT, &mut serving).await.is_err() {
            serving.abort();
        }
    }
}
