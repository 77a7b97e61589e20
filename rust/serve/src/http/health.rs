//! Health: whether the process lives, and whether it can ingest records.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::State;
use crate::json::Json;
use crate::problem::Problem;

/// How long a result of the stores is reused, so that probes cost nothing.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);
/// How long the stores may take.
const STORES_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the service.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process responds
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "The process responds", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Counters and latencies for Prometheus; needs no token unless one with the scope `metrics` is configured
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The text format of Prometheus", body = String, content_type = "text/plain"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
    ),
    security((), ("token" = ["metrics"]))
)]
pub(super) async fn metrics(State(app): State) -> Response {
    crate::metrics::exposition(app.service().metrics())
}

/// Whether records can be ingested: the stores respond and do not fail for all devices, and the service is not
/// shutting down
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "The service is ready", body = Health),
        (status = 503, description = "not_ready"),
    )
)]
pub(super) async fn readyz(State(app): State) -> Result<Json<Health>, Problem> {
    if app.stopping.load(Ordering::Relaxed) {
        return Err(Problem::not_ready("the service is shutting down"));
    }
    let mut known = app.readiness.0.lock().await;
    let ready = match &*known {
        Some((at, ready)) if at.elapsed() < CACHE_LIFETIME => *ready,
        _ => {
            let stores = async {
                app.service().ledger().check().await.map_err(|_| "the ledger does not respond")?;
                app.service().payloads().check().await.map_err(|_| "the payload store does not respond")
            };
            let ready = tokio::time::timeout(STORES_TIMEOUT, stores)
                .await
                .unwrap_or(Err("the stores do not respond in time"));
            *known = Some((Instant::now(), ready));
            ready
        }
    };
    if app.failures().are_for_all() {
        return Err(Problem::not_ready("the stores respond, but fail to store records"));
    }
    ready.map(|()| Json(Health { status: "ok" })).map_err(Problem::not_ready)
}
