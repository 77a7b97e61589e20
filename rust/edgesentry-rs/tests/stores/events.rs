//! Events: each once, with its level, target, message and fields, and without secrets.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{self, Submission};
use edgesentry_rs::telemetry::metrics::Metrics;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::common::{Kind, Place, all, chain, device, devices, names, next, registration, resigned, server};
use crate::faults::{Fault, FaultyPayloads};

const STORAGE: &str = "edgesentry_rs::ingest::storage";
const VERIFY: &str = "edgesentry_rs::ingest::verify";
const AGENT: &str = "edgesentry_rs::agent";

/// Level, target, message, fields.
type Row = (String, String, String, BTreeMap<String, String>);

/// All events on this thread.
#[derive(Clone, Default)]
struct Capture {
    events: Arc<Mutex<Vec<Row>>>,
    /// The fields of spans, and events and spans of other crates.
    others: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        if !metadata.target().starts_with("edgesentry_rs") {
            self.others.lock().unwrap().push(format!("{:?}", fields.0));
            return;
        }
        let message = fields.0.remove("message").unwrap_or_default();
        let row = (metadata.level().to_string(), metadata.target().to_owned(), message, fields.0);
        self.events.lock().unwrap().push(row);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.others.lock().unwrap().push(format!("{:?}", fields.0));
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.others.lock().unwrap().push(format!("{:?}", fields.0));
    }
}

impl Capture {
    /// Captures at TRACE until the guard is dropped; the tests' runtimes have one thread.
    fn start() -> (Capture, DefaultGuard) {
        let capture = Capture::default();
        let guard = tracing::subscriber::set_default(Registry::default().with(capture.clone()));
        (capture, guard)
    }

    /// Returns the events since the last call.
    fn take(&self) -> Vec<Row> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

fn row(level: &str, target: &str, message: &str, fields: &[(&str, &str)]) -> Row {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (level.to_owned(), target.to_owned(), message.to_owned(), fields.collect())
}

fn started(sequence: &str, object_ref: &str, payload_bytes: &str) -> Row {
    let fields = [
        ("device_id", "lift-01"),
        ("sequence", sequence),
        ("object_ref", object_ref),
        ("payload_bytes", payload_bytes),
    ];
    row("DEBUG", STORAGE, "ingest started", &fields)
}

#[tokio::test]
async fn a_record_from_the_device_to_the_ledger_emits_events() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service_with(Limits::default(), Metrics::new()).await;
    service.register(&registration(&device(1))).await.unwrap();
    let (capture, _guard) = Capture::start();
    let agent = Outbox::open(&place.path("outbox"), device(1)).await.unwrap();
    agent.sign(1, Bytes::from_static(b"door"), "lift-01/1.bin").await.unwrap();
    let fields = [("device_id", "lift-01"), ("sequence", "1"), ("payload_bytes", "4")];
    assert_eq!(capture.take(), [row("DEBUG", AGENT, "signing record", &fields)]);
    agent.flush(&service).await.unwrap();
    let id = [("device_id", "lift-01"), ("sequence", "1")];
    let accepted = [id[0], id[1], ("object_ref", "lift-01/1.bin")];
    let expected = [
        started("1", "lift-01/1.bin", "4"),
        row("DEBUG", VERIFY, "record verified and accepted", &id),
        row("INFO", STORAGE, "record accepted", &accepted),
    ];
    assert_eq!(capture.take(), expected);
}

#[tokio::test]
async fn every_rejection_is_logged() {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service_with(Limits::default(), Metrics::new()).await;
    let mut lift = devices(&**service.ledger(), 1).await.remove(0);
    let first = chain(&mut lift, 3);
    service.ingest_many(first.clone()).await;
    let good = next(&mut lift.clone());
    let with = |change: fn(&mut edgesentry_chain::AuditRecord)| resigned(&lift, &good, change);
    let mut unsigned = (*good.record).clone();
    unsigned.signature[5] ^= 1;
    let unsigned = Submission { record: Arc::new(unsigned), ..good.clone() };
    let id = [("device_id", "lift-01"), ("sequence", "4")];
    let policy = |sequence: &str, reason: &str| {
        let fields = [("device_id", "lift-01"), ("sequence", sequence), ("reason", reason)];
        row("WARN", STORAGE, "integrity policy rejected record", &fields)
    };
    let (capture, _guard) = Capture::start();
    let cases = [
        (
            Submission { payload: Bytes::from_static(b"lift-01 5"), ..good.clone() },
            vec![row("WARN", STORAGE, "payload hash mismatch — record rejected", &id)],
        ),
        (
            unsigned,
            vec![
                row("DEBUG", VERIFY, "signature verification failed", &id),
                policy("4", "signature_invalid"),
            ],
        ),
        (
            with(|record| record.sequence = 6),
            vec![
                row(
                    "DEBUG",
                    VERIFY,
                    "sequence out of order",
                    &[("device_id", "lift-01"), ("expected", "4"), ("actual", "6")],
                ),
                policy("6", "sequence_gap"),
            ],
        ),
        (
            with(|record| record.prev_record_hash.0[0] ^= 1),
            vec![
                row("DEBUG", VERIFY, "prev_record_hash mismatch — chain broken", &id),
                policy("4", "prev_hash_mismatch"),
            ],
        ),
        (
            with(|record| record.sequence = 2),
            vec![
                row(
                    "DEBUG",
                    VERIFY,
                    "duplicate record rejected",
                    &[("device_id", "lift-01"), ("sequence", "2")],
                ),
                policy("2", "fork"),
            ],
        ),
        (
            first[2].clone(),
            vec![row(
                "DEBUG",
                VERIFY,
                "duplicate record rejected",
                &[("device_id", "lift-01"), ("sequence", "3")],
            )],
        ),
    ];
    for (submission, told) in cases {
        let record = Arc::clone(&submission.record);
        let mut expected = vec![started(&record.sequence.to_string(), &record.object_ref, "9")];
        expected.extend(told);
        service.ingest(submission).await.unwrap();
        assert_eq!(capture.take(), expected);
    }
    // Verification alone emits its events, too.
    let stranger = next(&mut device(9));
    verify::admit(vec![stranger], &verify::Registry::new());
    assert_eq!(capture.take(), []);
}

#[tokio::test]
async fn every_failure_is_logged_with_its_error() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let once = Limits { attempts: 1, ..Limits::default() };
        let service = place.service_with(once.clone(), Metrics::new()).await;
        let mut lift = devices(&**service.ledger(), 1).await.remove(0);
        let fault = Arc::new(Fault { left: AtomicI64::new(0), after: false });
        let payloads = Arc::new(FaultyPayloads(Arc::clone(service.payloads()), fault));
        let broken = IngestService::start_with(Arc::clone(service.ledger()), payloads, once, Metrics::new());
        let submission = next(&mut lift);
        let (capture, _guard) = Capture::start();
        let told = |message: &str, error: &str| {
            let rows = capture.take();
            let [_, (level, target, text, fields)] = &rows[..] else { panic!("{rows:?}") };
            assert_eq!((level.as_str(), target.as_str(), text.as_str()), ("ERROR", STORAGE, message));
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            assert_eq!(names, ["device_id", "error", "sequence"]);
            assert_eq!((fields["device_id"].as_str(), fields["sequence"].as_str()), ("lift-01", "1"));
            assert!(fields["error"].contains(error), "{}", fields["error"]);
        };
        assert!(broken.ingest(submission.clone()).await.is_err());
        told("raw data store write failed", "a fault of the test");
        place.tamper("ALTER TABLE audit_records RENAME TO hidden").await;
        assert!(service.ingest(submission.clone()).await.is_err());
        told("audit ledger append failed", "audit_records");
        place.tamper("ALTER TABLE hidden RENAME TO audit_records").await;
        place.tamper("ALTER TABLE operation_logs RENAME TO hidden").await;
        assert!(service.ingest(submission).await.is_err());
        told("operation log write failed", "operation_logs");
    }
}

#[tokio::test]
async fn no_secret_key_or_payload_byte_is_logged() {
    const PAYLOAD: &str = "payload-bytes-that-nobody-tells";
    let place = Place::new(Kind::Postgres).await;
    let postgres = server("EDGESENTRY_TEST_POSTGRES");
    let password = postgres.split('@').next().unwrap().rsplit(':').next().unwrap().to_owned();
    let seed = [0xab; 32];
    let lift = Device::from_seed("lift-01", seed, Scheme::Record);
    let (capture, _guard) = Capture::start();
    let service = place.service_with(Limits { attempts: 1, ..Limits::default() }, Metrics::new()).await;
    service.register(&registration(&lift)).await.unwrap();
    let agent = Outbox::open(&place.path("outbox"), lift.clone()).await.unwrap();
    for sequence in 1..=3 {
        let object_ref = format!("lift-01/{sequence}.bin");
        agent.sign(sequence, Bytes::from_static(PAYLOAD.as_bytes()), &object_ref).await.unwrap();
    }
    assert_eq!(agent.flush(&service).await.unwrap().accepted, 3);
    let mut lift = lift.resume(agent.head().await.unwrap());
    let good = crate::common::next_with(&mut lift, PAYLOAD);
    let mut unsigned = (*good.record).clone();
    unsigned.signature[5] ^= 1;
    let unsigned = Submission { record: Arc::new(unsigned), ..good.clone() };
    assert_eq!(names(&[service.ingest(unsigned).await]), ["signature_invalid"]);
    place.tamper("ALTER TABLE operation_logs RENAME TO hidden").await;
    assert_eq!(names(&[service.ingest(good.clone()).await]), all("store", 1));
    let bad_url = format!("{}-not-there", place.url);
    let settings = edgesentry_rs::ledger::PostgresSettings { url: bad_url.into(), ..Default::default() };
    assert!(edgesentry_rs::ledger::Postgres::connect(&settings).await.is_err());

    let mut told: Vec<String> = capture.take().iter().map(|row| format!("{row:?}")).collect();
    assert!(told.len() > 10, "{told:?}");
    told.append(&mut capture.others.lock().unwrap());
    let bytes = |bytes: &[u8]| [hex(bytes), format!("{bytes:?}"), format!("{bytes:?}").replace(' ', "")];
    let mut secrets = vec![password, PAYLOAD.to_owned(), format!("{PAYLOAD:?}")];
    secrets.extend(bytes(&seed));
    secrets.extend(bytes(PAYLOAD.as_bytes()));
    secrets.extend(bytes(lift.public_key().unwrap().as_bytes()));
    for secret in secrets {
        let leak = told.iter().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
        assert!(leak.is_none(), "{secret:?} in {leak:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
