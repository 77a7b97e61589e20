//! `POST /api/v1/ingest`: one record.

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::schema::Wire;
use crate::answer;
use crate::app::State;
use crate::bodies::{Room, reader};
use crate::identity::Peer;
use crate::json::Json;
use crate::problem::Problem;
use edgesentry_rs::admission::Outcome;
use edgesentry_rs::wire::{Answer, parse_submission};

/// Larger bodies are decoded on a blocking thread.
const LARGE_BODY_BYTES: usize = 256 << 10;

/// Ingest one record: accepted and duplicate mean that record and payload are durable
#[utoipa::path(
    post, path = "/api/v1/ingest", tag = "ingest",
    request_body(content = Wire, description = "The record and its payload; Content-Encoding may be gzip or zstd"),
    responses(
        (status = 202, description = "Accepted: record and payload are durable", body = Answer),
        (status = 200, description = "Duplicate: the ledger already holds the same record", body = Answer),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "device_mismatch, scope_missing"),
        (status = 408, description = "too_slow"),
        (status = 409, description = "fork, sequence_gap, sequence_duplicate, prev_hash_mismatch"),
        (status = 413, description = "too_large"),
        (status = 415, description = "encoding_unknown"),
        (status = 422, description = "out_of_range, payload_hash_mismatch, unknown_device, key_not_valid_at_sequence, signature_invalid, succession_invalid, store_refused"),
        (status = 429, description = "rate_limited, with Retry-After"),
        (status = 500, description = "store: the operator must repair the store; keep the record"),
        (status = 503, description = "store, busy, stopped, with Retry-After: no outcome yet, send again"),
    ),
    security((), ("certificate" = []), ("token" = ["ingest"]))
)]
pub(super) async fn ingest(
    State(app): State,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sender = app.sender(&peer, &headers)?;
    let reader = reader(&headers, body, app.limits.stall())?;
    let key = sender.key(&peer);
    let held = Room::new(&app.bodies, key).read(reader, app.limits.body_bytes).await?;
    // The text is dropped once it is decoded; its memory counts for the record until that is decided.
    let (text, held) = held.into_parts();
    let submission = if text.len() > LARGE_BODY_BYTES {
        let decoded = tokio::task::spawn_blocking(move || parse_submission(&text)).await;
        decoded.map_err(|_| Problem::internal("the body could not be decoded"))?
    } else {
        let submission = parse_submission(&text);
        drop(text);
        submission
    }?;
    app.authorize(&peer, &sender, key, &submission)?;
    let record = std::sync::Arc::clone(&submission.record);
    let outcome = app.service().ingest(submission).await;
    drop(held);
    app.note(key, &record.device_id, &outcome);
    let status = match outcome? {
        Outcome::Rejected(rejection) => return Err(rejection.into()),
        outcome @ Outcome::Accepted => (StatusCode::ACCEPTED, outcome),
        outcome @ Outcome::Duplicate => (StatusCode::OK, outcome),
    };
    let (status, outcome) = status;
    Ok((status, Json(answer::decided(&record, Ok(outcome)))).into_response())
}
