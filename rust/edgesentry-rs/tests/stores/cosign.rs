//! The log and its witnesses: a checkpoint is published at the quorum, and a witness that contradicts it is reported.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_chain::Device;
use edgesentry_log::{AddCheckpoint, KeyType, Note, NoteSignature, Policy, SignerKey, WitnessedLogs};
use edgesentry_rs::ledger::{CosignatureRow, Ledger, WitnessAccess, WitnessTables, WitnessedChange};
use edgesentry_rs::log::{
    Cosigners, Eraser, LogError, LogReader, Sequenced, TransparencyLog, Witness, WitnessClient, WitnessError,
    WitnessResponse,
};
use edgesentry_rs::objects::Objects;
use edgesentry_rs::telemetry::metrics::Metrics;
use tokio::sync::Notify;

use crate::common::{Place, devices};
use crate::keep::wait;
use crate::log::{ingest, key, lead, log, objects, open};
use crate::metrics::value;
use crate::on_every_ledger;
use crate::witness::state;

on_every_ledger!(
    a_checkpoint_is_published_at_the_quorum,
    without_a_quorum_it_is_published_only_on_request,
    a_checkpoint_that_waits_is_published_by_the_next_process,
    a_witness_that_was_rolled_back_is_reported,
    a_witness_of_another_history_is_reported,
    a_wrong_cosignature_does_not_count,
    lines_that_others_wrote_into_the_ledger_do_not_count,
    earlier_checkpoints_keep_their_cosignatures,
    a_service_keeps_the_lead_without_a_quorum,
    a_witness_that_hangs_delays_no_publication,
    a_witness_that_names_other_sizes_again_and_again_is_left,
    late_cosignatures_are_taken_without_the_lead,
    a_round_that_fails_offers_what_is_signed,
    each_batch_of_a_long_backlog_is_offered,
    a_service_that_stops_shows_its_witnesses,
    a_witness_is_behind_until_it_has_caught_up,
    a_ledger_and_a_witness_that_were_restored_are_told_apart,
    a_cosignature_from_the_future_does_not_count,
    fewer_cosignatures_replace_no_checkpoint,
    a_leader_that_was_replaced_publishes_nothing,
    old_cosignatures_of_a_quiet_log_are_renewed,
);

/// A witness that can be unreachable, and that answers with other bytes.
#[derive(Default)]
struct Faults {
    is_down: AtomicBool,
    other_line: Mutex<Option<String>>,
    /// Responds only when it is told.
    hangs: AtomicBool,
    told: Notify,
    /// Requests that it has and has not responded to.
    open: Arc<AtomicUsize>,
    /// The size that it names for every request, and the next one; 0 if it does not.
    names: AtomicU64,
    /// How far its clock is ahead, seconds.
    ahead: AtomicU64,
}

struct Asked {
    number: u8,
    witness: Mutex<Witness>,
    faults: Faults,
    requests: Mutex<Vec<String>>,
}

/// An open request, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl WitnessClient for Asked {
    async fn add_checkpoint(&self, request: String) -> Result<WitnessResponse, String> {
        if self.faults.is_down.load(Ordering::Relaxed) {
            return Err("connection refused".to_owned());
        }
        self.requests.lock().unwrap().push(request.clone());
        self.faults.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(Arc::clone(&self.faults.open));
        if self.faults.hangs.load(Ordering::Relaxed) {
            self.faults.told.notified().await;
        }
        if self.faults.names.load(Ordering::Relaxed) > 0 {
            let size = self.faults.names.fetch_add(1, Ordering::Relaxed);
            return Ok(WitnessResponse { status: 409, body: format!("{size}\n").into_bytes() });
        }
        let witness = self.witness.lock().unwrap().clone();
        let answer = witness.add_checkpoint(request.as_bytes()).await;
        let ahead = self.faults.ahead.load(Ordering::Relaxed);
        let other = match self.faults.other_line.lock().unwrap().clone() {
            None if ahead > 0 => Some(format!("{}\n", line_at(&request, self.number, now() + ahead))),
            other => other,
        };
        let (status, body) = match answer {
            Ok(line) => (200, other.unwrap_or_else(|| format!("{line}\n"))),
            Err(error) => {
                let size = match &error {
                    WitnessError::Refused(edgesentry_log::WitnessRefusal::Conflict { size }) => Some(*size),
                    _ => None,
                };
                (error.status(), size.map_or_else(|| error.to_string(), |size| format!("{size}\n")))
            }
        };
        Ok(WitnessResponse { status, body: body.into_bytes() })
    }

    async fn latest(&self, path: &str) -> Result<WitnessResponse, String> {
        if self.faults.is_down.load(Ordering::Relaxed) {
            return Err("connection refused".to_owned());
        }
        let witness = self.witness.lock().unwrap().clone();
        let note = witness.latest(path).await.map_err(|error| error.to_string())?;
        let status = if note.is_some() { 200 } else { 404 };
        Ok(WitnessResponse { status, body: note.unwrap_or_default().to_vec() })
    }
}

fn now() -> u64 {
    edgesentry_formats::times::now_ms() / 1000
}

/// Returns the cosignature of a witness for the checkpoint of a request at a time.
fn line_at(request: &str, number: u8, at: u64) -> NoteSignature {
    let request = AddCheckpoint::parse(request.as_bytes()).unwrap();
    let checkpoint = edgesentry_log::Checkpoint::parse(request.note().text()).unwrap();
    checkpoint.cosign(&witness_key(number), at).unwrap()
}

fn witness_key(number: u8) -> SignerKey {
    SignerKey::from_seed(&format!("w{number}.example"), KeyType::CosignatureV1, [100 + number; 32]).unwrap()
}

/// Two of three witnesses are the quorum.
fn policy() -> Policy {
    let witnesses: String =
        (0..3).map(|number| format!("witness w{number} {}\n", witness_key(number).verifier())).collect();
    let text = format!("log {}\n{witnesses}group two 2 w0 w1 w2\nquorum two\n", key().verifier());
    Policy::parse(text.as_bytes()).unwrap()
}

fn known_logs() -> WitnessedLogs {
    WitnessedLogs::parse(format!("log {}\n", key().verifier()).as_bytes()).unwrap()
}

/// A ledger with a log, and three witnesses with states of their own.
struct Site {
    place: Place,
    ledger: Arc<dyn Ledger>,
    objects: Arc<dyn Objects>,
    witnesses: Vec<Arc<Asked>>,
    states: Vec<Arc<dyn WitnessTables>>,
    metrics: Metrics,
    lifts: Vec<Device>,
    require_quorum: bool,
    _places: Vec<Place>,
}

impl Site {
    async fn new(place: Place) -> Site {
        let (ledger, objects) = (place.ledger().await, objects(&place).await);
        drop(open(&ledger, &objects).await);
        let lifts = devices(&*ledger, 1).await;
        let (mut witnesses, mut states, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            let own = Place::new(place.kind).await;
            let tables = state(&own, WitnessAccess::Create).await;
            let witness = Witness::start(tables.clone(), known_logs(), witness_key(number), Metrics::new());
            witnesses.push(Arc::new(Asked {
                number,
                witness: Mutex::new(witness),
                faults: Faults::default(),
                requests: Mutex::new(Vec::new()),
            }));
            states.push(tables);
            places.push(own);
        }
        let metrics = Metrics::new();
        Site {
            place,
            ledger,
            objects,
            witnesses,
            states,
            metrics,
            lifts,
            require_quorum: true,
            _places: places,
        }
    }

    /// Returns the log as a new process has it.
    fn log(&self) -> TransparencyLog {
        log(&self.ledger, &self.objects, 1000).with_cosigners(self.cosigners(3))
    }

    /// Returns the witnesses of the policy; the first ones have a client.
    fn cosigners(&self, reachable: usize) -> Cosigners {
        let cosigners = Cosigners::new(policy(), self.require_quorum, self.metrics.clone());
        self.witnesses.iter().take(reachable).enumerate().fold(cosigners, |cosigners, (number, witness)| {
            cosigners.with_witness(&format!("w{number}"), witness.clone())
        })
    }

    /// Cosigns a request as a witness without a network, and returns its line.
    async fn by_hand(&self, number: usize, request: &AddCheckpoint) -> String {
        let witness = self.witnesses[number].witness.lock().unwrap().clone();
        format!("{}\n", witness.cosign(request.to_string().as_bytes()).await.unwrap())
    }

    async fn ingest(&mut self, records: usize) {
        ingest(&self.place, &mut self.lifts, records).await;
    }

    async fn round(&self, log: &TransparencyLog) -> Result<Sequenced, LogError> {
        log.sequence(&mut lead(log).await).await
    }

    /// Sequences in a new process.
    async fn sequence(&self) -> Result<Sequenced, LogError> {
        self.round(&self.log()).await
    }

    fn down(&self, number: usize, is_down: bool) {
        self.witnesses[number].faults.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Returns size and number of lines of the published checkpoint.
    async fn published(&self) -> Option<(u64, usize)> {
        let note = Note::parse(&self.objects.get("log/checkpoint").await.unwrap()?).unwrap();
        let checkpoint = edgesentry_log::Checkpoint::parse(note.text()).unwrap();
        let trusted = policy().evaluate(&note);
        assert!(trusted.is_ok() || !self.require_quorum, "{trusted:?}");
        Some((checkpoint.size(), note.signatures().len()))
    }

    fn state(&self, number: usize, result: &str) -> f64 {
        let series = format!("edgesentry_log_witness_state{{witness=\"w{number}\",result=\"{result}\"}}");
        value(&self.metrics, &series)
    }

    fn gauge(&self, name: &str) -> f64 {
        value(&self.metrics, &format!("edgesentry_log_{name}"))
    }

    fn take_requests(&self, number: usize) -> Vec<AddCheckpoint> {
        let requests = std::mem::take(&mut *self.witnesses[number].requests.lock().unwrap());
        requests.iter().map(|request| AddCheckpoint::parse(request.as_bytes()).unwrap()).collect()
    }
}

fn missing(done: Result<Sequenced, LogError>) -> String {
    let error = done.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("log_quorum_missing", true), "{error}");
    error.to_string()
}

async fn a_checkpoint_is_published_at_the_quorum(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(5).await;
    site.sequence().await.unwrap();
    // Opened, a key, the records, heads.
    assert_eq!(site.published().await, Some((8, 4)));
    assert_eq!((site.gauge("quorum_missing"), site.gauge("cosigned_size")), (0.0, 8.0));
    assert!(site.gauge("cosigned_timestamp_seconds") > 1.7e9);

    // With one witness down the quorum holds; the next round asks it again for the same checkpoint.
    site.ingest(1).await;
    site.down(1, true);
    let log = site.log();
    site.round(&log).await.unwrap();
    assert_eq!((site.published().await, site.state(1, "unreachable")), (Some((10, 3)), 1.0));
    site.down(1, false);
    site.round(&log).await.unwrap();
    assert_eq!((site.published().await, site.state(1, "unreachable")), (Some((10, 4)), 0.0));

    // With two down nothing is published, and the log goes on.
    site.down(1, true);
    site.down(2, true);
    for size in [12, 14] {
        site.ingest(1).await;
        let message = missing(site.round(&log).await);
        assert!(message.contains("size {size}".replace("{size}", &size.to_string()).as_str()), "{message}");
        assert!(message.contains("witness w1: connection refused"), "{message}");
        assert_eq!((site.published().await, site.gauge("quorum_missing")), (Some((10, 4)), 1.0));
        assert!(site.objects.get("log/lock/0000000003").await.unwrap().is_some());
    }
    for number in 0..3 {
        site.down(number, false);
        site.take_requests(number);
    }
    assert_eq!(site.round(&log).await.unwrap().batches, 0);
    assert_eq!((site.published().await, site.gauge("quorum_missing")), (Some((14, 4)), 0.0));
    // Witnesses get the log's own lines only, and a proof from the size that they have cosigned.
    assert!(site.take_requests(0).is_empty(), "it had cosigned");
    for number in [1, 2] {
        let requests = site.take_requests(number);
        assert_eq!(requests.iter().map(AddCheckpoint::old).collect::<Vec<_>>(), [10]);
        assert_eq!(requests[0].note().signatures().len(), 1);
    }
    site.round(&log).await.unwrap();
    assert!((0..3).all(|number| site.take_requests(number).is_empty()), "nothing is left to ask");
}

async fn without_a_quorum_it_is_published_only_on_request(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.down(0, true);
    site.down(1, true);
    missing(site.sequence().await);
    assert_eq!(site.published().await, None);
    site.require_quorum = false;
    site.sequence().await.unwrap();
    assert_eq!((site.published().await, site.gauge("quorum_missing")), (Some((4, 2)), 1.0));
}

async fn a_checkpoint_that_waits_is_published_by_the_next_process(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    for number in 0..3 {
        site.down(number, true);
    }
    missing(site.sequence().await);
    // A witness whose answer got lost names the size; the log then proves the growth from there.
    for number in 0..3 {
        site.down(number, false);
    }
    let note = site.ledger.log().unwrap().last_checkpoint().await.unwrap().unwrap().note;
    let request = AddCheckpoint::new(0, Vec::new(), Note::parse(&note).unwrap()).unwrap().to_string();
    site.witnesses[0].add_checkpoint(request).await.unwrap();
    site.take_requests(0);
    site.sequence().await.unwrap();
    assert_eq!(site.published().await, Some((4, 4)));
    let sizes: Vec<u64> = site.take_requests(0).iter().map(AddCheckpoint::old).collect();
    assert_eq!(sizes, [0, 4]);
}

async fn a_witness_that_was_rolled_back_is_reported(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.sequence().await.unwrap();
    let old = site.states[0].all_witnessed().await.unwrap().remove(0);
    site.ingest(1).await;
    let log = site.log();
    site.round(&log).await.unwrap();
    let new = site.states[0].all_witnessed().await.unwrap().remove(0);
    // Its database is restored.
    let change = WitnessedChange { from: Some((new.size, new.root)), to: old };
    assert_eq!(site.states[0].swap(vec![change], Vec::new()).await.unwrap(), [true]);
    site.take_requests(0);
    for (process, log) in [("running", log), ("new", site.log())] {
        site.ingest(1).await;
        site.round(&log).await.unwrap();
        assert_eq!((site.state(0, "behind"), site.state(0, "cosigned")), (1.0, 0.0), "{process}");
        assert_eq!(site.published().await.map(|(_, lines)| lines), Some(3), "{process}");
        let requests = site.take_requests(0);
        assert!(
            requests.iter().all(|request| request.old() == new.size),
            "no older state is sent: {requests:?}"
        );
    }
    assert_eq!(site.states[0].all_witnessed().await.unwrap()[0].size, 4, "it stays where it is");
}

async fn a_witness_of_another_history_is_reported(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    // Someone else has the key of the log.
    let root = edgesentry_log::TreeHash::of_leaf(b"another history");
    let sign = |size| {
        edgesentry_log::Checkpoint::new("log.example/lifts", size, root).unwrap().sign(&key()).unwrap()
    };
    let add = async |witness: usize, size| {
        let request = AddCheckpoint::new(0, Vec::new(), sign(size)).unwrap().to_string();
        assert_eq!(site.witnesses[witness].add_checkpoint(request).await.unwrap().status, 200);
    };
    // The same size, and a larger one.
    add(0, 4).await;
    add(1, 40).await;
    let message = missing(site.sequence().await);
    assert!(message.contains("witness w0") && message.contains("witness w1"), "{message}");
    assert_eq!([0, 1, 2].map(|number| site.state(number, "conflict")), [1.0, 1.0, 0.0]);
    assert_eq!(site.states[0].evidence().await.unwrap().len(), 1, "the witness keeps the contradiction");
    // A smaller size, from which the log proves no growth.
    let mut site = Site::new(Place::new(site.place.kind).await).await;
    site.ingest(1).await;
    let request = AddCheckpoint::new(0, Vec::new(), sign(2)).unwrap().to_string();
    site.witnesses[2].add_checkpoint(request).await.unwrap();
    site.sequence().await.unwrap();
    assert_eq!((site.state(2, "conflict"), site.published().await), (1.0, Some((4, 3))));
}

async fn a_wrong_cosignature_does_not_count(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    let other =
        edgesentry_log::Checkpoint::new("log.example/lifts", 9, edgesentry_log::TreeHash::EMPTY).unwrap();
    let line = other.cosign(&witness_key(0), 1_800_000_000).unwrap();
    *site.witnesses[0].faults.other_line.lock().unwrap() = Some(format!("{line}\n"));
    *site.witnesses[1].faults.other_line.lock().unwrap() = Some("<html>".to_owned());
    missing(site.sequence().await);
    assert_eq!([0, 1, 2].map(|number| site.state(number, "invalid")), [1.0, 1.0, 0.0]);
}

async fn lines_that_others_wrote_into_the_ledger_do_not_count(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.sequence().await.unwrap();
    site.place.tamper("UPDATE cosignatures SET line = '— w0.example AAAAAAAA'").await;
    site.ingest(1).await;
    site.down(0, true);
    site.place.tamper("UPDATE cosignatures SET size = 6 WHERE vkey LIKE 'w0%'").await;
    site.sequence().await.unwrap();
    assert_eq!(site.published().await, Some((6, 3)));
}

async fn earlier_checkpoints_keep_their_cosignatures(place: Place) {
    let mut site = Site::new(place).await;
    for _ in 0..2 {
        site.ingest(1).await;
        site.sequence().await.unwrap();
    }
    let reader = LogReader::new(site.ledger.log().unwrap(), Arc::clone(&site.objects));
    for size in [Some(4), None] {
        let published = reader.published_at(size).await.unwrap();
        policy().evaluate(&published.note).unwrap();
        assert_eq!(published.checkpoint.size(), size.unwrap_or(6));
    }
    let status = site.log().status().await.unwrap();
    assert_eq!((status.cosignatures.len(), status.cosignatures[0].size), (3, 6));
}

async fn a_service_keeps_the_lead_without_a_quorum(place: Place) {
    let mut site = Site::new(place).await;
    for number in 0..3 {
        site.down(number, true);
    }
    site.ingest(1).await;
    let log = site.log();
    let eraser = Eraser::new(log.clone(), Arc::clone(&site.ledger), site.place.payloads().await);
    let task = tokio::spawn(log.keep(eraser, Duration::from_millis(50), site.metrics.clone()));
    let stopped = "stopped{code=\"log_quorum_missing\"}";
    for size in [4.0, 6.0] {
        if size > 4.0 {
            site.ingest(1).await;
        }
        let is_signed = || site.gauge("checkpoint_size") == size && site.gauge(stopped) == 1.0;
        wait("a checkpoint waits", is_signed).await;
        assert_eq!((site.gauge("quorum_missing"), site.gauge("leader")), (1.0, 1.0));
        assert_eq!(site.published().await, None);
    }
    for number in 0..3 {
        site.down(number, false);
    }
    wait("it is published", || site.gauge(stopped) == 0.0 && site.gauge("cosigned_size") == 6.0).await;
    assert_eq!(site.published().await, Some((6, 4)));
    task.abort();
}

async fn a_witness_that_hangs_delays_no_publication(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    let hanging = Arc::clone(&site.witnesses[1]);
    hanging.faults.hangs.store(true, Ordering::Relaxed);
    let log = site.log();
    let round = tokio::spawn(async move { log.sequence(&mut lead(&log).await).await });
    while site.published().await.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(site.published().await, Some((4, 3)));
    assert_eq!(hanging.faults.open.load(Ordering::SeqCst), 1, "the round still waits for it");
    // Its line is added when it responds.
    hanging.faults.told.notify_one();
    round.await.unwrap().unwrap();
    assert_eq!(site.published().await, Some((4, 4)));
}

async fn a_witness_that_names_other_sizes_again_and_again_is_left(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(20).await;
    site.witnesses[1].faults.names.store(1, Ordering::Relaxed);
    site.sequence().await.unwrap();
    let olds: Vec<u64> = site.take_requests(1).iter().map(AddCheckpoint::old).collect();
    assert_eq!(olds, [0, 1]);
    assert_eq!((site.published().await, site.state(1, "unreachable")), (Some((23, 3)), 1.0));
}

async fn late_cosignatures_are_taken_without_the_lead(place: Place) {
    let mut site = Site::new(place).await;
    // Only the first witness of two has a network.
    let log = log(&site.ledger, &site.objects, 1000).with_cosigners(site.cosigners(1));
    let mut leader = lead(&log).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        site.ingest(1).await;
        missing(log.sequence(&mut leader).await);
        requests.push(log.witness_request("w1", None).await.unwrap());
    }
    assert_eq!(requests.iter().map(AddCheckpoint::size).collect::<Vec<_>>(), [4, 6, 8]);
    // The line comes when the log is larger, and while another process leads.
    let first = site.by_hand(1, &requests[0]).await;
    let other = log.clone().with_cosigners(site.cosigners(1));
    let added = other.add_cosignature(first.as_bytes()).await.unwrap();
    assert_eq!((added.witness.as_str(), added.size), ("w1", 4));
    assert_eq!(site.published().await, None);
    // The leader publishes the largest checkpoint with a quorum, although the last one lacks it.
    site.ingest(1).await;
    missing(log.sequence(&mut leader).await);
    assert_eq!((site.published().await, site.gauge("quorum_missing")), (Some((4, 3)), 1.0));
    assert_eq!(site.gauge("cosigned_size"), 4.0);

    // The witness goes on from what it has cosigned; its line can also be published at once.
    let request = log.witness_request("w1", None).await.unwrap();
    assert_eq!((request.old(), request.size()), (4, 10));
    let skipped = other.witness_request("w1", Some(0)).await.unwrap_err();
    assert_eq!(skipped.code(), "log_witness");
    assert!(skipped.to_string().contains("has cosigned size 4"), "{skipped}");
    let line = site.by_hand(1, &request).await;
    site.ingest(1).await;
    missing(log.sequence(&mut leader).await);
    assert_eq!(other.add_cosignature(line.as_bytes()).await.unwrap().size, 10);
    log.publish_added(&leader, 10).await.unwrap();
    assert_eq!(site.published().await, Some((10, 3)));
    let behind = log.publish_added(&leader, 12).await.unwrap_err();
    assert_eq!(behind.code(), "log_quorum_missing");
    // A line for a smaller checkpoint than the published one is of no use.
    for text in [first.as_str(), "", "— w1.example AAAAAAAA\n"] {
        assert_eq!(other.add_cosignature(text.as_bytes()).await.unwrap_err().code(), "log_witness");
    }
    // Nor is one from the future kept.
    let request = log.witness_request("w1", None).await.unwrap();
    let future = line_at(&request.to_string(), 1, now() + 3600);
    let error = other.add_cosignature(format!("{future}\n").as_bytes()).await.unwrap_err();
    assert!(error.to_string().contains("in the future"), "{error}");
    let progress = log.status().await.unwrap().witnesses;
    let sizes: Vec<_> = progress.iter().map(|witness| (witness.name.as_str(), witness.size)).collect();
    assert_eq!(sizes, [("w0", Some(12)), ("w1", Some(10)), ("w2", None)]);
}

async fn a_round_that_fails_offers_what_is_signed(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    for number in 0..3 {
        site.down(number, true);
    }
    missing(site.sequence().await);
    site.ingest(1).await;
    site.place.tamper("UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE sequence = 2").await;
    for number in 0..3 {
        site.down(number, false);
    }
    assert_eq!(site.sequence().await.unwrap_err().code(), "ledger_tampered");
    assert_eq!((site.published().await, site.gauge("quorum_missing")), (Some((4, 4)), 0.0));
}

async fn each_batch_of_a_long_backlog_is_offered(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(9).await;
    let log = log(&site.ledger, &site.objects, 2).with_cosigners(site.cosigners(3));
    let batches = site.round(&log).await.unwrap().batches;
    assert!(batches > 3, "{batches}");
    let sizes: BTreeSet<u64> =
        (0..3).flat_map(|number| site.take_requests(number)).map(|request| request.size()).collect();
    assert_eq!(sizes.len() as u64, batches, "{sizes:?}");
    assert_eq!(site.published().await.map(|(_, lines)| lines), Some(4));
}

async fn a_service_that_stops_shows_its_witnesses(place: Place) {
    let mut site = Site::new(place).await;
    for number in 0..3 {
        site.down(number, true);
    }
    site.ingest(1).await;
    missing(site.sequence().await);
    site.ingest(1).await;
    site.place.tamper("UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE sequence = 2").await;
    let log = site.log();
    let eraser = Eraser::new(log.clone(), Arc::clone(&site.ledger), site.place.payloads().await);
    let task = tokio::spawn(log.keep(eraser, Duration::from_millis(50), site.metrics.clone()));
    wait("the log stops", || {
        site.gauge("stopped{code=\"ledger_tampered\"}") == 1.0 && site.gauge("leader") == 0.0
    })
    .await;
    task.abort();
    drop(task.await);
    assert_eq!((site.gauge("quorum_missing"), site.state(0, "unreachable")), (1.0, 1.0));
}

/// Restores the state of the first witness to a row.
async fn restore(site: &Site, row: edgesentry_rs::ledger::WitnessedRow) {
    let now = site.states[0].all_witnessed().await.unwrap().remove(0);
    let change = WitnessedChange { from: Some((now.size, now.root)), to: row };
    assert_eq!(site.states[0].swap(vec![change], Vec::new()).await.unwrap(), [true]);
}

async fn a_witness_is_behind_until_it_has_caught_up(place: Place) {
    let mut site = Site::new(place).await;
    let log = site.log();
    site.ingest(1).await;
    site.round(&log).await.unwrap();
    let old = site.states[0].all_witnessed().await.unwrap().remove(0);
    site.ingest(1).await;
    site.round(&log).await.unwrap();
    let new = site.states[0].all_witnessed().await.unwrap().remove(0);
    restore(&site, old).await;
    for is_down in [false, true, false, true] {
        site.ingest(1).await;
        site.down(0, is_down);
        site.round(&log).await.unwrap();
        assert_eq!((site.state(0, "behind"), site.state(0, "unreachable")), (1.0, 0.0), "{is_down}");
    }
    restore(&site, new).await;
    site.down(0, false);
    site.ingest(1).await;
    site.round(&log).await.unwrap();
    assert_eq!((site.state(0, "behind"), site.state(0, "cosigned")), (0.0, 1.0));
}

async fn a_ledger_and_a_witness_that_were_restored_are_told_apart(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.sequence().await.unwrap();
    let old = site.states[0].all_witnessed().await.unwrap().remove(0);
    site.ingest(1).await;
    site.sequence().await.unwrap();
    // A restored ledger that was recovered has the checkpoints of the log, and no cosignatures.
    site.place.tamper("DELETE FROM cosignatures").await;
    restore(&site, old).await;
    site.take_requests(0);
    site.ingest(1).await;
    site.sequence().await.unwrap();
    assert_eq!((site.state(0, "behind"), site.state(1, "cosigned")), (1.0, 1.0));
    assert_eq!(site.published().await, Some((8, 3)));
    assert_eq!(
        site.states[0].all_witnessed().await.unwrap()[0].size,
        4,
        "it got nothing from its old size on"
    );
}

async fn a_cosignature_from_the_future_does_not_count(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.witnesses[0].faults.ahead.store(100, Ordering::Relaxed);
    site.witnesses[1].faults.ahead.store(1000, Ordering::Relaxed);
    site.down(2, true);
    let message = missing(site.sequence().await);
    assert!(message.contains("in the future"), "{message}");
    assert_eq!([0, 1].map(|number| site.state(number, "invalid")), [0.0, 1.0]);
    site.down(2, false);
    site.sequence().await.unwrap();
    assert_eq!(site.published().await, Some((4, 3)));

    // One that an earlier release has kept is asked for again, and replaced.
    let tables = site.ledger.log().unwrap();
    let kept = tables.cosignatures(4).await.unwrap().remove(0);
    let request = AddCheckpoint::new(4, Vec::new(), submission(&site).await).unwrap().to_string();
    let at = now() + 100_000;
    let row = CosignatureRow { at, line: line_at(&request, 0, at).to_string(), ..kept };
    tables.note_cosignatures(vec![row], i64::MAX.cast_unsigned()).await.unwrap();
    assert!(tables.cosignatures(4).await.unwrap().iter().any(|row| row.at == at));
    site.witnesses[0].faults.ahead.store(0, Ordering::Relaxed);
    site.witnesses[1].faults.ahead.store(0, Ordering::Relaxed);
    site.sequence().await.unwrap();
    assert!(tables.cosignatures(4).await.unwrap().iter().all(|row| row.at <= now() + 300));
    assert_eq!(site.published().await, Some((4, 4)));
}

/// Returns the last checkpoint with the line of the log alone.
async fn submission(site: &Site) -> Note {
    let last = site.ledger.log().unwrap().last_checkpoint().await.unwrap().unwrap();
    Note::parse(&last.note).unwrap()
}

async fn fewer_cosignatures_replace_no_checkpoint(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.sequence().await.unwrap();
    assert_eq!(site.published().await, Some((4, 4)));
    // A node whose settings have no policy, and one that has lost the cosignatures and reaches no witness.
    site.round(&log(&site.ledger, &site.objects, 1000)).await.unwrap();
    assert_eq!(site.published().await, Some((4, 4)));
    site.down(0, true);
    site.place.tamper("DELETE FROM cosignatures WHERE vkey LIKE 'w0%'").await;
    site.require_quorum = false;
    site.sequence().await.unwrap();
    assert_eq!(site.published().await, Some((4, 4)));
}

async fn a_leader_that_was_replaced_publishes_nothing(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.down(1, true);
    site.down(2, true);
    let log = site.log();
    let mut leader = lead(&log).await;
    missing(log.sequence(&mut leader).await);
    let request = log.witness_request("w1", None).await.unwrap();
    let line = site.by_hand(1, &request).await;
    log.add_cosignature(line.as_bytes()).await.unwrap();
    site.place.tamper("UPDATE log_state SET term = term + 1").await;
    assert_eq!(log.publish_added(&leader, 4).await.unwrap_err().code(), "log_superseded");
    assert_eq!(site.published().await, None);
    drop(leader);
    log.publish_added(&lead(&log).await, 4).await.unwrap();
    assert_eq!(site.published().await, Some((4, 3)));
}

async fn old_cosignatures_of_a_quiet_log_are_renewed(place: Place) {
    let mut site = Site::new(place).await;
    site.ingest(1).await;
    site.sequence().await.unwrap();
    for number in 0..3 {
        site.take_requests(number);
    }
    // By default they are renewed after an hour.
    site.sequence().await.unwrap();
    assert!((0..3).all(|number| site.take_requests(number).is_empty()));
    let log = log(&site.ledger, &site.objects, 1000).with_cosigners(site.cosigners(3).renewed_after(0));
    assert_eq!(site.round(&log).await.unwrap().batches, 0);
    for number in 0..3 {
        let requests = site.take_requests(number);
        let asked: Vec<_> = requests.iter().map(|request| (request.old(), request.size())).collect();
        assert_eq!(asked, [(4, 4)], "the same checkpoint");
    }
    assert_eq!(site.published().await, Some((4, 4)));
    // A witness that fails now takes nothing away.
    site.down(0, true);
    site.round(&log).await.unwrap();
    assert_eq!((site.published().await, site.state(0, "unreachable")), (Some((4, 4)), 1.0));
}
