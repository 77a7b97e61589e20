//! The ledger of a service on the network: docs/reference/http.md. The service is not trusted with the form of a response,
//! nor with the order of records.

use std::io::Cursor;
use std::sync::Arc;

use async_trait::async_trait;
use edgesentry_chain::escape::is_unseen;
use edgesentry_chain::{AuditRecord, Hash, Head, Heads, PublicKey, RingKey, Scheme};
use edgesentry_formats::{Source, describe, read_heads, records};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::admission::{DeviceKeys, RegisteredKey, Registry};
use crate::error::{Component, Error, FailureKind, StoreError};
use crate::ledger::{
    AppendError, Decision, Entry, Filter, Ledger, LogEntry, LogQuery, MAX_PAGE, Page, RecordStream,
    RegisteredDevice, Registration, Revocation, RevocationReason,
};
use crate::transport::Client;
use crate::wire::ProblemCode;

/// The largest response with devices, heads or entries.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
/// The largest response with a checkpoint or a proof.
const MAX_TEXT_BYTES: usize = 32 << 20;
/// Records of a page, and the largest page: each record has two texts of 1,024 bytes, which JSON escapes to six times as
/// many.
const PAGE_RECORDS: u32 = 5000;
const MAX_PAGE_BYTES: usize = 64 << 20;

/// The ledger of a service: its devices, heads, records and operation log. A token of the service needs the scope `read`, and
/// `admin` to change devices. Records are read page by page; each page is one consistent state of the ledger.
#[derive(Clone)]
pub struct RemoteLedger(Client);

impl RemoteLedger {
    /// Returns the ledger of the service that a client reaches; it does not connect yet.
    pub fn new(client: Client) -> RemoteLedger {
        RemoteLedger(client)
    }

    /// Returns the text at a path: the published checkpoint, or a proof. The caller verifies it.
    ///
    /// # Errors
    /// The service refuses the request, the response is too large or not text, or no response came.
    pub async fn text(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<String, Error> {
        let text = self.0.fetch("GET", &with_query(path, query), None, MAX_TEXT_BYTES).await?;
        let text = String::from_utf8(text.into()).ok();
        let text = text.filter(|text| !text.chars().any(|c| c != '\n' && is_unseen(c)));
        text.ok_or_else(|| self.invalid(path, "not text"))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let body = body.map(|body| body.to_string().into_bytes());
        let text = self.0.fetch(method, path, body, MAX_RESPONSE_BYTES).await?;
        self.parse(path, &text)
    }

    fn parse<'a, T: Deserialize<'a>>(&self, path: &str, text: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(text).map_err(|error| self.invalid(path, &error.to_string()))
    }

    async fn listed(&self) -> Result<Vec<Device>, Error> {
        let Devices { devices } = self.json("GET", "api/v1/devices", None).await?;
        Ok(devices)
    }

    fn device(&self, device: Device) -> Result<RegisteredDevice, Error> {
        let keys = device.keys.into_iter().map(|key| {
            let Key { key, scheme, valid_from, revoked_from, .. } = key;
            let public: PublicKey = key.parse().ok()?;
            let scheme: Scheme = scheme.parse().ok()?;
            Some(RegisteredKey { key: RingKey { key: public, scheme, valid_from }, revoked_from })
        });
        let keys = keys.collect::<Option<_>>().ok_or_else(|| self.invalid("api/v1/devices", "a key"))?;
        let Device { device_id, head, start, .. } = device;
        Ok(RegisteredDevice { device_id, keys, head, start })
    }

    /// Reads a page of the records of one device, or of all, and the place of the next page.
    async fn read_page(
        &self,
        filter: &Filter,
        device_id: Option<&str>,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Result<(Vec<AuditRecord>, Option<(String, u64)>), Error> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let path = "api/v1/records";
        let query = [
            ("limit", Some(limit.to_string())),
            ("device_id", device_id.map(str::to_owned)),
            ("from_sequence", number(filter.from_sequence)),
            ("to_sequence", number(filter.to_sequence)),
            ("from_ms", number(filter.from_ms)),
            ("before_ms", number(filter.before_ms)),
            ("after", after.map(|(device_id, sequence)| format!("{sequence}:{device_id}"))),
        ];
        let text = self.0.fetch("GET", &with_query(path, &query), None, MAX_PAGE_BYTES).await?;
        let Records { records: entries, next } = self.parse(path, &text)?;
        let records = self.decode(path, entries)?;
        let mut last = after.map(|(device_id, sequence)| (device_id.as_str(), *sequence));
        for record in &records {
            let place = (record.device_id.as_str(), record.sequence);
            let is_next = last.is_none_or(|last| last < place);
            if !is_next || !is_of(record, filter, device_id) {
                return Err(self.invalid(path, "a record that is not in its place"));
            }
            last = Some(place);
        }
        let last = last.map(|(device_id, sequence)| (device_id.to_owned(), sequence));
        let is_last = |next: &str| last.as_ref().is_some_and(|(id, at)| next == format!("{at}:{id}"));
        match next {
            _ if records.len() > limit as usize => {
                Err(self.invalid(path, "more records than the page has room for"))
            }
            None => Ok((records, None)),
            // Otherwise a faulty service would repeat a page for ever.
            Some(next) if !records.is_empty() && is_last(&next) => Ok((records, last)),
            Some(_) => Err(self.invalid(path, "next is not the last record of the page")),
        }
    }

    fn decode(&self, path: &str, entries: &RawValue) -> Result<Vec<AuditRecord>, Error> {
        let wrong = |problem: &str| self.invalid(path, problem);
        if !entries.get().starts_with('[') {
            return Err(wrong("records is not an array"));
        }
        let reader = Box::new(Cursor::new(entries.get().to_owned().into_bytes()));
        let read = records(Source::Reader { name: self.place().into(), reader });
        let decoded = read.map_err(|error| wrong(&describe(&error)))?.map(|entry| match entry {
            Ok(Ok(record)) => Ok(record),
            Ok(Err(malformed)) => Err(wrong(&malformed.actual)),
            Err(error) => Err(wrong(&describe(&error))),
        });
        decoded.collect()
    }

    fn invalid(&self, path: &str, problem: &str) -> Error {
        let detail = format!(
            "the response to {path} does not follow docs/reference/http.md: {problem}; check that the URL is that of a \
             service"
        );
        Error::Service {
            place: self.place().into(),
            code: ProblemCode::ResponseInvalid,
            detail,
            retryable: false,
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(Error) -> StoreError + Send + 'static {
        let place: Arc<str> = self.place().into();
        move |error| StoreError {
            component: Component::AuditLedger,
            action,
            place: Arc::clone(&place),
            kind: if error.is_retryable() { FailureKind::Passing } else { FailureKind::Setup },
            source: Arc::new(error),
        }
    }
}

/// Returns true if a filter selects a record.
fn is_of(record: &AuditRecord, filter: &Filter, device_id: Option<&str>) -> bool {
    let AuditRecord { sequence, timestamp_ms, .. } = record;
    device_id.is_none_or(|device_id| record.device_id == device_id)
        && filter.from_sequence.is_none_or(|from| *sequence >= from)
        && filter.to_sequence.is_none_or(|to| *sequence <= to)
        && filter.from_ms.is_none_or(|from| *timestamp_ms >= from)
        && filter.before_ms.is_none_or(|before| *timestamp_ms < before)
}

#[async_trait]
impl Ledger for RemoteLedger {
    fn place(&self) -> &str {
        self.0.url()
    }

    /// Records go to a service as requests: [`Client::ingest_many`].
    async fn append(&self, _: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        let detail = "records are sent with eds push".to_owned();
        let code = ProblemCode::MethodNotAllowed;
        let error = Error::Service { place: self.place().into(), code, detail, retryable: false };
        Err(self.failed("append to the ledger")(error).into())
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        let devices = self.devices().await?;
        let known = devices.into_iter().filter_map(|device| {
            let device_id = device_ids.iter().find(|device_id| ***device_id == *device.device_id)?;
            let head = device.head.or(device.start).unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
            Some((Arc::clone(device_id), DeviceKeys { version: 0, keys: device.keys.into(), head }))
        });
        Ok(known.collect())
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        let Registration { device_id, key, scheme, valid_from, start } = registration;
        let mut body = json!({"device_id": device_id, "key": key.to_string(), "scheme": scheme.name()});
        if let Some(valid_from) = valid_from {
            body["valid_from"] = json!(valid_from);
        }
        if let Some(Head { sequence, hash }) = start {
            body["start"] = json!({"sequence": sequence, "hash": hash.to_string()});
        }
        let body = body.to_string().into_bytes();
        self.0.fetch("POST", "api/v1/devices", Some(body), MAX_RESPONSE_BYTES).await.map(drop)
    }

    async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        let body = json!({"device_id": device_id, "reason": reason.name()});
        let Revoked { revoked_from } = self.json("POST", "api/v1/devices/revoke", Some(&body)).await?;
        Ok(revoked_from)
    }

    /// The service does not send the times of revocations.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let devices = self.listed().await.map_err(self.failed("read the revocations"))?;
        let mut revocations: Vec<Revocation> = Vec::new();
        for Device { device_id, keys, .. } in devices {
            for Key { revoked_from, revoked_reason, .. } in keys {
                if let (Some(from), Some(reason)) = (revoked_from, revoked_reason) {
                    let reason = reason.parse().unwrap_or(RevocationReason::Unspecified);
                    revocations.push(Revocation { device_id: device_id.clone(), from, reason, at_ms: 0 });
                }
            }
        }
        revocations.sort_by(|one, next| (&one.device_id, one.from).cmp(&(&next.device_id, next.from)));
        Ok(revocations)
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        let listed = self.listed().await;
        let devices =
            listed.and_then(|devices| devices.into_iter().map(|device| self.device(device)).collect());
        devices.map_err(self.failed("read the devices"))
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let path = "api/v1/heads";
        let text = self.0.fetch("GET", path, None, MAX_RESPONSE_BYTES).await;
        let heads =
            text.and_then(|text| read_heads(&text).map_err(|error| self.invalid(path, &describe(&error))));
        heads.map_err(self.failed("read the heads"))
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        let mut devices: Vec<Option<String>> = filter.devices.iter().cloned().map(Some).collect();
        devices.sort();
        devices.dedup();
        if devices.is_empty() {
            devices.push(None);
        }
        let (ledger, filter) = (self.clone(), filter.clone());
        let pages = stream::iter(devices).flat_map(move |device_id| {
            let (ledger, filter) = (ledger.clone(), filter.clone());
            stream::try_unfold(Some(None), move |after: Option<Option<(String, u64)>>| {
                let (ledger, filter, device_id) = (ledger.clone(), filter.clone(), device_id.clone());
                async move {
                    let Some(after) = after else { return Ok(None) };
                    let page = ledger.read_page(&filter, device_id.as_deref(), after.as_ref(), PAGE_RECORDS);
                    let (records, next) = page.await.map_err(ledger.failed("read records"))?;
                    Ok(Some((records, next.map(Some))))
                }
            })
        });
        pages.try_filter(|records| std::future::ready(!records.is_empty())).boxed()
    }

    fn page(&self, filter: &Filter, page: &Page) -> RecordStream {
        let (ledger, filter, Page { after, limit }) = (self.clone(), filter.clone(), page.clone());
        stream::once(async move {
            let device_id = filter.devices.first().map(String::as_str);
            let page = ledger.read_page(&filter, device_id, after.as_ref(), limit).await;
            page.map(|(records, _)| records).map_err(ledger.failed("read records"))
        })
        .boxed()
    }

    /// Returns at most 10,000 entries.
    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let path = "api/v1/log";
        let limit = query.limit.min(MAX_PAGE);
        let parameters = [
            ("after_id", Some(query.after_id.to_string())),
            ("limit", Some(limit.to_string())),
            ("device_id", query.device_id.clone()),
            ("outcome", query.outcome.map(|outcome| outcome.as_str().to_owned())),
            ("reason", query.reason.clone()),
            ("since_ms", query.since_ms.map(|since_ms| since_ms.to_string())),
            ("newest", query.newest.then(|| "true".to_owned())),
        ];
        let failed = self.failed("read the operation log");
        let Entries { entries } =
            self.json("GET", &with_query(path, &parameters), None).await.map_err(&failed)?;
        if entries.len() > limit as usize || !entries.is_sorted_by(|one, next| one.id < next.id) {
            return Err(failed(self.invalid(path, "its entries")));
        }
        let entries: Option<Vec<LogEntry>> = entries.into_iter().map(LoggedEntry::entry).collect();
        entries.ok_or_else(|| failed(self.invalid(path, "an entry")))
    }
}

#[derive(Deserialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    device_id: String,
    keys: Vec<Key>,
    head: Option<Head>,
    start: Option<Head>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
    scheme: String,
    valid_from: u64,
    revoked_from: Option<u64>,
    revoked_reason: Option<String>,
}

#[derive(Deserialize)]
struct Revoked {
    revoked_from: u64,
}

#[derive(Deserialize)]
struct Records<'a> {
    #[serde(borrow)]
    records: &'a RawValue,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<LoggedEntry>,
}

#[derive(Deserialize)]
struct LoggedEntry {
    id: u64,
    at_ms: u64,
    device_id: String,
    sequence: Option<u64>,
    outcome: String,
    reason: Option<String>,
    record_hash: Hash,
    expected: Option<String>,
    actual: Option<String>,
    evidence_hex: Option<String>,
}

impl LoggedEntry {
    fn entry(self) -> Option<LogEntry> {
        let evidence = self.evidence_hex.map(hex::decode).transpose().ok()?;
        Some(LogEntry {
            id: self.id,
            at_ms: self.at_ms,
            device_id: self.device_id,
            sequence: self.sequence,
            outcome: self.outcome.parse().ok()?,
            reason: self.reason,
            record_hash: self.record_hash,
            expected: self.expected,
            actual: self.actual,
            evidence,
        })
    }
}

/// Returns a path with those parameters that have a value.
fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let query: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

fn percent_encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = value.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}
