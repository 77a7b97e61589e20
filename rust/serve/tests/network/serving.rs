//! A running service, and calls to it.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::verify::Submission;
use edgesentry_rs::log::LogReader;
use edgesentry_rs::transport::{Client, ClientSettings};
use edgesentry_serve::{ServeSettings, Server, Stopped};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::{Kind, Place};

/// A running service.
pub struct Serving {
    pub address: SocketAddr,
    pub service: IngestService,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Stopped>,
    _place: Option<Place>,
}

/// Returns the settings of a test: loopback, a free port, and the lines in `toml`.
pub fn settings(toml: &str) -> ServeSettings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eds.toml");
    let listen = if toml.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
    std::fs::write(&file, format!("[serve]\n{listen}{toml}")).unwrap();
    ServeSettings::of(&edgesentry_rs::Settings::load(Some(&file), &Default::default()).unwrap()).unwrap()
}

impl Serving {
    /// Starts on a new SQLite ledger.
    pub async fn start(toml: &str) -> Serving {
        let place = Place::new(Kind::Sqlite).await;
        let service = place.service().await;
        Serving { _place: Some(place), ..Serving::with(service, &settings(toml)).await }
    }

    pub async fn with(service: IngestService, settings: &ServeSettings) -> Serving {
        let server = Server::bind(service.clone(), settings).await.unwrap();
        Serving::run(service, server)
    }

    /// Starts with the transparency log of the ledger.
    pub async fn with_log(service: IngestService, settings: &ServeSettings, log: LogReader) -> Serving {
        let server = Server::bind_with_log(service.clone(), settings, Some(log)).await.unwrap();
        Serving::run(service, server)
    }

    fn run(service: IngestService, server: Server) -> Serving {
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Serving { address, service, stop: Some(stop), task, _place: None }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> Client {
        Client::new(ClientSettings::new(self.url())).unwrap()
    }

    /// Stops it, and returns how it ended.
    pub async fn stop(mut self) -> Stopped {
        drop(self.stop.take());
        self.task.await.unwrap()
    }

    pub fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::get(format!("{}{path}", self.url()));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        call(request.body(Full::default()).unwrap()).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::post(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        call(request.body(Full::new(body.into())).unwrap()).await
    }

    pub async fn ingest(&self, submission: &Submission) -> Answer {
        self.post("/api/v1/ingest", &[], wire(submission).to_string()).await
    }
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the status and code of the problem document, which the response must be.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:edgesentry:problem:{code}"));
        assert!(problem["detail"].as_str().unwrap().len() > 5);
        (self.status.as_u16(), code)
    }
}

pub async fn call(request: Request<Full<Bytes>>) -> Answer {
    let http: Http<_, Full<Bytes>> = Http::builder(TokioExecutor::new()).build_http();
    let response = http.request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// Returns a record as devices in the field send it.
///
/// Written by hand, without the encoder of the core: an oracle for its form.
pub fn wire(submission: &Submission) -> Value {
    let record = &submission.record;
    json!({
        "record": {
            "device_id": record.device_id,
            "sequence": record.sequence,
            "timestamp_ms": record.timestamp_ms,
            "payload_hash": record.payload_hash.as_bytes(),
            "signature": record.signature.as_slice(),
            "prev_record_hash": record.prev_record_hash.as_bytes(),
            "object_ref": record.object_ref,
        },
        "raw_payload_hex": submission.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    })
}

/// Returns one record per line.
pub fn ndjson<'a>(submissions: impl IntoIterator<Item = &'a Submission>) -> String {
    submissions.into_iter().map(|submission| format!("{}\n", wire(submission))).collect()
}
