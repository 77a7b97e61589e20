//! Files that another user may change at any time: those of a data directory belong to postgres, and we may be root.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::Error;
use crate::postgres::Programs;

/// The largest settings file that is read.
const MAX_SETTINGS_BYTES: u64 = 16 << 20;

/// Opens a regular file for reading. A link is an error because it could lead to a file that only we may read, and a
/// pipe because the read would block.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// Opens or creates a file for appending; a link is an error.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    File::options().create(true).append(true).custom_flags(flags.cast_signed()).open(path)
}

/// Returns the text of a small file, or `None` if it does not exist. Bytes that are not UTF-8, as in an old comment,
/// do not hide the rest.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Error> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(MAX_SETTINGS_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(size) if size as u64 > MAX_SETTINGS_BYTES => {
            Err(Error::io("read", path)(io::Error::from(io::ErrorKind::FileTooLarge)))
        }
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Creates an empty file for the user that PostgreSQL runs as; it must not exist.
pub(crate) fn create(programs: &Programs, path: &Path) -> Result<(), Error> {
    let make = || {
        let file = File::create_new(path)?;
        match programs.owner() {
            Some((user, group)) => std::os::unix::fs::fchown(&file, Some(user), Some(group)),
            None => Ok(()),
        }
    };
    make().map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_pipes_are_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), b"a = '\xe9'\nb = 2\n").unwrap();
        symlink(path("file"), path("link")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(text(&path("file")).unwrap().unwrap().ends_with("b = 2\n"));
        assert_eq!(text(&path("none")).unwrap(), None);
        for name in ["link", "pipe"] {
            assert!(text(&path(name)).is_err(), "{name}");
            assert!(append(&path(name)).is_err(), "{name}");
        }
        assert!(append(&path("new")).is_ok());
    }
}
