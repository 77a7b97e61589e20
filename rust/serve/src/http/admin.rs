//! The device registry.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use edgesentry_chain::{Head, PublicKey, Scheme};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::device::{Link, check_device_id};
use super::{App, State};
use crate::bodies::{Room, reader};
use crate::json::Json;
use crate::problem::Problem;
use edgesentry_rs::ledger::Registration;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::http::admin";

/// The largest body of these requests.
const MAX_BODY_BYTES: usize = 64 << 10;

/// A key to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
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

/// A device whose keys are revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// The device.
    #[schema(min_length = 1, max_length = 1024)]
    device_id: String,
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
        (status = 204, description = "Registered"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 409, description = "registry: the key conflicts with a registered one"),
        (status = 413, description = "too_large"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn register(
    State(app): State,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let asked: KeyRegistration = read_json(&app, &headers, body).await?;
    let key = hex::decode(&asked.key).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
    let key = key.ok_or_else(|| Problem::malformed("key: expected 64 hex digits"))?;
    let key = PublicKey::from_bytes(key).map_err(|error| Problem::malformed(format!("key: {error}")))?;
    let scheme = asked.scheme.as_deref().map_or(Ok(Scheme::Record), str::parse);
    let registration = Registration {
        device_id: asked.device_id,
        key,
        scheme: scheme.map_err(|error| Problem::malformed(format!("scheme: {error}")))?,
        valid_from: asked.valid_from,
        start: asked.start.map(|Link { sequence, hash }| Head { sequence, hash }),
    };
    app.service.register(&registration).await?;
    tracing::info!(target: TARGET, device_id = registration.device_id, "device registered over the network");
    Ok(StatusCode::NO_CONTENT)
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
        (status = 413, description = "too_large"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn revoke(
    State(app): State,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Revoked>, Problem> {
    let Revocation { device_id } = read_json(&app, &headers, body).await?;
    check_device_id(&device_id)?;
    let revoked_from = app.service.revoke(&device_id).await?;
    tracing::info!(target: TARGET, device_id, revoked_from, "device revoked over the network");
    Ok(Json(Revoked { device_id, revoked_from }))
}

async fn read_json<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let reader = reader(headers, body, app.limits.stall())?;
    let held = Room::new(&app.bodies, app.holder(headers)).read(reader, MAX_BODY_BYTES).await?;
    serde_json::from_slice(&held.bytes).map_err(|error| {
        let problem: String = error.to_string().chars().take(300).collect();
        Problem::malformed(problem)
    })
}
