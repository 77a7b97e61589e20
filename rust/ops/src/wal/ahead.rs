//! Segments that are fetched ahead of replay, by a separate process beside a server that recovers.
//!
//! PostgreSQL runs `restore_command` once for each segment and replays nothing meanwhile. This process downloads, verifies,
//! unpacks and syncs the next segments before PostgreSQL asks for them, so that a rename is enough.
//!
//! `NAME` in the directory is a whole segment. `NAME.coming` is locked while the process fetches that segment: [`take`] waits
//! for the lock, so that no segment is downloaded twice. The kernel releases the lock when the process ends, also after SIGKILL,
//! and [`super::fetch_wal`] then fetches the segment itself. Only `fetch_wal` decides where the archive ends.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fetch::Source;
use super::gaps::Inventory;
use super::name::{Segment, WalName};
use crate::archive::{Archive, Identity};
use crate::blocking::blocking;
use crate::error::Error;

/// The directory, beside the file that PostgreSQL asks for: in `pg_wal`, which base backups leave out.
pub(crate) const FOLDER: &str = "edgesentry_ahead";
/// The file that the process keeps locked.
const RUNS: &str = "runs";
/// The most bytes of unpacked segments in the directory.
const ROOM_BYTES: u64 = 128 << 20;
/// The most segments in the directory.
const MAX_SEGMENTS: u64 = 8;
/// How often the process checks whether a segment was taken.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Returns the maximum number of segments in the directory and on their way.
pub(crate) fn window(segment_bytes: u64) -> u64 {
    (ROOM_BYTES / segment_bytes.max(1)).clamp(2, MAX_SEGMENTS)
}

/// Fetches the segments of a timeline, beginning with `from`, into a directory, and stays a few segments ahead of the server
/// that takes them. Ends with the last complete segment that was in the archive at the start, and returns their number.
///
/// # Errors
/// A segment cannot be fetched, or is damaged. The segments before it are delivered.
pub async fn fetch_ahead(
    archive: &Archive,
    from: Segment,
    timeline: u32,
    folder: &Path,
) -> Result<u64, Error> {
    let identity = archive.existing_identity().await?;
    let inventory = Inventory::of(archive).await?;
    let line = inventory.line(timeline);
    fs::create_dir_all(folder).map_err(Error::io("create the directory", folder))?;
    let runs = folder.join(RUNS);
    let _runs = Lock::take(&runs).map_err(Error::io("lock", &runs))?;
    let bytes = identity.wal_segment_bytes;
    let most = usize::try_from(window(bytes)).unwrap_or(2);
    let mut window = Window::default();
    let mut count = 0;
    for number in from.number(bytes).. {
        let Some((segment, true)) = inventory.on_line(&line, number) else { break };
        while window.settled().await? >= most {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        window.add(Bringing { archive: archive.clone(), identity, segment, folder: folder.to_owned() });
        count += 1;
    }
    while window.is_busy() {
        window.settled().await?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(count)
}

/// Renames a segment that was fetched ahead, or is on its way, to `target`; returns false if it was not fetched
/// ahead.
pub(super) async fn take(segment: Segment, target: &Path) -> Result<bool, Error> {
    let path = folder_of(target).join(segment.to_string());
    if let Ok(file) = File::open(coming(&path)) {
        // Polled, so that a signal ends the wait.
        while is_locked(&file) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    match fs::rename(&path, target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("put into place", target)(error)),
    }
}

/// Returns true if segments are being fetched ahead for this target.
pub(super) fn runs(target: &Path) -> bool {
    let file = File::open(folder_of(target).join(RUNS));
    file.is_ok_and(|file| is_locked(&file))
}

fn is_locked(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn folder_of(target: &Path) -> PathBuf {
    target.parent().unwrap_or(Path::new("")).join(FOLDER)
}

fn coming(path: &Path) -> PathBuf {
    path.with_extension("coming")
}

/// A locked file, removed when dropped.
struct Lock {
    path: PathBuf,
    /// Closed after the file is removed: a process that waits for the lock then looks for the segment.
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> std::io::Result<Lock> {
        let file = File::options().create(true).append(true).open(path)?;
        file.lock()?;
        Ok(Lock { path: path.to_owned(), _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A segment on its way into the directory.
struct Bringing {
    archive: Archive,
    identity: Identity,
    segment: Segment,
    folder: PathBuf,
}

impl Bringing {
    async fn bring(self) -> Result<(), Error> {
        let path = self.path();
        let coming = coming(&path);
        let lock = Lock::take(&coming).map_err(Error::io("lock", &coming))?;
        let made = tempfile::Builder::new().prefix(".").tempdir_in(&self.folder);
        let folder = made.map_err(Error::io("create a temporary directory", &self.folder))?;
        let packed = folder.path().join(format!("{}.zst", self.segment));
        self.archive.fetch(&WalName::Segment(self.segment).key(), &packed).await?;
        blocking(move || {
            let subject = WalName::Segment(self.segment).subject(self.identity);
            let (archive, identity, segment) = (&self.archive, self.identity, Some(self.segment));
            let source = Source { archive, identity, packed: &packed, subject: &subject, segment };
            source.deliver(&folder.path().join("unpacked"), &path)?;
            drop((folder, lock));
            Ok(())
        })
        .await
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.segment.to_string())
    }
}

/// The segments in the directory and on their way, in the order of replay.
#[derive(Default)]
struct Window(VecDeque<Ahead>);

struct Ahead {
    path: PathBuf,
    /// `None` once the segment has arrived.
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl Ahead {
    fn is_taken(&self) -> bool {
        self.task.is_none() && !self.path.exists()
    }
}

impl Window {
    fn add(&mut self, bringing: Bringing) {
        let path = bringing.path();
        self.0.push_back(Ahead { path, task: Some(tokio::spawn(bringing.bring())) });
    }

    fn is_busy(&self) -> bool {
        self.0.iter().any(|ahead| ahead.task.is_some())
    }

    /// Removes segments that were taken or that replay has passed; returns the number of the others.
    async fn settled(&mut self) -> Result<usize, Error> {
        for ahead in &mut self.0 {
            if let Some(task) = ahead.task.take_if(|task| task.is_finished()) {
                let ended = |error| Error::internal("a worker that fetches a segment has ended early", error);
                task.await.map_err(ended)??;
            }
        }
        let taken = self.0.iter().rposition(Ahead::is_taken);
        let passed = taken.map_or(0, |at| at + 1);
        for ahead in self.0.iter().take(passed).filter(|ahead| ahead.task.is_none()) {
            // The server has fetched it itself.
            let _ = fs::remove_file(&ahead.path);
        }
        // A passed segment that is still on its way is removed when it has arrived.
        let mut position = 0;
        self.0.retain(|ahead| {
            position += 1;
            position > passed || ahead.task.is_some()
        });
        Ok(self.0.len())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        for task in self.0.iter().filter_map(|ahead| ahead.task.as_ref()) {
            task.abort();
        }
    }
}
