//! A client of a service on the network: the other end of docs/reference/http.md.
//!
//! The client sends failed records again, after the time that the service asks for; a record that the service already
//! holds is a duplicate. The client is a [`Sink`]: an outbox flushes through it.

mod proxy;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Method;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use self::proxy::Proxy;
use self::wire::{Call, Reply};
use crate::clock::ServiceTime;
use crate::error::{Error, NotTried};
use crate::loopback::is_loopback_host;
use crate::rejection::Outcome;
use crate::secret::Secret;
use crate::sink::{ReceiptSource, Sink};
use crate::submission::Submission;
use crate::tls;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::client";
/// Payload bytes of one request.
const REQUEST_BYTES: usize = 16 << 20;
/// The longest pause between two attempts, even if the service asks for more.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// How to reach a service.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `https://host:port`, or `http://` without TLS. The client uses the proxy that `HTTPS_PROXY`, `HTTP_PROXY` or
    /// `ALL_PROXY` names, unless `NO_PROXY` lists the host.
    pub url: String,
    /// A token with the scope `ingest`, if the service requires one.
    pub token: Option<Secret>,
    /// PEM file of the trusted authorities; those of the system by default.
    pub ca: Option<std::path::PathBuf>,
    /// PEM files of the device's own certificate and its key.
    pub identity: Option<(std::path::PathBuf, std::path::PathBuf)>,
    /// How long the service may stall before an attempt fails.
    pub timeout: Duration,
    /// How often a record is sent before the client returns an error.
    pub attempts: u32,
    /// Records of one request.
    pub batch_records: usize,
    /// The largest response of [`Client::request`].
    pub response_bytes: usize,
}

impl ClientSettings {
    /// Returns the default settings for a URL.
    pub fn new(url: impl Into<String>) -> ClientSettings {
        ClientSettings {
            url: url.into(),
            token: None,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(30),
            attempts: 5,
            batch_records: 4096,
            response_bytes: 64 << 20,
        }
    }

    /// Returns a warning if the token would cross the network without TLS, so that an attacker on the path could read
    /// and use it. Returns `None` if there is no token, or TLS, or the service is on this machine.
    pub fn exposure(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        let host = url.host_str().filter(|host| url.scheme() == "http" && !is_loopback_host(host))?;
        self.token.as_ref()?;
        Some(format!("the token crosses the network to {host} in plain text; use https://"))
    }
}

/// A response as received.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body, up to [`ClientSettings::response_bytes`].
    pub body: bytes::Bytes,
}

type Connector = hyper_rustls::HttpsConnector<proxy::Connector>;
type Transport = Http<Connector, http_body_util::Full<bytes::Bytes>>;

/// Devices with a failed record, and the reason that applies to the records behind it.
type Failed = std::collections::HashMap<String, NotTried>;

/// A client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Transport,
    base: Url,
    proxy: Option<Proxy>,
    settings: ClientSettings,
    /// From the last successful response with a date.
    service_time: Mutex<Option<ServiceTime>>,
}

impl Client {
    /// Creates a client; it does not connect yet.
    ///
    /// # Errors
    /// The URL, the proxy, a certificate or the key cannot be used.
    pub fn new(settings: ClientSettings) -> Result<Client, Error> {
        let wrong = |problem: &str| Error::Config(format!("url: {problem}"));
        let mut base =
            Url::parse(&settings.url).map_err(|_| wrong("expected http://HOST:PORT or https://HOST:PORT"))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(wrong("expected http://HOST:PORT or https://HOST:PORT"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("the URL must not contain a user or password; use a token"));
        }
        if let Some(problem) = settings.exposure() {
            tracing::warn!(target: TARGET, "{problem}");
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let proxy = Proxy::to(&base)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.timeout.min(Duration::from_secs(10))));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(client_tls(&settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(proxy::Connector { tcp, proxy: proxy.clone() });
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Shorter than the idle timeout of any service.
            .pool_idle_timeout(Duration::from_secs(15))
            .build(connector);
        Ok(Client(Arc::new(Inner { http, base, proxy, settings, service_time: Mutex::default() })))
    }

    /// Returns the URL of the service.
    pub fn url(&self) -> &str {
        &self.0.settings.url
    }

    /// Sends one record. Accepted and duplicate mean that the service holds record and payload durably.
    ///
    /// # Errors
    /// [`Error::Service`] after the last attempt, or if the service refuses the request. A rejection is an outcome.
    pub async fn ingest(&self, submission: Submission) -> Result<Outcome, Error> {
        self.persist(|| self.single(&submission)).await
    }

    /// Sends records and returns one outcome for each, in order; those of one device must be in the order of its chain.
    pub async fn ingest_many(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let mut answers = Vec::with_capacity(submissions.len());
        let mut rest = submissions.into_iter().peekable();
        let mut failed = Failed::new();
        while rest.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while batch.len() < self.0.settings.batch_records.max(1)
                && bytes < REQUEST_BYTES
                && let Some(submission) = rest.next()
            {
                bytes += submission.payload.len();
                batch.push(submission);
            }
            answers.extend(self.batch(&batch, &mut failed).await);
        }
        answers
    }

    /// Sends any request once: `request("GET", "readyz", None)`.
    ///
    /// # Errors
    /// The method or the path cannot be used, or no response came. A response with an error status is a response.
    pub async fn request(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Response, Error> {
        self.request_as(method, path, "application/json", body.unwrap_or_default()).await
    }

    /// Sends any request once, like [`Client::request`], with a body of this type.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_as(
        &self,
        method: &str,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Response, Error> {
        let method = method
            .parse()
            .map_err(|error| Error::unusable(format!("{method:?} is not an HTTP method"), Box::new(error)))?;
        self.any(method, path, content_type, body).await.map_err(|call| call.error)
    }

    /// Reads the resource at a path once; a body of more than `limit` bytes is an error.
    ///
    /// # Errors
    /// The path cannot be used, the body is too large, or no response came in time. A response with an error status is a
    /// response.
    pub async fn get(&self, path: &str, limit: usize) -> Result<Response, Error> {
        self.limited(Method::GET, path, "application/json", Vec::new(), limit)
            .await
            .map_err(|call| call.error)
    }

    /// Returns the body of a successful response, of at most `limit` bytes; sends the request again if that may help, so it
    /// must be safe to repeat. A redirect is not followed: the token goes to the service alone.
    ///
    /// # Errors
    /// The method or the path cannot be used, the service refuses the request, the body is too large, or no response came.
    pub async fn fetch(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let method: Method = method
            .parse()
            .map_err(|error| Error::unusable(format!("{method:?} is not an HTTP method"), Box::new(error)))?;
        let body = body.unwrap_or_default();
        self.persist(|| self.fetched(method.clone(), path, body.clone(), limit)).await
    }

    /// Sends records in one request, in order; sends undecided ones again, in the same order.
    async fn batch(&self, batch: &[Submission], failed: &mut Failed) -> Vec<Result<Outcome, Error>> {
        let mut answers: Vec<Option<Result<Outcome, Error>>> = vec![None; batch.len()];
        for (answer, submission) in answers.iter_mut().zip(batch) {
            let record = &submission.record;
            if let Some(why) = failed.get(&record.device_id) {
                *answer = Some(Err(why.error(record)));
            }
        }
        let mut attempt = 0;
        loop {
            let open: Vec<usize> = (0..batch.len()).filter(|at| answers[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            attempt += 1;
            let submissions: Vec<&Submission> = open.iter().map(|at| &batch[*at]).collect();
            let (replies, end) = self.many(&submissions).await;
            let last = attempt >= self.0.settings.attempts.max(1);
            let mut pause = None;
            let decided = replies.len();
            for (at, reply) in open.iter().zip(replies) {
                match reply {
                    Err(error) if error.is_retryable() && !last => pause = pause.max(Some(MIN_BACKOFF)),
                    reply => answers[*at] = Some(reply),
                }
            }
            match end {
                Some(call) if call.error.is_retryable() && !last => pause = pause.max(Some(call.pause)),
                Some(call) => {
                    for at in &open[decided.min(open.len())..] {
                        answers[*at] = Some(Err(call.error.clone()));
                    }
                }
                None => {}
            }
            if let Some(pause) = pause {
                self.rest(attempt, pause).await;
            }
        }
        let answers: Vec<_> =
            answers.into_iter().map(|answer| answer.unwrap_or(Err(Error::Stopped))).collect();
        for (answer, submission) in answers.iter().zip(batch) {
            if let Err(error) = answer {
                let device_id = submission.record.device_id.clone();
                failed.entry(device_id).or_insert_with(|| NotTried::behind(error));
            }
        }
        answers
    }

    /// Tries until it succeeds, fails for good, or has no attempts left.
    async fn persist<T, F: Future<Output = Result<T, Call>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match call().await {
                Ok(done) => return Ok(done),
                Err(Call { error, pause })
                    if error.is_retryable() && attempt < self.0.settings.attempts.max(1) =>
                {
                    self.rest(attempt, pause).await;
                }
                Err(Call { error, .. }) => return Err(error),
            }
        }
    }

    /// Waits as long as the service asks for, and longer after every attempt.
    async fn rest(&self, attempt: u32, asked: Duration) {
        let grown = MIN_BACKOFF * 2_u32.saturating_pow(attempt.min(8) - 1);
        tokio::time::sleep(asked.max(grown).min(MAX_BACKOFF)).await;
    }
}

#[async_trait]
impl Sink for Client {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        self.ingest_many(submissions).await
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(self)
    }

    fn service_time(&self) -> Option<ServiceTime> {
        *self.0.service_time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ReceiptSource for Client {
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error> {
        let device_id: String = url::form_urlencoded::byte_serialize(device_id.as_bytes()).collect();
        let path = format!("api/v1/log/receipt?device_id={device_id}&sequence={first}&to_sequence={last}");
        self.persist(|| self.read_proof(&path)).await
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error> {
        let path = format!("api/v1/log/consistency?from={from}&size={to}");
        self.persist(|| self.read_proof(&path)).await
    }
}

fn client_tls(settings: &ClientSettings) -> Result<ClientConfig, Error> {
    let identity =
        settings.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    if settings.ca.is_none() && !settings.url.starts_with("https") {
        return tls::client_config_of(RootCertStore::empty(), identity);
    }
    tls::client_config(settings.ca.as_deref(), identity)
}

/// The replies received, in order, and the failure that ended them early.
type Replies = (Vec<Reply>, Option<Call>);
