//! A data folder that is being filled: emptied again if the restore does not get to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::observe::{Event, Observer};

/// Removes what was restored when it is dropped, unless it was finished.
pub(super) struct Unfinished<'a> {
    data: PathBuf,
    /// Whether the folder itself is to go.
    was_absent: bool,
    is_finished: bool,
    work: Work,
    observer: Observer<'a>,
}

/// Work in the folder on another thread, which nothing stops but itself.
#[derive(Clone, Default)]
pub(super) struct Work {
    stop: Arc<AtomicBool>,
    busy: Arc<Mutex<()>>,
}

impl Work {
    /// Does it, unless it was to stop before it began.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        work()
    }

    /// An error once it is to stop.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.stop.load(SeqCst) {
            return Err(Error::Config("the restore was interrupted".to_owned()));
        }
        Ok(())
    }

    /// Stops it and waits until it has.
    fn end(&self) {
        self.stop.store(true, SeqCst);
        drop(self.busy.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<'a> Unfinished<'a> {
    /// Before anything is written into `data`.
    pub(super) fn new(data: &Path, observer: Observer<'a>) -> Unfinished<'a> {
        Unfinished {
            data: data.to_owned(),
            was_absent: !data.exists(),
            is_finished: false,
            work: Work::default(),
            observer,
        }
    }

    /// For work that writes into the folder.
    pub(super) fn work(&self) -> Work {
        self.work.clone()
    }

    /// What is in the folder stays.
    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }

    fn remove(&self) -> std::io::Result<bool> {
        let entries = match fs::read_dir(&self.data) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
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
                (self.observer)(Event::Note(&format!("{place}: what was restored so far is removed again")));
            }
            Err(error) => (self.observer)(Event::Note(&format!(
                "{place}: what was restored so far cannot be removed: {error}; remove it before you restore again"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::nobody;

    #[test]
    fn what_is_not_finished_is_removed_once_nobody_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let unfinished = Unfinished::new(&data, &nobody);
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

        // A folder that was there stays, and so does what is finished.
        fs::create_dir(&data).unwrap();
        let unfinished = Unfinished::new(&data, &nobody);
        fs::write(data.join("PG_VERSION"), b"15").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        let unfinished = Unfinished::new(&data, &nobody);
        fs::write(data.join("PG_VERSION"), b"15").unwrap();
        unfinished.finish();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }
}
