//! Receipts: proofs that a device reads about its own records.
//!
//! A receipt contains records, so a sender that the service does not know reads none, and neither does a token that is
//! not limited to devices: it could read those of others.

use axum::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::log::{LogReader, ProveError};
use edgesentry_rs::wire::ProblemCode;
use futures::TryStreamExt;
use serde::Deserialize;
use utoipa::IntoParams;

use super::device::check_device_id;
use super::tlog::{log, text};
use super::{App, Peer, Query, State, bearer};
use crate::identity::Sender;
use crate::problem::Problem;
use crate::tokens::Scope;

/// Which records of which device.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReceiptQuery {
    /// The device.
    device_id: String,
    /// The sequence of the record, or of the first one.
    sequence: u64,
    /// The last sequence, for the receipt of a run; it may cover fewer records, at most 1,024.
    to_sequence: Option<u64>,
}

/// The receipt of a record of the device that asks (C2SP tlog-proof), or of a run of its records
#[utoipa::path(
    get, path = "/api/v1/log/receipt", tag = "log", params(ReceiptQuery),
    responses(
        (status = 200, description = "What `eds verify-proof` takes", content_type = "text/plain"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "device_mismatch, scope_missing"),
        (status = 404, description = "no_log, no_checkpoint, not_logged: ask again after the next checkpoint; record_missing: send the record again"),
        (status = 429, description = "rate_limited, with Retry-After"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["ingest"]), ("token" = ["read"]))
)]
pub(super) async fn receipt(
    State(app): State,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(query): Query<ReceiptQuery>,
) -> Result<Response, Problem> {
    let ReceiptQuery { device_id, sequence, to_sequence } = query;
    check_device_id(&device_id)?;
    app.require_reader_or(&peer, &headers, Some(&device_id))?;
    app.rates.check(&device_id, None).map_err(Problem::rate_limited)?;
    match make(log(&app)?, &device_id, sequence, to_sequence).await {
        Err(ProveError::NotLogged { .. } | ProveError::NoCheckpoint { .. })
            if !has_record(&app, &device_id, sequence).await? =>
        {
            let detail = format!(
                "the ledger does not have the record of device {device_id:?} with sequence {sequence}; send it again"
            );
            Err(Problem::new(StatusCode::NOT_FOUND, ProblemCode::RecordMissing, detail))
        }
        made => Ok(text(made?)),
    }
}

async fn make(log: &LogReader, device_id: &str, first: u64, last: Option<u64>) -> Result<String, ProveError> {
    let published = log.published().await?;
    Ok(match last {
        None => log.prove_record(&published, device_id, first).await?.to_string(),
        Some(last) => log.prove_receipt(&published, device_id, first, last).await?.to_string(),
    })
}

async fn has_record(app: &App, device_id: &str, sequence: u64) -> Result<bool, Problem> {
    let filter = Filter {
        devices: vec![device_id.to_owned()],
        from_sequence: Some(sequence),
        to_sequence: Some(sequence),
        ..Filter::default()
    };
    Ok(app.service.ledger().records(&filter).try_next().await?.is_some())
}

impl App {
    /// Requires a token with the scope `read`, or the certificate or token of a device: of this device, if one is given.
    pub(super) fn require_reader_or(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        device_id: Option<&str>,
    ) -> Result<(), Problem> {
        if let Some(token) = bearer(headers)?.and_then(|token| self.tokens.find(token)) {
            if token.may(Scope::Read) {
                return Ok(());
            }
            if !token.may(Scope::Ingest) && peer.devices.is_none() {
                return Err(Problem::scope(&token.name, Scope::Read));
            }
        }
        let sender = self.sender(peer, headers)?;
        let Some(device_id) = device_id else { return sender_is_known(&sender) };
        match &sender {
            Sender::Token(token) if !token.is_limited() => Err(Problem::scope(&token.name, Scope::Read)),
            sender if !sender.may_send(device_id) => Err(Problem::other_device(device_id)),
            sender => sender_is_known(sender),
        }
    }
}

fn sender_is_known(sender: &Sender) -> Result<(), Problem> {
    let detail = "receipts and consistency proofs are read with the certificate or token of a device, or with a token with \
                  the scope read";
    if sender.is_known() { Ok(()) } else { Err(Problem::unauthenticated(detail)) }
}
