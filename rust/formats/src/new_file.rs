//! Files that are written completely or not at all.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempPath;

/// The users who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    /// According to the umask for a new file; unchanged for a replaced file.
    Umask,
    /// Only the owner: mode 0600.
    Owner,
}

/// A file in progress beside its final place, under a random name that ends in `.part`.
///
/// The name is created with `O_EXCL`, so that an existing file or link there is neither followed nor opened.
/// [`NewFile::replace`] or [`NewFile::create`] moves the file to its place, complete and synced, and then syncs the
/// directory. Otherwise the file is removed: on drop, and by [`remove_unfinished`] if a signal ends the process.
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
    /// `None` once it has its final name.
    temporary: Option<TempPath>,
    place: PathBuf,
    /// True if all written bytes are durable.
    is_synced: bool,
}

impl NewFile {
    /// Starts a file that will be at `place`. If `place` is a symbolic link, the link will be replaced: see
    /// [`crate::Destinations`] for paths from a user.
    ///
    /// # Errors
    /// The directory does not exist or is not writable, or `place` exists and is not a regular file.
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
        // Under the lock, so that no file is created after `remove_unfinished` has read the list.
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

    /// Returns its temporary name, until it gets the final one.
    pub fn temporary_path(&self) -> Option<&Path> {
        self.temporary.as_deref()
    }

    /// Returns another handle to write the file.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes the content durable, after its last byte, so that afterwards only the rename can fail.
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

    /// Syncs the file, gives it its final name, and syncs the directory. An existing file is replaced atomically.
    ///
    /// # Errors
    /// One of the three steps failed. If it was the last, the file has its name, but a crash may undo this.
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
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; after any error the name is unchanged.
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
            // Removed first: a signal in between finds the name in the list, but no file.
            drop(temporary);
            unfinished().remove(&path);
        }
    }
}

/// Writes a file completely or not at all; an existing file is replaced atomically.
///
/// # Errors
/// See [`NewFile::beside`] and [`NewFile::replace`]; an existing file then remains.
pub fn replace_file(place: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::beside(place, readers)?;
    file.write_all(bytes)?;
    file.replace()
}

/// Writes a new file completely or not at all; never replaces one.
///
/// # Errors
/// See [`NewFile::beside`] and [`NewFile::create`].
pub fn create_file(place: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::beside(place, readers)?;
    file.write_all(bytes)?;
    file.create()
}

/// Removes every [`NewFile`] of this process without a final name, and blocks all later ones. Only for a process that
/// is about to exit.
pub fn remove_unfinished() {
    let mut unfinished = unfinished();
    for path in std::mem::take(&mut *unfinished) {
        let _ = std::fs::remove_file(path);
    }
    // Not unlocked: a later writer would leave its file behind.
    std::mem::forget(unfinished);
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The directory cannot be opened or synced.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the names in a directory durable.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the directory of a path.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the temporary names in use.
fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the permissions of a new file from `open`, after the umask; temporary files are private by default.
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
