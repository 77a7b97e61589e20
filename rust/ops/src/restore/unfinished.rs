//! A data directory that is being filled: it is emptied again if the restore does not complete.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::observe::{Event, Observer};

/// Removes the restored files when dropped, unless the restore finished.
pub(super) struct Unfinished<'a> {
    data: PathBuf,
    /// Whether the directory itself is removed.
    was_absent: bool,
    is_finished: bool,
    work: Work,
    observer: Observer<'a>,
}

/// Work in the directory on another thread, which stops only at its own checks.
#[derive(Clone, Default)]
pub(super) struct Work {
    stop: Arc<AtomicBool>,
    busy: Arc<Mutex<()>>,
}

impl Work {
    /// Runs the work, unless it was stopped before.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        work()
    }

    /// Returns an error if the work must stop.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.stop.load(SeqCst) {
            return Err(Error::Interrupted("the restore"));
        }
        Ok(())
    }

    /// Stops the work and waits for its end.
    fn end(&self) {
        self.stop.store(true, SeqCst);
        drop(self.busy.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A file in a directory that is being filled. A second restore into the directory would remove the files of the
/// first.
const CLAIM: &str = "edgesentry-restore.claim";

impl<'a> Unfinished<'a> {
    /// Claims the directory, before anything else is written into it.
    ///
    /// # Errors
    /// The directory is not empty, or another restore is filling it; nothing is touched.
    pub(super) fn claim(data: &Path, observer: Observer<'a>) -> Result<Unfinished<'a>, Error> {
        let refuse = |problem: &str| Error::Config(format!("{}: {problem}", data.display()));
        let was_absent = match fs::create_dir(data) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Error::io("create the data directory", data)(error)),
        };
        let claim = data.join(CLAIM);
        match fs::File::create_new(&claim) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(refuse(
                    "another restore is filling the directory, or was killed meanwhile; wait for it, or remove the \
                     directory",
                ));
            }
            Err(error) => return Err(Error::io("write into the data directory", data)(error)),
        }
        let entries = fs::read_dir(data).map(|entries| entries.flatten().collect::<Vec<_>>());
        let is_ours = |entry: &fs::DirEntry| entry.file_name() == CLAIM;
        match entries {
            Ok(entries) if entries.iter().all(is_ours) => {}
            Ok(_) => {
                let _ = fs::remove_file(&claim);
                return Err(refuse("the directory is no longer empty; use another one"));
            }
            Err(error) => return Err(Error::io("read the data directory", data)(error)),
        }
        let data = data.to_owned();
        Ok(Unfinished { data, was_absent, is_finished: false, work: Work::default(), observer })
    }

    /// Returns a handle for work that writes into the directory.
    pub(super) fn work(&self) -> Work {
        self.work.clone()
    }

    /// Keeps the files.
    pub(super) fn finish(mut self) {
        self.is_finished = true;
        let _ = fs::remove_file(self.data.join(CLAIM));
    }

    fn remove(&self) -> std::io::Result<bool> {
        let entries = match fs::read_dir(&self.data) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        if self.was_absent {
            fs::remove_dir(&self.data)?;
        }
        Ok(true)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.work.end();
        let place = self.data.display();
        match self.remove() {
            Ok(false) => {}
            Ok(true) => {
                (self.observer)(Event::Note(&format!("{place}: the unfinished copy is removed")));
            }
            Err(error) => (self.observer)(Event::Note(&format!(
                "{place}: the unfinished copy cannot be removed: {error}; remove it before you restore again"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ignore;

    #[test]
    fn an_unfinished_restore_is_removed_after_its_writer_ended() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let unfinished = Unfinished::claim(&data, &ignore).unwrap();
        let work = unfinished.work();
        let (begun, begins) = std::sync::mpsc::channel();
        let place = data.clone();
        let writer = std::thread::spawn(move || {
            work.run(|| {
                fs::create_dir_all(place.join("base")).unwrap();
                begun.send(()).unwrap();
                for number in 0.. {
                    work.check()?;
                    fs::write(place.join("base").join(number.to_string()), b"").unwrap();
                }
                Ok(())
            })
        });
        begins.recv().unwrap();
        drop(unfinished);
        assert!(!data.exists());
        assert!(writer.join().unwrap().is_err());

        // An existing directory stays, and so do the files of a finished restore.
        fs::create_dir(&data).unwrap();
        let unfinished = Unfinished::claim(&data, &ignore).unwrap();
        fs::write(data.join("PG_VERSION"), b"15").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        let unfinished = Unfinished::claim(&data, &ignore).unwrap();
        fs::write(data.join("PG_VERSION"), b"15").unwrap();
        unfinished.finish();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_filled_by_one_restore_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = Unfinished::claim(&data, &ignore).unwrap();
        fs::write(data.join("PG_VERSION"), b"15").unwrap();
        let error = Unfinished::claim(&data, &ignore).err().unwrap().to_string();
        assert!(error.contains("another restore is filling the directory"), "{error}");
        assert!(data.join("PG_VERSION").exists());
        first.finish();
        let error = Unfinished::claim(&data, &ignore).err().unwrap().to_string();
        assert!(error.contains("no longer empty"), "{error}");
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }
}
