//! The log and its witnesses: a checkpoint is published at the quorum, and a witness that contradicts it is reported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_chain::Device;
use edgesentry_log::{AddCheckpoint, KeyType, Note, Policy, SignerKey, WitnessedLogs};
use edgesentry_rs::ledger::{Ledger, WitnessAccess, WitnessTables, WitnessedChange};
use edgesentry_rs::log::{
    Cosigners, Eraser, LogError, LogReader, Sequenced, TransparencyLog, Witness, WitnessClient, WitnessError,
    WitnessResponse,
};
use edgesentry_rs::objects::Objects;
use edgesentry_rs::telemetry::metrics::Metrics;

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
);

/// A witness that can be unreachable, and that answers with other bytes.
struct Asked {
    witness: Mutex<Witness>,
    is_down: AtomicBool,
    other_line: Mutex<Option<String>>,
    requests: Mutex<Vec<String>>,
}

#[async_trait]
impl WitnessClient for Asked {
    async fn add_checkpoint(&self, request: String) -> Result<WitnessResponse, String> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err("connection refused".to_owned());
        }
        self.requests.lock().unwrap().push(request.clone());
        let witness = self.witness.lock().unwrap().clone();
        let answer = witness.add_checkpoint(request.as_bytes()).await;
        let other = self.other_line.lock().unwrap().clone();
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
        if self.is_down.load(Ordering::Relaxed) {
            return Err("connection refused".to_owned());
        }
        let witness = self.witness.lock().unwrap().clone();
        let note = witness.latest(path).await.map_err(|error| error.to_string())?;
        let status = if note.is_some() { 200 } else { 404 };
        Ok(WitnessResponse { status, body: note.unwrap_or_default().to_vec() })
    }
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
                witness: Mutex::new(witness),
                is_down: AtomicBool::new(false),
                other_line: Mutex::new(None),
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
        let mut cosigners = Cosigners::new(policy(), self.require_quorum, self.metrics.clone());
        for (number, witness) in self.witnesses.iter().enumerate() {
            cosigners = cosigners.with_witness(&format!("w{number}"), witness.clone());
        }
        log(&self.ledger, &self.objects, 1000).with_cosigners(cosigners)
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
        self.witnesses[number].is_down.store(is_down, Ordering::Relaxed);
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
    *site.witnesses[0].other_line.lock().unwrap() = Some(format!("{line}\n"));
    *site.witnesses[1].other_line.lock().unwrap() = Some("<html>".to_owned());
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
