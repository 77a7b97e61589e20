//! Files that are written whole or not at all.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempPath;

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Readers {
    /// As the umask has it for a new file; as before for a file that is replaced.
    Umask,
    /// The owner alone: mode 0600.
    Owner,
}

/// A file that is being written beside its final place, under a random name that ends in `.part`.
///
/// The name is made with `O_EXCL`, so that nothing that lies there is followed or opened. The file takes its place in
/// [`NewFile::replace`] or [`NewFile::create`], complete and synced, and the folder is synced after it. If it does not
/// get there it is removed: when it is dropped, and by [`remove_unfinished`] when a signal ends the process.
///
/// ```
/// use std::io::Write;
/// use edgesentry_formats::{NewFile, Readers};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("heads.json");
/// let mut file = NewFile::beside(&path, Readers::Umask)?;
/// file.write_all(b"{}")?;
/// assert!(!path.exists());
/// file.replace()?;
/// assert_eq!(std::fs::read(&path)?, b"{}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// None once it has its final name.
    temporary: Option<TempPath>,
    place: PathBuf,
    /// Whether all that was written is durable.
    is_synced: bool,
}

impl NewFile {
    /// Begins the file that will be at `place`. If `place` is a symbolic link, the link will be replaced: see
    /// [`crate::Destinations`] for paths that a user gave.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to, or `place` is there and not a regular file.
    pub fn beside(place: &Path, readers: Readers) -> io::Result<NewFile> {
        let before = match place.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
            Ok(metadata) if metadata.is_symlink() => None,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
            Err(_) => None,
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part");
        if let (Readers::Umask, Some(permissions)) = (readers, ordinary_permissions()) {
            builder.permissions(permissions);
        }
        // Under the lock, so that no file is made after `remove_unfinished` has looked.
        let mut unfinished = unfinished();
        let (file, temporary) = builder.tempfile_in(folder_of(place))?.into_parts();
        unfinished.insert(temporary.to_path_buf());
        drop(unfinished);
        let new = NewFile { file, temporary: Some(temporary), place: place.to_owned(), is_synced: false };
        if let (Readers::Umask, Some(permissions)) = (readers, before) {
            new.file.set_permissions(permissions)?;
        }
        Ok(new)
    }

    /// Its name until it gets the final one.
    pub fn temporary_path(&self) -> Option<&Path> {
        self.temporary.as_deref()
    }

    /// Another handle to write it through.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes the content durable, after its last byte, so that only the name can still fail.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_all()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Syncs the file, gives it its name, and syncs the folder. A file that had the name is replaced at once.
    ///
    /// # Errors
    /// One of the three failed. If it was the last, the file has its name, but a crash may take it away.
    pub fn replace(mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.to_path_buf();
            let placed = temporary.persist(&self.place);
            unfinished().remove(&path);
            placed.map_err(|failed| failed.error)?;
        }
        sync_folder(folder_of(&self.place))
    }

    /// Like [`NewFile::replace`], but never replaces a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; after any error the name is as it was.
    pub fn create(mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.to_path_buf();
            let placed = temporary.persist_noclobber(&self.place);
            unfinished().remove(&path);
            placed.map_err(|failed| failed.error)?;
        }
        sync_folder(folder_of(&self.place)).inspect_err(|_| {
            let _ = std::fs::remove_file(&self.place);
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_synced = false;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.to_path_buf();
            // Removed first: a signal in between finds the name on the list and nothing there.
            drop(temporary);
            unfinished().remove(&path);
        }
    }
}

/// Writes a file whole or not at all; a file that is there is replaced at once.
///
/// # Errors
/// As [`NewFile::beside`] and [`NewFile::replace`]; the file that is there then stays.
pub fn replace_file(place: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::beside(place, readers)?;
    file.write_all(bytes)?;
    file.replace()
}

/// Writes a new file whole or not at all; never replaces one.
///
/// # Errors
/// As [`NewFile::beside`] and [`NewFile::create`].
pub fn create_file(place: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::beside(place, readers)?;
    file.write_all(bytes)?;
    file.create()
}

/// Removes every [`NewFile`] of this process that has not got its name, and lets no other begin. Only for a process
/// that is about to end.
pub fn remove_unfinished() {
    let mut unfinished = unfinished();
    for path in std::mem::take(&mut *unfinished) {
        let _ = std::fs::remove_file(path);
    }
    // Not unlocked: a writer that came now would leave its file behind.
    std::mem::forget(unfinished);
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The folder cannot be opened or synced.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The temporary names that are in use.
fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `open` makes a new file, before the umask; temporary files are private by default.
#[cfg(unix)]
fn ordinary_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn ordinary_permissions() -> Option<Permissions> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    #[test]
    fn a_file_that_is_not_finished_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("heads.json");
        std::fs::write(&place, "before").unwrap();
        let mut file = NewFile::beside(&place, Readers::Umask).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(file);
        assert_eq!(names(folder.path()), ["heads.json"]);
        assert_eq!(std::fs::read(&place).unwrap(), b"before");
    }

    #[test]
    fn secrets_are_for_the_owner_alone_and_never_replace_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("lift.seed");
        create_file(&place, Readers::Owner, b"one").unwrap();
        assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = create_file(&place, Readers::Owner, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&place).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["lift.seed"]);
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("export.json");
        replace_file(&place, Readers::Umask, b"one").unwrap();
        std::fs::set_permissions(&place, Permissions::from_mode(0o640)).unwrap();
        replace_file(&place, Readers::Umask, b"two").unwrap();
        assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        replace_file(&place, Readers::Owner, b"three").unwrap();
        assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(NewFile::beside(folder.path(), Readers::Umask).is_err());
    }
}
