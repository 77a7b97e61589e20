//! A service on the network in place of a ledger.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use edgesentry_chain::{Hash, Head, PublicKey, RingKey, Scheme};
use edgesentry_rs::ingest::verify::RegisteredKey;
use edgesentry_rs::ledger::{
    LogEntry, LogQuery, RegisteredDevice, Registration, Revocation, RevocationReason,
};
use edgesentry_rs::transport::{Client, ClientSettings};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::commands::token_of;
use crate::exit::{Exit, Failure};
use crate::remarks::remark;
use crate::text::sentence;
use crate::threads;

/// The largest response that is read.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
/// How often a request is sent before the command fails, and how long the service may stall.
const ATTEMPTS: u32 = 5;
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest page of the operation log.
pub(crate) const MAX_PAGE: u32 = 10_000;

/// A service on the network in place of a ledger.
#[derive(Args, Debug)]
pub(crate) struct RemoteArgs {
    /// A service in place of a ledger: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with_all = ["ledger", "config"])]
    url: Option<String>,
    /// File with a token of the service; or set the variable EDS_TOKEN
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust [default: the system's]
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// PEM file of a client certificate
    #[arg(long, value_name = "FILE", requires_all = ["url", "cert_key"])]
    cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires_all = ["url", "cert"])]
    cert_key: Option<PathBuf>,
}

impl RemoteArgs {
    /// Returns the service, if one was named.
    pub(crate) fn service(&self) -> Result<Option<Service>, Failure> {
        let Some(url) = &self.url else { return Ok(None) };
        let settings = ClientSettings {
            token: token_of(self.token_file.as_deref())?.map(Into::into),
            ca: self.ca.clone(),
            identity: self.cert.clone().zip(self.cert_key.clone()),
            timeout: STALL_TIMEOUT,
            attempts: ATTEMPTS,
            ..ClientSettings::new(url)
        };
        if let Some(problem) = settings.exposure() {
            remark(&format!("warning: {}", sentence(&problem)));
        }
        Ok(Some(Service { client: Client::new(settings)?, runtime: threads::runtime()? }))
    }
}

/// A service, and the runtime of its connections.
pub(crate) struct Service {
    client: Client,
    runtime: Runtime,
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
struct Entries {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
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

impl Service {
    /// Returns its URL.
    pub(crate) fn place(&self) -> &str {
        self.client.url()
    }

    /// Returns all devices. The token needs the scope `read`.
    pub(crate) fn devices(&self) -> Result<Vec<RegisteredDevice>, Failure> {
        Ok(self.listing()?.0)
    }

    /// Returns all devices, and the revocations with their reasons. The token needs the scope `read`.
    pub(crate) fn listing(&self) -> Result<(Vec<RegisteredDevice>, Vec<Revocation>), Failure> {
        let Devices { devices } = self.json("GET", "api/v1/devices", None)?;
        let mut revocations: Vec<Revocation> = Vec::new();
        for device in &devices {
            for Key { revoked_from, revoked_reason, .. } in &device.keys {
                if let (Some(from), Some(reason)) = (*revoked_from, revoked_reason) {
                    let reason = reason.parse().unwrap_or(RevocationReason::Unspecified);
                    let device_id = device.device_id.clone();
                    revocations.push(Revocation { device_id, from, reason, at_ms: 0 });
                }
            }
        }
        revocations.sort_by(|one, next| (&one.device_id, one.from).cmp(&(&next.device_id, next.from)));
        let devices = devices.into_iter().map(|device| self.device(device)).collect::<Result<_, _>>()?;
        Ok((devices, revocations))
    }

    fn device(&self, device: Device) -> Result<RegisteredDevice, Failure> {
        let keys = device.keys.into_iter().map(|key| {
            let Key { key, scheme, valid_from, revoked_from, .. } = key;
            let public: PublicKey = key.parse().ok()?;
            let scheme: Scheme = scheme.parse().ok()?;
            Some(RegisteredKey { key: RingKey { key: public, scheme, valid_from }, revoked_from })
        });
        let keys = keys.collect::<Option<Vec<_>>>().ok_or_else(|| self.strange("a key"))?;
        let Device { device_id, head, start, .. } = device;
        Ok(RegisteredDevice { device_id, keys, head, start })
    }

    /// Registers a key. The token needs the scope `admin`.
    pub(crate) fn register(&self, registration: &Registration) -> Result<(), Failure> {
        let Registration { device_id, key, scheme, valid_from, start } = registration;
        let mut body = json!({"device_id": device_id, "key": key.to_string(), "scheme": scheme.name()});
        if let Some(valid_from) = valid_from {
            body["valid_from"] = json!(valid_from);
        }
        if let Some(Head { sequence, hash }) = start {
            body["start"] = json!({"sequence": sequence, "hash": hash.to_string()});
        }
        self.runtime.block_on(self.fetch("POST", "api/v1/devices", Some(&body))).map(drop)
    }

    /// Revokes the keys of a device; returns the first sequence that is rejected. The token needs the scope `admin`.
    pub(crate) fn revoke(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Failure> {
        let body = json!({"device_id": device_id, "reason": reason.name()});
        let Revoked { revoked_from } = self.json("POST", "api/v1/devices/revoke", Some(&body))?;
        Ok(revoked_from)
    }

    /// Returns the runtime of its connections.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Returns a page of the operation log, of at most [`MAX_PAGE`] entries. The token needs the scope `read`.
    pub(crate) async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, Failure> {
        let mut path = format!("api/v1/log?after_id={}&limit={}", query.after_id, query.limit);
        let filters = [
            ("device_id", query.device_id.clone()),
            ("outcome", query.outcome.map(|outcome| outcome.as_str().to_owned())),
            ("reason", query.reason.clone()),
            ("since_ms", query.since_ms.map(|since_ms| since_ms.to_string())),
            ("newest", query.newest.then(|| "true".to_owned())),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", percent_encoded(&value)));
            }
        }
        let Entries { entries } = self.parsed(&self.fetch("GET", &path, None).await?)?;
        if entries.len() > query.limit as usize || !entries.is_sorted_by(|one, next| one.id < next.id) {
            return Err(self.strange("its entries"));
        }
        let entry = |entry: Entry| {
            let evidence = entry.evidence_hex.map(hex::decode).transpose().ok()?;
            Some(LogEntry {
                id: entry.id,
                at_ms: entry.at_ms,
                device_id: entry.device_id,
                sequence: entry.sequence,
                outcome: entry.outcome.parse().ok()?,
                reason: entry.reason,
                record_hash: entry.record_hash,
                expected: entry.expected,
                actual: entry.actual,
                evidence,
            })
        };
        entries.into_iter().map(entry).collect::<Option<_>>().ok_or_else(|| self.strange("an entry"))
    }

    fn json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        self.parsed(&self.runtime.block_on(self.fetch(method, path, body))?)
    }

    fn parsed<T: DeserializeOwned>(&self, text: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(text).map_err(|error| self.strange(&error.to_string()))
    }

    async fn fetch(&self, method: &str, path: &str, body: Option<&Value>) -> Result<bytes::Bytes, Failure> {
        let body = body.map(|body| body.to_string().into_bytes());
        Ok(self.client.fetch(method, path, body, MAX_RESPONSE_BYTES).await?)
    }

    fn strange(&self, problem: &str) -> Failure {
        let message =
            format!("{}: the response does not follow docs/reference/http.md: {problem}", self.place());
        Failure { code: "service", message, exit: Exit::Unfinished }
    }
}

/// Encodes a value of a query.
fn percent_encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = value.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}
