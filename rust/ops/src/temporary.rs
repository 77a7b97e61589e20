//! Temporary directories. A killed process does not remove its directory: the next one does.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

/// A directory that was created but not locked yet is younger.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A temporary directory, removed when dropped. It is locked while its process runs, if the file system supports
/// that: a directory that another process can lock is left over.
#[derive(Debug)]
pub struct Temporary {
    folder: TempDir,
    _lock: File,
}

impl Temporary {
    /// Creates a directory whose name begins with `prefix`, and removes those of its kind that no process holds any
    /// more. They may be large, and contain data that is encrypted in an archive.
    pub(crate) fn new(prefix: &str, place: &Path) -> io::Result<Temporary> {
        remove_left(prefix, place);
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(place)?;
        let lock = File::open(folder.path())?;
        // NFS does not lock directories, so none counts as left over.
        let _ = lock.try_lock();
        Ok(Temporary { folder, _lock: lock })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn remove_left(prefix: &str, place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_of_kind = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if is_of_kind && is_left(&path).unwrap_or(false) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Returns true if a directory is ours, and its process has ended.
fn is_left(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let is_ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    let is_old = metadata.modified()?.elapsed().is_ok_and(|age| age > ABANDONED_AFTER);
    Ok(is_ours && is_old && File::open(path)?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_killed_process_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("base.tar.gz"), b"large").unwrap();
            path
        };
        let (left, young, other) = (make("eds-left"), make("eds-young"), make("other"));
        let used = Temporary::new("eds-", place.path()).unwrap();
        let old = std::time::SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(60);
        for path in [&left, &other, &used.path().to_owned()] {
            File::open(path).unwrap().set_modified(old).unwrap();
        }
        let next = Temporary::new("eds-", place.path()).unwrap();
        assert!(!left.exists());
        assert!(young.exists() && other.exists() && used.path().exists() && next.path().exists());
    }
}
