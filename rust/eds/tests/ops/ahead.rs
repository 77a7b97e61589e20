//! Write-ahead log that is fetched ahead of replay, by the process that a restore starts beside the server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use edgesentry_ops::archive::Archive;
use edgesentry_ops::error::Error;
use edgesentry_ops::wal::{Fetched, Prefetch, Segment, WalName, archive_wal, fetch_ahead, fetch_wal};
use edgesentry_ops::{OpsSettings, Settings};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const BYTES: u64 = 1 << 20;
/// The largest number of segments of this size.
const MOST: usize = 8;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// An archive in a directory, and the directory `pg_wal` of a recovering server.
struct Recovery {
    archive: Archive,
    folder: TempDir,
}

impl Recovery {
    async fn new() -> Recovery {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pg_wal", "archive"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let place = format!("folder:{}", folder.path().join("archive").display());
        let ops = OpsSettings { archive: Some(place), ..OpsSettings::default() };
        let archive = Archive::open(&Settings { ops, ..Settings::default() }).await.unwrap();
        Recovery { archive, folder }
    }

    fn ahead(&self) -> PathBuf {
        self.folder.path().join("pg_wal").join("edgesentry_ahead")
    }

    async fn archived(&self, timeline: u32, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let segment = Segment::at(timeline, number, BYTES);
            let file = self.folder.path().join(segment.to_string());
            fs::write(&file, content(timeline, number)).unwrap();
            archive_wal(&self.archive, &file, WalName::Segment(segment)).await.unwrap();
        }
    }

    fn start(&self, from: u64, timeline: u32) -> JoinHandle<Result<u64, Error>> {
        let (archive, folder) = (self.archive.clone(), self.ahead());
        let from = Segment::at(1, from, BYTES);
        tokio::spawn(async move { fetch_ahead(&archive, from, timeline, &folder).await })
    }

    /// Fetches as PostgreSQL does, and checks the content.
    async fn fetch(&self, timeline: u32, number: u64) -> Result<Fetched, Error> {
        let segment = Segment::at(timeline, number, BYTES);
        let target = self.folder.path().join("pg_wal").join("RECOVERYXLOG");
        let _ = fs::remove_file(&target);
        let fetched = fetch_wal(&self.archive, WalName::Segment(segment), &target, Prefetch(0)).await;
        match &fetched {
            Ok(Fetched::Absent) | Err(_) => assert!(!target.exists()),
            Ok(_) => assert!(fs::read(&target).unwrap() == content(timeline, number), "{segment}"),
        }
        fetched
    }

    /// Returns the whole segments in the directory.
    fn there(&self) -> Vec<String> {
        let names = fs::read_dir(self.ahead()).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.parse::<Segment>().is_ok()).collect();
        names.sort();
        names
    }

    async fn until_there(&self, count: usize) {
        while self.there().len() < count {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

/// Returns a segment with a valid first page.
fn content(timeline: u32, number: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(number).unwrap(); 1 << 20];
    bytes[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    bytes[4..8].copy_from_slice(&timeline.to_ne_bytes());
    bytes[8..16].copy_from_slice(&(number * BYTES).to_ne_bytes());
    bytes[24..32].copy_from_slice(&77_u64.to_ne_bytes());
    bytes[32..36].copy_from_slice(&(1_u32 << 20).to_ne_bytes());
    bytes
}

#[test]
fn segments_are_there_before_they_are_asked_for_and_never_more_than_the_window() {
    run(async {
        let recovery = Recovery::new().await;
        recovery.archived(1, 1..=30).await;
        let process = recovery.start(1, 1);
        recovery.until_there(MOST).await;
        for number in 1..=30 {
            assert!(recovery.there().len() <= MOST, "{:?}", recovery.there());
            assert_eq!(recovery.fetch(1, number).await.unwrap(), Fetched::Ahead);
            recovery.until_there(MOST.min(30 - number as usize)).await;
        }
        assert_eq!(process.await.unwrap().unwrap(), 30);
        // The end is decided without it, and segments that are archived late are found.
        assert_eq!(recovery.fetch(1, 31).await.unwrap(), Fetched::Absent);
        recovery.archived(1, [31]).await;
        assert_eq!(recovery.fetch(1, 31).await.unwrap(), Fetched::Archive);
        // Requested once more, a segment comes from the archive.
        assert_eq!(recovery.fetch(1, 30).await.unwrap(), Fetched::Archive);
    });
}

#[test]
fn a_segment_that_is_damaged_or_missing_ends_it_and_is_refused_when_it_is_asked_for() {
    run(async {
        let recovery = Recovery::new().await;
        recovery.archived(1, 1..=6).await;
        let key = WalName::Segment(Segment::at(1, 4, BYTES)).key();
        let object = recovery.folder.path().join("archive").join(&key);
        let mut bytes = fs::read(&object).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&object, &bytes).unwrap();
        let error = recovery.start(1, 1).await.unwrap().unwrap_err().describe();
        assert!(error.contains("is damaged"), "{error}");
        for number in 1..=3 {
            recovery.fetch(1, number).await.unwrap();
        }
        assert!(recovery.fetch(1, 4).await.is_err());

        fs::remove_file(&object).unwrap();
        // Nothing after a gap is fetched.
        assert_eq!(recovery.start(1, 1).await.unwrap().unwrap(), 3);
        assert_eq!(recovery.fetch(1, 4).await.unwrap(), Fetched::Absent);
    });
}

#[test]
fn timelines_change_at_the_points_of_the_history() {
    run(async {
        let recovery = Recovery::new().await;
        // Timeline 2 leaves 1 in segment 4; the original continues.
        recovery.archived(1, 1..=7).await;
        recovery.archived(2, 4..=6).await;
        let history = recovery.folder.path().join("00000002.history");
        fs::write(&history, "1\t0/400100\tbefore 2026-01-31 12:00:00+00\n").unwrap();
        archive_wal(&recovery.archive, &history, WalName::History(2)).await.unwrap();
        assert_eq!(recovery.start(2, 2).await.unwrap().unwrap(), 5);
        let expected = [(1, 2), (1, 3), (2, 4), (2, 5), (2, 6)];
        assert_eq!(
            recovery.there(),
            expected.map(|(timeline, number)| Segment::at(timeline, number, BYTES).to_string())
        );
        for (timeline, number) in expected {
            assert_eq!(recovery.fetch(timeline, number).await.unwrap(), Fetched::Ahead);
        }
        assert_eq!(recovery.fetch(1, 4).await.unwrap(), Fetched::Archive);
        assert_eq!(recovery.fetch(2, 7).await.unwrap(), Fetched::Absent);
    });
}

#[test]
fn a_killed_process_does_not_block_the_server_and_can_be_restarted() {
    run(async {
        let recovery = Recovery::new().await;
        recovery.archived(1, 1..=20).await;
        let process = recovery.start(1, 1);
        recovery.until_there(3).await;
        process.abort();
        let _ = process.await;
        // SIGKILL leaves files, but no locks.
        let coming = recovery.ahead().join(format!("{}.coming", Segment::at(1, 12, BYTES)));
        fs::write(&coming, b"").unwrap();
        fs::write(recovery.ahead().join("runs"), b"").unwrap();
        for number in 1..=12 {
            recovery.fetch(1, number).await.unwrap();
        }
        let process = recovery.start(13, 1);
        for number in 13..=20 {
            recovery.fetch(1, number).await.unwrap();
        }
        assert_eq!(process.await.unwrap().unwrap(), 8);
    });
}

#[test]
fn a_segment_that_is_being_fetched_is_awaited() {
    run(async {
        let recovery = Recovery::new().await;
        fs::create_dir(recovery.ahead()).unwrap();
        let path = recovery.ahead().join(Segment::at(1, 5, BYTES).to_string());
        let lock = File::create(path.with_extension("coming")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let mut asked = Box::pin(recovery.fetch(1, 5));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut asked).await;
        assert!(early.is_err(), "{early:?}");
        fs::write(&path, content(1, 5)).unwrap();
        drop(lock);
        // There is no archive from which it could come.
        assert_eq!(asked.await.unwrap(), Fetched::Ahead);
    });
}

#[test]
fn replayed_segments_are_removed() {
    run(async {
        let recovery = Recovery::new().await;
        recovery.archived(1, 1..=20).await;
        let process = recovery.start(1, 1);
        recovery.until_there(MOST).await;
        // The server had fetched the first ones before they arrived.
        assert_eq!(recovery.fetch(1, 5).await.unwrap(), Fetched::Ahead);
        for number in 6..=20 {
            assert_eq!(recovery.fetch(1, number).await.unwrap(), Fetched::Ahead);
            assert!(recovery.there().len() <= MOST, "{:?}", recovery.there());
            recovery.until_there(MOST.min(20 - number as usize)).await;
        }
        assert_eq!(process.await.unwrap().unwrap(), 20);
    });
}
