//! Receipts: an outbox keeps its records until a proof of the log holds, against honest and dishonest services.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_log::{
    Checkpoint, ConsistencyProof, Expected, KeyType, Note, Policy, ProofFile, RunProof, SignerKey,
    StatementKind,
};
use edgesentry_rs::agent::{Flushed, Outbox, PendingReceipts, ReceiptRules, ReceiptSource, Sink};
use edgesentry_rs::error::Component;
use edgesentry_rs::log::{LogReader, TransparencyLog};
use edgesentry_rs::objects::{FolderObjects, Objects};
use edgesentry_rs::transport::{Client, ClientSettings};
use edgesentry_rs::{Error, Outcome, Submission};
use edgesentry_serve::hash_of_token;
use sqlx::Connection;
use tempfile::TempDir;

use crate::common::{Kind, Place, START_MS, device, registration};
use crate::serving::{Serving, settings};
use crate::tlog::{ORIGIN, key, policy, sequence};

/// A service with a log, whose tokens are those of lift-01, of all devices, of a reader and of an administrator.
struct Site {
    serving: Serving,
    log: TransparencyLog,
    place: Place,
}

impl Site {
    async fn new() -> Site {
        Site::with("").await
    }

    /// Starts a new service with more settings.
    async fn with(more: &str) -> Site {
        let place = Place::new(Kind::Sqlite).await;
        let folder = place.path("log");
        std::fs::create_dir_all(&folder).unwrap();
        let site = Site::at(place, more).await;
        site.log.init(1).await.unwrap();
        for number in [1, 2] {
            site.serving.service.register(&registration(&device(number))).await.unwrap();
        }
        site
    }

    /// Starts the service of a place.
    async fn at(place: Place, more: &str) -> Site {
        let service = place.service().await;
        let ledger = Arc::clone(service.ledger());
        let objects: Arc<dyn Objects> =
            Arc::new(FolderObjects::open(&place.path("log"), Component::TransparencyLog).unwrap());
        let tables = || ledger.log().unwrap();
        let log = TransparencyLog::new(tables(), Arc::clone(&objects), Arc::clone(&objects), key(), 10_000);
        let reader = LogReader::new(tables(), objects);
        let serving = Serving::with_log(service, &settings(&(tokens() + more)), reader).await;
        Site { serving, log, place }
    }

    async fn checkpoint(&self) {
        sequence(&self.log).await;
    }

    fn client(&self) -> Client {
        let settings = ClientSettings {
            token: Some("lift-01".to_owned().into()),
            attempts: 1,
            ..ClientSettings::new(self.serving.url())
        };
        Client::new(settings).unwrap()
    }

    /// Restarts the service after a change of its ledger.
    async fn changed(self, statements: &[&'static str]) -> Site {
        self.serving.stop().await;
        for statement in statements {
            self.place.tamper(statement).await;
        }
        Site::at(self.place, "").await
    }
}

fn tokens() -> String {
    let token = |name: &str, more: &str| {
        format!("[serve.tokens.{name}]\nhash = \"{}\"\n{more}\n", hash_of_token(name))
    };
    [
        token("lift-01", "scopes = \"ingest\"\ndevices = \"lift-01\""),
        token("fleet", "scopes = \"ingest\""),
        token("reader", "scopes = \"read\""),
        token("admin", "scopes = \"admin\""),
    ]
    .concat()
}

/// Opens the outbox of lift-01, which requires receipts.
async fn outbox(folder: &TempDir) -> Outbox {
    outbox_under(folder, policy()).await
}

async fn outbox_under(folder: &TempDir, policy: Policy) -> Outbox {
    let opened = Outbox::open(&folder.path().join("outbox.db"), device(1)).await.unwrap();
    opened.require_receipts(ReceiptRules::new(policy)).await.unwrap()
}

async fn sign(outbox: &Outbox, records: u64) {
    let first = outbox.head().await.unwrap().map_or(1, |head| head.sequence + 1);
    let item = |n: u64| (START_MS + n, Bytes::from(format!("door {n}")), format!("lift-01/{n}.bin"));
    outbox.sign_many((first..first + records).map(item)).await.unwrap();
}

/// Returns the accepted, duplicate, verified, repeated and pending records of a flush.
fn counts(flushed: &Flushed) -> [u64; 5] {
    let receipts = flushed.receipts.unwrap();
    let Flushed { accepted, duplicates, .. } = *flushed;
    [accepted, duplicates, receipts.verified, receipts.sent_again, receipts.pending.records]
}

/// Returns the records in the file of an outbox.
async fn kept(folder: &TempDir) -> i64 {
    let mut file = connect(folder).await;
    sqlx::query_scalar("SELECT count(*) FROM waiting").fetch_one(&mut file).await.unwrap()
}

async fn connect(folder: &TempDir) -> sqlx::SqliteConnection {
    let url = format!("sqlite:{}", folder.path().join("outbox.db").display());
    sqlx::SqliteConnection::connect(&url).await.unwrap()
}

/// Returns the code of the receipt error of a flush.
async fn refused(outbox: &Outbox, sink: &dyn Sink) -> &'static str {
    match outbox.flush(sink).await {
        Err(Error::Receipt { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

type Change = Box<dyn Fn(Bytes) -> Bytes + Send + Sync>;

/// A client whose proofs are counted and may be changed.
struct Between<F> {
    client: Client,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    change: F,
}

impl<F: Fn(Bytes) -> Bytes> Between<F> {
    fn new(client: Client, change: F) -> Between<F> {
        Between { client, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), change }
    }
}

#[async_trait]
impl<F: Fn(Bytes) -> Bytes + Send + Sync> Sink for Between<F> {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        self.client.send(submissions).await
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(self)
    }
}

#[async_trait]
impl<F: Fn(Bytes) -> Bytes + Send + Sync> ReceiptSource for Between<F> {
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.client.receipt(device_id, first, last).await?;
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok((self.change)(bytes))
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok((self.change)(self.client.consistency(from, to).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_stays_until_its_receipt_holds() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let lift = outbox(&folder).await;
    sign(&lift, 20).await;
    let client = site.client();
    // No checkpoint yet, then one that does not cover the later records.
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [20, 0, 0, 0, 20]);
    assert_eq!((lift.waiting().await.unwrap(), kept(&folder).await), (0, 20));
    site.checkpoint().await;
    sign(&lift, 5).await;
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [5, 0, 20, 0, 5]);
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [0, 0, 0, 0, 5]);
    // Opened again, the file remembers that it requires receipts.
    lift.close().await;
    let signer = Outbox::open(&folder.path().join("outbox.db"), device(1)).await.unwrap();
    sign(&signer, 1).await;
    assert!(matches!(signer.flush(&client).await, Err(Error::Config(problem)) if problem.contains("policy")));
    signer.close().await;
    let lift = outbox(&folder).await;
    // A service in this process has no receipts.
    let here = lift.flush(&site.serving.service).await;
    assert!(matches!(here, Err(Error::Config(problem)) if problem.contains("HTTP")));
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [1, 0, 0, 0, 6]);
    site.checkpoint().await;
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [0, 0, 6, 0, 0]);
    assert_eq!(kept(&folder).await, 0);
    assert!(lift.conflicts().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_thousands_of_records_need_few_requests() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let lift = outbox(&folder).await;
    sign(&lift, 2500).await;
    let client = Between::new(site.client(), |proof| proof);
    lift.flush(&client).await.unwrap();
    site.checkpoint().await;
    client.requests.store(0, Ordering::Relaxed);
    assert_eq!(counts(&lift.flush(&client).await.unwrap()), [0, 0, 2500, 0, 0]);
    assert_eq!(client.requests.load(Ordering::Relaxed), 3);
    eprintln!("{} bytes of receipts for 2500 records", client.bytes.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_does_not_hold_is_an_error_and_the_record_stays() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let lift = outbox(&folder).await;
    sign(&lift, 10).await;
    lift.flush(&site.client()).await.unwrap();
    let mut other = device(2);
    site.serving.service.ingest_many(crate::common::chain(&mut other, 10)).await;
    site.checkpoint().await;
    let reader =
        ClientSettings { token: Some("reader".to_owned().into()), ..ClientSettings::new(site.serving.url()) };
    let others = Client::new(reader).unwrap().receipt("lift-02", 1, 10).await.unwrap();

    let parsed = |proof: &Bytes| RunProof::parse(proof).unwrap();
    let path = move |proof: Bytes| {
        let mut proof = parsed(&proof);
        proof.leaves[3].path[0].0[0] ^= 1;
        Bytes::from(proof.to_string())
    };
    let signature = move |proof: Bytes| {
        let proof = parsed(&proof);
        let note = proof.checkpoint.to_string();
        let (_, lines) = note.split_once("\n\n").unwrap();
        let other = Checkpoint::new(ORIGIN, 5, edgesentry_log::TreeHash([7; 32])).unwrap();
        let checkpoint = Note::parse(format!("{other}\n{lines}").as_bytes()).unwrap();
        Bytes::from(RunProof { checkpoint, ..proof }.to_string())
    };
    let gap = move |proof: Bytes| {
        let mut proof = parsed(&proof);
        proof.leaves.remove(0);
        Bytes::from(proof.to_string())
    };
    let tampered: [(&str, Change); 5] = [
        ("proof_malformed", Box::new(|_| Bytes::from_static(b"c2sp.org/tlog-proof@v1\n"))),
        ("proof_invalid", Box::new(path)),
        ("checkpoint_untrusted", Box::new(signature)),
        ("proof_of_other", Box::new(gap)),
        ("proof_of_other", Box::new(move |_| others.clone())),
    ];
    for (code, change) in tampered {
        let client = Between::new(site.client(), change);
        assert_eq!(refused(&lift, &client).await, code);
        assert_eq!((kept(&folder).await, lift.pending().await.unwrap().records), (10, 10), "{code}");
    }
    // Policies of other keys.
    let stranger = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [43; 32]).unwrap();
    let witness = SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [44; 32]).unwrap();
    let (stranger, witness) = (stranger.verifier(), witness.verifier());
    for (code, text) in [
        ("checkpoint_untrusted", format!("log {stranger}\nquorum none\n")),
        ("witness_quorum_missing", format!("log {}\nwitness w {witness}\nquorum w\n", key().verifier())),
    ] {
        lift.close().await;
        let lift = outbox_under(&folder, Policy::parse(text.as_bytes()).unwrap()).await;
        assert_eq!(refused(&lift, &site.client()).await, code);
        assert_eq!(kept(&folder).await, 10);
        lift.close().await;
    }
    let lift = outbox(&folder).await;
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [0, 0, 10, 0, 0]);
}

const TAIL_DROPPED: [&str; 3] = [
    "DELETE FROM audit_records WHERE device_id = 'lift-01' AND sequence > 6",
    "UPDATE chain_heads SET sequence = 6, record_hash = (SELECT record_hash FROM audit_records \
     WHERE device_id = 'lift-01' AND sequence = 6) WHERE device_id = 'lift-01'",
    "DELETE FROM operation_logs WHERE device_id = 'lift-01' AND sequence > 6",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_tail_that_is_lost_is_sent_again() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let lift = outbox(&folder).await;
    sign(&lift, 4).await;
    lift.flush(&site.client()).await.unwrap();
    site.checkpoint().await;
    sign(&lift, 6).await;
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [6, 0, 4, 0, 6]);
    // The device is silent: nothing waits to be sent.
    let site = site.changed(&TAIL_DROPPED).await;
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [0, 0, 0, 0, 6]);
    site.checkpoint().await;
    // Records 5 and 6 have receipts; the others were lost.
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [4, 0, 2, 4, 4]);
    let age = lift.pending().await.unwrap().age;
    // It is lost again, and the device goes on: the service lacks an earlier record.
    let site = site.changed(&TAIL_DROPPED).await;
    sign(&lift, 1).await;
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [5, 0, 0, 4, 5]);
    // The age is that of the first acknowledgement.
    assert!(lift.pending().await.unwrap().age >= age);
    site.checkpoint().await;
    assert_eq!(counts(&lift.flush(&site.client()).await.unwrap()), [0, 0, 5, 0, 0]);
    assert_eq!(lift.rejection().await.unwrap(), None);
    assert!(site.place.report().await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_extend_the_kept_checkpoint_is_refused() {
    let folder = TempDir::new().unwrap();
    let (honest, forked) = (Site::new().await, Site::new().await);
    honest.serving.service.ingest_many(crate::common::chain(&mut device(2), 5)).await;
    let lift = outbox(&folder).await;
    sign(&lift, 8).await;
    for _ in 0..2 {
        lift.flush(&honest.client()).await.unwrap();
        honest.checkpoint().await;
    }
    lift.flush(&honest.client()).await.unwrap();
    sign(&lift, 3).await;
    lift.flush(&honest.client()).await.unwrap();
    honest.checkpoint().await;
    // A log of the same key with the records of the device, and with others beside them: smaller, then larger. A smaller
    // one may be a copy that is behind.
    copy_chain(&honest, &forked).await;
    for (more, code, conflicts) in [(0, "checkpoint_stale", 0), (20, "checkpoint_inconsistent", 1)] {
        let mut other = device(2);
        forked.serving.service.ingest_many(crate::common::chain(&mut other, more)).await;
        forked.checkpoint().await;
        assert_eq!(refused(&lift, &forked.client()).await, code);
        assert_eq!(refused(&lift, &forked.client()).await, code);
        assert_eq!((lift.conflicts().await.unwrap().len(), kept(&folder).await), (conflicts, 3));
    }
    // Both notes are evidence: signed by the log, and of the same size or without a proof between them.
    lift.close().await;
    let lift = outbox(&folder).await;
    let conflicts = lift.conflicts().await.unwrap();
    for conflict in &conflicts {
        for note in [&conflict.kept, &conflict.shown] {
            policy().evaluate(&Note::parse(note.as_bytes()).unwrap()).unwrap();
        }
        assert_ne!(conflict.kept, conflict.shown);
    }
    // The honest log goes on, and so does the outbox.
    assert_eq!(counts(&lift.flush(&honest.client()).await.unwrap()), [0, 0, 3, 0, 0]);
    // A proof of consistency that does not hold.
    sign(&lift, 1).await;
    lift.flush(&honest.client()).await.unwrap();
    honest.checkpoint().await;
    let client = Between::new(honest.client(), |proof| match ConsistencyProof::parse(&proof) {
        Ok(mut proof) => {
            proof.path[0].0[0] ^= 1;
            Bytes::from(proof.to_string())
        }
        Err(_) => proof,
    });
    assert_eq!(refused(&lift, &client).await, "checkpoint_inconsistent");
    assert_eq!(counts(&lift.flush(&honest.client()).await.unwrap()), [0, 0, 1, 0, 0]);
}

/// A client during whose first receipt, or first send, something else happens.
struct Meanwhile<F> {
    client: Client,
    during: &'static str,
    then: tokio::sync::Mutex<Option<F>>,
}

impl<F: Future<Output = ()> + Send> Meanwhile<F> {
    fn new(client: Client, during: &'static str, then: F) -> Meanwhile<F> {
        Meanwhile { client, during, then: tokio::sync::Mutex::new(Some(then)) }
    }

    async fn happens(&self, during: &str) {
        if during == self.during
            && let Some(then) = self.then.lock().await.take()
        {
            then.await;
        }
    }
}

#[async_trait]
impl<F: Future<Output = ()> + Send> Sink for Meanwhile<F> {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        let outcomes = self.client.send(submissions).await;
        self.happens("send").await;
        outcomes
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(self)
    }
}

#[async_trait]
impl<F: Future<Output = ()> + Send> ReceiptSource for Meanwhile<F> {
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error> {
        let receipt = self.client.receipt(device_id, first, last).await;
        self.happens("receipt").await;
        receipt
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error> {
        self.client.consistency(from, to).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_flushes_at_once_accuse_no_log() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let (lift, other) = (outbox(&folder).await, outbox(&folder).await);
    sign(&lift, 4).await;
    lift.flush(&site.client()).await.unwrap();
    site.checkpoint().await;
    // The other flush keeps a later checkpoint while the receipt of the first one is on its way.
    let meanwhile = async {
        site.serving.service.ingest_many(crate::common::chain(&mut device(2), 3)).await;
        site.checkpoint().await;
        assert_eq!(counts(&other.flush(&site.client()).await.unwrap()), [0, 0, 4, 0, 0]);
    };
    let flushed = lift.flush(&Meanwhile::new(site.client(), "receipt", meanwhile)).await.unwrap();
    assert_eq!(counts(&flushed), [0, 0, 0, 0, 0]);
    assert!(lift.conflicts().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_acknowledgement_makes_no_later_record_overdue() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let (lift, other) = (outbox(&folder).await, outbox(&folder).await);
    sign(&lift, 3).await;
    // The other flush sends the same records and has their receipts before the first one notes its outcomes.
    let meanwhile = async {
        site.checkpoint().await;
        assert_eq!(counts(&other.flush(&site.client()).await.unwrap()), [0, 3, 3, 0, 0]);
    };
    lift.flush(&Meanwhile::new(site.client(), "send", meanwhile)).await.unwrap();
    let mut file = connect(&folder).await;
    let ago = "UPDATE acknowledged SET at_ms = at_ms - 7200000";
    sqlx::query(ago).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    sign(&lift, 1).await;
    let pending = lift.flush(&site.client()).await.unwrap().receipts.unwrap().pending;
    assert_eq!((pending.records, pending.is_overdue), (1, false), "{pending:?}");
}

/// A client of a service with a copy of the log that is behind: it gives an old receipt so many times.
struct Behind {
    client: Client,
    old: Bytes,
    times: AtomicUsize,
}

#[async_trait]
impl Sink for Behind {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        self.client.send(submissions).await
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(self)
    }
}

#[async_trait]
impl ReceiptSource for Behind {
    async fn receipt(&self, device_id: &str, first: u64, last: u64) -> Result<Bytes, Error> {
        let left = |times: usize| times.checked_sub(1);
        let is_old = first > 1 && self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        if is_old { Ok(self.old.clone()) } else { self.client.receipt(device_id, first, last).await }
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Bytes, Error> {
        self.client.consistency(from, to).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_log_that_is_behind_is_not_accused() {
    for times in [1, 100] {
        let (site, folder) = (Site::new().await, TempDir::new().unwrap());
        let lift = outbox(&folder).await;
        // More than one receipt has; the second one comes from the copy.
        sign(&lift, 1100).await;
        lift.flush(&site.client()).await.unwrap();
        site.checkpoint().await;
        let old = site.client().receipt("lift-01", 1025, 1100).await.unwrap();
        site.serving.service.ingest_many(crate::common::chain(&mut device(2), 3)).await;
        site.checkpoint().await;
        let client = Behind { client: site.client(), old, times: AtomicUsize::new(times) };
        assert_eq!(counts(&lift.flush(&client).await.unwrap()), [0, 0, 1100, 0, 0], "{times}");
        assert!(lift.conflicts().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_that_prove_nothing_leave_room_for_a_contradiction() {
    let folder = TempDir::new().unwrap();
    let (honest, forked) = (Site::new().await, Site::new().await);
    let lift = outbox(&folder).await;
    // Both logs have six records at the same size, and other times.
    honest.serving.service.ingest_many(crate::common::chain(&mut device(2), 2)).await;
    sign(&lift, 4).await;
    lift.flush(&honest.client()).await.unwrap();
    honest.checkpoint().await;
    assert_eq!(counts(&lift.flush(&honest.client()).await.unwrap()), [0, 0, 4, 0, 0]);
    sign(&lift, 2).await;
    lift.flush(&honest.client()).await.unwrap();
    copy_chain(&honest, &forked).await;
    forked.checkpoint().await;
    let mut file = connect(&folder).await;
    for size in 100..116 {
        sqlx::query("INSERT INTO conflict (at_ms, kept, shown, reason) VALUES (1, ?, ?, 'no proof')")
            .bind(format!("{ORIGIN}\n10\nroot\n"))
            .bind(format!("{ORIGIN}\n{size}\nroot\n"))
            .execute(&mut file)
            .await
            .unwrap();
    }
    file.close().await.unwrap();
    assert_eq!(refused(&lift, &forked.client()).await, "checkpoint_inconsistent");
    let conflicts = lift.conflicts().await.unwrap();
    let [first, .., last] = &conflicts[..] else { panic!("{conflicts:?}") };
    let size = |note: &str| note.lines().nth(1).unwrap().to_owned();
    assert_eq!((conflicts.len(), size(&last.kept)), (17, size(&last.shown)));
    // Its own kind is full; the first ones stay.
    forked.serving.service.ingest_many(crate::common::chain(&mut device(2), 5)).await;
    forked.checkpoint().await;
    assert_eq!(refused(&lift, &forked.client()).await, "checkpoint_inconsistent");
    let after = lift.conflicts().await.unwrap();
    assert_eq!((after.len(), &after[0]), (17, first));
}

/// Sends the chain of lift-01 in one ledger to another service.
async fn copy_chain(from: &Site, to: &Site) {
    let filter = edgesentry_rs::ledger::Filter { devices: vec!["lift-01".to_owned()], ..Default::default() };
    let records = crate::common::records(&**from.serving.service.ledger(), &filter).await;
    let submission = |record: edgesentry_chain::AuditRecord| {
        let payload = Bytes::from(format!("door {}", record.sequence));
        Submission { record: Arc::new(record), payload }
    };
    let outcomes = to.serving.service.ingest_many(records.into_iter().map(submission).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Accepted))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_receipt_becomes_overdue() {
    let site = Site::new().await;
    let folder = TempDir::new().unwrap();
    let opened = Outbox::open(&folder.path().join("outbox.db"), device(1)).await.unwrap();
    let rules = ReceiptRules { max_age: Duration::from_secs(3600), ..ReceiptRules::new(policy()) };
    let lift = opened.require_receipts(rules).await.unwrap().limited(12);
    assert_eq!(lift.pending().await.unwrap(), PendingReceipts::default());
    sign(&lift, 10).await;
    lift.flush(&site.client()).await.unwrap();
    assert!(!lift.pending().await.unwrap().is_overdue);
    let acknowledged = async |shift: i64| {
        let mut file = connect(&folder).await;
        let update = sqlx::query("UPDATE acknowledged SET at_ms = at_ms + ?").bind(shift);
        update.execute(&mut file).await.unwrap();
        file.close().await.unwrap();
    };
    acknowledged(-2 * 3_600_000).await;
    let pending = lift.flush(&site.client()).await.unwrap().receipts.unwrap().pending;
    assert!(pending.is_overdue && pending.age > Duration::from_secs(7000), "{pending:?}");
    // A clock that was ahead does not hide it for longer than the maximum age.
    acknowledged(24 * 3_600_000).await;
    let pending = lift.flush(&site.client()).await.unwrap().receipts.unwrap().pending;
    assert!(!pending.is_overdue);
    acknowledged(-2 * 3_600_000).await;
    assert!(lift.pending().await.unwrap().is_overdue);
    // A full outbox says why.
    let items = |n: u64| (0..n).map(|n| (n, Bytes::new(), "x".to_owned()));
    assert_eq!(lift.sign_many(items(2)).await.unwrap().len(), 2);
    let full = lift.sign_many(items(1)).await.unwrap_err().to_string();
    assert!(full.contains("it has 12 of at most 12 records, and 10 of them are acknowledged"), "{full}");
    // Without receipts the acknowledged records leave as duplicates.
    let lift = lift.stop_receipts().await.unwrap();
    let flushed = lift.flush(&site.client()).await.unwrap();
    assert_eq!((flushed.accepted, flushed.duplicates, flushed.receipts), (2, 10, None));
    assert_eq!(kept(&folder).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_receipts_uses_up_its_own_rate_only() {
    let rate = "[serve.rate]\nrecords_per_second = 1\nburst = 3\nbundles_per_second = 1\nbundle_burst = 20\n";
    let site = Site::with(rate).await;
    let mut lift = device(1);
    site.serving.service.ingest_many(crate::common::chain(&mut lift, 3)).await;
    site.checkpoint().await;
    // A run in one bundle costs one, although it could have cost 900.
    let run = "/api/v1/log/receipt?device_id=lift-01&sequence=1&to_sequence=900";
    for _ in 0..10 {
        assert_eq!(site.serving.get(run, Some("reader")).await.status, 200);
    }
    let paths = [run, "/api/v1/log/proof?device_id=lift-01&sequence=1&to_sequence=3"];
    for path in paths {
        let mut refused = None;
        for _ in 0..1000 {
            let answer = site.serving.get(path, Some("reader")).await;
            if answer.status != 200 {
                refused = Some(answer.problem());
                break;
            }
        }
        assert_eq!(refused, Some((429, "rate_limited".to_owned())), "{path}");
    }
    // The device has its whole rate.
    let client = site.client();
    let submissions = crate::common::chain(&mut lift, 2);
    assert!(client.send(submissions).await.iter().all(|outcome| matches!(outcome, Ok(Outcome::Accepted))));
    assert_eq!(site.serving.get(run, Some("lift-01")).await.status, 200);
    assert_eq!(site.serving.get("/api/v1/log/consistency?from=0", Some("lift-01")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_not_there_yet_costs_one_bundle() {
    let site = Site::with("[serve.rate]\nbundles_per_second = 1\nbundle_burst = 40\n").await;
    site.serving.service.ingest_many(crate::common::chain(&mut device(1), 3)).await;
    site.checkpoint().await;
    // Each could have cost 4,096 or 63.
    for (path, status, code) in [
        ("/api/v1/log/proof?device_id=lift-01&sequence=4&to_sequence=4000", 404, "not_logged"),
        ("/api/v1/log/consistency?from=9999", 400, "malformed"),
    ] {
        for _ in 0..10 {
            let answer = site.serving.get(path, Some("reader")).await;
            assert_eq!(answer.problem(), (status, code.to_owned()), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reads_its_own_receipts_only() {
    let site = Site::new().await;
    for number in [1, 2] {
        let mut lift = device(number);
        site.serving.service.ingest_many(crate::common::chain(&mut lift, 3)).await;
    }
    site.checkpoint().await;
    let one = "/api/v1/log/receipt?device_id=lift-01&sequence=2";
    let other = "/api/v1/log/receipt?device_id=lift-02&sequence=2";
    let grown = "/api/v1/log/consistency?from=0";
    for (token, path, expected) in [
        (None, one, (401, "unauthenticated")),
        (None, grown, (401, "unauthenticated")),
        (Some("stranger"), one, (401, "unauthenticated")),
        (Some("lift-01"), other, (403, "device_mismatch")),
        (Some("fleet"), one, (403, "scope_missing")),
        (Some("admin"), one, (403, "scope_missing")),
        (Some("admin"), grown, (403, "scope_missing")),
        (Some("lift-01"), "/api/v1/log/proof?device_id=lift-01&sequence=2", (403, "scope_missing")),
        (Some("lift-01"), "/api/v1/log/receipt?device_id=lift-01&sequence=4", (404, "record_missing")),
        (
            Some("lift-01"),
            "/api/v1/log/receipt?device_id=lift-01&sequence=2&to_sequence=1",
            (400, "malformed"),
        ),
        (Some("lift-01"), "/api/v1/log/receipt?device_id=lift-01", (400, "malformed")),
    ] {
        let answer = site.serving.get(path, token).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{token:?} {path}");
    }
    let answer = site.serving.get(one, Some("lift-01")).await;
    let expected = Expected {
        kind: Some(StatementKind::Record),
        device_id: Some("lift-01"),
        sequence: Some(2),
        ..Expected::default()
    };
    ProofFile::parse(&answer.body).unwrap().verify(&policy(), &expected).unwrap();
    for token in ["lift-01", "fleet", "reader"] {
        assert_eq!(site.serving.get(grown, Some(token)).await.status, 200, "{token}");
    }
    assert_eq!(site.serving.get(other, Some("reader")).await.status, 200);
    // A run ends with the last record under the checkpoint.
    let run = site.serving.get(&format!("{one}&to_sequence=9000"), Some("lift-01")).await;
    let run = RunProof::parse(&run.body).unwrap().verify(&policy()).unwrap();
    assert_eq!(run.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [2, 3]);
}
