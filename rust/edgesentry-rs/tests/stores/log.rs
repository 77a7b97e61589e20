//! The transparency log over real stores: SQLite with a directory, PostgreSQL with a bucket. After every fault, an
//! auditor who reads the files finds one log that contains every record of the ledger once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_chain::{Device, Hash, Scheme};
use edgesentry_log::{
    Checkpoint, CompactRange, EntryBundle, HeadEntry, HeadsRoot, KeyType, Leaf, Note, NoteSignature, Policy,
    SignerKey, Tile, TileId, TileKind, Tree, TreeHash, new_tiles,
};
use edgesentry_rs::OutcomeKind;
use edgesentry_rs::error::{Component, FailureKind, StoreError};
use edgesentry_rs::ledger::{
    BatchRow, Conflicts, Filter, LOG_CONFLICT, Leader, Ledger, LogQuery, Registration,
};
use edgesentry_rs::log::{LogError, TransparencyLog, compare_heads};
use edgesentry_rs::objects::{FolderObjects, Object, Objects, S3Objects, Write, Written};
use sqlx::Connection;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::common::{
    Kind, Place, bucket, chain, database, device, devices, next, records, registration, s3_settings, server,
};
use crate::on_every_ledger;

on_every_ledger!(
    what_is_ingested_is_in_the_log,
    a_ledger_that_is_older_than_its_log_is_taken_over_in_batches,
    keys_and_revocations_are_in_the_log,
    every_operation_of_the_store_may_fail,
    it_may_end_at_every_operation_of_the_store,
    there_is_one_leader,
    two_processes_make_one_log,
    an_edited_record_stops_the_log_and_not_ingest,
    a_batch_that_took_over_a_change_is_withdrawn_after_the_repair,
    a_copy_from_before_a_withdrawal_is_recovered,
    a_copy_with_a_batch_that_was_withdrawn_later_is_behind,
    a_batch_that_agrees_with_the_ledger_is_not_withdrawn,
    a_head_that_went_back_stops_the_log,
    a_restored_ledger_signs_nothing_until_it_is_recovered,
    a_ledger_that_was_copied_within_a_batch_goes_on,
    a_ledger_that_took_other_records_is_not_recovered,
    the_records_of_the_log_replace_others_only_on_request,
    a_lock_that_is_gone_or_of_another_log_is_refused,
    files_that_were_changed_are_refused,
    a_root_that_was_written_into_the_ledger_is_not_signed,
    a_batch_or_checkpoint_that_was_changed_is_refused,
    a_device_that_was_removed_from_the_heads_stops_the_log,
    a_run_that_was_extended_beyond_its_records_stops_the_log,
    a_gap_in_the_lock_is_refused,
    a_larger_published_checkpoint_is_not_replaced,
    heads_from_outside_are_compared,
    a_store_that_replaces_objects_is_refused,
    a_rotation_signs_with_both_keys,
);

const ORIGIN: &str = "log.example/lifts";

pub fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [42; 32]).unwrap()
}

pub async fn objects(place: &Place) -> Arc<dyn Objects> {
    match place.kind {
        Kind::Sqlite => folder(&place.path("log")),
        Kind::Postgres => {
            let endpoint = server("EDGESENTRY_TEST_S3");
            let (_, name) = bucket(&endpoint).await;
            Arc::new(
                S3Objects::connect(&name, &s3_settings(&endpoint), Component::TransparencyLog).await.unwrap(),
            )
        }
    }
}

fn folder(path: &Path) -> Arc<dyn Objects> {
    std::fs::create_dir_all(path).unwrap();
    Arc::new(FolderObjects::open(path, Component::TransparencyLog).unwrap())
}

pub fn log(ledger: &Arc<dyn Ledger>, objects: &Arc<dyn Objects>, max_records: u64) -> TransparencyLog {
    TransparencyLog::new(ledger.log().unwrap(), Arc::clone(objects), Arc::clone(objects), key(), max_records)
}

/// Opens a new log and becomes its leader.
pub async fn open(ledger: &Arc<dyn Ledger>, objects: &Arc<dyn Objects>) -> (TransparencyLog, Leader) {
    let log = log(ledger, objects, 1000);
    log.init(1).await.unwrap();
    let leader = lead(&log).await;
    (log, leader)
}

/// Becomes the leader. Retries, because the server frees the lock of a dropped leader with a delay.
pub async fn lead(log: &TransparencyLog) -> Leader {
    for _ in 0..500 {
        match log.lead().await {
            Ok(leader) => return leader,
            Err(LogError::LedElsewhere) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the lock of a leader that is gone is still held")
}

/// Ingests records, and expects that the service accepts all.
pub async fn ingest(place: &Place, lifts: &mut [Device], each: usize) {
    let service = place.service().await;
    let batch = lifts.iter_mut().flat_map(|lift| chain(lift, each)).collect();
    let answers = service.ingest_many(batch).await;
    assert!(
        answers.iter().all(|answer| answer.as_ref().is_ok_and(|outcome| outcome.is_success())),
        "{answers:?}"
    );
    drop(service);
}

pub async fn leaf_bytes(objects: &dyn Objects, size: u64) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    while (leaves.len() as u64) < size {
        let id = TileId::of_entry(leaves.len() as u64, size).unwrap();
        let bytes = objects.get(&format!("log/{id}")).await.unwrap().unwrap();
        let bundle = EntryBundle::parse(id, &bytes).unwrap();
        leaves.extend(bundle.entries().iter().map(|leaf| leaf.to_vec()));
    }
    leaves
}

fn checkpoint(note: &[u8]) -> Checkpoint {
    let note = Note::parse(note).unwrap();
    note.verify([key().verifier()]).unwrap();
    Checkpoint::parse(note.text()).unwrap()
}

/// Audits the log as an auditor and a monitor do, and returns its size.
///
/// Every record of the ledger is in the log once, and every signed checkpoint is one of this log.
pub async fn audit(objects: &dyn Objects, ledger: &dyn Ledger) -> u64 {
    let note = objects.get("log/checkpoint").await.unwrap().expect("a checkpoint");
    let published = checkpoint(&note);
    let leaves = leaf_bytes(objects, published.size()).await;
    let mut tree = Tree::default();
    let mut roots = vec![TreeHash::EMPTY];
    let mut range = CompactRange::default();
    for leaf in &leaves {
        let hash = TreeHash::of_leaf(leaf);
        tree.push(hash);
        range.push(hash);
        roots.push(range.root().unwrap());
    }
    for id in new_tiles(0, tree.size()).filter(|id| id.kind() != TileKind::Entries) {
        let tile = Tile::from_nodes(id, |node| tree.node(node)).unwrap();
        let stored = objects.get(&format!("log/{id}")).await.unwrap().unwrap();
        assert_eq!(*stored, *tile.to_bytes(), "{id}");
    }
    // Every signed checkpoint is one of this tree, and no size was signed twice.
    let (mut number, mut size, mut last) = (1, 0, Bytes::new());
    while let Some(note) = objects.get(&format!("log/lock/{number:010}")).await.unwrap() {
        let signed = checkpoint(&note);
        assert!(signed.size() > size, "checkpoint {number}");
        assert_eq!(signed.root(), roots[signed.size() as usize], "checkpoint {number}");
        assert!(matches!(Leaf::parse(&leaves[signed.size() as usize - 1]), Ok(Leaf::Heads(_))));
        (number, size, last) = (number + 1, signed.size(), note);
    }
    assert_eq!(last, note, "the last signed checkpoint is published");
    // The heads leaves match the leaves before them.
    let mut heads: BTreeMap<String, HeadEntry> = BTreeMap::new();
    let mut count = 0;
    for (index, leaf) in leaves.iter().enumerate() {
        match Leaf::parse(leaf).unwrap() {
            Leaf::Opened(leaf) => assert_eq!((index, leaf.origin.as_str()), (0, ORIGIN)),
            Leaf::Key(leaf) => {
                let (start_sequence, start_hash) =
                    leaf.start.map_or((0, Hash::ZERO), |start| (start.sequence, start.hash));
                heads.entry(leaf.device_id.clone()).or_insert(HeadEntry {
                    device_id: leaf.device_id,
                    sequence: 0,
                    record_hash: start_hash,
                    start_sequence,
                    start_hash,
                });
            }
            Leaf::Record(record) => {
                let head = heads.get_mut(&record.device_id).expect("a key before the records");
                let before = if head.sequence == 0 { head.start_sequence } else { head.sequence };
                assert_eq!((record.sequence, record.prev_record_hash), (before + 1, head.record_hash));
                (head.sequence, head.record_hash) = (record.sequence, record.hash());
                count += 1;
            }
            Leaf::Heads(leaf) => {
                let mut root = HeadsRoot::default();
                heads.values().for_each(|entry| root.push(entry).unwrap());
                assert_eq!((leaf.records, leaf.devices), (count, heads.len() as u64));
                assert_eq!(leaf.heads_root, root.root(), "leaf {index}");
            }
            _ => {}
        }
    }
    let all = records(ledger, &Filter::default()).await;
    assert_eq!(all.len() as u64, count, "records of the ledger in the log");
    for (device_id, head) in ledger.heads().await.unwrap() {
        let logged = &heads[&*device_id];
        assert_eq!((logged.sequence, logged.record_hash), (head.sequence, head.hash));
    }
    published.size()
}

async fn what_is_ingested_is_in_the_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    // A log without a record also has a checkpoint.
    assert_eq!(log.sequence(&mut leader).await.unwrap().leaves, 2);
    assert_eq!(audit(&*objects, &*ledger).await, 2);
    let mut lifts = devices(&*ledger, 3).await;
    ingest(&place, &mut lifts, 150).await;
    let done = log.sequence(&mut leader).await.unwrap();
    assert_eq!((done.batches, done.leaves), (1, 3 + 450 + 1));
    assert_eq!(audit(&*objects, &*ledger).await, 456);
    // Without new records, the log signs nothing.
    assert_eq!(log.sequence(&mut leader).await.unwrap().batches, 0);
    for _ in 0..3 {
        ingest(&place, &mut lifts[1..], 2).await;
        log.sequence(&mut leader).await.unwrap();
        audit(&*objects, &*ledger).await;
    }
    let status = log.status().await.unwrap();
    assert_eq!((status.backlog, status.open_batch), (0, None));
    assert_eq!(status.checkpoint.unwrap().lock_number, 5);
    log.check().await.unwrap();
}

async fn a_ledger_that_is_older_than_its_log_is_taken_over_in_batches(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let mut lifts = devices(&*ledger, 3).await;
    let mut elsewhere = device(9);
    chain(&mut elsewhere, 4);
    ledger.register(&registration(&elsewhere)).await.unwrap();
    lifts.push(elsewhere);
    ingest(&place, &mut lifts, 20).await;
    let log = log(&ledger, &objects, 7);
    log.init(1).await.unwrap();
    let done = log.sequence(&mut lead(&log).await).await.unwrap();
    assert!(done.batches >= 12, "{done:?}");
    let size = audit(&*objects, &*ledger).await;
    let leaves = leaf_bytes(&*objects, size).await;
    let Leaf::Opened(opened) = Leaf::parse(&leaves[0]).unwrap() else { panic!("not opened") };
    assert_eq!(opened.records_before, 80);
}

async fn keys_and_revocations_are_in_the_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 4).await;
    let new = |seed: u8, valid_from: Option<u64>| Registration {
        device_id: "lift-01".to_owned(),
        key: Device::from_seed("lift-01", [seed; 32], Scheme::Record).public_key().unwrap(),
        scheme: Scheme::Record,
        valid_from,
        start: None,
    };
    let kinds = async |from: u64| {
        let size = audit(&*objects, &*ledger).await;
        let leaves = leaf_bytes(&*objects, size).await;
        leaves[from as usize..].iter().map(|leaf| leaf[0]).collect::<Vec<u8>>()
    };
    log.sequence(&mut leader).await.unwrap();
    let size = audit(&*objects, &*ledger).await;
    // A rotation in a separate batch.
    ledger.register(&new(70, None)).await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    assert_eq!(kinds(size).await, [3, 2]);
    let size = audit(&*objects, &*ledger).await;
    // Both keys are revoked, and a third key replaces the second one, which never signed.
    assert_eq!(ledger.revoke("lift-01").await.unwrap(), 5);
    ledger.register(&new(71, Some(5))).await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    assert_eq!(kinds(size).await, [3, 4, 2]);
    let size = audit(&*objects, &*ledger).await;
    // The log omits a key that was revoked before it could sign and before the log had it.
    ledger.revoke("lift-01").await.unwrap();
    ledger.register(&new(72, Some(9))).await.unwrap();
    ledger.revoke("lift-01").await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    assert_eq!(kinds(size).await, [4, 2]);
    assert_eq!(log.sequence(&mut leader).await.unwrap().batches, 0);
}

/// The kinds of faults. A fault occurs once, after a countdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Fail,
    FailAfter,
    Hang,
    HangAfter,
}

/// A store in which one operation fails or hangs, before or after its effect.
pub struct Faulty {
    objects: Arc<dyn Objects>,
    how: How,
    left: AtomicI64,
    pub struck: Notify,
}

impl Faulty {
    /// Returns a store whose operation `turn` is struck.
    pub fn new(objects: &Arc<dyn Objects>, how: How, turn: i64) -> Arc<Faulty> {
        let (objects, left) = (Arc::clone(objects), AtomicI64::new(turn));
        Arc::new(Faulty { objects, how, left, struck: Notify::new() })
    }

    async fn strike(&self, after: bool, is_turn: bool) -> Result<(), StoreError> {
        let at = matches!(self.how, How::FailAfter | How::HangAfter);
        if !is_turn || at != after {
            return Ok(());
        }
        if matches!(self.how, How::Hang | How::HangAfter) {
            self.struck.notify_one();
            std::future::pending::<()>().await;
        }
        Err(StoreError {
            component: Component::TransparencyLog,
            action: "reach the store",
            place: self.objects.place().into(),
            kind: FailureKind::Passing,
            source: Arc::new(std::io::Error::other("a fault of the test")),
        })
    }

    async fn around<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let is_turn = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        self.strike(false, is_turn).await?;
        let done = work.await?;
        self.strike(true, is_turn).await?;
        Ok(done)
    }
}

#[async_trait]
impl Objects for Faulty {
    fn place(&self) -> &str {
        self.objects.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.objects.check().await
    }

    async fn put(&self, key: &str, bytes: Bytes, write: Write) -> Result<Written, StoreError> {
        self.around(self.objects.put(key, bytes, write)).await
    }

    async fn put_file(&self, key: &str, file: &Path, write: Write) -> Result<Written, StoreError> {
        self.around(self.objects.put_file(key, file, write)).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        self.around(self.objects.get_at_most(key, most)).await
    }

    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError> {
        self.around(self.objects.get_file(key, file, most)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.around(self.objects.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.around(self.objects.delete(key)).await
    }
}

/// A store that ignores the condition of a write.
struct Careless(Arc<dyn Objects>);

#[async_trait]
impl Objects for Careless {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }

    async fn put(&self, key: &str, bytes: Bytes, _: Write) -> Result<Written, StoreError> {
        self.0.put(key, bytes, Write::Replace).await
    }

    async fn put_file(&self, key: &str, file: &Path, _: Write) -> Result<Written, StoreError> {
        self.0.put_file(key, file, Write::Replace).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        self.0.get_at_most(key, most).await
    }

    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError> {
        self.0.get_file(key, file, most).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.0.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).await
    }
}

async fn a_store_that_replaces_objects_is_refused(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let careless: Arc<dyn Objects> = Arc::new(Careless(Arc::clone(&objects)));
    let new = |store: &Arc<dyn Objects>, lock: &Arc<dyn Objects>| {
        TransparencyLog::new(ledger.log().unwrap(), Arc::clone(store), Arc::clone(lock), key(), 1000)
    };
    // A second trial finds the object of the first.
    for _ in 0..2 {
        new(&objects, &objects).check_stores().await.unwrap();
        for (store, lock) in [(&careless, &objects), (&objects, &careless)] {
            let error = new(store, lock).check_stores().await.unwrap_err();
            assert_eq!((error.code(), error.is_retryable()), ("log_store_unfit", false), "{error}");
        }
        objects
            .put("log/write-once-trial", Bytes::from_static(b"written once\n"), Write::Replace)
            .await
            .unwrap();
    }
}

async fn every_operation_of_the_store_may_fail(place: Place) {
    faults(&place, [How::Fail, How::FailAfter]).await;
}

async fn it_may_end_at_every_operation_of_the_store(place: Place) {
    faults(&place, [How::Hang, How::HangAfter]).await;
}

async fn faults(place: &Place, hows: [How; 2]) {
    let (ledger, objects) = (place.ledger().await, objects(place).await);
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 2).await;
    for how in hows {
        let mut strikes = 0;
        for turn in 0.. {
            ingest(place, &mut lifts, 3).await;
            let faulty = Faulty::new(&objects, how, turn);
            let broken = log(&ledger, &(Arc::clone(&faulty) as Arc<dyn Objects>), 1000);
            let mut leader = lead(&whole).await;
            let ended = tokio::select! {
                done = broken.sequence(&mut leader) => Some(done),
                () = faulty.struck.notified() => None,
            };
            drop(leader);
            match ended {
                Some(Ok(_)) if faulty.left.load(Ordering::SeqCst) >= 0 => break,
                Some(Ok(_)) => panic!("{how:?} at operation {turn} went unnoticed"),
                Some(Err(error)) => assert!(error.is_retryable(), "{error}"),
                None => {}
            }
            strikes += 1;
            // The next process finishes the batch, and has no other work.
            let again = whole.sequence(&mut lead(&whole).await).await.unwrap();
            assert!(again.batches <= 1, "{how:?} at operation {turn}: {again:?}");
            audit(&*objects, &*ledger).await;
        }
        assert!(strikes >= 8, "{how:?}: {strikes} operations");
        audit(&*objects, &*ledger).await;
    }
}

async fn there_is_one_leader(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut first) = open(&ledger, &objects).await;
    match place.kind {
        Kind::Postgres => {
            assert!(matches!(log.lead().await, Err(LogError::LedElsewhere)));
            log.sequence(&mut first).await.unwrap();
            drop(first);
            lead(&log).await;
        }
        // SQLite has no lasting lock: the newest leader leads, and the previous one writes nothing more.
        Kind::Sqlite => {
            let mut second = log.lead().await.unwrap();
            let error = log.sequence(&mut first).await.unwrap_err();
            assert_eq!((error.code(), error.is_retryable()), ("log_superseded", true));
            log.sequence(&mut second).await.unwrap();
        }
    }
    audit(&*objects, &*ledger).await;
}

async fn two_processes_make_one_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (_, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 3).await;
    let process = async |max_records: u64| {
        let log = log(&place.ledger().await, &objects, max_records);
        let mut batches = 0;
        while batches < 12 {
            let done = match log.lead().await {
                Ok(mut leader) => log.sequence(&mut leader).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(done) => batches += done.batches.max(1),
                Err(error) => assert!(error.is_retryable(), "{}: {error}", error.code()),
            }
            tokio::task::yield_now().await;
        }
    };
    let devices_send = async {
        for _ in 0..8 {
            ingest(&place, &mut lifts, 5).await;
        }
    };
    tokio::join!(process(10), process(13), devices_send);
    let log = log(&ledger, &objects, 100);
    log.sequence(&mut lead(&log).await).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn an_edited_record_stops_the_log_and_not_ingest(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 5).await;
    log.sequence(&mut leader).await.unwrap();
    let size = audit(&*objects, &*ledger).await;
    ingest(&place, &mut lifts, 300).await;
    place.tamper("UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE device_id = 'lift-02' AND sequence = 9").await;
    for _ in 0..2 {
        let error = log.sequence(&mut leader).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("ledger_tampered", false));
        let tampered = error.tampered().unwrap();
        assert_eq!((tampered.device_id.as_str(), tampered.sequence), ("lift-02", 10));
        assert!(tampered.record.is_some());
        ingest(&place, &mut lifts, 1).await;
    }
    // It also stops after a restart, which finds the same evidence again.
    drop(leader);
    let log = self::log(&place.ledger().await, &objects, 1000);
    let mut leader = lead(&log).await;
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered");
    let kept = evidence(&*objects, &log).await;
    let of = |name: &str| kept[name].as_str().unwrap();
    assert_eq!((of("device_id"), &kept["sequence"], of("problem")), ("lift-02", &10.into(), "link"));
    // The record that shows the change names the hash of the record as it was.
    let shown = hex::decode(of("record")).unwrap();
    let Ok(Leaf::Record(shown)) = Leaf::parse(&[&[1][..], &shown].concat()) else { panic!("{kept}") };
    assert_eq!((of("found"), shown.sequence), (&*shown.prev_record_hash.to_string(), 10));
    assert_ne!(of("expected"), of("found"));
    // The log signed nothing and wrote no file of the batch.
    let published = checkpoint(&objects.get("log/checkpoint").await.unwrap().unwrap());
    assert_eq!(published.size(), size);
    assert_eq!(objects.get("log/tile/entries/000").await.unwrap(), None);
    place.tamper("UPDATE audit_records SET timestamp_ms = timestamp_ms - 1 WHERE device_id = 'lift-02' AND sequence = 9").await;
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
    assert_eq!(evidence(&*objects, &log).await, kept);
}

/// Returns the only evidence that is kept.
async fn evidence(objects: &dyn Objects, log: &TransparencyLog) -> serde_json::Value {
    let keys = log.evidence().await.unwrap();
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    serde_json::from_slice(&objects.get(key).await.unwrap().unwrap()).unwrap()
}

async fn a_batch_that_took_over_a_change_is_withdrawn_after_the_repair(place: Place) {
    let (ledger, objects, log, mut leader, mut lifts) = signed_once(&place).await;
    let refused = log.withdraw(&mut leader).await.unwrap_err();
    assert_eq!(refused.code(), "log_not_withdrawn", "{refused}");
    let changes = [
        (
            "UPDATE chain_heads SET record_hash = BYTES WHERE device_id = 'lift-01'",
            "UPDATE chain_heads SET record_hash = (SELECT record_hash FROM audit_records r
             WHERE r.device_id = 'lift-01' AND r.sequence = chain_heads.sequence) WHERE device_id = 'lift-01'",
        ),
        (
            "UPDATE chain_heads SET sequence = sequence + 2 WHERE device_id = 'lift-01'",
            "UPDATE chain_heads SET sequence = sequence - 2 WHERE device_id = 'lift-01'",
        ),
    ];
    for (number, (change, back)) in (2..).zip(changes) {
        let size = audit_size(&*objects).await;
        // Keys, revocations and a new device are in the batch as well.
        ingest(&place, &mut lifts, 2).await;
        let mut new = device(number);
        ledger.register(&registration(&new)).await.unwrap();
        ingest(&place, std::slice::from_mut(&mut new), 2).await;
        ledger.revoke(&format!("lift-0{number}")).await.unwrap();
        let from = new.head().unwrap().sequence + 1;
        let again = Registration {
            key: Device::from_seed("x", [90 + number; 32], Scheme::Record).public_key().unwrap(),
            valid_from: Some(from),
            start: None,
            ..registration(&new)
        };
        ledger.register(&again).await.unwrap();
        write_sql(&place, change).await;
        assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered", "{change}");
        write_sql(&place, back).await;
        // The positions have the change, so a repair alone does not help, in this process or in another one.
        drop(leader);
        let other = self::log(&place.ledger().await, &objects, 1000);
        leader = lead(&other).await;
        assert_eq!(other.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered", "{change}");
        let withdrawn = other.withdraw(&mut leader).await.unwrap();
        assert_eq!((withdrawn.batch.first_index, withdrawn.contradiction.code()), (size, "ledger_tampered"));
        assert_eq!(other.withdraw(&mut leader).await.unwrap_err().code(), "log_not_withdrawn");
        assert_eq!(other.sequence(&mut leader).await.unwrap().batches, 1);
        audit(&*objects, &*ledger).await;
        // The keys of the log are those of the ledger again.
        assert_eq!(other.sequence(&mut leader).await.unwrap().batches, 0);
    }
}

async fn a_copy_from_before_a_withdrawal_is_recovered(place: Place) {
    let (_, objects, log, mut leader, mut lifts) = signed_once(&place).await;
    ingest(&place, &mut lifts, 2).await;
    write_sql(&place, "UPDATE chain_heads SET record_hash = BYTES WHERE device_id = 'lift-01'").await;
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered");
    let back = "UPDATE chain_heads SET record_hash = (SELECT record_hash FROM audit_records r
                WHERE r.device_id = 'lift-01' AND r.sequence = chain_heads.sequence) WHERE device_id = 'lift-01'";
    write_sql(&place, back).await;
    drop(leader);
    let backup = copy(&place).await;
    let mut leader = lead(&log).await;
    log.withdraw(&mut leader).await.unwrap();
    assert_eq!(log.sequence(&mut leader).await.unwrap().batches, 1);
    let ledger = backup.ledger().await;
    let restored = self::log(&ledger, &objects, 1000);
    let mut leader = lead(&restored).await;
    assert_eq!(restored.recover(&mut leader, Conflicts::Refuse).await.unwrap().batches, 1);
    assert_eq!(restored.sequence(&mut leader).await.unwrap().batches, 0);
    audit(&*objects, &*ledger).await;
}

/// The batch of the copy agrees with its records. The log has signed another one in its place: larger, smaller, or of the
/// same size.
async fn a_copy_with_a_batch_that_was_withdrawn_later_is_behind(place: Place) {
    for (more, max_records) in [(2, 1000), (0, 1), (0, 1000)] {
        let place = Place::new(place.kind).await;
        let (_, objects, log, mut leader, mut lifts) = signed_once(&place).await;
        ingest(&place, &mut lifts, 2).await;
        write_sql(&place, "UPDATE chain_heads SET record_hash = BYTES WHERE device_id = 'lift-01'").await;
        assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered");
        let hash_at = |sequence: &str| {
            format!(
                "(SELECT record_hash FROM audit_records r WHERE r.device_id = 'lift-01' AND r.sequence = {sequence})"
            )
        };
        let back = format!(
            "UPDATE chain_heads SET record_hash = {} WHERE device_id = 'lift-01'",
            hash_at("chain_heads.sequence")
        );
        write_sql(&place, &back).await;
        drop(leader);
        let backup = copy(&place).await;
        for (table, column, sequence) in [
            ("log_heads", "record_hash", "log_heads.sequence"),
            ("log_runs", "head_hash", "log_runs.first_sequence + log_runs.records - 1"),
        ] {
            let hash = hash_at(sequence);
            let right = format!("UPDATE {table} SET {column} = {hash} WHERE device_id = 'lift-01'");
            write_sql(&backup, &right).await;
        }
        let mut leader = lead(&log).await;
        log.withdraw(&mut leader).await.unwrap();
        drop(leader);
        if more > 0 {
            ingest(&place, &mut lifts, more).await;
        }
        let other = self::log(&place.ledger().await, &objects, max_records);
        other.sequence(&mut lead(&other).await).await.unwrap();
        let (ledger, files) = (backup.ledger().await, objects.list("log/").await.unwrap());
        let restored = self::log(&ledger, &objects, 1000);
        let mut leader = lead(&restored).await;
        let error = restored.sequence(&mut leader).await.unwrap_err();
        assert_eq!(error.code(), "log_behind", "{more} {max_records}: {error}");
        assert_eq!(objects.list("log/").await.unwrap(), files);
        let done = restored.recover(&mut leader, Conflicts::Refuse).await.unwrap();
        assert!(done.batches > 0);
        restored.check().await.unwrap();
        audit(&*objects, &*ledger).await;
    }
}

async fn audit_size(objects: &dyn Objects) -> u64 {
    checkpoint(&objects.get("log/checkpoint").await.unwrap().unwrap()).size()
}

async fn has_files(objects: &dyn Objects, batch: &BatchRow) -> bool {
    for id in new_tiles(batch.first_index, batch.size) {
        if objects.get(&format!("log/{id}")).await.unwrap().is_some() {
            return true;
        }
    }
    false
}

async fn a_batch_that_agrees_with_the_ledger_is_not_withdrawn(place: Place) {
    let (ledger, objects, whole, leader, mut lifts) = signed_once(&place).await;
    drop(leader);
    // The process ends at each operation of the store: none of the batches is withdrawn, whether files are stored or not.
    for turn in 0.. {
        ingest(&place, &mut lifts, 1).await;
        let faulty = Arc::new(Faulty {
            objects: Arc::clone(&objects),
            how: How::FailAfter,
            left: AtomicI64::new(turn),
            struck: Notify::new(),
        });
        let broken = log(&ledger, &(Arc::clone(&faulty) as Arc<dyn Objects>), 1000);
        let done = broken.sequence(&mut lead(&whole).await).await;
        let mut leader = lead(&whole).await;
        let refused = whole.withdraw(&mut leader).await.unwrap_err();
        assert_eq!(refused.code(), "log_not_withdrawn", "operation {turn}: {refused}");
        // A record that is changed afterwards does not free a batch whose files are stored.
        if let Some(batch) = whole.status().await.unwrap().open_batch
            && has_files(&*objects, &batch).await
        {
            let change = "UPDATE audit_records SET timestamp_ms = timestamp_ms + BY
                          WHERE sequence = (SELECT max(sequence) FROM audit_records)";
            write_sql(&place, &change.replace("BY", "1")).await;
            let refused = whole.withdraw(&mut leader).await.unwrap_err();
            assert_eq!(refused.code(), "log_not_withdrawn", "operation {turn}: {refused}");
            write_sql(&place, &change.replace("BY", "-1")).await;
        }
        whole.sequence(&mut leader).await.unwrap();
        drop(leader);
        audit(&*objects, &*ledger).await;
        if done.is_ok() {
            break;
        }
    }
}

async fn a_head_that_went_back_stops_the_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 5).await;
    log.sequence(&mut leader).await.unwrap();
    place.tamper("DELETE FROM audit_records WHERE device_id = 'lift-01' AND sequence = 5").await;
    place
        .tamper(
            "UPDATE chain_heads SET sequence = 4, record_hash = (SELECT record_hash FROM audit_records
             WHERE device_id = 'lift-01' AND sequence = 4) WHERE device_id = 'lift-01'",
        )
        .await;
    let error = log.sequence(&mut leader).await.unwrap_err();
    assert_eq!(error.code(), "ledger_tampered");
    assert_eq!(error.tampered().map(|tampered| tampered.sequence), Some(5));
    let kept = evidence(&*objects, &log).await;
    assert_eq!((&kept["problem"], &kept["sequence"]), (&"missing".into(), &5.into()), "{kept}");
}

/// Copies the ledger in its current state, as a backup does.
pub async fn copy(place: &Place) -> Place {
    let folder = TempDir::new().unwrap();
    match place.kind {
        Kind::Sqlite => {
            let path = folder.path().join("ledger.db");
            let mut connection = sqlx::SqliteConnection::connect(&place.url).await.unwrap();
            let statement = sqlx::AssertSqlSafe(format!("VACUUM INTO '{}'", path.display()));
            sqlx::query(statement).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            Place { kind: place.kind, url: format!("sqlite:{}", path.display()), folder }
        }
        Kind::Postgres => {
            let server = server("EDGESENTRY_TEST_POSTGRES");
            let url = database(&server).await;
            let name = |url: &str| url.rsplit_once('/').unwrap().1.to_owned();
            let (from, to) = (name(&place.url), name(&url));
            let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
            let end =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'");
            let statements =
                [format!("DROP DATABASE {to}"), end.clone(), format!("CREATE DATABASE {to} TEMPLATE {from}")];
            for statement in &statements[..1] {
                sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(&mut connection).await.unwrap();
            }
            for _ in 0..50 {
                sqlx::query(sqlx::AssertSqlSafe(end.clone())).execute(&mut connection).await.unwrap();
                let create = sqlx::AssertSqlSafe(statements[2].clone());
                if sqlx::query(create).execute(&mut connection).await.is_ok() {
                    return Place { kind: place.kind, url, folder };
                }
            }
            panic!("{from} is in use and cannot be copied");
        }
    }
}

async fn a_restored_ledger_signs_nothing_until_it_is_recovered(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    // A copy from before the log was opened.
    let before = copy(&place).await;
    let (log_before, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 4).await;
    log_before.sequence(&mut leader).await.unwrap();
    drop(leader);
    let backup = copy(&place).await;
    let mut leader = lead(&log_before).await;
    // Several batches with records, a new device, a rotation and a revocation.
    ingest(&place, &mut lifts, 3).await;
    log_before.sequence(&mut leader).await.unwrap();
    let mut third = device(3);
    ledger.register(&registration(&third)).await.unwrap();
    let batch = [chain(&mut third, 2), chain(&mut lifts[0], 1)].concat();
    let service = place.service().await;
    service.ingest_many(batch).await;
    drop(service);
    log_before.sequence(&mut leader).await.unwrap();
    ledger.revoke("lift-02").await.unwrap();
    log_before.sequence(&mut leader).await.unwrap();
    let size = audit(&*objects, &*ledger).await;
    let all = records(&*ledger, &Filter::default()).await;
    for restored in [&before, &backup] {
        let ledger = restored.ledger().await;
        let log = log(&ledger, &objects, 1000);
        if log.status().await.is_err() {
            assert_eq!(log.init(1).await.unwrap_err().code(), "log_behind");
        }
        log.reopen().await.unwrap();
        let mut leader = lead(&log).await;
        let error = log.sequence(&mut leader).await.unwrap_err();
        assert_eq!(error.code(), "log_behind", "{error}");
        // It did not assign positions either.
        assert_eq!(log.status().await.unwrap().open_batch, None);
        let lag = log.lag().await.unwrap().unwrap();
        let has_checkpoint = log.status().await.unwrap().checkpoint.is_some();
        assert_eq!((lag.checkpoints, lag.records), if has_checkpoint { (3, 9) } else { (4, 17) });
        log.recover(&mut leader, Conflicts::Refuse).await.unwrap();
        assert_eq!(log.lag().await.unwrap(), None);
        let query = LogQuery { outcome: Some(OutcomeKind::Accepted), ..LogQuery::default() };
        assert_eq!(ledger.operation_log(&query).await.unwrap().len(), all.len(), "an entry for each record");
        assert_eq!(records(&*ledger, &Filter::default()).await, all);
        assert_eq!(audit(&*objects, &*ledger).await, size);
        log.check().await.unwrap();
        assert_eq!(log.sequence(&mut leader).await.unwrap().batches, 0);
        assert_eq!(log.recover(&mut leader, Conflicts::Refuse).await.unwrap().batches, 0);
    }
    // A copy of the ledger can be recovered from a log that is only read, and then signs nothing.
    let mut lifts = [lifts.remove(0), third];
    let numbers = objects.list("log/").await.unwrap();
    ingest(&before, &mut lifts.clone(), 1).await;
    let frozen = log(&before.ledger().await, &objects, 1000).read_only();
    let error = frozen.sequence(&mut lead(&frozen).await).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("store", false), "{error}");
    assert_eq!(objects.list("log/").await.unwrap(), numbers);
    // The second backup continues.
    let ledger = backup.ledger().await;
    let log = log(&ledger, &objects, 1000);
    ingest(&backup, &mut lifts, 2).await;
    log.sequence(&mut lead(&log).await).await.unwrap();
    audit(&*objects, &*ledger).await;
    let revoked = ledger.devices().await.unwrap();
    assert_eq!(revoked[1].keys[0].revoked_from, Some(8));
}

async fn a_ledger_that_was_copied_within_a_batch_goes_on(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 4).await;
    // The log assigns the positions, and the process ends at the first file.
    let faulty = Arc::new(Faulty {
        objects: Arc::clone(&objects),
        how: How::Fail,
        left: AtomicI64::new(2),
        struck: Notify::new(),
    });
    let broken = log(&ledger, &(faulty as Arc<dyn Objects>), 1000);
    broken.sequence(&mut lead(&whole).await).await.unwrap_err();
    assert!(whole.status().await.unwrap().open_batch.is_some());
    let backup = copy(&place).await;
    for _ in 0..2 {
        whole.sequence(&mut lead(&whole).await).await.unwrap();
        ingest(&place, &mut lifts, 4).await;
    }
    audit_prefix(&*objects).await;
    let restored = backup.ledger().await;
    let log = log(&restored, &objects, 1000);
    let mut leader = lead(&log).await;
    // The batch was signed; the batches after it are missing.
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_behind");
    log.recover(&mut leader, Conflicts::Refuse).await.unwrap();
    audit(&*objects, &*restored).await;
    // The devices send the records again that the log did not have yet.
    let resend = chain_from(&mut lifts, 9, 12);
    let service = backup.service().await;
    let answers = service.ingest_many(resend).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    drop(service);
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*restored).await;
}

/// Returns the records of devices in a range of sequences, signed again: signatures are deterministic.
fn chain_from(
    lifts: &mut [Device],
    first: usize,
    last: usize,
) -> Vec<edgesentry_rs::ingest::verify::Submission> {
    let numbers = 1..=u8::try_from(lifts.len()).unwrap();
    numbers.flat_map(|number| chain(&mut device(number), last).split_off(first - 1)).collect()
}

/// Checks that the published checkpoint verifies.
async fn audit_prefix(objects: &dyn Objects) {
    checkpoint(&objects.get("log/checkpoint").await.unwrap().unwrap());
}

async fn a_ledger_that_took_other_records_is_not_recovered(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    whole.sequence(&mut lead(&whole).await).await.unwrap();
    let backup = copy(&place).await;
    ingest(&place, &mut lifts, 1).await;
    whole.sequence(&mut lead(&whole).await).await.unwrap();
    // A device that also lost its state signs another record.
    let mut again = device(1);
    chain(&mut again, 2);
    let service = backup.service().await;
    let other = crate::common::next_with(&mut again, "something else");
    assert!(service.ingest_many(vec![other]).await[0].is_ok());
    drop(service);
    let log = log(&backup.ledger().await, &objects, 1000);
    let mut leader = lead(&log).await;
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_behind");
    let error = log.recover(&mut leader, Conflicts::Refuse).await.unwrap_err();
    assert_eq!(error.code(), "log_conflict");
    assert!(error.to_string().contains("sequence 3"), "{error}");
}

async fn the_records_of_the_log_replace_others_only_on_request(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 2).await;
    whole.sequence(&mut lead(&whole).await).await.unwrap();
    let backup = copy(&place).await;
    // The log has two more batches of both devices.
    for _ in 0..2 {
        ingest(&place, &mut lifts, 2).await;
        whole.sequence(&mut lead(&whole).await).await.unwrap();
    }
    let size = audit(&*objects, &*ledger).await;
    let all = records(&*ledger, &Filter::default()).await;
    // In the backup, lift-01 signed four records again, all different from sequence 4 on; lift-02 sent the same again.
    let (mut again, mut same) = (device(1), device(2));
    chain(&mut again, 2);
    chain(&mut same, 2);
    let mut sent = chain(&mut again, 1);
    for n in 0..4000 {
        sent.push(crate::common::next_with(&mut again, &format!("something else {n}")));
    }
    sent.extend(chain(&mut same, 3));
    let service = backup.service().await;
    assert!(service.ingest_many(sent).await.iter().all(Result::is_ok));
    drop(service);
    let ledger = backup.ledger().await;
    let before = records(&*ledger, &Filter::default()).await;
    let log = log(&ledger, &objects, 1000);
    let mut leader = lead(&log).await;
    let error = log.recover(&mut leader, Conflicts::Refuse).await.unwrap_err();
    assert_eq!(error.code(), "log_conflict");
    assert!(error.to_string().contains("\"lift-01\", sequence 4"), "{error}");
    assert_eq!(records(&*ledger, &Filter::default()).await, before, "nothing was moved");

    // An end at each operation of the store: the next call continues.
    let mut replaced = Vec::new();
    for turn in 0.. {
        let faulty = Arc::new(Faulty {
            objects: Arc::clone(&objects),
            how: How::Hang,
            left: AtomicI64::new(turn),
            struck: Notify::new(),
        });
        let broken = self::log(&ledger, &(Arc::clone(&faulty) as Arc<dyn Objects>), 1000);
        drop(leader);
        leader = lead(&log).await;
        let done = tokio::select! {
            done = broken.recover(&mut leader, Conflicts::Replace) => done.unwrap(),
            () = faulty.struck.notified() => continue,
        };
        replaced.extend(done.replaced);
        if faulty.left.load(Ordering::SeqCst) >= 0 {
            break;
        }
    }
    assert_eq!(records(&*ledger, &Filter::default()).await, all);
    assert_eq!(audit(&*objects, &*ledger).await, size);
    log.check().await.unwrap();
    assert!(replaced.len() <= 1, "the records of one device were replaced once: {replaced:?}");

    // Each replaced record is evidence, once and whole.
    let reason = Some(LOG_CONFLICT.to_owned());
    let query = LogQuery { reason, limit: 10_000, ..LogQuery::default() };
    let entries = ledger.operation_log(&query).await.unwrap();
    let moved: Vec<_> = before.iter().filter(|record| !all.contains(record)).collect();
    assert_eq!((entries.len(), moved.len()), (4000, 4000));
    for (entry, record) in entries.iter().zip(moved) {
        assert_eq!((entry.device_id.as_str(), entry.sequence), ("lift-01", Some(record.sequence)));
        assert_eq!(entry.evidence.as_deref(), Some(&*record.canonical_bytes()));
        assert_eq!(entry.expected.is_some(), record.sequence == 4, "{entry:?}");
    }
    // The devices continue the chains of the log.
    let mut lifts = [device(1), device(2)];
    lifts.iter_mut().for_each(|lift| drop(chain(lift, 6)));
    ingest(&backup, &mut lifts, 1).await;
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn a_lock_that_is_gone_or_of_another_log_is_refused(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    log.sequence(&mut leader).await.unwrap();
    let key = "log/lock/0000000001";
    let note = objects.get(key).await.unwrap().unwrap();
    objects.delete(key).await.unwrap();
    ingest(&place, &mut lifts, 1).await;
    let error = log.sequence(&mut leader).await.unwrap_err();
    assert!(matches!(error, LogError::LockLost { number: 1, .. }), "{error}");
    let other =
        Checkpoint::new(ORIGIN, 5, TreeHash([7; 32])).unwrap().sign(&self::key()).unwrap().to_string();
    objects.put(key, other.clone().into(), Write::Replace).await.unwrap();
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_forked");
    objects.put(key, note, Write::Replace).await.unwrap();
    // Another process signed the next number: of a size for which this ledger has no batch, or will have one.
    objects.put("log/lock/0000000002", other.into(), Write::IfAbsent).await.unwrap();
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_behind");
    let error = log.recover(&mut leader, Conflicts::Refuse).await.unwrap_err();
    assert!(["log_damaged", "log_forked"].contains(&error.code()), "{error}");
    objects.delete("log/lock/0000000002").await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn files_that_were_changed_are_refused(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    log.sequence(&mut leader).await.unwrap();
    let size = audit(&*objects, &*ledger).await;
    let key = format!("log/{}", TileId::new(TileKind::Hashes(0), 0, size as u16).unwrap());
    let tile = objects.get(&key).await.unwrap().unwrap();
    objects.put(&key, Bytes::from(vec![7; tile.len()]), Write::Replace).await.unwrap();
    ingest(&place, &mut lifts, 1).await;
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_damaged");
    objects.put(&key, tile, Write::Replace).await.unwrap();
    // The store already has a file of the next batch, with other content.
    let next = format!("log/{}", TileId::new(TileKind::Entries, 0, size as u16 + 2).unwrap());
    objects.put(&next, Bytes::from_static(b"other"), Write::IfAbsent).await.unwrap();
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_damaged");
    objects.delete(&next).await.unwrap();
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn heads_from_outside_are_compared(place: Place) {
    let ledger = place.ledger().await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 3).await;
    let trusted = ledger.heads().await.unwrap();
    ingest(&place, &mut lifts, 2).await;
    compare_heads(&*ledger, &trusted).await.unwrap();
    let mut other = trusted.clone();
    other.get_mut("lift-02").unwrap().hash = Hash([7; 32]);
    assert_eq!(compare_heads(&*ledger, &other).await.unwrap_err().code(), "head_mismatch");
    other.clone_from(&trusted);
    other.get_mut("lift-01").unwrap().sequence = 6;
    let error = compare_heads(&*ledger, &other).await.unwrap_err();
    assert!(error.to_string().contains("no such record"), "{error}");
    let _ = next(&mut lifts[0]);
}

/// Opens a log and signs one checkpoint of four leaves: opened, key, record, heads.
async fn signed_once(
    place: &Place,
) -> (Arc<dyn Ledger>, Arc<dyn Objects>, TransparencyLog, Leader, Vec<Device>) {
    let (ledger, objects) = (place.ledger().await, objects(place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(place, &mut lifts, 1).await;
    log.sequence(&mut leader).await.unwrap();
    assert_eq!(audit(&*objects, &*ledger).await, 4);
    (ledger, objects, log, leader, lifts)
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Runs a statement in which `BYTES` is 32 bytes in the notation of the database.
pub async fn write_sql(place: &Place, statement: &str) {
    let bytes = match place.kind {
        Kind::Sqlite => format!("x'{ZEROS}'"),
        Kind::Postgres => format!("'\\x{ZEROS}'::bytea"),
    };
    place.tamper(Box::leak(statement.replace("BYTES", &bytes).into_boxed_str())).await;
}

async fn a_root_that_was_written_into_the_ledger_is_not_signed(place: Place) {
    let (_, objects, log, mut leader, _) = signed_once(&place).await;
    write_sql(
        &place,
        "INSERT INTO log_batches (batch, first_index, size, root, heads_root, at_ms, state)
         VALUES (2, 4, 5, BYTES, BYTES, 1, 'integrated')",
    )
    .await;
    place.tamper("UPDATE log_state SET next_index = 5, batch = 2").await;
    for _ in 0..2 {
        assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "log_inconsistent");
    }
    // The leaf is a heads leaf, but the root still differs.
    place
        .tamper(
            "INSERT INTO log_events (log_index, kind, leaf) SELECT 4, kind, leaf FROM log_events
             WHERE log_index = 3",
        )
        .await;
    let error = log.sequence(&mut leader).await.unwrap_err();
    assert_eq!(error.code(), "log_inconsistent");
    assert!(error.to_string().contains("batch 2 has root"), "{error}");
    assert_eq!(objects.get("log/lock/0000000002").await.unwrap(), None);
    assert_eq!(checkpoint(&objects.get("log/checkpoint").await.unwrap().unwrap()).size(), 4);
}

async fn a_batch_or_checkpoint_that_was_changed_is_refused(place: Place) {
    let (ledger, objects, log, mut leader, mut lifts) = signed_once(&place).await;
    ingest(&place, &mut lifts, 1).await;
    for (change, back) in [
        ("UPDATE checkpoints SET size = 2", "UPDATE checkpoints SET size = 4"),
        (
            "UPDATE checkpoints SET root = BYTES",
            "UPDATE checkpoints SET root = (SELECT root FROM log_batches WHERE batch = 1)",
        ),
        ("UPDATE log_state SET next_index = 3", "UPDATE log_state SET next_index = 4"),
    ] {
        write_sql(&place, change).await;
        let code = log.sequence(&mut leader).await.unwrap_err().code();
        let expected = if change.contains("checkpoints") { "log_forked" } else { "log_inconsistent" };
        assert_eq!(code, expected, "{change}");
        write_sql(&place, back).await;
    }
    assert_eq!(objects.get("log/lock/0000000002").await.unwrap(), None);
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn a_device_that_was_removed_from_the_heads_stops_the_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (log, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 2).await;
    ingest(&place, &mut lifts, 2).await;
    log.sequence(&mut leader).await.unwrap();
    place.tamper("CREATE TABLE kept AS SELECT * FROM log_heads WHERE device_id = 'lift-02'").await;
    place.tamper("DELETE FROM log_heads WHERE device_id = 'lift-02'").await;
    ingest(&place, &mut lifts, 1).await;
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered");
    assert_eq!(log.status().await.unwrap().open_batch, None);
    let kept = evidence(&*objects, &log).await;
    assert!(kept["problem"] == "heads" && kept["expected"] != kept["found"], "{kept}");
    // A new key of the device does not bring it back.
    let key = Device::from_seed("lift-02", [70; 32], Scheme::Record).public_key().unwrap();
    ledger.register(&Registration { key, start: None, ..registration(&lifts[1]) }).await.unwrap();
    assert_eq!(log.sequence(&mut leader).await.unwrap_err().code(), "ledger_tampered");
    assert_eq!(log.status().await.unwrap().open_batch, None);
    place.tamper("INSERT INTO log_heads SELECT * FROM kept").await;
    log.sequence(&mut leader).await.unwrap();
    audit(&*objects, &*ledger).await;
}

async fn a_run_that_was_extended_beyond_its_records_stops_the_log(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 5).await;
    let faulty = Arc::new(Faulty {
        objects: Arc::clone(&objects),
        how: How::Fail,
        left: AtomicI64::new(1),
        struck: Notify::new(),
    });
    let broken = log(&ledger, &(faulty as Arc<dyn Objects>), 1000);
    broken.sequence(&mut lead(&whole).await).await.unwrap_err();
    assert!(whole.status().await.unwrap().open_batch.is_some());
    // More records than a disk can hold: the log must not look for each of them.
    place.tamper("UPDATE log_runs SET records = 9000000000000000000").await;
    let error = whole.sequence(&mut lead(&whole).await).await.unwrap_err();
    assert_eq!(error.tampered().map(|tampered| tampered.sequence), Some(6), "{error}");
    place.tamper("UPDATE log_runs SET records = 5").await;
    whole.sequence(&mut lead(&whole).await).await.unwrap();
    audit(&*objects, &*ledger).await;
}

#[tokio::test]
async fn a_repeated_write_of_many_files_adds_the_missing_ones() {
    let root = TempDir::new().unwrap();
    let objects = folder(root.path());
    let file = |n: u8| (format!("log/tile/{}/{n:03}", n % 3), Bytes::from(vec![n; 10]));
    let files: Vec<(String, Bytes)> = (0..40).map(file).collect();
    // As after a crash, some names are in place. One of them has other content.
    objects.put_all(files[..7].to_vec()).await.unwrap();
    objects.put(&files[9].0, Bytes::from_static(b"other"), Write::IfAbsent).await.unwrap();
    let written = objects.put_all(files.clone()).await.unwrap();
    for (n, ((key, bytes), written)) in files.iter().zip(written).enumerate() {
        assert_eq!(written == Written::Taken, n < 7 || n == 9, "{key}");
        let there = objects.get(key).await.unwrap().unwrap();
        assert_eq!(there == *bytes, n != 9, "{key}");
    }
    assert_eq!(std::fs::read_dir(root.path().join(".partial")).unwrap().count(), 0);
    // A key that leads out of the directory stores nothing under it.
    let outside = ("../outside".to_owned(), Bytes::new());
    assert!(objects.put_all(vec![file(50), outside]).await.is_err());
    assert!(!root.path().parent().unwrap().join("outside").exists());
}

async fn a_gap_in_the_lock_is_refused(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let before = copy(&place).await;
    let (whole, leader) = open(&ledger, &objects).await;
    drop(leader);
    let mut lifts = devices(&*ledger, 1).await;
    let mut backup = None;
    for _ in 0..3 {
        ingest(&place, &mut lifts, 1).await;
        whole.sequence(&mut lead(&whole).await).await.unwrap();
        if backup.is_none() {
            backup = Some(copy(&place).await);
        }
    }
    // The ledger is at checkpoint 1. Object 2 was deleted; object 3 reveals the gap.
    let backup = backup.unwrap();
    objects.delete("log/lock/0000000002").await.unwrap();
    let restored = log(&backup.ledger().await, &objects, 1000);
    assert_eq!(restored.lead().await.unwrap_err().code(), "log_behind");
    assert_eq!(restored.check().await.unwrap_err().code(), "log_behind");
    objects.delete("log/lock/0000000001").await.unwrap();
    let empty = log(&before.ledger().await, &objects, 1000);
    assert_eq!(empty.init(1).await.unwrap_err().code(), "log_behind");
    assert!(empty.reopen().await.is_err());
    assert!(before.ledger().await.log().unwrap().state().await.unwrap().is_none());
}

async fn a_larger_published_checkpoint_is_not_replaced(place: Place) {
    let (ledger, objects, log_before, leader, mut lifts) = signed_once(&place).await;
    drop(leader);
    let backup = copy(&place).await;
    ingest(&place, &mut lifts, 1).await;
    log_before.sequence(&mut lead(&log_before).await).await.unwrap();
    let size = audit(&*objects, &*ledger).await;
    // The ledger was restored, and the last object of the lock was deleted.
    objects.delete("log/lock/0000000002").await.unwrap();
    let restored = log(&backup.ledger().await, &objects, 1000);
    let mut leader = lead(&restored).await;
    restored.sequence(&mut leader).await.unwrap();
    assert_eq!(checkpoint(&objects.get("log/checkpoint").await.unwrap().unwrap()).size(), size);
    backup.ledger().await.revoke("lift-01").await.unwrap();
    let error = restored.sequence(&mut leader).await.unwrap_err();
    assert!(["log_behind", "log_damaged"].contains(&error.code()), "{error}");
    assert_eq!(objects.get("log/lock/0000000002").await.unwrap(), None);
}

async fn a_rotation_signs_with_both_keys(place: Place) {
    let (ledger, objects, _, leader, mut lifts) = signed_once(&place).await;
    drop(leader);
    let new_key = || SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [43; 32]).unwrap();
    let log = |key: SignerKey| {
        TransparencyLog::new(ledger.log().unwrap(), Arc::clone(&objects), Arc::clone(&objects), key, 1000)
    };
    let policy = |keys: &[SignerKey]| {
        let lines: String = keys.iter().map(|key| format!("log {}\n", key.verifier())).collect();
        Policy::parse(format!("{lines}quorum none\n").as_bytes()).unwrap()
    };
    let (old, new, both) = (policy(&[key()]), policy(&[new_key()]), policy(&[key(), new_key()]));
    let trusted = async || {
        let note = Note::parse(&objects.get("log/checkpoint").await.unwrap().unwrap()).unwrap();
        [&old, &new, &both].map(|policy| policy.evaluate(&note).is_ok())
    };
    assert_eq!(trusted().await, [true, false, true]);
    // The new key alone does not continue the log of the old one.
    let alone = log(new_key());
    assert_eq!(alone.init(1).await.unwrap_err().code(), "log_forked");
    ingest(&place, &mut lifts, 1).await;
    assert_eq!(alone.sequence(&mut lead(&alone).await).await.unwrap_err().code(), "log_forked");

    let rotated = log(new_key()).with_previous_keys([key().into()]);
    assert_eq!(rotated.keys().count(), 2);
    rotated.init(1).await.unwrap();
    rotated.sequence(&mut lead(&rotated).await).await.unwrap();
    assert_eq!(trusted().await, [true, true, true]);
    audit(&*objects, &*ledger).await;
    // Once a checkpoint has both signatures, the old key can go.
    ingest(&place, &mut lifts, 1).await;
    alone.sequence(&mut lead(&alone).await).await.unwrap();
    assert_eq!(trusted().await, [false, true, true]);
    // A key of the policy that signed something else is not ignored.
    let note = Note::parse(&objects.get("log/checkpoint").await.unwrap().unwrap()).unwrap();
    let other = NoteSignature::new(&key(), "log.example/lifts\n").unwrap();
    let forged = Note::assemble(note.text(), note.signatures().iter().cloned().chain([other])).unwrap();
    assert!(both.evaluate(&forged).is_err() && new.evaluate(&forged).is_ok());
}
