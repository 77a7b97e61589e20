//! Receipts: proofs that a device reads about its own records.
//!
//! A receipt contains records, so a sender that the service does not know reads none, and neither does a token that is
//! not limited to devices: it could read those of others.

use axum::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use edgesentry_log::{RunProof, TILE_WIDTH};
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::log::{LogReader, MAX_RECEIPT_RECORDS, ProveError};
use edgesentry_rs::wire::ProblemCode;
use futures::TryStreamExt;
use serde::Deserialize;
use utoipa::IntoParams;

use super::device::check_device_id;
use super::tlog::{log, text};
use crate::app::{App, Query, State};
use crate::identity::Peer;
use crate::problem::Problem;

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
        (status = 200, description = "What `eds verify-proof` takes", body = String, content_type = "text/plain"),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "device_mismatch, scope_missing"),
        (status = 404, description = "no_log, no_checkpoint, not_logged: ask again after the next checkpoint; record_missing: send the record again"),
        (status = 429, description = "rate_limited, with Retry-After"),
        (status = 503, description = "store, busy"),
    ),
    security(("certificate" = []), ("token" = ["ingest"]), ("token" = ["read"]))
)]
pub(super) async fn receipt(
    State(app): State,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(query): Query<ReceiptQuery>,
) -> Result<Response, Problem> {
    let ReceiptQuery { device_id, sequence, to_sequence } = query;
    check_device_id(&device_id)?;
    let caller = app.require_reader_or(&peer, &headers, Some(&device_id))?;
    let log = log(&app)?;
    let records = to_sequence.map_or(1, |last| last.saturating_sub(sequence).saturating_add(1));
    let proving = app.proving(caller, records.min(MAX_RECEIPT_RECORDS)).await?;
    let made = make(log, &device_id, sequence, to_sequence).await;
    proving.done(made.as_ref().map_or(1, |(_, bundles)| *bundles));
    match made {
        Err(ProveError::NotLogged { .. } | ProveError::NoCheckpoint { .. })
            if !has_record(&app, &device_id, sequence).await? =>
        {
            let detail = format!(
                "the ledger does not have the record of device {device_id:?} with sequence {sequence}; send it again"
            );
            Err(Problem::new(StatusCode::NOT_FOUND, ProblemCode::RecordMissing, detail))
        }
        made => Ok(text(made?.0)),
    }
}

/// Makes a receipt, and counts the entry bundles that it has read.
async fn make(
    log: &LogReader,
    device_id: &str,
    first: u64,
    last: Option<u64>,
) -> Result<(String, u64), ProveError> {
    let published = log.published().await?;
    let Some(last) = last else {
        return Ok((log.prove_record(&published, device_id, first).await?.to_string(), 1));
    };
    let proof = log.prove_receipt(&published, device_id, first, last).await?;
    Ok((proof.to_string(), bundles(&proof)))
}

/// Returns the number of entry bundles with the leaves of a proof.
pub(super) fn bundles(proof: &RunProof) -> u64 {
    let of = |index: u64| index / u64::from(TILE_WIDTH);
    let new = proof.leaves.windows(2).filter(|pair| of(pair[0].index) != of(pair[1].index)).count();
    new as u64 + 1
}

async fn has_record(app: &App, device_id: &str, sequence: u64) -> Result<bool, Problem> {
    let filter = Filter {
        devices: vec![device_id.to_owned()],
        from_sequence: Some(sequence),
        to_sequence: Some(sequence),
        ..Filter::default()
    };
    Ok(app.service().ledger().records(&filter).try_next().await?.is_some())
}
