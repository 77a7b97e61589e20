//! Segments that are fetched ahead of replay, by a process of its own beside a server that recovers.
//!
//! PostgreSQL runs `restore_command` once for each segment and replays nothing meanwhile. With this process beside it the
//! next segments are there already: downloaded, their signatures verified, unpacked and synced, so that a rename is enough.
//!
//! `NAME` in the folder is a whole segment. `NAME.coming` is locked while that segment is on its way: [`take`] waits for it, so
//! that nothing is downloaded twice. The system releases the lock when the process ends, whatever ends it, and then
//! [`super::fetch_wal`] fetches by itself again. It alone decides where the archive ends.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use super::fetch::Source;
use super::gaps::Inventory;
use super::name::{Segment, WalName};
use crate::archive::{Archive, Identity};
use crate::error::Error;
use crate::observe::blocking;

/// The folder, beside the file that PostgreSQL asks for: in `pg_wal`, which base backups leave out.
pub(crate) const FOLDER: &str = "edgesentry_ahead";
/// The file that the process keeps locked.
const RUNS: &str = "runs";
/// What segments that are not replayed yet may take, unpacked.
const ROOM_BYTES: u64 = 128 << 20;
/// How many of them there are at most.
const MOST: u64 = 8;
/// How often the process looks whether a segment was taken.
const LOOK: Duration = Duration::from_millis(5);

/// How many segments are there or on their way at most.
pub(crate) fn window(segment_bytes: u64) -> u64 {
    (ROOM_BYTES / segment_bytes.max(1)).clamp(2, MOST)
}

/// Fetches the segments along a timeline from one on into a folder, always a few ahead of whoever takes them. Returns how many
/// there were when the last complete one that was archived by now is there.
///
/// # Errors
/// A segment cannot be fetched, or is damaged. Those before it are delivered.
pub async fn fetch_ahead(
    archive: &Archive,
    from: Segment,
    timeline: u32,
    folder: &Path,
) -> Result<u64, Error> {
    let identity = archive.existing_identity().await?;
    let inventory = Inventory::of(archive).await?;
    let line = inventory.line(timeline);
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let runs = folder.join(RUNS);
    let _runs = Lock::take(&runs).map_err(Error::io("lock", &runs))?;
    let bytes = identity.wal_segment_bytes;
    let most = usize::try_from(window(bytes)).unwrap_or(2);
    let mut window = Window::default();
    let mut count = 0;
    for number in from.number(bytes).. {
        let Some((segment, true)) = inventory.on_line(&line, number) else { break };
        while window.settled().await? >= most {
            tokio::time::sleep(LOOK).await;
        }
        window.add(Bringing { archive: archive.clone(), identity, segment, folder: folder.to_owned() });
        count += 1;
    }
    while window.is_busy() {
        window.settled().await?;
        tokio::time::sleep(LOOK).await;
    }
    Ok(count)
}

/// A segment that was fetched ahead, or is on its way, renamed to `target`; false if there is none.
pub(super) async fn take(segment: Segment, target: &Path) -> Result<bool, Error> {
    let path = folder_of(target).join(segment.to_string());
    let coming = coming(&path);
    if let Ok(file) = File::open(&coming) {
        let waiting = move || {
            flock(&file, FlockOperation::LockShared).map_err(|error| Error::io("lock", &coming)(error.into()))
        };
        blocking(waiting).await?;
    }
    match fs::rename(&path, target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("put into place", target)(error)),
    }
}

/// Whether segments are being fetched ahead for this target.
pub(super) fn runs(target: &Path) -> bool {
    let file = File::open(folder_of(target).join(RUNS));
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

fn folder_of(target: &Path) -> PathBuf {
    target.parent().unwrap_or(Path::new("")).join(FOLDER)
}

fn coming(path: &Path) -> PathBuf {
    path.with_extension("coming")
}

/// A locked file, gone when dropped.
struct Lock {
    path: PathBuf,
    /// Closed after the file is gone: whoever waits for it then looks for the segment.
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> std::io::Result<Lock> {
        let file = File::options().create(true).append(true).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Lock { path: path.to_owned(), _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A segment that is to be brought into the folder.
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
        let folder = made.map_err(Error::io("make a temporary folder", &self.folder))?;
        let packed = folder.path().join("packed");
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

/// The segments that are there or on their way, the one that is replayed next first.
#[derive(Default)]
struct Window(VecDeque<Ahead>);

struct Ahead {
    path: PathBuf,
    /// None when it has come.
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

    /// Forgets what was taken, and what replay has passed; how many are left.
    async fn settled(&mut self) -> Result<usize, Error> {
        for ahead in &mut self.0 {
            if let Some(task) = ahead.task.take_if(|task| task.is_finished()) {
                let ended = |error| Error::Config(format!("a worker thread has ended early: {error}"));
                task.await.map_err(ended)??;
            }
        }
        let taken = self.0.iter().rposition(Ahead::is_taken);
        let passed = taken.map_or(0, |at| at + 1);
        for ahead in self.0.iter().take(passed).filter(|ahead| ahead.task.is_none()) {
            // Fetched by the server itself before it had come.
            let _ = fs::remove_file(&ahead.path);
        }
        // One that is still on its way and was passed is looked at again when it has come.
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
