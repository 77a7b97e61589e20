//! Failing stores: every error is retryable or a clear rejection, nothing is lost, nothing is blocked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Heads};
use edgesentry_formats::content_path;
use edgesentry_rs::error::Component;
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{Admitted, Outcome, Registry, Submission};
use edgesentry_rs::ledger::{
    AppendError, Decision, Entry, Filter, Ledger, LogEntry, LogQuery, Page, PostgresSettings, RecordStream,
    RegisteredDevice, Registration, RevocationReason,
};
use edgesentry_rs::payload::{Leftovers, PayloadStore, Put, Version};
use edgesentry_rs::{Error, StoreError};

use crate::common::{
    Kind, Place, Server, all, bucket, chain, database, device, devices, names, postgres, registration,
    s3_client, s3_settings, verify,
};
use crate::on_every_ledger;
use crate::worker;

on_every_ledger!(each_operation_fails_in_turn, a_disk_that_fills_up);

/// Counts operations and fails one of them, before or after its work.
pub struct Fault {
    /// Operations until the failing one.
    pub left: AtomicI64,
    pub after: bool,
}

impl Fault {
    fn error(&self, component: Component) -> StoreError {
        StoreError {
            component,
            action: "do what the test forbids",
            place: "test".into(),
            kind: edgesentry_rs::FailureKind::Passing,
            source: Arc::new(std::io::Error::other("a fault of the test")),
        }
    }

    /// Returns whether this operation fails before its work, and whether it fails after it.
    fn strikes(&self) -> (bool, bool) {
        let now = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        (now && !self.after, now && self.after)
    }
}

struct FaultyLedger(Arc<dyn Ledger>, Arc<Fault>);
pub struct FaultyPayloads(pub Arc<dyn PayloadStore>, pub Arc<Fault>);

#[async_trait]
impl Ledger for FaultyLedger {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Decision>, AppendError> {
        let (before, after) = self.1.strikes();
        if before {
            return Err(self.1.error(Component::AuditLedger).into());
        }
        let outcomes = self.0.append(entries).await?;
        if after { Err(self.1.error(Component::OperationLog).into()) } else { Ok(outcomes) }
    }

    async fn keys(&self, device_ids: &[Arc<str>]) -> Result<Registry, StoreError> {
        if self.1.strikes() != (false, false) {
            return Err(self.1.error(Component::AuditLedger));
        }
        self.0.keys(device_ids).await
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        self.0.register(registration).await
    }

    async fn revoke_for(&self, device_id: &str, reason: RevocationReason) -> Result<u64, Error> {
        self.0.revoke_for(device_id, reason).await
    }

    async fn devices(&self) -> Result<Vec<RegisteredDevice>, StoreError> {
        self.0.devices().await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        self.0.heads().await
    }

    fn records(&self, filter: &Filter) -> RecordStream {
        self.0.records(filter)
    }

    fn page(&self, filter: &Filter, page: &Page) -> RecordStream {
        self.0.page(filter, page)
    }

    async fn operation_log(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        self.0.operation_log(query).await
    }
}

#[async_trait]
impl PayloadStore for FaultyPayloads {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let (before, after) = self.1.strikes();
        if before {
            return Err(self.1.error(Component::RawDataStore));
        }
        let put = self.0.put(admitted).await?;
        if after { Err(self.1.error(Component::RawDataStore)) } else { Ok(put) }
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        self.0.get(record).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.0.versions(record).await
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.0.names(record)
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        self.0.erase(record, name).await
    }
}

async fn each_operation_fails_in_turn(place: Place) {
    let stores = place.service().await;
    let mut lifts = devices(&**stores.ledger(), 3).await;
    let mut struck = 0;
    for turn in 0..40 {
        for after in [false, true] {
            let fault = Arc::new(Fault { left: AtomicI64::new(turn), after });
            let ledger = Arc::new(FaultyLedger(Arc::clone(stores.ledger()), Arc::clone(&fault)));
            let payloads = Arc::new(FaultyPayloads(Arc::clone(stores.payloads()), Arc::clone(&fault)));
            // In units of four, one payload at a time, without a retry: the fault reaches the caller.
            let limits = Limits { batch_records: 4, payload_puts: 1, attempts: 1, ..Limits::default() };
            let service = IngestService::start(ledger, payloads, limits);
            let batch: Vec<Submission> = (0..12).map(|at| crate::common::next(&mut lifts[at % 3])).collect();
            let answers = service.ingest_many(batch.clone()).await;
            for answer in &answers {
                match answer {
                    Ok(outcome) => assert!(outcome.is_success(), "turn {turn}: {outcome:?}"),
                    Err(error) => assert!(error.is_retryable(), "turn {turn}: {error}"),
                }
            }
            struck += u32::from(answers.iter().any(Result::is_err));
            // The same call again now succeeds in full.
            let again = stores.ingest_many(batch).await;
            assert!(
                again.iter().all(|answer| answer.as_ref().is_ok_and(Outcome::is_success)),
                "{:?}",
                names(&again)
            );
            for (first, second) in names(&answers).into_iter().zip(names(&again)) {
                assert!(first != "accepted" || second == "duplicate", "what was acknowledged is there");
            }
        }
    }
    assert!(struck >= 30, "{struck} faults reached the caller");
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, 80 * 12);
}

async fn a_disk_that_fills_up(place: Place) {
    // No file of the worker may exceed 200 blocks of 1,024 bytes. This limits the SQLite ledger, but not the process of
    // PostgreSQL, so there it limits only the payload of one record.
    if place.kind == Kind::Postgres {
        let service = place.service().await;
        let mut lifts = devices(&**service.ledger(), 2).await;
        // A directory that even root cannot write to: a file blocks it, permanently.
        std::fs::write(place.path("payloads/.packs"), "").unwrap();
        let batch = [chain(&mut lifts[1], 2), chain(&mut lifts[0], 3)].concat();
        let answers = service.ingest_many(batch.clone()).await;
        assert_eq!(names(&answers), all("store", 5));
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(!error.is_retryable() && !error.to_string().contains("send"), "{error}");
        }
        std::fs::remove_file(place.path("payloads/.packs")).unwrap();
        assert_eq!(names(&service.ingest_many(batch).await), all("accepted", 5));
        assert!(place.report().await.ok());
        return;
    }
    let worker = worker::command("fill", &place);
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$@\"", "bash"]).arg(worker.get_program());
    limited.args(worker.get_args());
    for (name, value) in worker.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.output().unwrap();
    let lines = worker::lines(&output);
    let error = lines.iter().find(|line| line.starts_with("error ")).unwrap_or_else(|| {
        panic!("{lines:?} {}", String::from_utf8_lossy(&output.stderr));
    });
    assert!(error.starts_with("error store true"), "{error}");
    let acknowledged = lines.iter().filter(|line| line.starts_with("ack ")).count() as u64;
    assert!(acknowledged > 0);
    let held = place.ledger().await.heads().await.unwrap()["lift-01"].sequence;
    assert!(held >= acknowledged, "{held} {acknowledged}");
    // There is space again.
    let service = place.service().await;
    let head = service.ledger().heads().await.unwrap().get("lift-01").copied();
    let answers = service.ingest_many(chain(&mut device(1).resume(head), 20)).await;
    assert_eq!(names(&answers), all("accepted", 20));
    assert!(place.report().await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_continues_after_a_restart_of_s3() {
    let server = Server::start("seaweedfs", "start");
    let (store, name) = bucket(&server.url).await;
    let place = Place::new(Kind::Sqlite).await;
    let store: Arc<dyn PayloadStore> = Arc::new(store);
    let limits = Limits { attempts: 1, ..Limits::default() };
    let service = IngestService::start(place.ledger().await, Arc::clone(&store), limits);
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    assert_eq!(names(&service.ingest_many(chain(&mut lift, 20)).await), all("accepted", 20));
    server.run("kill");
    let later = chain(&mut lift, 5);
    let answers = service.ingest_many(later.clone()).await;
    for answer in &answers {
        let error = answer.as_ref().unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    assert_eq!(names(&answers), all("store", 5));
    server.run("start");
    assert_eq!(names(&service.ingest_many(later).await), all("accepted", 5));
    // An attacker with the store's credentials was there before: at the object reference, which no record uses, and at
    // the place of the record.
    let next = chain(&mut lift, 1);
    let record = Arc::clone(&next[0].record);
    let client = s3_client(&server.url);
    for key in ["lift-01/26.bin".to_owned(), content_path(&record)] {
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"squatter");
        client.put_object().bucket(&name).key(key).body(body).send().await.unwrap();
    }
    let answers = service.ingest_many(next.clone()).await;
    let error = answers[0].as_ref().unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    let Error::Store(error) = error else { panic!("{error}") };
    assert!(error.describe().contains(&content_path(&record)), "{}", error.describe());
    assert_eq!(store.get(&record).await.unwrap().unwrap(), "squatter");
    client.delete_object().bucket(&name).key(content_path(&record)).send().await.unwrap();
    assert_eq!(names(&service.ingest_many(next).await), ["accepted"]);
    let report = verify(Arc::clone(service.ledger()), Some(store)).await;
    assert!(report.ok(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarts_and_crashes_under_load() {
    let server = Server::start("postgres", "start");
    let url = database(&server.url).await;
    let folder = tempfile::TempDir::new().unwrap();
    let payloads = Arc::new(edgesentry_rs::payload::Folder::open(folder.path()).unwrap());
    let limits = Limits { attempts: 20, ..Limits::default() };
    let service = IngestService::start(Arc::new(postgres(&url).await), payloads, limits);
    let lifts = devices(&**service.ledger(), 8).await;
    let loads: Vec<_> = lifts
        .into_iter()
        .map(|mut lift| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut count = 0;
                for _ in 0..30 {
                    let batch = chain(&mut lift, 10);
                    let answers = service.ingest_many(batch).await;
                    assert!(
                        answers.iter().all(|answer| answer.as_ref().is_ok_and(Outcome::is_success)),
                        "{:?}",
                        names(&answers)
                    );
                    count += answers.len();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                count
            })
        })
        .collect();
    let disturb = tokio::task::spawn_blocking(move || {
        for how in ["stop", "kill"] {
            std::thread::sleep(Duration::from_millis(500));
            server.run(how);
            server.run("start");
        }
        server
    });
    let mut count = 0;
    for load in loads {
        count += load.await.unwrap();
    }
    let server = disturb.await.unwrap();
    let report = verify(Arc::new(postgres(&url).await), Some(Arc::clone(service.payloads()))).await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, count as u64);
    // Down, without retries: the error is retryable.
    server.run("stop");
    let limits = Limits { attempts: 1, ..Limits::default() };
    let impatient =
        IngestService::start(Arc::clone(service.ledger()), Arc::clone(service.payloads()), limits);
    let error = impatient.ingest(crate::common::next(&mut device(1))).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ends_are_replaced() {
    let place = Place::new(Kind::Postgres).await;
    let service = place.service().await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (url, stopped) = (place.url.clone(), Arc::clone(&stop));
    let terminator = tokio::spawn(async move {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        while !stopped.load(Ordering::Relaxed) {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            sqlx::query(end).execute(&mut connection).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    for _ in 0..30 {
        let batch = chain(&mut lift, 20);
        let mut answers = service.ingest_many(batch.clone()).await;
        while answers.iter().any(Result::is_err) {
            assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(Error::is_retryable));
            answers = service.ingest_many(batch.clone()).await;
        }
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(Outcome::is_success)));
    }
    stop.store(true, Ordering::Relaxed);
    terminator.await.unwrap();
    let report = place.report().await;
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.coverage.records, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_writable_one_is_used() {
    let standby = Server::start("postgres", "standby");
    let primary = Server::start("postgres", "start");
    let host = |url: &str| url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let password = |url: &str| url.split('@').next().unwrap().rsplit(':').next().unwrap().to_owned();
    let list = |password: &str| {
        let hosts = format!("127.0.0.1:9,{},{}", host(&standby.url), host(&primary.url));
        PostgresSettings {
            url: format!("postgres://edgesentry:{password}@{hosts}/postgres").into(),
            ..PostgresSettings::default()
        }
    };
    // Two separate clusters, each with its own password: the primary's is not valid at the standby.
    let ledger = edgesentry_rs::ledger::Postgres::connect(&list(&password(&primary.url))).await.unwrap();
    ledger.register(&registration(&device(1))).await.unwrap();
    assert_eq!(ledger.devices().await.unwrap().len(), 1);
    // Only a standby: a clear error that names the reason.
    let alone = PostgresSettings { url: standby.url.clone().into(), ..PostgresSettings::default() };
    let error = edgesentry_rs::ledger::Postgres::connect(&alone).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let Error::Store(store) = &error else { panic!("{error}") };
    assert!(store.describe().contains("is a standby"), "{}", store.describe());
    // It is promoted, and the primary stops.
    standby.run("promote");
    primary.run("stop");
    edgesentry_rs::ledger::Postgres::connect(&list(&password(&standby.url))).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_retryable_error() {
    let settings = PostgresSettings {
        url: "postgres://me:hush@127.0.0.1:9/x".to_owned().into(),
        ..PostgresSettings::default()
    };
    let error = edgesentry_rs::ledger::Postgres::connect(&settings).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(!format!("{error:?} {error}").contains("hush"));
    let s3 = edgesentry_rs::payload::S3::connect("audit", &s3_settings("http://127.0.0.1:9")).await.unwrap();
    assert!(s3.check().await.unwrap_err().is_retryable());
}
