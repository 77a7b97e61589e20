//! Time stamps of checkpoints: by `openssl ts` as the authority, and by authorities that fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_formats::{StampCheck, TrustedRoots};
use edgesentry_log::Note;
use edgesentry_rs::ledger::Ledger;
use edgesentry_rs::log::{Eraser, StampClient, Stamper, TransparencyLog};
use edgesentry_rs::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio::sync::Mutex as AsyncMutex;

use crate::common::{Place, devices};
use crate::keep::wait;
use crate::log::{ingest, lead, log, objects, open};
use crate::metrics::{counted, value};
use crate::on_every_ledger;

on_every_ledger!(
    a_checkpoint_is_stamped_once_in_an_interval,
    an_authority_that_fails_stops_nothing,
    only_the_leader_asks,
    a_slow_authority_does_not_delay_the_stamps_of_others,
);

const HOUR: Duration = Duration::from_secs(3600);
const URL: &str = "http://tsa.example/tsr";

/// An authority by `openssl ts`, with a root of its own.
struct Tsa {
    folder: TempDir,
    asked: AtomicUsize,
    /// `openssl ts` counts its stamps in a file.
    running: AsyncMutex<()>,
}

const SETTINGS: &str = "
[ req ]
distinguished_name = dn
[ dn ]
[ v3_root ]
basicConstraints = critical, CA:TRUE
[ v3_tsa ]
extendedKeyUsage = critical, timeStamping
[ tsa1 ]
serial = $ENV::TSA/serial
signer_cert = $ENV::TSA/tsa.pem
signer_key = $ENV::TSA/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
";

impl Tsa {
    fn new() -> Arc<Tsa> {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("openssl.cnf"), SETTINGS).unwrap();
        let tsa = Tsa { folder, asked: AtomicUsize::new(0), running: AsyncMutex::default() };
        for name in ["root", "tsa"] {
            tsa.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"));
        }
        let root =
            "req -x509 -new -key root.key -subj /CN=root -days 1 -config openssl.cnf -extensions v3_root";
        tsa.openssl(&format!("{root} -out root.pem"));
        tsa.openssl("req -new -key tsa.key -subj /CN=tsa.example -config openssl.cnf -out tsa.csr");
        let signer = "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -set_serial 2 -days 1";
        tsa.openssl(&format!("{signer} -extfile openssl.cnf -extensions v3_tsa -out tsa.pem"));
        Arc::new(tsa)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        run(self.folder.path(), arguments);
    }

    fn roots(&self) -> TrustedRoots {
        TrustedRoots::from_pem(&std::fs::read(self.file("root.pem")).unwrap()).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn run(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.current_dir(folder).env("TSA", folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[async_trait]
impl StampClient for Tsa {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        let _one = self.running.lock().await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::fs::write(self.file("request"), request).unwrap();
        let folder = self.folder.path().to_owned();
        let reply = "ts -reply -config openssl.cnf -section tsa1 -queryfile request -out answer";
        tokio::task::spawn_blocking(move || run(&folder, reply)).await.unwrap();
        Ok(std::fs::read(self.file("answer")).unwrap())
    }
}

/// The faults of an authority.
#[derive(Clone, Copy)]
enum Fault {
    Down,
    Slow,
    Huge,
    /// It gives its first answer to every request.
    Cached,
}

struct Faulty {
    fault: Fault,
    tsa: Arc<Tsa>,
    first: Mutex<Option<Vec<u8>>>,
}

#[async_trait]
impl StampClient for Faulty {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        match self.fault {
            Fault::Down => Err("connection refused".to_owned()),
            Fault::Slow => std::future::pending().await,
            Fault::Huge => Ok(vec![0x30; 1 << 20]),
            Fault::Cached => {
                if let Some(first) = self.first.lock().unwrap().clone() {
                    return Ok(first);
                }
                let answer = self.tsa.ask(request).await?;
                *self.first.lock().unwrap() = Some(answer.clone());
                Ok(answer)
            }
        }
    }
}

fn stamped(log: TransparencyLog, tsa: &Arc<Tsa>, interval: Duration) -> TransparencyLog {
    log.with_stamper(Stamper::new(tsa.roots(), interval).with_authority(URL, Arc::clone(tsa) as _))
}

async fn a_checkpoint_is_stamped_once_in_an_interval(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (plain, mut leader) = open(&ledger, &objects).await;
    let (tsa, metrics) = (Tsa::new(), Metrics::new());
    let log = stamped(plain.clone(), &tsa, HOUR);
    assert!(log.stamp(false, &metrics).await.unwrap().stamps.is_empty(), "no checkpoint yet");
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 2).await;
    log.sequence(&mut leader).await.unwrap();
    let round = log.stamp(false, &metrics).await.unwrap();
    assert!(round.failures.is_empty(), "{round:?}");
    let [stamp] = <[_; 1]>::try_from(round.stamps).unwrap();
    let last = log.status().await.unwrap().checkpoint.unwrap();
    assert_eq!((stamp.size, stamp.authority.as_str()), (last.size, "CN=tsa.example"));
    assert_eq!(stamp.before_ms, stamp.time_ms + 1000);
    // Another reader verifies the kept answer.
    let kept = ledger.log().unwrap().timestamps(last.size).await.unwrap();
    assert_eq!(kept, std::slice::from_ref(&stamp));
    let note = Note::parse(&last.note).unwrap();
    StampCheck::new(&note, &tsa.roots()).verify("kept", &kept[0].response).unwrap();

    // It is not asked within the interval or for a checkpoint that has a stamp, before and after a restart.
    ingest(&place, &mut lifts, 1).await;
    log.sequence(&mut leader).await.unwrap();
    let restarted = stamped(plain.clone(), &tsa, HOUR);
    assert!(restarted.stamp(false, &metrics).await.unwrap().stamps.is_empty());
    assert_eq!(tsa.asked(), 1);
    assert_eq!(restarted.stamp(true, &metrics).await.unwrap().stamps.len(), 1, "urgent");
    assert!(restarted.stamp(true, &metrics).await.unwrap().stamps.is_empty(), "it has a stamp");
    assert_eq!(tsa.asked(), 2);
    let due = stamped(plain, &tsa, Duration::ZERO);
    assert!(due.stamp(false, &metrics).await.unwrap().stamps.is_empty(), "no new checkpoint");
    ingest(&place, &mut lifts, 1).await;
    due.sequence(&mut leader).await.unwrap();
    assert_eq!(due.stamp(false, &metrics).await.unwrap().stamps.len(), 1);
    assert_eq!(
        value(&metrics, "edgesentry_log_tsa_requests_total{tsa=\"tsa.example\",result=\"stamped\"}"),
        3.0
    );
    let tables = ledger.log().unwrap();
    assert_eq!(tables.last_stamped(last.size).await.unwrap(), Some(last.size));
    assert_eq!(tables.last_stamped(last.size - 1).await.unwrap(), None);
}

async fn an_authority_that_fails_stops_nothing(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    drop(open(&ledger, &objects).await);
    let (tsa, untrusted) = (Tsa::new(), Tsa::new());
    let mut stamper = Stamper::new(tsa.roots(), Duration::ZERO);
    for (name, fault) in
        [("down", Fault::Down), ("slow", Fault::Slow), ("huge", Fault::Huge), ("cached", Fault::Cached)]
    {
        let faulty = Faulty { fault, tsa: Arc::clone(&tsa), first: Mutex::default() };
        stamper = stamper.with_authority(&format!("http://{name}.example"), Arc::new(faulty));
    }
    stamper = stamper.with_authority("https://untrusted.example/tsr", untrusted);
    stamper = stamper.with_authority(URL, Arc::clone(&tsa) as _);
    let metrics = Metrics::new();
    let node = log(&ledger, &objects, 1000).with_stamper(stamper);
    let eraser = Eraser::new(node.clone(), place.ledger().await, place.payloads().await);
    let mut lifts = devices(&*ledger, 1).await;
    let task = tokio::spawn(node.keep(eraser, Duration::from_millis(50), metrics.clone()));
    let of = |series: &str| value(&metrics, &format!("edgesentry_log_{series}"));
    // The first leaf, the key and the heads.
    wait("the log begins", || of("checkpoint_size") == 3.0).await;
    for size in [5.0, 7.0, 9.0] {
        ingest(&place, &mut lifts, 1).await;
        // No round waits for the slow authority.
        wait("the record is signed", || of("checkpoint_size") == size).await;
    }
    for name in ["down", "slow", "huge", "untrusted"] {
        wait(name, || of(&format!("tsa_failing{{tsa=\"{name}.example\"}}")) == 1.0).await;
    }
    wait("it is stamped", || of("tsa_timestamp_seconds{tsa=\"tsa.example\"}") > 0.0).await;
    ingest(&place, &mut lifts, 1).await;
    wait("the old answer is refused", || of("tsa_failing{tsa=\"cached.example\"}") == 1.0).await;
    assert_eq!(of("tsa_failing{tsa=\"tsa.example\"}"), 0.0);
    assert_eq!(of("leader"), 1.0);
    task.abort();
    drop(task.await);
    let tables = ledger.log().unwrap();
    let last = tables.last_checkpoint().await.unwrap().unwrap();
    let size = tables.last_stamped(last.size).await.unwrap().unwrap();
    let kept = tables.timestamps(size).await.unwrap();
    assert!(kept.iter().any(|stamp| stamp.tsa == URL), "{kept:?}");
    assert!(!kept.iter().any(|stamp| stamp.tsa.contains("untrusted")), "{kept:?}");
}

async fn only_the_leader_asks(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (plain, mut leader) = open(&ledger, &objects).await;
    let tsa = Tsa::new();
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 1).await;
    plain.sequence(&mut leader).await.unwrap();
    let metrics = Metrics::new();
    if place.kind == crate::common::Kind::Postgres {
        // The lock of the leader stays here, so the node never leads.
        let other: Arc<dyn Ledger> = place.ledger().await;
        let node = stamped(log(&other, &objects, 1000), &tsa, HOUR);
        let eraser = Eraser::new(node.clone(), other, place.payloads().await);
        let task = tokio::spawn(node.keep(eraser, Duration::from_millis(20), metrics.clone()));
        wait("it has tried", || value(&metrics, "edgesentry_log_checkpoint_size") == 4.0).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(tsa.asked(), 0);
        task.abort();
        drop(task.await);
    }
    drop(leader);
    let node = stamped(plain.clone(), &tsa, HOUR);
    drop(lead(&plain).await);
    let eraser = Eraser::new(node.clone(), place.ledger().await, place.payloads().await);
    let task = tokio::spawn(node.keep(eraser, Duration::from_millis(20), metrics.clone()));
    wait("the leader has asked", || tsa.asked() == 1).await;
    wait("it is stamped", || {
        value(&metrics, "edgesentry_log_tsa_timestamp_seconds{tsa=\"tsa.example\"}") > 0.0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(tsa.asked(), 1, "once in the interval");
    task.abort();
    drop(task.await);
}

async fn a_slow_authority_does_not_delay_the_stamps_of_others(place: Place) {
    let (ledger, objects) = (place.ledger().await, objects(&place).await);
    let (plain, mut leader) = open(&ledger, &objects).await;
    let mut lifts = devices(&*ledger, 1).await;
    ingest(&place, &mut lifts, 1).await;
    plain.sequence(&mut leader).await.unwrap();
    let tsa = Tsa::new();
    let slow = Faulty { fault: Fault::Slow, tsa: Arc::clone(&tsa), first: Mutex::default() };
    let stamper = Stamper::new(tsa.roots(), HOUR)
        .with_authority("http://slow.example", Arc::new(slow))
        .with_authority(URL, Arc::clone(&tsa) as _);
    let (node, metrics) = (plain.with_stamper(stamper), Metrics::new());
    // The round is dropped while the slow authority is asked.
    tokio::select! {
        round = node.stamp(true, &metrics) => panic!("the round ended: {round:?}"),
        () = wait("it is stamped", || {
            counted(&metrics).contains_key("log_tsa_requests_total{tsa=\"tsa.example\",result=\"stamped\"}")
        }) => {}
    }
    let tables = ledger.log().unwrap();
    let last = tables.last_checkpoint().await.unwrap().unwrap();
    let kept = tables.timestamps(last.size).await.unwrap();
    assert_eq!(kept.iter().map(|stamp| &*stamp.tsa).collect::<Vec<_>>(), [URL]);
}
