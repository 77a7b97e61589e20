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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

pub use self::openapi::openapi;
use super::console::{self, Console};
use super::failures::StoreFailures;
use super::identity::{Peer, Sender, SenderKey};
use super::problem::Problem;
use super::rates::{Proofs, Rates, Rejections};
use super::settings::{ServeLimits, ServeSettings};
use super::shares::Pool;
use super::tokens::{Scope, Tokens};
use edgesentry_rs::error::Error;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::log::LogReader;
use edgesentry_rs::telemetry::TraceContext;
use edgesentry_rs::telemetry::metrics::Resource;
use edgesentry_rs::wire::ProblemCode;

/// How long a batch or an export waits for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The state that all handlers share.
pub(super) struct App {
    service: IngestService,
    limits: ServeLimits,
    tokens: Tokens,
    rates: Rates,
    rejections: Arc<Rejections>,
    bodies: Arc<Pool>,
    answers: Arc<Pool>,
    batches: Arc<Pool>,
    exports: Arc<Pool>,
    proof_places: Arc<Pool>,
    proofs: Proofs,
    /// True if senders must authenticate: a way to do so is configured.
    knows_senders: bool,
    stopping: AtomicBool,
    readiness: health::Readiness,
    failures: Arc<StoreFailures>,
    /// The transparency log of the ledger, if it is configured.
    log: Option<LogReader>,
    console: Option<Console>,
}

impl App {
    /// # Errors
    /// The console is enabled, and a setting of it cannot be used.
    pub(super) fn new(
        service: IngestService,
        settings: &ServeSettings,
        log: Option<LogReader>,
    ) -> Result<App, Error> {
        let console = Console::new(&service, settings, log.as_ref())?;
        let tokens = Tokens::new(&settings.tokens);
        let certificates = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let limits = settings.limits.clone();
        let pool = |resource, total| Pool::new(service.metrics(), resource, total);
        Ok(App {
            bodies: pool(Resource::BodyBytes, limits.memory_bytes),
            answers: pool(Resource::AnswerBytes, limits.answer_bytes),
            batches: pool(Resource::Batches, limits.batches),
            exports: pool(Resource::Exports, limits.exports),
            proof_places: pool(Resource::Proofs, limits.proofs),
            proofs: Proofs::new(&settings.rate),
            service,
            limits,
            knows_senders: certificates || tokens.has(Scope::Ingest),
            tokens,
            rates: Rates::new(&settings.rate),
            rejections: Arc::new(Rejections::new(&settings.rate)),
            stopping: AtomicBool::new(false),
            readiness: health::Readiness::default(),
            failures: Arc::default(),
            log,
            console,
        })
    }

    /// Reports not ready from now on.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(console) = &self.console {
            console.stop();
        }
    }

    /// Returns the observed failures of the stores.
    pub(super) fn failures(&self) -> &Arc<StoreFailures> {
        &self.failures
    }

    /// Returns the limit of rejections.
    pub(super) fn rejections(&self) -> &Arc<Rejections> {
        &self.rejections
    }

    /// Returns the limit of response bytes that are not taken yet.
    pub(super) fn answers(&self) -> &Arc<Pool> {
        &self.answers
    }

    pub(super) fn tidy(&self) {
        self.rates.tidy();
        if let Some(console) = &self.console {
            console.tidy();
        }
    }

    pub(super) fn service(&self) -> &IngestService {
        &self.service
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Returns the transparency log of the ledger, if it is configured.
    pub(super) fn log(&self) -> Option<&LogReader> {
        self.log.as_ref()
    }

    /// Returns the console, if it is enabled.
    pub(super) fn console(&self) -> Option<&Console> {
        self.console.as_ref()
    }

    /// Returns the key of the holder of a token, which was checked before.
    fn holder(&self, headers: &HeaderMap) -> SenderKey {
        let token = bearer(headers).ok().flatten().and_then(|token| self.tokens.find(token));
        SenderKey::of_token(token.as_ref().map_or("", |token| &token.name))
    }

    /// Identifies the sender of records: by its token if it has one for that, otherwise by its certificate.
    fn sender(&self, peer: &Peer, headers: &HeaderMap) -> Result<Sender, Problem> {
        if let Some(token) = bearer(headers)? {
            let token = self.tokens.find(token).ok_or_else(Problem::unknown_token)?;
            if token.may(Scope::Ingest) {
                return Ok(Sender::Token(token));
            }
            if self.knows_senders && peer.devices.is_none() {
                return Err(Problem::scope(&token, Scope::Ingest));
            }
        }
        match (&peer.devices, self.knows_senders) {
            (Some(devices), _) => Ok(Sender::Certificate(Arc::clone(devices))),
            (None, false) => Ok(Sender::Anybody),
            (None, true) => Err(Problem::unauthenticated(
                "only known senders may send records: present a client certificate, or a token with the scope ingest",
            )),
        }
    }

    /// Requires a token with a scope.
    fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        let Some(token) = bearer(headers)? else {
            let name = scope.name();
            let detail =
                format!("a token with the scope {name} is required: send Authorization: Bearer TOKEN");
            return Err(Problem::unauthenticated(detail));
        };
        let token = self.tokens.find(token).ok_or_else(Problem::unknown_token)?;
        if token.may(scope) { Ok(()) } else { Err(Problem::scope(&token, scope)) }
    }
}

/// Returns the bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => {
            let detail = "Authorization: expected Bearer TOKEN, got another scheme or no token";
            Err(Problem::unauthenticated(detail))
        }
    }
}

/// The shared state, as an extractor.
pub(super) struct State(pub(super) Arc<App>);

impl<S: Sync> FromRequestParts<S> for State {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<State, Problem> {
        let app = parts.extensions.get::<Arc<App>>().cloned();
        app.map(State).ok_or_else(|| Problem::internal("the service is not attached to the request"))
    }
}

/// The parameters of a query; an unknown or malformed one is an error.
struct Query<T>(T);

impl<S: Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let parsed = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        parsed.map(|query| Query(query.0)).map_err(|error| {
            use std::error::Error;
            let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::malformed(format!(
                "query: {}",
                with_value(&detail, parts.uri.query().unwrap_or_default())
            ))
        })
    }
}

/// Returns the fault of a parameter with its value, in our words for a value that does not parse.
fn with_value(detail: &str, query: &str) -> String {
    let wanted = [
        ("invalid digit found in string", "expected a natural number"),
        ("cannot parse integer from empty string", "expected a natural number"),
        ("number too large to fit in target type", "expected a smaller number"),
        ("provided string was not `true` or `false`", "expected true or false"),
    ];
    let found = wanted.iter().find_map(|(theirs, ours)| {
        let name = detail.strip_suffix(theirs)?.trim_end_matches([':', ' ']);
        let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
        Some(format!("{name}: {ours}, not {:?}", shown(&value)))
    });
    found.unwrap_or_else(|| detail.to_owned())
}

/// Returns every route.
pub(super) fn router(app: Arc<App>) -> Router {
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
    let pages = if let Some(console) = &app.console {
        console.start();
        console::router()
    } else {
        Router::new()
    };
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
    if app.tokens.has(Scope::Metrics) {
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

/// Returns the beginning of a text of the caller.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
