//! Extraction of a base backup: regular files and directories, only below the data directory.
//!
//! `pg_basebackup -Ft` writes only regular files, directories and, for tablespaces, symbolic links. A backup of a
//! server with tablespaces is refused, so an attacker must have added every other kind of entry. The whole archive is
//! checked before anything of it is extracted. Every part of a path is then opened without following links, so that a
//! link made in the directory in the meantime leads nowhere either.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tar::EntryType;

use crate::error::Error;

/// The archive of the data directory.
pub(crate) const BASE: &str = "base.tar.gz";
/// The archive of the write-ahead log written during the backup.
pub(crate) const WAL: &str = "pg_wal.tar.gz";
/// PostgreSQL's own list of the files and their checksums.
pub(crate) const MANIFEST: &str = "backup_manifest";

/// The flags for opening a directory: a link in its place is an error.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The flags for creating a file: an existing entry of its name is an error.
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// User and group that own the extracted files; `None` leaves them to the user that we run as.
pub(crate) type Owner = Option<(u32, u32)>;

/// Returns an error once the work must stop; called at every entry.
pub(crate) type GoOn<'a> = &'a (dyn Fn() -> Result<(), Error> + Sync);

/// Extracts the backup in `files` into the directory `data`, which must be empty or missing: the data directory, its
/// write-ahead log into `pg_wal`, and the manifest of PostgreSQL.
///
/// # Errors
/// An archive has an entry that is not a regular file or directory with a path below it; then nothing was extracted.
pub(crate) fn base_backup(files: &Path, data: &Path, owner: Owner, go_on: GoOn<'_>) -> Result<(), Error> {
    let (base, wal) = (files.join(BASE), files.join(WAL));
    check(&base, go_on)?;
    check(&wal, go_on)?;
    std::fs::create_dir_all(data).map_err(Error::io("create the data directory", data))?;
    let root = Root::open(data, owner, go_on)?;
    root.extract(&base)?;
    let pg_wal =
        root.folder(Path::new("pg_wal")).map_err(Error::io("create a directory", &data.join("pg_wal")))?;
    Root { folder: pg_wal, place: data.join("pg_wal"), owner, go_on }.extract(&wal)?;
    let manifest = files.join(MANIFEST);
    let mut content = File::open(&manifest).map_err(Error::io("read", &manifest))?;
    root.file(Path::new(MANIFEST), 0o600, &mut content).map_err(Error::io("write", &data.join(MANIFEST)))
}

/// Checks an archive without extracting it.
fn check(archive: &Path, go_on: GoOn<'_>) -> Result<(), Error> {
    each(archive, |_, _, _| go_on())
}

/// The kind of file that an entry creates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    File,
    Folder,
}

/// Calls a function with every entry, if all may be extracted.
fn each(
    archive: &Path,
    mut entry: impl FnMut(Kind, &Path, &mut tar::Entry<'_, Decoder>) -> Result<(), Error>,
) -> Result<(), Error> {
    let damaged = || Error::io("read the archive", archive);
    let file = File::open(archive).map_err(damaged())?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 20, file)));
    // Raw: extensions for long names, which PostgreSQL does not use, would be read into memory regardless of their
    // size.
    for read in tar.entries().map_err(damaged())?.raw(true) {
        let mut read = read.map_err(damaged())?;
        let path = PathBuf::from(OsStr::from_bytes(&read.path_bytes()));
        let kind = allowed(read.header().entry_type(), &path).map_err(|problem| Error::Archive {
            place: archive.display().to_string(),
            problem: format!(
                "{}: {problem}; nothing of it was extracted, because eds ops backup did not make it",
                shown(&path)
            ),
        })?;
        entry(kind, &path, &mut read)?;
    }
    Ok(())
}

type Decoder = MultiGzDecoder<BufReader<File>>;

/// Returns a path for an error message, without terminal control characters.
fn shown(path: &Path) -> String {
    format!("{path:?}")
}

/// Returns the kind of an entry, or why it is not extracted.
fn allowed(kind: EntryType, path: &Path) -> Result<Kind, String> {
    if path.is_absolute() {
        return Err("an absolute path".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("a path with \"..\"".to_owned());
    }
    if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
        return Err("not the path of a file".to_owned());
    }
    let refused = match kind {
        EntryType::Regular => return Ok(Kind::File),
        EntryType::Directory => return Ok(Kind::Folder),
        EntryType::Symlink if path.starts_with("pg_tblspc") => {
            "a tablespace of its own, which eds does not restore".to_owned()
        }
        EntryType::Symlink => "a symbolic link".to_owned(),
        EntryType::Link => "a hard link".to_owned(),
        EntryType::Char => "a character device".to_owned(),
        EntryType::Block => "a block device".to_owned(),
        EntryType::Fifo => "a named pipe".to_owned(),
        other => format!("an entry of type {:?}", char::from(other.as_byte())),
    };
    Err(refused)
}

/// An open directory. Files are created by its handle, even if its path leads elsewhere by then.
struct Root<'a> {
    folder: OwnedFd,
    place: PathBuf,
    owner: Owner,
    go_on: GoOn<'a>,
}

impl<'a> Root<'a> {
    /// Opens the data directory and makes it private: PostgreSQL refuses one that others may read.
    fn open(data: &Path, owner: Owner, go_on: GoOn<'a>) -> Result<Root<'a>, Error> {
        let io = || Error::io("open the data directory", data);
        let folder = rustix::fs::open(data, FOLDER, Mode::empty()).map_err(|error| io()(error.into()))?;
        rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|error| io()(error.into()))?;
        let root = Root { folder, place: data.to_owned(), owner, go_on };
        root.own(&root.folder).map_err(io())?;
        Ok(root)
    }

    fn extract(&self, archive: &Path) -> Result<(), Error> {
        each(archive, |kind, path, entry| {
            (self.go_on)()?;
            let mode = entry.header().mode().unwrap_or(0o600);
            let made = match kind {
                Kind::File => self.file(path, mode, entry),
                Kind::Folder => self.folder(path).map(drop),
            };
            made.map_err(Error::io("extract", &self.place.join(path)))
        })
    }

    /// Opens a directory; creates it and its parents if they do not exist.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut folder = self.folder.try_clone()?;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let made = match rustix::fs::mkdirat(&folder, name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            folder = rustix::fs::openat(&folder, name, FOLDER, Mode::empty())?;
            if made {
                self.own(&folder)?;
            }
        }
        Ok(folder)
    }

    /// Creates a file, which must not exist.
    fn file(&self, path: &Path, mode: u32, content: &mut impl Read) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let mut file = File::from(rustix::fs::openat(&folder, name, NEW_FILE, Mode::RUSR | Mode::WUSR)?);
        io::copy(content, &mut file)?;
        // Last, after all writes: read and write at most, never set-user-ID.
        self.own(&file)?;
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR | (Mode::from_raw_mode(mode as _) & Mode::RGRP))?;
        Ok(())
    }

    fn own(&self, made: impl AsFd) -> io::Result<()> {
        match self.owner {
            Some((user, group)) => std::os::unix::fs::fchown(made, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// Returns an entry as an attacker might craft it; the builder of the library would refuse such paths.
    fn entry(kind: EntryType, path: &str, target: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4777);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn write_archive(path: &Path, entries: &[Vec<u8>]) {
        let mut gzip = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        for entry in entries {
            gzip.write_all(entry).unwrap();
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap();
    }

    /// Writes the files of a backup: these entries, an empty write-ahead log and a manifest.
    fn backup(folder: &Path, base: &[Vec<u8>]) -> PathBuf {
        let files = folder.join("files");
        let _ = std::fs::create_dir(&files);
        write_archive(&files.join(BASE), base);
        Builder::new(GzEncoder::new(File::create(files.join(WAL)).unwrap(), Compression::fast()))
            .into_inner()
            .unwrap()
            .finish()
            .unwrap();
        std::fs::write(files.join(MANIFEST), b"{}").unwrap();
        files
    }

    /// Returns everything below a directory, with its content.
    fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                found.extend(listing(&path));
            }
            found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
        found.sort();
        found
    }

    #[test]
    fn files_and_folders_are_extracted_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = backup(
            folder.path(),
            &[
                entry(EntryType::Directory, "./base/1", "", b""),
                entry(EntryType::Regular, "base/1/2", "", b"page"),
                entry(EntryType::Regular, "global/pg_control", "", b"control"),
            ],
        );
        let data = folder.path().join("data");
        base_backup(&files, &data, None, &|| Ok(())).unwrap();
        assert_eq!(std::fs::read(data.join("base/1/2")).unwrap(), b"page");
        assert_eq!(std::fs::read(data.join("global/pg_control")).unwrap(), b"control");
        assert_eq!(std::fs::read(data.join(MANIFEST)).unwrap(), b"{}");
        for (path, expected) in [("", 0o700), ("pg_wal", 0o700), ("base/1", 0o700), ("base/1/2", 0o640)] {
            let mode = std::fs::metadata(data.join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, expected, "{path}");
        }
    }

    #[test]
    fn special_files_are_refused_before_the_extraction() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("file"), b"before").unwrap();
        let outside = victim.join("new");
        let target = victim.to_str().unwrap();
        let byte = |byte: u8| EntryType::new(byte);
        for (kind, path, said) in [
            (EntryType::Symlink, "innocent", "a symbolic link"),
            (EntryType::Symlink, "backup_manifest", "a symbolic link"),
            (EntryType::Symlink, "pg_wal", "a symbolic link"),
            (EntryType::Symlink, "pg_tblspc/16400", "a tablespace"),
            (EntryType::Link, "innocent", "a hard link"),
            (EntryType::Char, "null", "a character device"),
            (EntryType::Block, "sda", "a block device"),
            (EntryType::Fifo, "pipe", "a named pipe"),
            (EntryType::Continuous, "file", "type '7'"),
            (EntryType::GNUSparse, "file", "type 'S'"),
            (EntryType::GNULongName, "././@LongLink", "type 'L'"),
            (EntryType::GNULongLink, "././@LongLink", "type 'K'"),
            (EntryType::XHeader, "pax", "type 'x'"),
            (EntryType::XGlobalHeader, "pax", "type 'g'"),
            (byte(b'V'), "volume", "type 'V'"),
            (EntryType::Regular, outside.to_str().unwrap(), "an absolute path"),
            (EntryType::Directory, outside.to_str().unwrap(), "an absolute path"),
            (EntryType::Regular, "../victim/new", "a path with"),
            (EntryType::Regular, "base/../../victim/new", "a path with"),
            (EntryType::Directory, "..", "a path with"),
            (EntryType::Regular, "", "not the path of a file"),
        ] {
            let before = entry(EntryType::Regular, "PG_VERSION", "", b"15\n");
            let files = backup(folder.path(), &[before, entry(kind, path, target, b"")]);
            let seen = listing(&victim);
            let data = folder.path().join("data");
            let error = base_backup(&files, &data, None, &|| Ok(())).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("nothing of it was extracted"),
                "{kind:?} {path}: {error}"
            );
            assert!(!data.exists(), "{kind:?} {path}");
            assert_eq!(listing(&victim), seen, "{kind:?} {path}");
        }
    }

    #[test]
    fn a_link_that_is_made_meanwhile_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        let file = victim.join("file");
        std::fs::write(&file, b"before").unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&victim, data.join("base")).unwrap();
        std::os::unix::fs::symlink(&file, data.join("PG_VERSION")).unwrap();
        std::os::unix::fs::symlink(&file, data.join(MANIFEST)).unwrap();
        for entries in [
            vec![entry(EntryType::Regular, "base/new", "", b"after")],
            vec![entry(EntryType::Directory, "base", "", b"")],
            vec![entry(EntryType::Regular, "PG_VERSION", "", b"after")],
            vec![],
        ] {
            let files = backup(folder.path(), &entries);
            base_backup(&files, &data, None, &|| Ok(())).unwrap_err();
            assert_eq!(listing(&victim), [(file.clone(), b"before".to_vec())]);
        }
        std::os::unix::fs::symlink(&victim, folder.path().join("link")).unwrap();
        let files = backup(folder.path(), &[]);
        base_backup(&files, &folder.path().join("link"), None, &|| Ok(())).unwrap_err();
        assert_eq!(listing(&victim), [(file, b"before".to_vec())]);
    }

    #[test]
    fn a_file_that_is_there_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let twice = [b"one", b"two"].map(|content| entry(EntryType::Regular, "PG_VERSION", "", content));
        let files = backup(folder.path(), &twice);
        let error = base_backup(&files, &folder.path().join("data"), None, &|| Ok(())).unwrap_err();
        assert!(error.to_string().contains("PG_VERSION"), "{error}");
    }
}
