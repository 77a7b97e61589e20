//! The transparency log: checkpoint and tiles (C2SP tlog-tiles), and proofs.

use axum::Extension;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use edgesentry_log::{MAX_PATH, MAX_RUN_RECORDS, TILE_WIDTH, TileId};
use edgesentry_rs::ledger::LogTablesError;
use edgesentry_rs::log::{LogError, LogReader, ProveError};
use edgesentry_rs::wire::ProblemCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::device::check_device_id;
use super::receipts::bundles;
use crate::app::{App, Query, State};
use crate::identity::Peer;
use crate::json::Json;
use crate::problem::Problem;

/// A full tile of the published tree never changes.
const IMMUTABLE: &str = "private, max-age=31536000, immutable";
const NO_CACHE: &str = "no-cache";

impl From<ProveError> for Problem {
    fn from(error: ProveError) -> Problem {
        match error {
            ProveError::Log(LogError::Store(error) | LogError::Tables(LogTablesError::Store(error))) => {
                Problem::from(error)
            }
            ProveError::Log(LogError::Tables(LogTablesError::NotOpened)) => no_log(),
            ProveError::NoCheckpoint { .. } => {
                let detail = "the transparency log has no checkpoint yet; ask again later";
                Problem::new(StatusCode::NOT_FOUND, ProblemCode::NoCheckpoint, detail)
            }
            ProveError::UnknownSize { .. } | ProveError::NotStamped => {
                Problem::new(StatusCode::NOT_FOUND, ProblemCode::NoCheckpoint, error.to_string())
            }
            ProveError::Run { .. } => Problem::malformed(format!("query: {error}")),
            ProveError::NotLogged { .. } => {
                Problem::new(StatusCode::NOT_FOUND, ProblemCode::NotLogged, error.to_string())
            }
            ProveError::Newer { .. } => {
                Problem::malformed("query: from is beyond the size of the checkpoint")
            }
            // The location of the files stays inside the service.
            _ => Problem::internal(
                "the files or tables of the transparency log are damaged; see eds checkpoint status",
            ),
        }
    }
}

fn no_log() -> Problem {
    let detail = "the ledger of this service has no transparency log; see the section log of its settings";
    Problem::new(StatusCode::NOT_FOUND, ProblemCode::NoLog, detail)
}

pub(super) fn log(app: &App) -> Result<&LogReader, Problem> {
    app.log().ok_or_else(no_log)
}

pub(super) fn text(proof: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, NO_CACHE)];
    (kind, proof).into_response()
}

/// The published checkpoint of the transparency log, a signed note
#[utoipa::path(
    get, path = "/log/checkpoint", tag = "log",
    responses(
        (status = 200, description = "The note", body = String, content_type = "text/plain"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn checkpoint(State(app): State) -> Result<Response, Problem> {
    Ok(text(log(&app)?.published().await?.note.to_string()))
}

/// A tile or entry bundle of the transparency log (C2SP tlog-tiles)
#[utoipa::path(
    get, path = "/log/tile/{path}", tag = "log",
    params(("path" = String, Path, description = "LEVEL/N or entries/N, with .p/WIDTH if it is partial")),
    responses(
        (status = 200, description = "The tile; a full one may be cached forever", content_type = "application/octet-stream"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, not_found"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn tile(State(app): State, uri: Uri) -> Result<Response, Problem> {
    let log = log(&app)?;
    let absent = || Problem::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, "the log has no such tile");
    let id: Option<TileId> = uri.path().strip_prefix("/log/").and_then(|path| path.parse().ok());
    let id = id.ok_or_else(absent)?;
    let bytes = log.tile(id).await?.ok_or_else(absent)?;
    let cache = if id.width() == TILE_WIDTH { IMMUTABLE } else { NO_CACHE };
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cache)];
    Ok((headers, bytes).into_response())
}

/// How far the transparency log is.
#[derive(Serialize, ToSchema)]
pub(super) struct LogStatus {
    /// The name of the log.
    origin: String,
    /// The number of leaves at the published checkpoint.
    size: u64,
    /// The root of the tree, base64.
    root: String,
    /// The signed note.
    checkpoint: String,
}

/// The published checkpoint of the transparency log as JSON
#[utoipa::path(
    get, path = "/api/v1/log/status", tag = "log",
    responses(
        (status = 200, description = "The checkpoint", body = LogStatus),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn status(State(app): State) -> Result<Json<LogStatus>, Problem> {
    let published = log(&app)?.published().await?;
    Ok(Json(LogStatus {
        origin: published.checkpoint.origin().to_owned(),
        size: published.checkpoint.size(),
        root: published.checkpoint.root().to_string(),
        checkpoint: published.note.to_string(),
    }))
}

/// Which checkpoint.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TimestampQuery {
    /// The size of a checkpoint, by default that of the last one with a time stamp.
    size: Option<u64>,
}

/// The time stamps of a checkpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct LogTimestamps {
    /// The number of leaves at the checkpoint.
    size: u64,
    /// The signed note.
    checkpoint: String,
    /// The time stamps, by authority.
    timestamps: Vec<LogTimestamp>,
}

/// A time stamp of a checkpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct LogTimestamp {
    /// The subject of the certificate of the time stamping authority.
    authority: String,
    /// The time in the stamp, Unix milliseconds.
    time_ms: u64,
    /// The checkpoint existed before this time, Unix milliseconds.
    before_ms: u64,
    /// The answer of the authority (RFC 3161, TimeStampResp), base64.
    response: String,
}

/// The time stamps of a checkpoint of the transparency log (RFC 3161)
#[utoipa::path(
    get, path = "/api/v1/log/timestamps", tag = "log", params(TimestampQuery),
    responses(
        (status = 200, description = "The checkpoint and its time stamps", body = LogTimestamps),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn timestamps(
    State(app): State,
    Query(query): Query<TimestampQuery>,
) -> Result<Json<LogTimestamps>, Problem> {
    let log = log(&app)?;
    let published = match query.size {
        Some(size) => log.published_at(Some(size)).await?,
        None => log.published_stamped().await?,
    };
    let timestamps = log.timestamps(&published).await?.into_iter().map(|stamp| LogTimestamp {
        authority: stamp.authority,
        time_ms: stamp.time_ms,
        before_ms: stamp.before_ms,
        response: BASE64_STANDARD.encode(&stamp.response),
    });
    Ok(Json(LogTimestamps {
        size: published.checkpoint.size(),
        checkpoint: published.note.to_string(),
        timestamps: timestamps.collect(),
    }))
}

/// Which record or records, at which checkpoint.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordQuery {
    /// The device.
    device_id: String,
    /// The sequence of the record, or of the first one.
    sequence: u64,
    /// The sequence of the last record, for the proof of a run.
    to_sequence: Option<u64>,
    /// The size of an earlier checkpoint, by default the published one.
    size: Option<u64>,
}

/// The proof that a record is in the transparency log (C2SP tlog-proof), or each record of a run
#[utoipa::path(
    get, path = "/api/v1/log/proof", tag = "log", params(RecordQuery),
    responses(
        (status = 200, description = "What `eds verify-proof` takes", body = String, content_type = "text/plain"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint, not_logged"),
        (status = 429, description = "rate_limited, with Retry-After"),
        (status = 503, description = "store, busy"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn proof(
    State(app): State,
    headers: HeaderMap,
    Query(query): Query<RecordQuery>,
) -> Result<Response, Problem> {
    check_device_id(&query.device_id)?;
    let log = log(&app)?;
    let (device_id, first) = (&query.device_id, query.sequence);
    let records = query.to_sequence.map_or(1, |last| last.saturating_sub(first).saturating_add(1));
    let proving = app.proving(app.holder(&headers), records.min(MAX_RUN_RECORDS as u64)).await?;
    let made = async {
        let published = log.published_at(query.size).await?;
        match query.to_sequence {
            None => Ok((log.prove_record(&published, device_id, first).await?.to_string(), 1)),
            Some(last) => {
                let proof = log.prove_run(&published, device_id, first, last).await?;
                Ok((proof.to_string(), bundles(&proof)))
            }
        }
    };
    let made: Result<(String, u64), ProveError> = made.await;
    proving.done(made.as_ref().map_or(1, |(_, bundles)| *bundles));
    Ok(text(made?.0))
}

/// Which device, at which checkpoint.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// The device.
    device_id: String,
    /// The size of an earlier checkpoint, by default the published one.
    size: Option<u64>,
}

/// The proof of the last record of a device in the transparency log, or of its absence
#[utoipa::path(
    get, path = "/api/v1/log/heads-proof", tag = "log", params(DeviceQuery),
    responses(
        (status = 200, description = "What `eds verify-proof` takes", body = String, content_type = "text/plain"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn heads_proof(
    State(app): State,
    Query(query): Query<DeviceQuery>,
) -> Result<Response, Problem> {
    check_device_id(&query.device_id)?;
    let log = log(&app)?;
    let published = log.published_at(query.size).await?;
    Ok(text(log.prove_head(&published, &query.device_id).await?.to_string()))
}

/// From which size to which.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GrowthQuery {
    /// The size of the older checkpoint.
    from: u64,
    /// The size of the newer checkpoint, by default the published one.
    size: Option<u64>,
}

/// The proof that the transparency log only grew since a checkpoint of an older size
#[utoipa::path(
    get, path = "/api/v1/log/consistency", tag = "log", params(GrowthQuery),
    responses(
        (status = 200, description = "What `eds verify-proof --previous` takes", body = String, content_type = "text/plain"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, no_checkpoint"),
        (status = 429, description = "rate_limited, with Retry-After"),
        (status = 503, description = "store, busy"),
    ),
    security(("certificate" = []), ("token" = ["ingest"]), ("token" = ["read"]))
)]
pub(super) async fn consistency(
    State(app): State,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(query): Query<GrowthQuery>,
) -> Result<Response, Problem> {
    let caller = app.require_reader_or(&peer, &headers, None)?;
    let log = log(&app)?;
    let proving = app.proving(caller, MAX_PATH as u64).await?;
    let made = async { log.prove_growth(&log.published_at(query.size).await?, query.from).await }.await;
    // Each hash is in a tile of its own.
    proving.done(made.as_ref().map_or(1, |proof| proof.path.len() as u64));
    Ok(text(made?.to_string()))
}
