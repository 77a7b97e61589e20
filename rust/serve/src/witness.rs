//! A witness over HTTP (C2SP tlog-witness): `add-checkpoint`, and the last cosigned checkpoint of each log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use edgesentry_log::{MAX_WITNESS_REQUEST_BYTES, WitnessRefusal};
use edgesentry_rs::error::Error;
use edgesentry_rs::log::{Witness, WitnessError};
use edgesentry_rs::telemetry::metrics::Resource;
use tokio::time::timeout;

use super::bodies::{Room, reader};
use super::identity::{Peer, SenderKey};
use super::problem::Problem;
use super::server::{Routes, Served, Server};
use super::settings::{ServeLimits, ServeSettings};
use super::shares::Pool;

/// How long the state may take to respond.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);
const TEXT: &str = "text/plain; charset=utf-8";
/// The type of the size in a response with status 409.
const SIZE: &str = "text/x.tlog.size";

/// The state that the handlers share.
struct App {
    witness: Witness,
    limits: ServeLimits,
    bodies: Arc<Pool>,
    stopping: AtomicBool,
}

impl Served for App {
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Server {
    /// Listens for the clients of a witness, but accepts no connections yet. Tokens and MQTT do not apply.
    ///
    /// # Errors
    /// An address cannot be used, or a certificate cannot be read.
    pub async fn bind_witness(witness: Witness, settings: &ServeSettings) -> Result<Server, Error> {
        let metrics = witness.metrics().clone();
        let limits = settings.limits.clone();
        let answers = Pool::new(&metrics, Resource::AnswerBytes, limits.answer_bytes);
        let bodies = Pool::new(&metrics, Resource::BodyBytes, limits.memory_bytes);
        let app = Arc::new(App { witness, limits, bodies, stopping: AtomicBool::default() });
        let router = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/{log}/checkpoint", get(checkpoint))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .with_state(Arc::clone(&app));
        Server::listen(settings, &metrics, Routes { router, answers, served: app }).await
    }
}

async fn add_checkpoint(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let reader = reader(&headers, body, app.limits.stall())?;
    let room = Room::new(&app.bodies, SenderKey::at(peer.address));
    let (request, _share) = room.read(reader, MAX_WITNESS_REQUEST_BYTES).await?.into_parts();
    Ok(match app.witness.add_checkpoint(&request).await {
        Ok(line) => text(StatusCode::OK, TEXT, format!("{line}\n")),
        Err(WitnessError::Refused(WitnessRefusal::Conflict { size })) => {
            text(StatusCode::CONFLICT, SIZE, format!("{size}\n"))
        }
        Err(error) => failed(&error),
    })
}

/// Returns an error as text. The location of the state stays inside the service.
fn failed(error: &WitnessError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let told = match error {
        WitnessError::Refused(refusal) => format!("{refusal}\n"),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
            "the witness cannot cosign now; send the request again\n".to_owned()
        }
        _ => "the witness cannot cosign until its operator has acted\n".to_owned(),
    };
    let mut response = text(status, TEXT, told);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

async fn checkpoint(State(app): State<Arc<App>>, Path(log): Path<String>) -> Response {
    match app.witness.latest(&format!("{log}/checkpoint")).await {
        Ok(Some(note)) => {
            let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-cache")];
            (headers, note).into_response()
        }
        Ok(None) => text(StatusCode::NOT_FOUND, TEXT, "no checkpoint of this log is cosigned\n".to_owned()),
        Err(error) => failed(&error.into()),
    }
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let unready = |problem: &str| text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{problem}\n"));
    if app.stopping.load(Ordering::Relaxed) {
        return unready("the witness is shutting down");
    }
    match timeout(STATE_TIMEOUT, app.witness.check()).await {
        Ok(Ok(())) => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
        Ok(Err(error @ (WitnessError::Clock { .. } | WitnessError::RolledBack { .. }))) => {
            unready(&error.to_string())
        }
        Ok(Err(WitnessError::Stopped)) => unready("the witness has stopped"),
        _ => unready("the state of the witness does not respond"),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
