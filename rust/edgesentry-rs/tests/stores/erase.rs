//! Erasure over real stores: a payload is deleted only after its leaf is signed, and only such a leaf excuses a missing
//! payload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{AuditRecord, FindingCode, Hint, NotChecked, Report};
use edgesentry_formats::packs::PACKS;
use edgesentry_formats::times::now_ms;
use edgesentry_formats::{Options, Progress, content_path};
use edgesentry_log::{Leaf, LogCheck, LogInputs, Note, Policy};
use edgesentry_rs::FailureKind;
use edgesentry_rs::error::{Component, StoreError, describe};
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ingest::verify::{Admitted, Submission};
use edgesentry_rs::ledger::{Conflicts, Filter, Ledger};
use edgesentry_rs::log::{
    EraseError, Eraser, Erasure, ErasureState, Logged, TransparencyLog, request_erasure,
};
use edgesentry_rs::objects::Objects;
use edgesentry_rs::payload::{Folder, Leftovers, PayloadStore, Put, S3Settings, Version};
use edgesentry_rs::verify::{Registered, Verification};
use tokio::sync::Notify;

use crate::common::{
    Kind, Place, all, bucket, chain, devices, names, next_with, records, s3_client, s3_client_of,
    s3_settings, server, unique,
};
use crate::log::{Faulty, How, audit, copy, ingest, key, lead, leaf_bytes, log, objects, open, write_sql};
use crate::on_every_ledger;

on_every_ledger!(
    only_the_log_excuses_an_erased_payload,
    it_goes_on_after_an_end_at_any_step,
    a_row_of_the_ledger_deletes_nothing,
    an_impossible_erasure_is_refused,
    a_record_that_is_sent_again_stays_erased,
    a_rejected_record_brings_no_payload_back,
    a_payload_that_a_killed_node_stored_is_deleted_again,
    an_erasure_that_fails_waits_before_the_next_attempt,
    a_store_that_is_away_is_not_asked_for_every_erasure,
    the_payload_of_a_replaced_record_is_erased,
    texts_of_a_row_are_read_in_part,
    a_restored_ledger_erases_again,
    a_payload_that_another_record_needs_stays,
);

const WAIT: Duration = Duration::from_secs(20);
const REASON: &str = "request 7";

pub fn eraser(log: &TransparencyLog, ledger: &Arc<dyn Ledger>, payloads: &Arc<dyn PayloadStore>) -> Eraser {
    Eraser::new(log.clone(), Arc::clone(ledger), Arc::clone(payloads))
}

/// A log with two devices and their records.
pub struct Setting {
    pub place: Place,
    pub ledger: Arc<dyn Ledger>,
    pub objects: Arc<dyn Objects>,
    pub payloads: Arc<dyn PayloadStore>,
    pub log: TransparencyLog,
    pub lifts: Vec<edgesentry_chain::Device>,
}

impl Setting {
    pub async fn new(place: Place, each: usize) -> Setting {
        let (ledger, objects) = (place.ledger().await, objects(&place).await);
        let (log, leader) = open(&ledger, &objects).await;
        drop(leader);
        let mut lifts = devices(&*ledger, 2).await;
        ingest(&place, &mut lifts, each).await;
        let payloads = place.payloads().await;
        Setting { place, ledger, objects, payloads, log, lifts }
    }

    pub fn eraser(&self) -> Eraser {
        eraser(&self.log, &self.ledger, &self.payloads)
    }

    pub async fn erase(&self, sequence: u64) -> Erasure {
        self.eraser().erase("lift-01", sequence, REASON, WAIT).await.unwrap()
    }

    pub async fn sequence(&self) {
        self.log.sequence(&mut lead(&self.log).await).await.unwrap();
    }

    async fn record(&self, sequence: u64) -> AuditRecord {
        let filter = Filter {
            devices: vec!["lift-01".to_owned()],
            from_sequence: Some(sequence),
            to_sequence: Some(sequence),
            ..Filter::default()
        };
        records(&*self.ledger, &filter).await.remove(0)
    }

    async fn payload(&self, sequence: u64) -> Option<Bytes> {
        self.payloads.get(&self.record(sequence).await).await.unwrap()
    }

    /// Returns the number of leaves that erase a payload.
    async fn leaves(&self) -> usize {
        let size = audit(&*self.objects, &*self.ledger).await;
        let leaves = leaf_bytes(&*self.objects, size).await;
        leaves.iter().filter(|leaf| matches!(Leaf::parse(leaf), Ok(Leaf::Erased(_)))).count()
    }

    /// Verifies ledger and payloads against the last checkpoint, under a policy that trusts a log key.
    pub async fn report(&self, trusted: &edgesentry_log::SignerKey) -> Report {
        let logged = Logged::read(&*self.ledger).await.unwrap();
        let policy = format!("log {}\nquorum none\n", trusted.verifier());
        let verification = Verification {
            ledger: Arc::clone(&self.ledger),
            payloads: Some(Arc::clone(&self.payloads)),
            filter: Filter::default(),
            keys: None,
            claimed_keys: None,
            heads: None,
            start_heads: None,
            registered: Registered::default(),
            manifest: None,
            options: Options::default(),
        };
        let handle = tokio::runtime::Handle::current();
        let run = move || {
            let policy = Policy::parse(policy.as_bytes()).unwrap();
            let note = Note::parse(&logged.checkpoint.note).unwrap();
            let check = LogCheck::new(&LogInputs {
                policy: &policy,
                checkpoint: &note,
                places: Some(&logged.places),
                previous: None,
                max_age: None,
            });
            verification.run_with_log(Some(&check), &handle, &Arc::new(Progress::default()))
        };
        tokio::task::spawn_blocking(run).await.unwrap().unwrap()
    }
}

async fn only_the_log_excuses_an_erased_payload(place: Place) {
    let setting = Setting::new(place, 3).await;
    let erasure = setting.erase(2).await;
    assert!(matches!(erasure.state, ErasureState::Erased { .. }), "{erasure:?}");
    assert_eq!((erasure.versions, erasure.reason.as_str()), (Some(1), REASON));
    // A second request reports the same, and adds no leaf.
    let again = setting.eraser().erase("lift-01", 2, "other words", WAIT).await.unwrap();
    assert_eq!(again, erasure);
    assert_eq!(setting.leaves().await, 1);
    assert_eq!(setting.payload(2).await, None);
    assert_eq!(setting.payload(1).await.unwrap(), "lift-01 1");
    assert_eq!(setting.log.status().await.unwrap().open_erasures.count, 0);
    // Without a checkpoint, the payload is missing.
    let report = setting.place.report().await;
    assert_eq!(report.counts.get(&FindingCode::PayloadMissing), Some(&1));
    assert_eq!(report.hints, [Hint::ErasureUnproven { payloads: 1 }]);
    let report = setting.report(&key()).await;
    assert_eq!(report.counts, [].into());
    let payloads = report.coverage.payloads.unwrap();
    assert_eq!((payloads.checked, payloads.erased, payloads.erased_present), (6, 1, 0));
    assert_eq!(report.coverage.log.unwrap().erased, 1);
    assert!(report.coverage.not_checked.contains(&NotChecked::PayloadErased { payloads: 1 }));
    // Nor does a log excuse it that the policy does not trust.
    let other =
        edgesentry_log::SignerKey::from_seed("log.example/lifts", edgesentry_log::KeyType::Ed25519, [43; 32]);
    let report = setting.report(&other.unwrap()).await;
    assert_eq!(report.counts.get(&FindingCode::PayloadMissing), Some(&1));
    assert_eq!(report.coverage.payloads.unwrap().erased, 0);
    // Another payload that was deleted without a leaf stays missing.
    let record = setting.record(3).await;
    setting.payloads.erase(&record, &content_path(&record)).await.unwrap();
    let report = setting.report(&key()).await;
    assert_eq!(report.counts, [(FindingCode::PayloadMissing, 1)].into());
    assert_eq!(report.findings[0].sequence, Some(3));
    // A request for it finds nothing to delete, and from then on the log has its leaf.
    let erasure = setting.erase(3).await;
    assert_eq!((erasure.versions, erasure.state.name()), (Some(0), "erased"));
    assert_eq!(setting.report(&key()).await.counts, [].into());
    assert_eq!(setting.leaves().await, 2);
}

/// A payload store whose deletion does not return.
struct Hanging {
    store: Arc<dyn PayloadStore>,
    after: bool,
    struck: Notify,
}

#[async_trait]
impl PayloadStore for Hanging {
    fn place(&self) -> &str {
        self.store.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        self.store.put(admitted).await
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        self.store.get(record).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.store.versions(record).await
    }

    fn names(&self, record: &AuditRecord) -> Vec<String> {
        self.store.names(record)
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        if self.after {
            self.store.erase(record, name).await?;
        }
        self.struck.notify_one();
        std::future::pending().await
    }
}

async fn it_goes_on_after_an_end_at_any_step(place: Place) {
    let setting = Setting::new(place, 60).await;
    let finish = async |sequence: u64, turn: &str| {
        let erasure = setting.erase(sequence).await;
        assert_eq!((erasure.versions, erasure.state.name()), (Some(1), "erased"), "{turn}");
        assert_eq!(setting.payload(sequence).await, None, "{turn}");
        assert_eq!(setting.leaves().await as u64, sequence, "{turn}");
        assert_eq!(setting.erase(sequence).await, erasure, "{turn}");
    };
    let mut sequence = 0;
    for how in [How::Hang, How::HangAfter] {
        for turn in 0.. {
            sequence += 1;
            let faulty = Faulty::new(&setting.objects, how, turn);
            let broken = log(&setting.ledger, &(Arc::clone(&faulty) as Arc<dyn Objects>), 1000);
            let broken = eraser(&broken, &setting.ledger, &setting.payloads);
            let ended = tokio::select! {
                done = broken.erase("lift-01", sequence, REASON, WAIT) => Some(done),
                () = faulty.struck.notified() => None,
            };
            finish(sequence, &format!("{how:?} at operation {turn}")).await;
            if let Some(done) = ended {
                assert_eq!(done.unwrap().state.name(), "erased");
                assert!(turn >= 8, "{how:?}: {turn} operations");
                break;
            }
        }
    }
    for after in [false, true] {
        sequence += 1;
        let store = Arc::clone(&setting.payloads);
        let hanging = Arc::new(Hanging { store, after, struck: Notify::new() });
        let broken = eraser(&setting.log, &setting.ledger, &(Arc::clone(&hanging) as Arc<dyn PayloadStore>));
        tokio::select! {
            done = broken.erase("lift-01", sequence, REASON, WAIT) => panic!("{done:?}"),
            () = hanging.struck.notified() => {}
        }
        // The service finishes what it finds.
        assert_eq!(setting.log.status().await.unwrap().open_erasures.count, 1);
        let finished = setting.eraser().finish_due().await.unwrap();
        assert_eq!((finished.erased, finished.left), (1, Vec::new()));
        finish(sequence, &format!("a deletion, after {after}")).await;
    }
    assert_eq!(setting.report(&key()).await.counts, [].into());
}

async fn a_row_of_the_ledger_deletes_nothing(place: Place) {
    let setting = Setting::new(place, 4).await;
    setting.erase(1).await;
    // Rows that name another leaf, one of another record, and none.
    for leaf in [
        "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms, log_index)
         SELECT device_id, sequence, payload_hash, 'x', 1, 0 FROM audit_records
         WHERE device_id = 'lift-01' AND sequence = 2",
        "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms, log_index)
         SELECT r.device_id, r.sequence, r.payload_hash, 'x', 1, e.log_index FROM audit_records r
         JOIN erasures e ON e.sequence = 1 WHERE r.device_id = 'lift-02' AND r.sequence = 2",
        "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms)
         SELECT device_id, 3, payload_hash, 'x', 1 FROM audit_records
         WHERE device_id = 'lift-01' AND sequence = 2",
    ] {
        setting.place.tamper(leaf).await;
    }
    setting.sequence().await;
    let finished = setting.eraser().finish_due().await.unwrap();
    assert_eq!((finished.erased, finished.left.len()), (0, 2), "{finished:?}");
    let error = setting.eraser().erase("lift-01", 3, REASON, WAIT).await.unwrap_err();
    assert_eq!(error.code(), "log_inconsistent", "{error}");
    let report = setting.report(&key()).await;
    assert_eq!(report.counts, [].into());
    assert_eq!(report.coverage.payloads.unwrap().erased, 1);
    assert_eq!(setting.leaves().await, 1);
    // An honest erasure goes on beside them.
    assert_eq!(setting.erase(4).await.state.name(), "erased");
}

async fn an_impossible_erasure_is_refused(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let payloads = place.payloads().await;
    let log = log(&ledger, &objects, 1000);
    let lifts = eraser(&log, &ledger, &payloads);
    let error = lifts.erase("lift-01", 1, REASON, WAIT).await.unwrap_err();
    assert_eq!(error.code(), "log_not_opened");
    assert!(error.to_string().contains("eds checkpoint init"), "{error}");
    log.init(1).await.unwrap();
    for reason in ["", "  ", "a\nb", &"x".repeat(1025)] {
        let error = lifts.erase("lift-01", 1, reason, WAIT).await.unwrap_err();
        assert!(matches!(error, EraseError::Reason), "{error}");
    }
    for (device_id, sequence) in [("lift-01", 1), ("lift\0", 1), ("lift-01", u64::MAX), ("", 0)] {
        let error = lifts.erase(device_id, sequence, REASON, WAIT).await.unwrap_err();
        assert_eq!(error.code(), "erase_no_record", "{error}");
    }
    if place.kind == Kind::Postgres {
        devices(&*ledger, 1).await;
        ingest(&place, &mut [crate::common::device(1)], 1).await;
        let leader = lead(&log).await;
        let error = lifts.erase("lift-01", 1, REASON, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), "erase_unsigned", "{error}");
        drop(leader);
        assert_eq!(lifts.erase("lift-01", 1, REASON, WAIT).await.unwrap().state.name(), "erased");
    }
}

async fn a_record_that_is_sent_again_stays_erased(place: Place) {
    let mut setting = Setting::new(place, 0).await;
    // One node knows the head before the record, and another one commits the record.
    let first = chain(&mut setting.lifts[0], 1);
    let slow = setting.place.service().await;
    assert_eq!(names(&slow.ingest_many(first).await), ["accepted"]);
    let second = chain(&mut setting.lifts[0], 1);
    let fast = setting.place.service().await;
    assert_eq!(names(&fast.ingest_many(second.clone()).await), ["accepted"]);
    setting.erase(2).await;
    for service in [&fast, &slow] {
        assert_eq!(names(&service.ingest_many(second.clone()).await), all("duplicate", 1));
        setting.eraser().finish_due().await.unwrap();
        assert_eq!(setting.payload(2).await, None);
    }
    assert_eq!(setting.leaves().await, 1);
    assert_eq!(setting.report(&key()).await.counts, [].into());
}

/// A slow node stores the payload of another record in the place of an erased one, and then rejects the record.
async fn a_rejected_record_brings_no_payload_back(place: Place) {
    let mut setting = Setting::new(place, 0).await;
    let first = chain(&mut setting.lifts[0], 1);
    let slow = setting.place.service().await;
    assert_eq!(names(&slow.ingest_many(first).await), ["accepted"]);
    let second = chain(&mut setting.lifts[0], 1);
    let mut other = (*second[0].record).clone();
    other.timestamp_ms += 1;
    setting.lifts[0].sign_record(&mut other).unwrap();
    let other = Submission { record: Arc::new(other), ..second[0].clone() };
    let fast = setting.place.service().await;
    assert_eq!(names(&fast.ingest_many(second).await), ["accepted"]);
    setting.erase(2).await;
    assert_eq!(names(&slow.ingest_many(vec![other]).await).len(), 1);
    setting.eraser().finish_due().await.unwrap();
    assert_eq!(setting.payload(2).await, None);
}

/// A payload store of a node that is killed after it has stored a payload, once `armed`.
struct Killed {
    store: Arc<dyn PayloadStore>,
    armed: AtomicBool,
    struck: Notify,
}

#[async_trait]
impl PayloadStore for Killed {
    fn place(&self) -> &str {
        self.store.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn put(&self, admitted: &Admitted) -> Result<Put, StoreError> {
        let put = self.store.put(admitted).await;
        if self.armed.load(Ordering::SeqCst) {
            self.struck.notify_one();
            std::future::pending::<()>().await;
        }
        put
    }

    async fn get(&self, record: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        self.store.get(record).await
    }

    async fn versions(&self, record: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.store.versions(record).await
    }

    async fn erase(&self, record: &AuditRecord, name: &str) -> Result<Leftovers, StoreError> {
        self.store.erase(record, name).await
    }
}

/// The node knows the head before the record, and is killed between its write of the payload and the commit, which would
/// have told it that another node has the record.
async fn a_payload_that_a_killed_node_stored_is_deleted_again(place: Place) {
    let mut setting = Setting::new(place, 0).await;
    let store = Arc::clone(&setting.payloads);
    let killed = Arc::new(Killed { store, armed: AtomicBool::new(false), struck: Notify::new() });
    let slow = IngestService::start(
        setting.place.ledger().await,
        Arc::clone(&killed) as Arc<dyn PayloadStore>,
        Default::default(),
    );
    let first = chain(&mut setting.lifts[0], 1);
    assert_eq!(names(&slow.ingest_many(first).await), ["accepted"]);
    let second = chain(&mut setting.lifts[0], 1);
    assert_eq!(names(&setting.place.service().await.ingest_many(second.clone()).await), ["accepted"]);
    for sequence in [2, 1] {
        assert_eq!(setting.erase(sequence).await.state.name(), "erased");
    }
    killed.armed.store(true, Ordering::SeqCst);
    tokio::select! {
        answers = slow.ingest_many(second.clone()) => panic!("{answers:?}"),
        () = killed.struck.notified() => {}
    }
    drop(slow);
    assert_eq!(setting.payload(2).await.unwrap(), "lift-01 2");
    // The next start of a node, which the device sends the record to as well.
    assert_eq!(names(&setting.place.service().await.ingest_many(second).await), all("duplicate", 1));
    let eraser = setting.eraser();
    assert_eq!(eraser.finish_due().await.unwrap().erased, 0);
    let mut turn = None;
    eraser.look_again(&mut turn).await.unwrap();
    assert_eq!(turn, Some(("lift-01".to_owned(), 2)));
    assert_eq!(setting.log.status().await.unwrap().open_erasures.count, 1);
    assert_eq!(eraser.finish_due().await.unwrap().erased, 1);
    assert_eq!(setting.payload(2).await, None);
    // The turn ends, and begins again.
    eraser.look_again(&mut turn).await.unwrap();
    assert_eq!(turn, None);
    assert_eq!(setting.log.status().await.unwrap().open_erasures.count, 0);
    assert_eq!(setting.report(&key()).await.counts, [].into());
}

/// A payload store that fails.
struct Failing {
    kind: FailureKind,
    asked: AtomicU64,
}

#[async_trait]
impl PayloadStore for Failing {
    fn place(&self) -> &str {
        "test"
    }

    async fn check(&self) -> Result<(), StoreError> {
        Err(self.error())
    }

    async fn put(&self, _: &Admitted) -> Result<Put, StoreError> {
        Err(self.error())
    }

    async fn get(&self, _: &AuditRecord) -> Result<Option<Bytes>, StoreError> {
        Err(self.error())
    }

    async fn versions(&self, _: &AuditRecord) -> Result<Vec<Version>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(self.error())
    }

    async fn erase(&self, _: &AuditRecord, _: &str) -> Result<Leftovers, StoreError> {
        Err(self.error())
    }
}

impl Failing {
    fn error(&self) -> StoreError {
        StoreError {
            component: Component::RawDataStore,
            action: "do what the test forbids",
            place: "test".into(),
            kind: self.kind,
            source: Arc::new(std::io::Error::other("a fault of the test")),
        }
    }
}

/// Returns an eraser whose payload store fails, and the store.
fn failing(setting: &Setting, kind: FailureKind) -> (Eraser, Arc<Failing>) {
    let store = Arc::new(Failing { kind, asked: AtomicU64::new(0) });
    let payloads: Arc<dyn PayloadStore> = Arc::clone(&store) as Arc<dyn PayloadStore>;
    (eraser(&setting.log, &setting.ledger, &payloads), store)
}

async fn an_erasure_that_fails_waits_before_the_next_attempt(place: Place) {
    let setting = Setting::new(place, 2).await;
    // By their age: how long they wait, in seconds.
    for (sequence, age_ms, seconds) in
        [(1, 0, 60..=60), (2, 3_600_000, 360..=420), (2, 40_000_000, 3600..=3600)]
    {
        for kind in [FailureKind::Setup, FailureKind::Passing] {
            let (broken, store) = failing(&setting, kind);
            let tables = setting.ledger.log().unwrap();
            request_erasure(&*tables, "lift-01", sequence, REASON).await.unwrap();
            setting.sequence().await;
            let at_ms = now_ms() - age_ms;
            let set = format!(
                "UPDATE erasures SET at_ms = {at_ms}, retry_at_ms = NULL WHERE sequence = {sequence}"
            );
            write_sql(&setting.place, &set).await;
            let before = now_ms();
            let finished = broken.finish_due().await.unwrap();
            let left = finished.left.iter().find(|left| left.sequence == sequence).unwrap();
            assert!(matches!(left.state, ErasureState::Kept { .. }), "{left:?}");
            let row = tables.erasure("lift-01", sequence).await.unwrap().unwrap();
            let waits = row.retry_at_ms.unwrap() - before;
            assert!(seconds.contains(&(waits / 1000)), "{waits} ms");
            // Until then it is not tried again.
            let asked = store.asked.load(Ordering::SeqCst);
            assert_eq!(broken.finish_due().await.unwrap(), Default::default());
            assert_eq!(store.asked.load(Ordering::SeqCst), asked);
        }
    }
    // An explicit request does not wait.
    assert_eq!(setting.erase(1).await.state.name(), "erased");
    setting.place.tamper("UPDATE erasures SET retry_at_ms = 1").await;
    assert_eq!(setting.eraser().finish_due().await.unwrap().erased, 1);
}

async fn a_store_that_is_away_is_not_asked_for_every_erasure(place: Place) {
    let setting = Setting::new(place, 8).await;
    for sequence in 1..=8 {
        let tables = setting.ledger.log().unwrap();
        request_erasure(&*tables, "lift-01", sequence, REASON).await.unwrap();
    }
    setting.sequence().await;
    let (broken, store) = failing(&setting, FailureKind::Passing);
    let asked = || store.asked.load(Ordering::SeqCst);
    // Each pass goes on behind those that failed.
    for (passes, stopped) in [(3, true), (6, true), (8, false)] {
        assert_eq!(broken.finish_due().await.unwrap().stopped, stopped);
        assert_eq!(asked(), passes);
    }
    // A failure of one payload does not stop the others.
    setting.place.tamper("UPDATE erasures SET retry_at_ms = NULL").await;
    let (broken, store) = failing(&setting, FailureKind::Setup);
    assert_eq!(broken.finish_due().await.unwrap().left.len(), 8);
    assert_eq!(store.asked.load(Ordering::SeqCst), 8);
    setting.place.tamper("UPDATE erasures SET retry_at_ms = NULL").await;
    assert_eq!(setting.eraser().finish_due().await.unwrap().erased, 8);
}

async fn a_restored_ledger_erases_again(place: Place) {
    let setting = Setting::new(place, 3).await;
    setting.sequence().await;
    let record = setting.record(2).await;
    let backup = copy(&setting.place).await;
    let erasure = setting.erase(2).await;
    // The ledger and its payloads come back from before the erasure.
    let ledger = backup.ledger().await;
    let payloads: Arc<dyn PayloadStore> = match backup.kind {
        Kind::Sqlite => backup.payloads().await,
        Kind::Postgres => {
            let root = setting.place.path("payloads");
            setting.place.write_payload(&record, "lift-01 2");
            Arc::new(Folder::open(&root).unwrap())
        }
    };
    assert!(payloads.get(&record).await.unwrap().is_some());
    let log = log(&ledger, &setting.objects, 1000);
    let mut leader = lead(&log).await;
    assert_eq!(log.recover(&mut leader, Conflicts::Refuse).await.unwrap().batches, 1);
    drop(leader);
    assert_eq!(log.status().await.unwrap().open_erasures.count, 1);
    let again = eraser(&log, &ledger, &payloads).finish_due().await.unwrap();
    assert_eq!((again.erased, again.left), (1, Vec::new()));
    assert_eq!(payloads.get(&record).await.unwrap(), None);
    let restored = eraser(&log, &ledger, &payloads).erase("lift-01", 2, REASON, WAIT).await.unwrap();
    assert_eq!((restored.leaf, restored.versions), (erasure.leaf, erasure.versions));
    // A payload store that was restored alone is cleared by a pass over all erasures.
    if backup.kind == Kind::Postgres {
        setting.place.write_payload(&record, "lift-01 2");
        let report = setting.report(&key()).await;
        assert_eq!(report.counts, [].into());
        assert_eq!(report.coverage.payloads.unwrap().erased_present, 1);
        assert_eq!(setting.eraser().finish_due().await.unwrap().erased, 0);
        assert_eq!(setting.eraser().erase_again().await.unwrap().erased, 1);
        assert_eq!(setting.payload(2).await, None);
    }
}

/// Another program may have written texts of any size.
async fn texts_of_a_row_are_read_in_part(place: Place) {
    let setting = Setting::new(place, 2).await;
    setting.erase(1).await;
    let long = match setting.place.kind {
        Kind::Sqlite => "hex(zeroblob(1000000))",
        Kind::Postgres => "repeat('00', 1000000)",
    };
    let texts = format!("UPDATE erasures SET erased_at_ms = NULL, reason = {long}, problem = {long}");
    write_sql(&setting.place, &texts).await;
    let tables = setting.ledger.log().unwrap();
    let rows = tables.erasures(&Default::default()).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.reason.len(), row.problem.as_ref().map(String::len)), (1024, Some(4096)));
    assert_eq!(setting.eraser().finish_due().await.unwrap().erased, 1);
    assert_eq!(setting.log.status().await.unwrap().open_erasures.count, 0);
}

/// After a restore, devices without their state have sent other records, which the log replaces.
async fn the_payload_of_a_replaced_record_is_erased(place: Place) {
    let mut setting = Setting::new(place, 2).await;
    setting.sequence().await;
    let backup = copy(&setting.place).await;
    let mut lost = setting.lifts.clone();
    ingest(&setting.place, &mut setting.lifts, 1).await;
    setting.sequence().await;
    let mut others = Vec::new();
    for (lift, payload) in lost.iter_mut().zip(["other", "lift-02 3"]) {
        let submission = next_with(lift, payload);
        let mut record = (*submission.record).clone();
        record.timestamp_ms += 1;
        lift.sign_record(&mut record).unwrap();
        others.push(Submission { record: Arc::new(record), ..submission });
    }
    let service = backup.service().await;
    assert_eq!(names(&service.ingest_many(others.clone()).await), all("accepted", 2));
    let (ledger, payloads) = (backup.ledger().await, backup.payloads().await);
    let log = log(&ledger, &setting.objects, 1000);
    let done = log.recover(&mut lead(&log).await, Conflicts::Replace).await.unwrap();
    assert_eq!(done.replaced.len(), 2);
    let [other, same] = [&others[0].record, &others[1].record];
    assert_eq!(payloads.get(other).await.unwrap().unwrap(), "other");
    let eraser = eraser(&log, &ledger, &payloads);
    for (hash, reason, code) in [
        (setting.record(1).await.hash(), REASON, "erase_no_record"),
        (same.hash(), REASON, "erase_same_payload"),
        (other.hash(), "", "erase_reason"),
    ] {
        assert_eq!(eraser.erase_replaced(hash, reason).await.unwrap_err().code(), code);
    }
    for versions in [1, 0] {
        let erased = eraser.erase_replaced(other.hash(), REASON).await.unwrap();
        assert_eq!((erased.sequence, erased.versions, erased.problem), (3, versions, None));
        assert_eq!(payloads.get(other).await.unwrap(), None);
    }
    let reasons = setting.objects.list("log/erased/").await.unwrap();
    let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
    let text = setting.objects.get(&reason.key).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains(REASON), "{text:?}");
    // The payload that the record of the log has as well stays.
    assert_eq!(payloads.get(same).await.unwrap().unwrap(), "lift-02 3");
}

/// The roles of deploy/iam, which the server enforces.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_role_for_it_deletes_versions() {
    use aws_sdk_s3::primitives::ByteStream;
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    use edgesentry_rs::payload::S3;
    let endpoint = server("EDGESENTRY_TEST_S3");
    let (client, name) = (s3_client(&endpoint), "audit-payloads");
    // An earlier attempt of this test may have made it.
    let _ = client.create_bucket().bucket(name).send().await;
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(name).versioning_configuration(versioning).send().await.unwrap();
    let store = async |role: &str| {
        let settings = S3Settings {
            access_key_id: Some(role.to_owned()),
            secret_access_key: Some(format!("{role}-secret").into()),
            ..s3_settings(&endpoint)
        };
        Arc::new(S3::connect(name, &settings).await.unwrap()) as Arc<dyn PayloadStore>
    };
    let mut setting = Setting::new(Place::new(Kind::Postgres).await, 0).await;
    setting.payloads = store("ingest").await;
    let service =
        IngestService::start(Arc::clone(&setting.ledger), Arc::clone(&setting.payloads), Default::default());
    let sent = chain(&mut setting.lifts[0], 2);
    assert_eq!(names(&service.ingest_many(sent.clone()).await), all("accepted", 2));
    let key = content_path(&sent[0].record);
    let put = async |client: &aws_sdk_s3::Client, key: &str| {
        client.put_object().bucket(name).key(key).body(ByteStream::from_static(b"other")).send().await
    };
    put(&client, &key).await.unwrap();
    let denied = setting.eraser().erase("lift-01", 1, REASON, WAIT).await.unwrap_err();
    assert!(describe(&denied).contains("403"), "{}", describe(&denied));
    setting.payloads = store("eraser").await;
    let erasure = setting.erase(1).await;
    assert_eq!((erasure.versions, erasure.state.name()), (Some(2), "erased"));
    assert_eq!(setting.payloads.versions(&sent[0].record).await.unwrap(), []);
    assert_eq!(setting.payload(2).await.unwrap(), "lift-01 2");
    // The role writes nothing, hides nothing, and deletes no file of a log in the bucket.
    let eraser = s3_client_of(&endpoint, "eraser");
    let status = |refused: Option<u16>| assert_eq!(refused, Some(403));
    status(put(&eraser, "new").await.unwrap_err().raw_response().map(|response| response.status().as_u16()));
    for log in ["log/lock/0000000001", "audit/log/tile/0/000.p/1"] {
        let version = put(&client, log).await.unwrap().version_id.unwrap();
        let delete = eraser.delete_object().bucket(name).key(log).version_id(version).send().await;
        status(delete.unwrap_err().raw_response().map(|response| response.status().as_u16()));
    }
    let hide = eraser.delete_object().bucket(name).key(content_path(&sent[1].record)).send().await;
    status(hide.unwrap_err().raw_response().map(|response| response.status().as_u16()));
}

/// Earlier releases stored payloads under object references, which several records may have.
async fn a_payload_that_another_record_needs_stays(place: Place) {
    let mut setting = Setting::new(place, 0).await;
    let mut same = Vec::new();
    for lift in &mut setting.lifts {
        let submission = next_with(lift, "the same");
        let mut record = (*submission.record).clone();
        record.object_ref = "old/1.bin".to_owned();
        lift.sign_record(&mut record).unwrap();
        same.push(Submission { record: Arc::new(record), ..submission });
    }
    let service = setting.place.service().await;
    assert_eq!(names(&service.ingest_many(same.clone()).await), all("accepted", 2));
    // As an earlier release stored them.
    match setting.place.kind {
        Kind::Sqlite => {
            setting.place.tamper("DELETE FROM record_payloads").await;
            setting.place.tamper("INSERT INTO payloads VALUES ('old/1.bin', 'the same', 0)").await;
        }
        Kind::Postgres => {
            let root = setting.place.path("payloads");
            std::fs::remove_dir_all(root.join(PACKS)).unwrap();
            std::fs::create_dir(root.join("old")).unwrap();
            std::fs::write(root.join("old/1.bin"), "the same").unwrap();
        }
    }
    let first = setting.erase(1).await;
    let ErasureState::Kept { problem, retry_at_ms } = &first.state else { panic!("{first:?}") };
    assert!(problem.contains("\"lift-02\", sequence 1") && retry_at_ms.is_some(), "{problem}");
    assert_eq!(setting.payloads.get(&same[1].record).await.unwrap().unwrap(), "the same");
    let report = setting.report(&key()).await;
    assert_eq!(report.counts, [].into());
    assert_eq!(report.coverage.payloads.unwrap().erased_present, 1);
    let second = setting.eraser().erase("lift-02", 1, REASON, WAIT).await.unwrap();
    assert_eq!(second.state.name(), "erased");
    assert_eq!(setting.erase(1).await.state.name(), "erased");
    assert_eq!(setting.payload(1).await, None);
}

/// A device cannot make the service delete the object of another device by a reference to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_another_payload_deletes_nothing() {
    let mut setting = Setting::new(Place::new(Kind::Postgres).await, 1).await;
    let victim = setting.record(1).await;
    setting.place.write_payload(&victim, "lift-01 1");
    let submission = next_with(&mut setting.lifts[1], "lift-01 1");
    let mut record = (*submission.record).clone();
    record.object_ref = content_path(&victim);
    setting.lifts[1].sign_record(&mut record).unwrap();
    let sent = Submission { record: Arc::new(record), ..submission };
    let service = setting.place.service().await;
    assert_eq!(names(&service.ingest_many(vec![sent]).await), ["accepted"]);
    let erasure = setting.eraser().erase("lift-02", 2, REASON, WAIT).await.unwrap();
    let ErasureState::Kept { problem, .. } = &erasure.state else { panic!("{erasure:?}") };
    assert!(problem.contains("\"lift-01\", sequence 1"), "{problem}");
    assert_eq!(setting.payload(1).await.unwrap(), "lift-01 1");
}

/// A bucket with versions, and one whose Object Lock forbids the deletion.
#[tokio::test(flavor = "multi_thread")]
async fn every_version_goes_unless_object_lock_keeps_it() {
    use aws_sdk_s3::primitives::{ByteStream, DateTime};
    use aws_sdk_s3::types::{
        BucketVersioningStatus, ObjectLockRetention, ObjectLockRetentionMode, VersioningConfiguration,
    };
    let endpoint = server("EDGESENTRY_TEST_S3");
    let client = s3_client(&endpoint);
    for lock in [false, true] {
        let mut setting = Setting::new(Place::new(Kind::Postgres).await, 0).await;
        let (store, name) = match lock {
            false => bucket(&endpoint).await,
            true => {
                let name = format!("test-locked-{}", unique());
                let create = client.create_bucket().bucket(&name).object_lock_enabled_for_bucket(true);
                create.send().await.unwrap();
                let settings = s3_settings(&endpoint);
                (edgesentry_rs::payload::S3::connect(&name, &settings).await.unwrap(), name)
            }
        };
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let put = client.put_bucket_versioning().bucket(&name).versioning_configuration(versioning);
        put.send().await.unwrap();
        setting.payloads = Arc::new(store);
        let service = edgesentry_rs::ingest::storage::IngestService::start(
            Arc::clone(&setting.ledger),
            Arc::clone(&setting.payloads),
            Default::default(),
        );
        let sent = chain(&mut setting.lifts[0], 2);
        assert_eq!(names(&service.ingest_many(sent).await), all("accepted", 2));
        let record = setting.record(1).await;
        let key_of = content_path(&record);
        if lock {
            let until = DateTime::from_secs(i64::from(u32::MAX));
            let retention = ObjectLockRetention::builder()
                .mode(ObjectLockRetentionMode::Compliance)
                .retain_until_date(until)
                .build();
            let put = client.put_object_retention().bucket(&name).key(&key_of).retention(retention);
            put.send().await.unwrap();
        }
        // An attacker has overwritten the payload twice and deleted it.
        for _ in 0..2 {
            let body = ByteStream::from_static(b"other bytes");
            client.put_object().bucket(&name).key(&key_of).body(body).send().await.unwrap();
        }
        client.delete_object().bucket(&name).key(&key_of).send().await.unwrap();
        let erasure = setting.erase(1).await;
        assert_eq!(erasure.versions, Some(3));
        let left = setting.payloads.versions(&record).await.unwrap();
        if lock {
            let ErasureState::Kept { problem, retry_at_ms } = &erasure.state else { panic!("{erasure:?}") };
            let expected = "Object Lock keeps 1 version of the payload until 2106-02-07T06:28:15Z";
            assert!(problem.starts_with(expected), "{problem}");
            assert_eq!(*retry_at_ms, Some(u64::from(u32::MAX) * 1000));
            // The marker stays above it.
            assert_eq!(left.len(), 2, "{left:?}");
            assert!(left[0].deleted, "{left:?}");
            // The service does not try again before the retention has ended.
            assert_eq!(setting.eraser().finish_due().await.unwrap(), Default::default());
        } else {
            assert_eq!(erasure.state.name(), "erased");
            assert_eq!(left, []);
        }
        assert_eq!(setting.payload(2).await.unwrap(), "lift-01 2");
        assert_eq!(setting.report(&key()).await.counts, [].into());
    }
}
