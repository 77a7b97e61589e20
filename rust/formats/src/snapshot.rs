//! Heads snapshots on disk: a file that is replaced, and a directory with a dated copy of each of its states.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use edgesentry_chain::{Heads, escape};
use serde_json::json;
use time::OffsetDateTime;

use crate::bounded::{MAX_FILE_BYTES, read_file};
use crate::destination::Destination;
use crate::heads::{HeadsError, read_heads, write_heads};
use crate::new_file::{Readers, create_file, folder_of, sync_folder};

/// The file in the history that logs every accepted rewrite.
const REWRITES: &str = "rewrites.ndjson";

/// The reason why a snapshot cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The existing file is not a heads snapshot.
    #[error(
        "{}: the existing heads cannot be read, so the new ones cannot be compared with them; nothing was replaced; \
         take a copy from the history, or move the file away", path.display()
    )]
    Before {
        /// The snapshot.
        path: PathBuf,
        /// The cause.
        #[source]
        source: HeadsError,
    },
    /// An operating system call failed.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The attempted action.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl SnapshotError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> SnapshotError {
        let path = path.to_owned();
        move |source| SnapshotError::Io { path, action, source }
    }
}

/// A snapshot that is about to be replaced. It is locked against other writers until it is dropped.
///
/// ```
/// use edgesentry_chain::Heads;
/// use edgesentry_formats::{Destination, Snapshot};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("heads.json");
/// let snapshot = Snapshot::open(&Destination::of("output", &path)?, &path, None)?.expect("a file");
/// assert!(snapshot.before().is_none());
/// snapshot.replace(&Heads::new(), None)?;
/// assert_eq!(std::fs::read_dir(folder.path().join("heads.d"))?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Snapshot {
    destination: Destination,
    place: PathBuf,
    history: PathBuf,
    before: Option<Before>,
    _lock: File,
}

#[derive(Debug)]
struct Before {
    bytes: Vec<u8>,
    heads: Heads,
    modified: SystemTime,
}

impl Snapshot {
    /// Opens the snapshot at a destination, after all other writers have released it. `path` is its name. Its history
    /// is the directory `history`, or by default one beside it: `heads.d` for `heads.json`. Returns `None` if the
    /// destination is a stream, which has neither a previous state nor a history.
    ///
    /// # Errors
    /// The existing file cannot be read or is not a snapshot, or the history cannot be created.
    pub fn open(
        destination: &Destination,
        path: &Path,
        history: Option<&Path>,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(place) = destination.file() else { return Ok(None) };
        let history = history.map_or_else(|| place.with_extension("d"), Path::to_owned);
        match fs::create_dir(&history) {
            Ok(()) => {
                sync_folder(folder_of(&history)).map_err(SnapshotError::io(&history, "make the history"))?
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SnapshotError::io(&history, "make the history")(error)),
        }
        let lock = File::open(&history).map_err(SnapshotError::io(&history, "open the history"))?;
        lock.lock().map_err(SnapshotError::io(&history, "lock the history"))?;
        Ok(Some(Snapshot {
            destination: destination.clone(),
            place: place.to_owned(),
            before: before(place, path)?,
            history,
            _lock: lock,
        }))
    }

    /// Returns the current heads, if any.
    pub fn before(&self) -> Option<&Heads> {
        self.before.as_ref().map(|before| &before.heads)
    }

    /// Replaces the heads; the caller has checked that the new ones extend them. First the history gets a copy of the
    /// existing file, unless it has one, and one of the new heads, named by time; unchanged heads are not copied again.
    /// `rewrite` is the reason for accepting heads that do not extend the previous ones, for the log of the history.
    /// Returns the path of the copy of the new heads.
    ///
    /// # Errors
    /// A file cannot be written. The snapshot is then the previous one, or the new one if the directory could not be
    /// synced.
    pub fn replace(&self, heads: &Heads, rewrite: Option<&str>) -> Result<Option<PathBuf>, SnapshotError> {
        let new = write_heads(heads).into_bytes();
        let mut newest = self.newest()?;
        if let Some(before) = &self.before
            && newest.as_ref() != Some(&before.bytes)
        {
            self.keep(&before.bytes, before.modified)?;
            newest = Some(before.bytes.clone());
        }
        if let Some(reason) = rewrite {
            self.log(reason, &new)?;
        }
        let copy = match newest {
            Some(newest) if newest == new => None,
            _ => Some(self.keep(&new, SystemTime::now())?),
        };
        if self.before.as_ref().is_none_or(|before| before.bytes != new) {
            let written = self.destination.write(Readers::Umask, &new);
            written.map_err(SnapshotError::io(&self.place, "write"))?;
        }
        Ok(copy)
    }

    /// Writes a dated copy; never overwrites another.
    fn keep(&self, bytes: &[u8], time: SystemTime) -> Result<PathBuf, SnapshotError> {
        let mut time = OffsetDateTime::from(time);
        loop {
            let path = self.history.join(format!("{}.json", stamp(time)));
            match create_file(&path, Readers::Umask, bytes) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => time += time::Duration::MILLISECOND,
                Err(error) => return Err(SnapshotError::io(&path, "write")(error)),
            }
        }
    }

    /// Returns the newest copy in the history.
    fn newest(&self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let failed = || SnapshotError::io(&self.history, "read the history");
        let mut newest: Option<PathBuf> = None;
        for entry in fs::read_dir(&self.history).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                newest = newest.max(Some(path));
            }
        }
        newest
            .map(|path| read_file(&path, MAX_FILE_BYTES).map_err(SnapshotError::io(&path, "read")))
            .transpose()
    }

    /// Appends a line about an accepted rewrite.
    fn log(&self, reason: &str, new: &[u8]) -> Result<(), SnapshotError> {
        let before = self.before.as_ref().map(|before| blake3::hash(&before.bytes).to_hex().to_string());
        let line = json!({
            "at": stamp(OffsetDateTime::now_utc()),
            "reason": reason,
            "blake3_before": before,
            "blake3_after": blake3::hash(new).to_hex().to_string(),
        });
        let path = self.history.join(REWRITES);
        let append = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{}\n", escape::json(&line.to_string())).as_bytes())?;
            file.sync_all()?;
            sync_folder(&self.history)
        };
        append().map_err(SnapshotError::io(&path, "write"))
    }
}

fn before(place: &Path, path: &Path) -> Result<Option<Before>, SnapshotError> {
    let read = || -> io::Result<(Vec<u8>, SystemTime)> {
        Ok((
            read_file(place, MAX_FILE_BYTES)?,
            fs::metadata(place)?.modified().unwrap_or_else(|_| SystemTime::now()),
        ))
    };
    let (bytes, modified) = match read() {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SnapshotError::io(path, "read")(error)),
    };
    let heads =
        read_heads(&bytes).map_err(|source| SnapshotError::Before { path: path.to_owned(), source })?;
    Ok(Some(Before { bytes, heads, modified }))
}

/// Returns a name such as `2026-11-28T15-20-00.123Z`, so that names sort by time.
fn stamp(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}-{:02}-{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::{Hash, Head};

    use super::*;

    fn heads(sequence: u64) -> Heads {
        Heads::from([("lift-01".into(), Head { sequence, hash: Hash([7; 32]) })])
    }

    fn open(path: &Path) -> Result<Snapshot, SnapshotError> {
        let destination = Destination::of("output", path).unwrap();
        Snapshot::open(&destination, path, None).map(Option::unwrap)
    }

    fn copies(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder.join("heads.d")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_state_is_kept_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.json");
        // A snapshot written without a history.
        fs::write(&path, write_heads(&heads(1))).unwrap();
        for sequence in [2, 2, 3, 4] {
            let snapshot = open(&path).unwrap();
            assert!(snapshot.before().is_some());
            snapshot.replace(&heads(sequence), None).unwrap();
        }
        let kept: Vec<Heads> = copies(folder.path())
            .iter()
            .map(|name| read_heads(&fs::read(folder.path().join("heads.d").join(name)).unwrap()).unwrap())
            .collect();
        assert_eq!(kept, [heads(1), heads(2), heads(3), heads(4)]);
        assert_eq!(read_heads(&fs::read(&path).unwrap()).unwrap(), heads(4));
    }

    #[test]
    fn an_unreadable_snapshot_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.json");
        let whole = write_heads(&heads(1));
        for half in ["", "[]", &whole[..whole.len() / 2]] {
            fs::write(&path, half).unwrap();
            let error = open(&path).unwrap_err();
            assert!(matches!(error, SnapshotError::Before { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), half);
        }
    }

    #[test]
    fn writers_wait_for_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.json");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let snapshot = open(&path).unwrap();
                    let last = snapshot.before().map_or(0, |heads| heads["lift-01"].sequence);
                    snapshot.replace(&heads(last + 1), None).unwrap();
                });
            }
        });
        assert_eq!(read_heads(&fs::read(&path).unwrap()).unwrap(), heads(8));
        assert_eq!(copies(folder.path()).len(), 8);
    }

    #[test]
    fn a_rewrite_is_logged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.json");
        open(&path).unwrap().replace(&heads(9), None).unwrap();
        open(&path).unwrap().replace(&heads(3), Some("restored to 12:00")).unwrap();
        let log = fs::read_to_string(folder.path().join("heads.d").join(REWRITES)).unwrap();
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(line["reason"], "restored to 12:00");
        assert_eq!(copies(folder.path()).len(), 3);
    }
}
