//! Reads of the ledger: devices, heads, records, the operation log.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use edgesentry_chain::{AuditRecord, Heads};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::device::{Link, check_device_id};
use super::schema::WireRecord;
use crate::app::{Query, State};
use crate::json::{self, Json};
use crate::problem::Problem;
use edgesentry_rs::ledger::{Filter, LogEntry, LogQuery, MAX_PAGE, Page, revocation_reason};

/// The records or entries of a page by default.
const DEFAULT_PAGE_RECORDS: u32 = 1000;

/// A registered device.
#[derive(Serialize, ToSchema)]
pub(super) struct Device {
    device_id: String,
    /// By first valid sequence.
    keys: Vec<Key>,
    /// The last link in the ledger.
    head: Option<Link>,
    /// The link after which the ledger begins, if that is not the beginning of the chain.
    start: Option<Link>,
}

/// A key of a device.
#[derive(Serialize, ToSchema)]
pub(super) struct Key {
    /// 64 hex digits.
    key: String,
    /// `record` or `payload-hash`.
    scheme: String,
    /// The first sequence that it signs.
    valid_from: u64,
    /// The first sequence at which it is no longer accepted.
    revoked_from: Option<u64>,
    /// Why it was revoked: `compromised`, `superseded`, `retired`, `lost` or `unspecified`; null if no release has kept it.
    revoked_reason: Option<String>,
}

/// Every registered device.
#[derive(Serialize, ToSchema)]
pub(super) struct Devices {
    devices: Vec<Device>,
}

/// Every registered device with its keys and its head
#[utoipa::path(
    get, path = "/api/v1/devices", tag = "read",
    responses(
        (status = 200, description = "All devices, by device id", body = Devices),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn devices(State(app): State) -> Result<Json<Devices>, Problem> {
    let ledger = app.service().ledger();
    // In this order: each revocation that the devices show has its reason.
    let (devices, revocations) = (ledger.devices().await?, ledger.revocations().await?);
    let devices = devices.into_iter().map(|device| Device {
        keys: device
            .keys
            .iter()
            .map(|key| Key {
                key: key.key.key.to_string(),
                scheme: key.key.scheme.to_string(),
                valid_from: key.key.valid_from,
                revoked_from: key.revoked_from,
                revoked_reason: revocation_reason(&revocations, &device.device_id, key.revoked_from)
                    .map(|reason| reason.to_string()),
            })
            .collect(),
        head: device.head.map(Link::from),
        start: device.start.map(Link::from),
        device_id: device.device_id,
    });
    Ok(Json(Devices { devices: devices.collect() }))
}

/// Heads, as `eds heads` writes them.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct HeadsSnapshot {
    /// The version of the form: 1.
    version: u32,
    /// The last link of each chain by device id.
    heads: BTreeMap<String, Link>,
}

/// The last link of every chain: a snapshot to keep where the writers of the ledger cannot change it
#[utoipa::path(
    get, path = "/api/v1/heads", tag = "read",
    responses(
        (status = 200, description = "A snapshot for `eds verify-chain --heads`", body = HeadsSnapshot),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn heads(State(app): State) -> Result<Response, Problem> {
    let heads: Heads = app.service().ledger().heads().await?;
    let json = edgesentry_formats::write_heads(&heads);
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Which records.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsQuery {
    /// Only this device.
    device_id: Option<String>,
    /// The lowest sequence.
    from_sequence: Option<u64>,
    /// The highest sequence.
    to_sequence: Option<u64>,
    /// The earliest timestamp_ms.
    from_ms: Option<u64>,
    /// Only records before this timestamp_ms.
    before_ms: Option<u64>,
    /// `next` of the previous page.
    after: Option<String>,
    /// Maximum number of results, up to 10,000; 1,000 by default.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// A page of records.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct RecordPage {
    /// By device and sequence; byte fields as arrays of integers.
    records: Vec<WireRecord>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
}

/// A page of records by device and sequence
#[utoipa::path(
    get, path = "/api/v1/records", tag = "read", params(RecordsQuery),
    responses(
        (status = 200, description = "The page", body = RecordPage),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn records(
    State(app): State,
    Query(query): Query<RecordsQuery>,
) -> Result<Response, Problem> {
    let limit = page(query.limit)?;
    query.device_id.as_deref().map_or(Ok(()), check_device_id)?;
    let after = query.after.as_deref().map(cursor).transpose()?;
    let filter = checked(Filter {
        devices: query.device_id.into_iter().collect(),
        from_sequence: query.from_sequence,
        to_sequence: query.to_sequence,
        from_ms: query.from_ms,
        before_ms: query.before_ms,
    })?;
    let mut page = Answer { text: b"{\"records\":[".to_vec(), left: limit, last: None };
    let mut chunks = app.service().ledger().page(&filter, &Page { after, limit });
    while let Some(chunk) = chunks.try_next().await? {
        chunk.into_iter().take(page.left as usize).for_each(|record| page.add(record));
        if page.left == 0 {
            break;
        }
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(page.end())).into_response())
}

/// The JSON of a page.
struct Answer {
    text: Vec<u8>,
    /// Records that the page has room for.
    left: u32,
    last: Option<(String, u64)>,
}

impl Answer {
    fn add(&mut self, record: AuditRecord) {
        if self.last.is_some() {
            self.text.push(b',');
        }
        edgesentry_formats::record_to_json(&record, &mut self.text);
        self.last = Some((record.device_id, record.sequence));
        self.left = self.left.saturating_sub(1);
    }

    fn end(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"],\"next\":");
        let next = self.last.filter(|_| self.left == 0);
        let next = next.map(|(device_id, sequence)| format!("{sequence}:{device_id}"));
        self.text.extend_from_slice(json::text(&next).as_bytes());
        self.text.push(b'}');
        self.text
    }
}

/// Device and sequence of the last record of the page before.
fn cursor(text: &str) -> Result<(String, u64), Problem> {
    let parts = text.split_once(':').filter(|(_, device_id)| check_device_id(device_id).is_ok());
    let parsed = parts.and_then(|(sequence, device_id)| Some((device_id.to_owned(), sequence.parse().ok()?)));
    parsed.ok_or_else(|| Problem::malformed("query: `after` must be the `next` value of the previous page"))
}

/// Refuses a filter that selects no record.
pub(super) fn checked(filter: Filter) -> Result<Filter, Problem> {
    let Filter { from_sequence, to_sequence, from_ms, before_ms, .. } = &filter;
    if let Some((from, to)) = from_sequence.zip(*to_sequence).filter(|(from, to)| from > to) {
        let detail = format!("query: from_sequence {from} is above to_sequence {to}, so no record can match");
        return Err(Problem::malformed(detail));
    }
    if let Some((from, before)) = from_ms.zip(*before_ms).filter(|(from, before)| from >= before) {
        let detail =
            format!("query: from_ms {from} is not before before_ms {before}, so no record can match");
        return Err(Problem::malformed(detail));
    }
    Ok(filter)
}

fn page(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(DEFAULT_PAGE_RECORDS) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        other => Err(Problem::malformed(format!("query: `limit` must be 1 to {MAX_PAGE}, not {other}"))),
    }
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntriesQuery {
    /// Only this device.
    device_id: Option<String>,
    /// Only `accepted`, `duplicate` or `rejected`.
    outcome: Option<String>,
    /// Only this reason.
    reason: Option<String>,
    /// Only entries after this id: the last one of the previous page.
    after_id: Option<u64>,
    /// Only entries from this time on, Unix milliseconds.
    since_ms: Option<u64>,
    /// `true` for the last entries instead of the first ones, in the same order.
    newest: Option<bool>,
    /// Maximum number of results, up to 10,000; 1,000 by default.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// A decision of the service.
#[derive(Serialize, ToSchema)]
pub(super) struct Decision {
    /// Increases with every entry.
    id: u64,
    /// Unix milliseconds.
    at_ms: u64,
    device_id: String,
    sequence: Option<u64>,
    /// `accepted`, `duplicate` or `rejected`.
    outcome: String,
    reason: Option<String>,
    /// 64 hex digits.
    record_hash: String,
    expected: Option<String>,
    actual: Option<String>,
    /// The canonical bytes of a rejected record, in hex digits.
    evidence_hex: Option<String>,
}

/// A page of the operation log.
#[derive(Serialize, ToSchema)]
pub(super) struct Decisions {
    entries: Vec<Decision>,
}

/// A page of the operation log: every decision of the service, oldest first
#[utoipa::path(
    get, path = "/api/v1/log", tag = "read", params(EntriesQuery),
    responses(
        (status = 200, description = "The page", body = Decisions),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 503, description = "store"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn log(
    State(app): State,
    Query(query): Query<EntriesQuery>,
) -> Result<Json<Decisions>, Problem> {
    let after_id = query.after_id.unwrap_or(0);
    if i64::try_from(after_id).is_err() {
        return Err(Problem::malformed("query: `after_id` must be the id of an entry"));
    }
    let limit = page(query.limit)?;
    let outcome = query.outcome.map(|text| text.parse().map_err(|_| unknown_outcome(&text))).transpose()?;
    let query = LogQuery {
        device_id: query.device_id.map(|text| text.replace('\0', "\u{fffd}")),
        outcome,
        reason: query.reason.map(|text| text.replace('\0', "\u{fffd}")),
        after_id,
        since_ms: query.since_ms,
        newest: query.newest.unwrap_or(false),
        limit,
    };
    let entries = app.service().ledger().operation_log(&query).await?.into_iter().map(decision);
    Ok(Json(Decisions { entries: entries.collect() }))
}

fn unknown_outcome(text: &str) -> Problem {
    let shown: String = text.chars().take(100).collect();
    Problem::malformed(format!("query: `outcome` must be accepted, duplicate or rejected, not {shown:?}"))
}

fn decision(entry: LogEntry) -> Decision {
    Decision {
        id: entry.id,
        at_ms: entry.at_ms,
        device_id: entry.device_id,
        sequence: entry.sequence,
        outcome: entry.outcome.as_str().to_owned(),
        reason: entry.reason,
        record_hash: entry.record_hash.to_string(),
        expected: entry.expected,
        actual: entry.actual,
        evidence_hex: entry.evidence.map(hex::encode),
    }
}
