//! An open directory whose names are used without a path, so that no link leads elsewhere, not even one that replaces
//! the directory meanwhile.

use std::fs::File;
use std::io;
use std::path::Path;

use super::file::Open;

/// The status of a file.
pub(super) struct Status {
    pub(super) bytes: u64,
    /// When it was last written, Unix seconds.
    pub(super) modified_s: u64,
}

#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Directory {
    folder: std::os::fd::OwnedFd,
}

#[cfg(unix)]
impl Directory {
    /// Opens a directory; a link is an error.
    pub(super) fn open(path: &Path) -> io::Result<Directory> {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::io::retry_on_intr(|| open(path, flags, Mode::empty()))?;
        Ok(Directory { folder })
    }

    /// Returns true if this directory still has the path.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        use rustix::fs::{fstat, lstat};
        let here = fstat(&self.folder)?;
        match lstat(path) {
            Ok(there) => Ok((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls `visit` with each name of the directory that is text.
    pub(super) fn for_each_name(&self, mut visit: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&self.folder)? {
            if let Ok(name) = entry?.file_name().to_str() {
                visit(name)?;
            }
        }
        Ok(())
    }

    /// Opens a file; the error for a link, a pipe or a directory is that of [`is_not_a_file`].
    pub(super) fn file(&self, name: &str, how: Open) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags
            | match how {
                Open::Read => OFlags::RDONLY,
                Open::Write => OFlags::RDWR,
                Open::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        Ok(rustix::io::retry_on_intr(|| openat(&self.folder, name, flags, mode))?.into())
    }

    /// Returns the size and age of a file; `None` if there is none.
    pub(super) fn status(&self, name: &str) -> io::Result<Option<Status>> {
        use rustix::fs::{AtFlags, statat};
        match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            #[allow(clippy::useless_conversion, reason = "its type depends on the system")]
            Ok(status) => Ok(Some(Status {
                bytes: u64::try_from(status.st_size).unwrap_or(0),
                modified_s: u64::try_from(i64::from(status.st_mtime)).unwrap_or(0),
            })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    /// Removes a file; it may be gone.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&self.folder))?)
    }
}

/// Returns true if something other than a file has the name: a link, a pipe without a reader, a directory.
#[cfg(unix)]
pub(super) fn is_not_a_file(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // FreeBSD returns EMLINK for a link.
    Errno::from_io_error(error)
        .is_some_and(|error| [Errno::LOOP, Errno::MLINK, Errno::NXIO, Errno::ISDIR].contains(&error))
}

#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Directory {
    path: std::path::PathBuf,
}

#[cfg(not(unix))]
impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Directory> {
        Ok(Directory { path: path.to_owned() })
    }

    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(path.is_dir())
    }

    pub(super) fn for_each_name(&self, mut visit: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            if let Some(name) = entry?.file_name().to_str() {
                visit(name)?;
            }
        }
        Ok(())
    }

    pub(super) fn file(&self, name: &str, how: Open) -> io::Result<File> {
        let path = self.path.join(name);
        if how != Open::New && !std::fs::symlink_metadata(&path)?.is_file() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (is_written, is_new) = (how != Open::Read, how == Open::New);
        std::fs::OpenOptions::new().read(true).write(is_written).create_new(is_new).open(path)
    }

    pub(super) fn status(&self, name: &str) -> io::Result<Option<Status>> {
        match std::fs::symlink_metadata(self.path.join(name)) {
            Ok(found) => {
                let modified = found.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Ok(Some(Status { bytes: found.len(), modified_s: modified.as_secs() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(unix))]
pub(super) fn is_not_a_file(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::IsADirectory
}
