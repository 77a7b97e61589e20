//! The device registry, and erasures.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use edgesentry_chain::{Head, PublicKey, Scheme};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use utoipa::ToSchema;

use super::device::{Link, check_device_id};
use crate::app::{App, State};
use crate::bodies::{Room, reader};
use crate::json::Json;
use crate::problem::Problem;
use edgesentry_rs::ledger::{Registration, RevocationReason};
use edgesentry_rs::log::{EraseError, ErasureState, ProveError};
use edgesentry_rs::wire::ProblemCode;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::http::admin";

/// The largest body of these requests.
const MAX_BODY_BYTES: usize = 64 << 10;

/// A key to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object with device_id and key")]
pub(super) struct KeyRegistration {
    /// The device.
    #[schema(min_length = 1, max_length = 1024)]
    device_id: String,
    /// Its Ed25519 public key, 64 hex digits.
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    key: String,
    /// What its signatures cover: `record` (default) or `payload-hash`.
    #[serde(default)]
    #[schema(example = "record")]
    scheme: Option<String>,
    /// The first sequence that it signs; by default the next one of the chain.
    #[serde(default)]
    valid_from: Option<u64>,
    /// For a device whose chain began elsewhere: the last link that this ledger does not hold.
    #[serde(default)]
    start: Option<Link>,
}

/// A registered key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyRegistered {
    /// The device.
    device_id: String,
    /// Its key, 64 hex digits.
    key: String,
    /// What its signatures cover.
    scheme: &'static str,
    /// The first sequence that it signs.
    valid_from: Option<u64>,
    /// Other devices that have or had the key, at most a hundred. Each of them can sign in the name of the others: give each
    /// device a key of its own.
    also_key_of: Vec<String>,
}

/// A device whose keys are revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object with device_id")]
pub(super) struct Revocation {
    /// The device.
    #[schema(min_length = 1, max_length = 1024)]
    device_id: String,
    /// `compromised`, `superseded`, `retired`, `lost` or `unspecified` (default).
    #[serde(default)]
    #[schema(example = "compromised")]
    reason: Option<String>,
}

/// The sequence from which the keys are revoked.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// The device.
    device_id: String,
    /// The first sequence that is rejected.
    revoked_from: u64,
}

/// Register a key of a device; repeating a registration changes nothing
#[utoipa::path(
    post, path = "/api/v1/devices", tag = "admin", request_body = KeyRegistration,
    responses(
        (status = 200, description = "Registered", body = KeyRegistered),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 409, description = "registry: the key conflicts with a registered one"),
        (status = 408, description = "too_slow"),
        (status = 413, description = "too_large"),
        (status = 415, description = "encoding_unknown"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn register(
    State(app): State,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeyRegistered>, Problem> {
    let asked: KeyRegistration = read_json(&app, &headers, body).await?;
    let key = hex::decode(&asked.key).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
    let key = key.ok_or_else(|| {
        let characters = asked.key.chars().count();
        Problem::malformed(format!(
            "key: expected 64 hex digits, got {characters} characters; eds inspect-key shows the digits of a key in another \
             form"
        ))
    })?;
    let key = PublicKey::from_bytes(key).map_err(|error| Problem::malformed(format!("key: {error}")))?;
    let scheme = asked.scheme.as_deref().map_or(Ok(Scheme::Record), str::parse);
    let registration = Registration {
        device_id: asked.device_id,
        key,
        scheme: scheme.map_err(|error| Problem::malformed(format!("scheme: {error}")))?,
        valid_from: asked.valid_from,
        start: asked.start.map(|Link { sequence, hash }| Head { sequence, hash }),
    };
    app.service().register(&registration).await?;
    let ledger = app.service().ledger();
    let mut also_key_of = ledger.devices_with_key(&registration.key).await?;
    also_key_of.retain(|other| *other != registration.device_id);
    let known = ledger.keys(&[registration.device_id.as_str().into()]).await?;
    let Registration { device_id, key, scheme, .. } = registration;
    match also_key_of.first() {
        None => tracing::info!(target: TARGET, device_id, "device registered over the network"),
        Some(other) => {
            let others = also_key_of.len();
            tracing::warn!(target: TARGET, device_id, other, others, "device registered with the key of another device");
        }
    }
    let keys = known.values().flat_map(|known| known.keys.iter().rev());
    let valid_from = keys.map(|known| known.key).find(|known| known.key == key).map(|known| known.valid_from);
    Ok(Json(KeyRegistered {
        device_id,
        key: key.to_string(),
        scheme: scheme.name(),
        valid_from,
        also_key_of,
    }))
}

/// Revoke every key of a device from its next sequence on; its records in the ledger stay valid
#[utoipa::path(
    post, path = "/api/v1/devices/revoke", tag = "admin", request_body = Revocation,
    responses(
        (status = 200, description = "Revoked", body = Revoked),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 409, description = "registry: the device is not registered"),
        (status = 408, description = "too_slow"),
        (status = 413, description = "too_large"),
        (status = 415, description = "encoding_unknown"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn revoke(
    State(app): State,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Revoked>, Problem> {
    let Revocation { device_id, reason } = read_json(&app, &headers, body).await?;
    check_device_id(&device_id)?;
    let reason = reason.as_deref().map_or(Ok(RevocationReason::Unspecified), str::parse);
    let reason = reason.map_err(|error| Problem::malformed(format!("reason: {error}")))?;
    let revoked_from = app.service().revoke_for(&device_id, reason).await?;
    tracing::info!(target: TARGET, device_id, revoked_from, %reason, "device revoked over the network");
    Ok(Json(Revoked { device_id, revoked_from }))
}

/// A payload to erase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object with device_id, sequence and reason")]
pub(super) struct ErasureRequest {
    /// The device.
    #[schema(min_length = 1, max_length = 1024)]
    device_id: String,
    /// The sequence of the record, which stays.
    sequence: u64,
    /// The reason, at most 1024 bytes. It stays in the transparency log: do not name a person.
    #[schema(min_length = 1, max_length = 1024, example = "request 2026-114")]
    reason: String,
}

/// An erasure and its progress.
#[derive(Serialize, ToSchema)]
pub(super) struct ErasureAnswer {
    /// The device.
    device_id: String,
    /// The sequence of the record.
    sequence: u64,
    /// BLAKE3 of the payload, 64 hex digits.
    payload_hash: String,
    /// The reason of the first request.
    reason: String,
    /// When it was requested, Unix milliseconds.
    requested_at_ms: u64,
    /// The leaf of the log; none until it has a position.
    leaf: Option<u64>,
    /// `waiting` for a checkpoint and the deletion, `kept` by the payload store, or `erased`.
    state: &'static str,
    /// Since when no version of the payload remains in the payload store, Unix milliseconds.
    erased_at_ms: Option<u64>,
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Problem {
        match error {
            EraseError::Log(error) => ProveError::from(error).into(),
            EraseError::NoRecord { .. } => {
                Problem::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, error.to_string())
            }
            error => Problem::malformed(error.to_string()),
        }
    }
}

/// Erase the payload of a record: the leader deletes it after its next checkpoint; repeating a request reports the
/// progress
#[utoipa::path(
    post, path = "/api/v1/erasures", tag = "admin", request_body = ErasureRequest,
    responses(
        (status = 200, description = "The payload is erased", body = ErasureAnswer),
        (status = 202, description = "The erasure is noted, and not finished", body = ErasureAnswer),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 404, description = "no_log, not_found: there is no such record"),
        (status = 408, description = "too_slow"),
        (status = 413, description = "too_large"),
        (status = 415, description = "encoding_unknown"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn erase(
    State(app): State,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ErasureAnswer>), Problem> {
    let ErasureRequest { device_id, sequence, reason } = read_json(&app, &headers, body).await?;
    check_device_id(&device_id)?;
    let erasure = super::tlog::log(&app)?.request_erasure(&device_id, sequence, &reason).await?;
    tracing::info!(target: TARGET, device_id, sequence, "erasure requested over the network");
    let erased_at_ms = match erasure.state {
        ErasureState::Erased { at_ms } => Some(at_ms),
        ErasureState::Waiting | ErasureState::Kept { .. } => None,
    };
    let status = if erased_at_ms.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = ErasureAnswer {
        device_id,
        sequence,
        payload_hash: erasure.payload_hash.to_string(),
        reason: erasure.reason,
        requested_at_ms: erasure.requested_at_ms,
        leaf: erasure.leaf,
        state: erasure.state.name(),
        erased_at_ms,
    };
    Ok((status, Json(answer)))
}

async fn read_json<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let reader = reader(headers, body, app.limits.stall())?;
    let held = Room::new(&app.bodies, app.holder(headers)).read(reader, MAX_BODY_BYTES).await?;
    let mut decoder = serde_json::Deserializer::from_slice(&held.bytes);
    let decoded = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        (if path == "." { "body".to_owned() } else { path }, error.into_inner())
    });
    let whole = decoded.and_then(|value| match decoder.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(("body".to_owned(), error)),
    });
    whole.map_err(|(place, error)| {
        let shown = |text: &str| text.chars().take(300).collect::<String>();
        let problem = shown(&error.to_string().replace("expected u64", "expected a natural number"));
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match error.classify() {
            Category::Data => Problem::malformed(format!("{}: {problem}", shown(&place))),
            _ if held.bytes.is_empty() => Problem::malformed("body: expected a JSON object, got nothing"),
            _ => match content_type.filter(|content_type| !content_type.starts_with("application/json")) {
                None => {
                    Problem::malformed(format!("body: expected a JSON object, got other text: {problem}"))
                }
                Some(other) => {
                    let other: String = other.chars().take(100).collect();
                    let detail =
                        format!("body: expected a JSON object, got {other}; with curl: --json '{{...}}'");
                    Problem::malformed(detail)
                }
            },
        }
    })
}
