//! Atomic and durable writes of files.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::error::FailureKind;

/// Returns how long a failure of a file system lasts, by its number, see errno(3).
///
/// Our names are short and made of plain letters, so only another program can have put a file there that blocks one.
/// `EROFS`, `ENOSPC` and the like affect the whole file system, and everything waits for it.
pub(crate) fn failure(error: &io::Error) -> FailureKind {
    match error.kind() {
        // EFBIG, ENAMETOOLONG, EINVAL.
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
            FailureKind::Item
        }
        // EPERM and EACCES; ENOTDIR, EISDIR and EEXIST; ENOTSUP and ENOSYS; unexpected bytes.
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::Unsupported
        | io::ErrorKind::InvalidData => FailureKind::Setup,
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => FailureKind::Setup,
        _ => FailureKind::Passing,
    }
}

/// Returns a name that no other writer uses or has left behind: neither on another machine nor in an earlier process of
/// a container, in which every process has the number 1.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static RANDOM: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    format!("{}-{:016x}-{}", std::process::id(), *RANDOM, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Refuses keys that some servers map to other keys.
pub(crate) fn refuse_key(key: &str) -> Result<(), String> {
    // Servers that store objects in directories would normalize these.
    let ordinary = |name: &str| !name.is_empty() && name != "." && name != "..";
    if key.len() > 1024 || key.contains(char::is_control) || !key.split('/').all(ordinary) {
        return Err(format!(
            "a key of names between slashes, none of them empty, \".\" or \"..\", got {key:?}"
        ));
    }
    Ok(())
}

/// Opens a file below a directory for reading. Anything else under its name, or a name above it, is an error and is not
/// opened: a link would lead elsewhere, and a pipe would block.
pub(crate) fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let folder = folder_below(root, path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        File::from(openat(&folder, name, flags, Mode::empty()).map_err(|error| in_the_way(error, path))?);
    let found = file.metadata()?;
    if found.is_dir() {
        let problem = format!("{path:?}: expected a file, found a directory");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    if found.is_file() { Ok(file) } else { Err(in_the_way(Errno::LOOP, path)) }
}

/// Opens a directory below another one, without following links.
pub(crate) fn folder_below(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let mut folder = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for name in path.components() {
        folder = openat(&folder, name.as_os_str(), FOLDER, Mode::empty())
            .map_err(|error| if is_link(&folder, name.as_os_str()) { Errno::LOOP } else { error })
            .map_err(|error| in_the_way(error, path))?;
    }
    Ok(folder)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn is_link(folder: &OwnedFd, name: &OsStr) -> bool {
    let status = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_symlink())
}

/// Explains `ELOOP`, which the system returns for a link that is not followed, and `ENXIO`, for some pipes and devices.
fn in_the_way(error: Errno, path: &Path) -> io::Error {
    match error {
        Errno::LOOP | Errno::NXIO => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path:?}: expected a file or directory, found a link, a pipe or a device; remove it"),
        ),
        other => other.into(),
    }
}

/// Writes a new file and its bytes to the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The relation between names and contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    /// A name belongs to one content: concurrent writers of it write the same bytes.
    OfContent,
    /// Any content may be written under a name.
    Free,
}

/// Gives a temporary file its name unless that is taken; returns true if it did. The temporary file may stay.
///
/// It uses a hard link; if the file system has none, a rename that replaces nothing; and if it has no such rename, a
/// plain one, provided that it can only replace the same bytes.
pub(crate) fn place_new(partial: &Path, path: &Path, names: Names) -> io::Result<bool> {
    let ways: [Way; 2] = [&|from, to| std::fs::hard_link(from, to), &rename_new];
    place_by(&ways, partial, path, names)
}

type Way<'a> = &'a dyn Fn(&Path, &Path) -> io::Result<()>;

fn place_by(ways: &[Way<'_>], partial: &Path, path: &Path, names: Names) -> io::Result<bool> {
    let mut forbidden = None;
    for way in ways {
        match way(partial, path) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) if !is_unsupported(&error) => return Err(error),
            // Without the permission, both ways fail like this.
            Err(error) => {
                forbidden = Some(error).filter(|error| error.kind() == io::ErrorKind::PermissionDenied)
            }
        }
    }
    if let Some(error) = forbidden {
        return Err(error);
    }
    match names {
        Names::OfContent if std::fs::symlink_metadata(path).is_ok() => Ok(false),
        Names::OfContent => std::fs::rename(partial, path).map(|()| true),
        Names::Free => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this file system supports neither hard links nor renames without replacement; use a directory on another \
             one",
        )),
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns true if a file system does not support the operation. link(2) fails with EPERM without hard links,
/// renameat2(2) with EINVAL without the flag, and file systems with few links fail with EMLINK.
fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let number = Errno::from_io_error(error);
    let numbers = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::MLINK, Errno::NOTTY];
    error.kind() == io::ErrorKind::Unsupported || number.is_some_and(|number| numbers.contains(&number))
}

/// Makes the name of a file durable, and those of the directories above it up to the root.
pub(crate) fn sync_parents(root: &Path, path: &Path) -> io::Result<()> {
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Returns when a file was last written, Unix milliseconds; 0 if the system does not report it.
pub(crate) fn modified_ms(metadata: &Metadata) -> u64 {
    let age = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(number: rustix::io::Errno) -> impl Fn(&Path, &Path) -> io::Result<()> {
        move |_, _| Err(number.into())
    }

    #[test]
    fn file_systems_without_hard_links_are_used_by_renames() {
        use rustix::io::Errno;
        let folder = tempfile::tempdir().unwrap();
        let (partial, path) = (folder.path().join("partial"), folder.path().join("name"));
        let (no_links, no_renames) = (refuse(Errno::PERM), refuse(Errno::INVAL));
        let ways: [&[Way]; 2] = [&[&no_links, &rename_new], &[&no_links, &no_renames]];
        for ways in ways {
            std::fs::write(&partial, "first").unwrap();
            assert!(place_by(ways, &partial, &path, Names::OfContent).unwrap());
            assert!(!partial.exists());
            std::fs::write(&partial, "second").unwrap();
            assert!(!place_by(ways, &partial, &path, Names::OfContent).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), b"first");
            std::fs::remove_file(&path).unwrap();
        }
        let error = place_by(ways[1], &partial, &path, Names::Free).unwrap_err();
        assert!(error.to_string().contains("neither hard links"), "{error}");
        assert_eq!(failure(&error), FailureKind::Setup);
        // Any other error is returned unchanged.
        let full = refuse(Errno::NOSPC);
        let error = place_by(&[&full, &rename_new], &partial, &path, Names::OfContent).unwrap_err();
        assert_eq!((error.kind(), path.exists()), (io::ErrorKind::StorageFull, false));
    }

    #[test]
    fn errors_are_classified_by_their_number() {
        use rustix::io::Errno;
        for (numbers, kind) in [
            (&[Errno::FBIG, Errno::NAMETOOLONG, Errno::INVAL][..], FailureKind::Item),
            (&[Errno::PERM, Errno::ACCESS, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP], FailureKind::Setup),
            (
                &[
                    Errno::NOSPC,
                    Errno::DQUOT,
                    Errno::IO,
                    Errno::ROFS,
                    Errno::STALE,
                    Errno::NFILE,
                    Errno::NOENT,
                ],
                FailureKind::Passing,
            ),
        ] {
            for number in numbers {
                assert_eq!(failure(&io::Error::from(*number)), kind, "{number:?}");
            }
        }
    }
}
