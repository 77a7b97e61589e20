//! The HTTP interface: routes, access control, responses. docs/reference/http.md describes it; the OpenAPI document is
//! generated from these handlers ([`openapi`]).

// A problem is created once per request and becomes its response: a box would save nothing.
#![allow(clippy::result_large_err)]

mod admin;
mod batch;
mod device;
mod export;
mod health;
mod ingest;
mod openapi;
mod reads;
mod receipts;
mod schema;
mod tlog;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

pub use self::openapi::openapi;
use super::app::{App, State, shown};
use super::console::{self, Console};
use super::problem::Problem;
use super::scope::Scope;
use edgesentry_rs::telemetry::TraceContext;
use edgesentry_rs::wire::ProblemCode;

/// Returns every route.
pub(super) fn router(app: Arc<App>, console: Option<Arc<Console>>) -> Router {
    let read = Router::new()
        .route("/api/v1/devices", get(reads::devices))
        .route("/api/v1/heads", get(reads::heads))
        .route("/api/v1/records", get(reads::records))
        .route("/api/v1/log", get(reads::log))
        .route("/api/v1/log/status", get(tlog::status))
        .route("/api/v1/log/timestamps", get(tlog::timestamps))
        .route("/api/v1/log/proof", get(tlog::proof))
        .route("/api/v1/log/heads-proof", get(tlog::heads_proof))
        .route("/log/checkpoint", get(tlog::checkpoint))
        .route("/log/tile/{*path}", get(tlog::tile))
        .route("/api/v1/export", get(export::export))
        .route_layer(axum::middleware::from_fn(readers));
    let admin = Router::new()
        .route("/api/v1/devices", post(admin::register))
        .route("/api/v1/devices/revoke", post(admin::revoke))
        .route("/api/v1/erasures", post(admin::erase))
        .route_layer(axum::middleware::from_fn(administrators));
    let metrics = Router::new()
        .route("/metrics", get(health::metrics))
        .route_layer(axum::middleware::from_fn(scrapers));
    let pages = console.map(console::router).unwrap_or_default();
    Router::new()
        .route("/api/v1/ingest", post(ingest::ingest))
        .route("/api/v1/ingest/batch", post(batch::batch))
        .route("/api/v1/log/receipt", get(receipts::receipt))
        .route("/api/v1/log/consistency", get(tlog::consistency))
        .merge(read)
        .merge(admin)
        .merge(metrics)
        .merge(pages)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::document))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn(traced))
        .layer(Extension(app))
}

/// Continues the trace of the caller.
async fn traced(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let trace = TraceContext::extract(|name| headers.get(name).and_then(|value| value.to_str().ok()));
    trace.scope(next.run(request)).await
}

/// `/metrics` needs no token unless one with the `metrics` scope is configured.
async fn scrapers(State(app): State, request: Request, next: Next) -> Result<Response, Problem> {
    if app.tokens().has(Scope::Metrics) {
        app.require(request.headers(), Scope::Metrics)?;
    }
    Ok(next.run(request).await)
}

async fn readers(State(app): State, request: Request, next: Next) -> Result<Response, Problem> {
    app.require(request.headers(), Scope::Read)?;
    Ok(next.run(request).await)
}

async fn administrators(State(app): State, request: Request, next: Next) -> Result<Response, Problem> {
    app.require(request.headers(), Scope::Admin)?;
    Ok(next.run(request).await)
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("the path {} does not exist; /openapi.json lists the paths", shown(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let (method, path) = (shown(method.as_str()), shown(uri.path()));
    let detail = format!("the path {path} does not support {method}; the header Allow lists its methods");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, ProblemCode::MethodNotAllowed, detail)
}
