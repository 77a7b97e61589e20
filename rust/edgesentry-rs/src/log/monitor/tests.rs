//! Rounds under a clock of the test.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use edgesentry_log::{Appender, HeadsLeaf, KeyType, Leaf, OpenedLeaf, PolicyWitness, SignerKey};

use super::*;
use crate::log::WitnessState;

const ORIGIN: &str = "log.example/lifts";
const MINUTE: u64 = 60_000;
const BEGIN: u64 = 1_800_000_000_000;

#[test]
fn pauses_grow_with_failures_and_end() {
    let pause = |seconds, failed| monitor_pause(Duration::from_secs(seconds), failed).as_secs();
    assert_eq!([0, 1, 2, 3, 4].map(|failed| pause(60, failed)), [60, 60, 120, 240, 480]);
    assert_eq!([5, 100, u32::MAX].map(|failed| pause(60, failed)), [900; 3]);
    assert_eq!([pause(3600, 0), pause(3600, 9)], [3600, 3600]);
}

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn witness_key() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [2; 32]).unwrap()
}

/// Returns a log of this many leaves.
fn log(size: u64) -> Appender {
    let opened = OpenedLeaf { origin: ORIGIN.to_owned(), records_before: 0, previous: None, at_ms: 1 };
    let heads = HeadsLeaf { records: 0, devices: 0, heads_root: TreeHash::EMPTY, at_ms: 1 };
    let mut log = Appender::default();
    log.push(&Leaf::Opened(opened).to_bytes()).unwrap();
    (1..size).for_each(|_| log.push(&Leaf::Heads(heads).to_bytes()).unwrap());
    log
}

/// Returns the checkpoint of a log of this many leaves, cosigned at a time.
fn checkpoint(size: u64, at_ms: u64) -> String {
    let checkpoint = Checkpoint::new(ORIGIN, size, log(size).root()).unwrap();
    let mut note = checkpoint.sign(&log_key()).unwrap();
    note.add(checkpoint.cosign(&witness_key(), at_ms / 1000).unwrap()).unwrap();
    note.to_string()
}

/// A directory with a log, and one with a witness of it.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Site {
        Site(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn show(&self, size: u64, at_ms: u64) {
        for (id, bytes) in log(size).partial() {
            self.write(&format!("log/{id}"), &bytes);
        }
        self.write("log/checkpoint", checkpoint(size, at_ms).as_bytes());
    }

    fn witness(&self, size: u64, at_ms: u64) {
        let path = PolicyWitness::checkpoint_path(ORIGIN);
        self.write(&format!("witness/{path}"), checkpoint(size, at_ms).as_bytes());
    }

    fn settings(&self, now_ms: fn() -> u64) -> MonitorSettings {
        let place = |name: &str| format!("folder:{}", self.0.path().join(name).display());
        let policy = format!(
            "log {}\nwitness ours {} {}\nquorum ours\n",
            log_key().verifier(),
            witness_key().verifier(),
            place("witness")
        );
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        MonitorSettings { now_ms, ..MonitorSettings::new(place("log"), policy, self.state()) }
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state.db")
    }
}

fn codes(checked: &Checked) -> Vec<&str> {
    checked.findings.iter().map(|finding| finding.code.as_str()).collect()
}

async fn acknowledge(state: &Path, id: u64) {
    let findings = MonitorFindings::open(state).await.unwrap();
    assert!(findings.acknowledge(id).await.unwrap());
    findings.close().await;
}

#[tokio::test]
async fn a_log_has_ten_minutes_for_each_checkpoint_of_a_witness() {
    static NOW: AtomicU64 = AtomicU64::new(BEGIN);
    let site = Site::new();
    site.show(2, BEGIN);
    site.witness(2, BEGIN);
    let mut monitor = Monitor::open(site.settings(|| NOW.load(Ordering::SeqCst))).await.unwrap();
    assert_eq!(monitor.check().await.unwrap().outcome(), MonitorOutcome::Verified);
    // A log that is busy: the witness is ahead in each round, of another checkpoint.
    for size in 3..8 {
        site.witness(size, BEGIN);
        let checked = monitor.check().await.unwrap();
        assert_eq!(checked.outcome(), MonitorOutcome::Verified, "{checked:?}");
        assert_eq!(checked.witnesses[0].state, WitnessState::Ahead);
        NOW.fetch_add(9 * MINUTE, Ordering::SeqCst);
        site.show(size, BEGIN);
        site.witness(size + 1, BEGIN);
        let checked = monitor.check().await.unwrap();
        assert_eq!(
            (checked.outcome(), checked.witnesses[0].state),
            (MonitorOutcome::Verified, WitnessState::Ahead)
        );
    }
    // A log that is frozen, although it serves the tiles of the larger tree.
    site.show(9, BEGIN);
    site.show(7, BEGIN);
    site.witness(9, BEGIN);
    NOW.fetch_add(11 * MINUTE, Ordering::SeqCst);
    let checked = monitor.check().await.unwrap();
    assert_eq!(
        (checked.outcome(), codes(&checked)),
        (MonitorOutcome::Unverifiable, vec!["checkpoint_withheld"])
    );
    let verified_at = checked.verified.unwrap().at_ms;
    assert!(verified_at < NOW.load(Ordering::SeqCst), "a frozen log is not confirmed");
    site.show(9, BEGIN);
    acknowledge(&site.state(), 1).await;
    let checked = monitor.check().await.unwrap();
    assert_eq!(
        (checked.outcome(), checked.witnesses[0].state),
        (MonitorOutcome::Verified, WitnessState::Agrees)
    );
    monitor.close().await;
}

#[tokio::test]
async fn an_old_checkpoint_is_not_verified_even_if_the_finding_is_acknowledged() {
    static NOW: AtomicU64 = AtomicU64::new(BEGIN);
    let site = Site::new();
    site.show(2, BEGIN);
    site.witness(2, BEGIN);
    let settings = site.settings(|| NOW.load(Ordering::SeqCst));
    let mut monitor = Monitor::open(MonitorSettings { max_age: Some(3600), ..settings }).await.unwrap();
    assert_eq!(monitor.check().await.unwrap().outcome(), MonitorOutcome::Verified);
    NOW.fetch_add(61 * MINUTE, Ordering::SeqCst);
    let checked = monitor.check().await.unwrap();
    assert_eq!(
        (checked.outcome(), codes(&checked)),
        (MonitorOutcome::Unverifiable, vec!["checkpoint_stale"])
    );
    acknowledge(&site.state(), 1).await;
    let checked = monitor.check().await.unwrap();
    assert_eq!((checked.outcome(), codes(&checked)), (MonitorOutcome::Unverifiable, vec![]));
    let now = NOW.load(Ordering::SeqCst);
    site.show(3, now);
    site.witness(3, now);
    assert_eq!(monitor.check().await.unwrap().outcome(), MonitorOutcome::Verified);
    monitor.close().await;
}
