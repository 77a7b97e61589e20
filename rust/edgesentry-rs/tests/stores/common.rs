//! Stores for the tests, and devices that sign.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Head, Heads, KeyRing, Report, Scheme};
use edgesentry_formats::{Options, Progress, content_path};
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{Outcome, Submission};
use edgesentry_rs::ledger::{self, Filter, Ledger, Postgres, PostgresSettings, Registration, Sqlite};
use edgesentry_rs::payload::{Folder, Layout, PayloadStore, S3, S3Settings};
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::verify::{Registered, Verification};
use futures::TryStreamExt;
use sqlx::Connection;
use tempfile::TempDir;

pub const START_MS: u64 = 1_700_000_000_000;

/// Returns a variable that `scripts/servers/with` sets. A missing server fails the test.
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests by make test, or under scripts/servers/with")
    })
}

/// The kind of stores of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A ledger and a payload store that can be reopened, as after a restart.
pub struct Place {
    pub kind: Kind,
    /// The ledger, as the settings name it.
    pub url: String,
    pub folder: TempDir,
}

impl Place {
    pub async fn new(kind: Kind) -> Place {
        let folder = TempDir::new().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", folder.path().join("ledger.db").display()),
            Kind::Postgres => database(&server("EDGESENTRY_TEST_POSTGRES")).await,
        };
        Place { kind, url, folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn ledger(&self) -> Arc<dyn Ledger> {
        match self.kind {
            Kind::Sqlite => Arc::new(Sqlite::open(&self.path("ledger.db")).await.unwrap()),
            Kind::Postgres => Arc::new(postgres(&self.url).await),
        }
    }

    pub async fn payloads(&self) -> Arc<dyn PayloadStore> {
        match self.kind {
            Kind::Sqlite => Arc::new(Sqlite::open(&self.path("ledger.db")).await.unwrap().payloads()),
            Kind::Postgres => Arc::new(Folder::open_as(&self.path("payloads"), Layout::Packs).unwrap()),
        }
    }

    pub async fn service(&self) -> IngestService {
        self.service_with(Limits::default(), Metrics::global()).await
    }

    pub async fn service_with(&self, limits: Limits, metrics: Metrics) -> IngestService {
        match self.kind {
            Kind::Sqlite => {
                let ledger = Sqlite::open(&self.path("ledger.db")).await.unwrap();
                let payloads = Arc::new(ledger.payloads());
                IngestService::start_with(Arc::new(ledger), payloads, limits, metrics)
            }
            Kind::Postgres => {
                IngestService::start_with(self.ledger().await, self.payloads().await, limits, metrics)
            }
        }
    }

    /// Writes a payload into a file, as earlier releases did.
    pub fn write_payload(&self, record: &AuditRecord, payload: &str) {
        let file = self.path("payloads").join(content_path(record));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, payload).unwrap();
    }

    /// Changes the database without its service.
    pub async fn tamper(&self, sql: &'static str) {
        match self.kind {
            Kind::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Postgres => {
                let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Verifies everything under the keys and heads of the ledger, payloads hashed again.
    pub async fn report(&self) -> Report {
        verify(self.ledger().await, Some(self.payloads().await)).await
    }
}

pub async fn postgres(url: &str) -> Postgres {
    let settings = PostgresSettings { url: url.to_owned().into(), ..PostgresSettings::default() };
    Postgres::connect(&settings).await.unwrap()
}

/// Returns a part of a name on a server. The server outlives the processes of tests, whose numbers repeat.
pub fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}

/// Creates a database on a server, and returns its URL.
pub async fn database(server: &str) -> String {
    let name = format!("test_{}", unique());
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

pub fn s3_settings(endpoint: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some("edgesentry".to_owned()),
        secret_access_key: Some("edgesentry-secret".to_owned().into()),
        timeout_seconds: 5,
        ..S3Settings::default()
    }
}

pub fn s3_client(endpoint: &str) -> aws_sdk_s3::Client {
    s3_client_of(endpoint, "edgesentry")
}

/// Returns the client of a role of `deploy/iam`.
pub fn s3_client_of(endpoint: &str, role: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    let credentials = Credentials::new(role, format!("{role}-secret"), None, None, "tests");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Creates a bucket on a server, and returns its store and its name.
pub async fn bucket(endpoint: &str) -> (S3, String) {
    let name = format!("test-{}", unique());
    s3_client(endpoint).create_bucket().bucket(&name).send().await.unwrap();
    (S3::connect(&name, &s3_settings(endpoint)).await.unwrap(), name)
}

/// A server for one test, stopped when dropped.
pub struct Server {
    pub url: String,
    script: PathBuf,
    folder: TempDir,
}

impl Server {
    pub fn start(script: &str, how: &str) -> Server {
        Server::start_with(script, how, &[])
    }

    /// Returns the cluster of a PostgreSQL.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("server/data")
    }

    pub fn start_with(script: &str, how: &str, arguments: &[&str]) -> Server {
        let folder = TempDir::new().unwrap();
        // PostgreSQL runs as another user, which needs access.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers").join(script);
        let mut server = Server { url: String::new(), script, folder };
        server.url = server.run_with(how, arguments);
        server
    }

    pub fn run(&self, command: &str) -> String {
        self.run_with(command, &[])
    }

    fn run_with(&self, command: &str, arguments: &[&str]) -> String {
        let folder = self.folder.path().join("server");
        let output = Command::new(&self.script).arg(command).arg(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.folder.path().join("server");
        let _ = Command::new(&self.script).arg("stop").arg(folder).output();
    }
}

/// Returns the device of a number.
pub fn device(number: u8) -> Device {
    Device::from_seed(format!("lift-{number:02}"), [number; 32], Scheme::Record)
}

pub fn registration(device: &Device) -> Registration {
    Registration {
        device_id: device.device_id().to_owned(),
        key: device.public_key().unwrap(),
        scheme: device.scheme(),
        valid_from: None,
        start: device.head(),
    }
}

/// Registers devices from 1 to `count`, and returns them.
pub async fn devices(ledger: &dyn Ledger, count: u8) -> Vec<Device> {
    let devices: Vec<Device> = (1..=count).map(device).collect();
    for device in &devices {
        ledger.register(&registration(device)).await.unwrap();
    }
    devices
}

/// Signs the next record of a device, with a payload that names it.
pub fn next(device: &mut Device) -> Submission {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let payload = format!("{} {sequence}", device.device_id());
    next_with(device, &payload)
}

pub fn next_with(device: &mut Device, payload: &str) -> Submission {
    let sequence = device.head().map_or(1, |head| head.sequence + 1);
    let object_ref = format!("{}/{sequence}.bin", device.device_id());
    let record = device.sign(START_MS + sequence, payload.as_bytes(), object_ref).unwrap();
    Submission { record: Arc::new(record), payload: Bytes::from(payload.to_owned()) }
}

pub fn chain(device: &mut Device, records: usize) -> Vec<Submission> {
    (0..records).map(|_| next(device)).collect()
}

/// Returns a changed copy of a submission's record, signed again.
pub fn resigned(
    device: &Device,
    submission: &Submission,
    change: impl FnOnce(&mut AuditRecord),
) -> Submission {
    let mut record = (*submission.record).clone();
    change(&mut record);
    device.sign_record(&mut record).unwrap();
    Submission { record: Arc::new(record), payload: submission.payload.clone() }
}

/// Returns the outcome names; for rejections their code.
pub fn names(outcomes: &[Result<Outcome, edgesentry_rs::Error>]) -> Vec<&'static str> {
    let name = |outcome: &Result<Outcome, edgesentry_rs::Error>| match outcome {
        Ok(Outcome::Rejected(rejection)) => rejection.code.name(),
        Ok(outcome) => outcome.name(),
        Err(error) => error.code(),
    };
    outcomes.iter().map(name).collect()
}

pub fn all(name: &'static str, count: usize) -> Vec<&'static str> {
    vec![name; count]
}

pub async fn records(ledger: &dyn Ledger, filter: &Filter) -> Vec<AuditRecord> {
    let chunks: Vec<Vec<AuditRecord>> = ledger.records(filter).try_collect().await.unwrap();
    chunks.concat()
}

pub async fn head(ledger: &dyn Ledger, device_id: &str) -> Option<Head> {
    ledger.heads().await.unwrap().get(device_id).copied()
}

pub async fn registered_keys(ledger: &dyn Ledger) -> KeyRing {
    ledger::key_ring(&ledger.devices().await.unwrap()).unwrap()
}

pub async fn verify(ledger: Arc<dyn Ledger>, payloads: Option<Arc<dyn PayloadStore>>) -> Report {
    verify_from(ledger, payloads, None).await
}

/// Like [`verify`], with the auditor's start heads.
pub async fn verify_from(
    ledger: Arc<dyn Ledger>,
    payloads: Option<Arc<dyn PayloadStore>>,
    start_heads: Option<Heads>,
) -> Report {
    let verification = Verification {
        keys: Some(registered_keys(&*ledger).await),
        claimed_keys: None,
        heads: Some(ledger.heads().await.unwrap()),
        ledger,
        payloads,
        filter: Filter::default(),
        start_heads,
        registered: Registered::default(),
        manifest: None,
        options: Options::default(),
    };
    let handle = tokio::runtime::Handle::current();
    let run = move || verification.run(&handle, &Arc::new(Progress::default()));
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

/// Runs the same tests on every ledger.
#[macro_export]
macro_rules! on_every_ledger {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::common::Place::new($crate::common::Kind::Sqlite).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::common::Place::new($crate::common::Kind::Postgres).await).await;
            })*
        }
    };
}
