//! The directory of packs and the files in it. It is below a root that others may write: nothing here follows a link,
//! leaves the directory, or opens anything but a regular file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of packs, below the root of a payload directory. The name of a payload never leads there.
pub const PACKS: &str = ".packs";
/// The most packs of one directory.
pub const MAX_PACKS: usize = 1 << 14;

const PACK_ENDING: &str = ".pack";
const INDEX_ENDING: &str = ".index";
const NEW_ENDING: &str = ".new";
const MAX_STEM_BYTES: usize = 100;

/// The open directory of packs.
#[derive(Clone, Debug)]
pub struct PackFolder {
    path: PathBuf,
    #[cfg(unix)]
    folder: Arc<std::os::fd::OwnedFd>,
}

/// An open pack or index.
#[derive(Debug)]
pub struct PackFile {
    path: PathBuf,
    file: File,
}

/// The purpose for which a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file.
    New,
}

impl PackFolder {
    /// Opens the directory of packs below a root; `None` if there is none.
    ///
    /// # Errors
    /// Something else has its name, or it cannot be opened.
    pub fn open(root: &Path) -> io::Result<Option<PackFolder>> {
        let path = root.join(PACKS);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.is_dir() => {
                let problem = format!("{} is not a directory of the store; move it away", path.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, problem));
            }
            Ok(_) => {}
        }
        #[cfg(unix)]
        let folder = {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Arc::new(open(&path, flags, Mode::empty())?)
        };
        Ok(Some(PackFolder {
            path,
            #[cfg(unix)]
            folder,
        }))
    }

    /// Returns the stems of all packs, in order.
    ///
    /// # Errors
    /// The directory cannot be read, or has too many packs.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut stems = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(PACK_ENDING));
            let Some(stem) = stem.filter(|stem| is_stem(stem)) else { continue };
            if stems.len() == MAX_PACKS {
                let problem = format!(
                    "{} has more than {MAX_PACKS} packs of payloads; write the payloads into files with eds unpack DIR",
                    self.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            stems.push(stem.to_owned());
        }
        stems.sort_unstable();
        Ok(stems)
    }

    /// Opens a pack; `None` if there is none.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened.
    pub fn pack(&self, stem: &str, how: Open) -> io::Result<Option<PackFile>> {
        self.file(&format!("{stem}{PACK_ENDING}"), how)
    }

    /// Creates a pack that `prepare` writes to before it has its name; durable when it returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(
        &self,
        stem: &str,
        prepare: impl FnOnce(&PackFile) -> io::Result<()>,
    ) -> io::Result<PackFile> {
        let partial = format!("{stem}{NEW_ENDING}");
        let mut file = self.file(&partial, Open::New)?.ok_or(io::ErrorKind::NotFound)?;
        prepare(&file)?;
        file.file.sync_all()?;
        let path = self.path.join(format!("{stem}{PACK_ENDING}"));
        fs::rename(self.path.join(&partial), &path)?;
        file.path = path;
        self.sync()?;
        Ok(file)
    }

    /// Opens the index of a pack for reading; `None` if there is none.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened.
    pub fn index(&self, stem: &str) -> io::Result<Option<PackFile>> {
        self.file(&format!("{stem}{INDEX_ENDING}"), Open::Read)
    }

    /// Returns true if a pack has an index.
    pub fn has_index(&self, stem: &str) -> bool {
        fs::symlink_metadata(self.index_path(stem)).is_ok()
    }

    /// Puts the index of a pack into place, durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_index(&self, stem: &str, bytes: &[u8]) -> io::Result<()> {
        let partial = format!("{stem}.partial");
        match fs::remove_file(self.path.join(&partial)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let Some(file) = self.file(&partial, Open::New)? else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all_at(bytes, 0)?;
        file.file.sync_all()?;
        fs::rename(self.path.join(&partial), self.index_path(stem))?;
        self.sync()
    }

    /// Removes a pack and its index, durably.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn remove(&self, stem: &str) -> io::Result<()> {
        for path in [self.path.join(format!("{stem}{PACK_ENDING}")), self.index_path(stem)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sync()
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// The directory cannot be synced.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn index_path(&self, stem: &str) -> PathBuf {
        self.path.join(format!("{stem}{INDEX_ENDING}"))
    }

    fn file(&self, name: &str, how: Open) -> io::Result<Option<PackFile>> {
        let path = self.path.join(name);
        match self.open_file(name, how) {
            Ok(file) if file.metadata()?.is_file() => Ok(Some(PackFile { path, file })),
            Ok(_) => Err(not_a_file(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && how != Open::New => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[cfg(unix)]
    fn open_file(&self, name: &str, how: Open) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        use rustix::io::Errno;
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags
            | match how {
                Open::Read => OFlags::RDONLY,
                Open::Write => OFlags::RDWR,
                Open::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        match openat(&self.folder, name, flags, mode) {
            Ok(file) => Ok(file.into()),
            // A link, a pipe without a reader, a directory.
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Err(not_a_file(&self.path.join(name))),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(unix))]
    fn open_file(&self, name: &str, how: Open) -> io::Result<File> {
        let path = self.path.join(name);
        if how != Open::New && !fs::symlink_metadata(&path)?.is_file() {
            return Err(not_a_file(&path));
        }
        fs::OpenOptions::new().read(true).write(how != Open::Read).create_new(how == Open::New).open(path)
    }
}

impl PackFile {
    /// Reads from a place until the buffer is full or the file ends.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, mut to: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let wanted = to.len();
        while !to.is_empty() {
            match read_some(&self.file, to, offset) {
                Ok(0) => break,
                Ok(read) => {
                    to = &mut to[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - to.len())
    }

    /// Writes at a place.
    ///
    /// # Errors
    /// The file cannot be written.
    #[cfg(unix)]
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    /// Writes at a place.
    ///
    /// # Errors
    /// The file cannot be written.
    #[cfg(not(unix))]
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    /// Returns the length of the file.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a reader of a part of the file.
    pub(super) fn part(&self, offset: u64, length: u64) -> impl Read + '_ {
        Part { file: self, offset, left: length }
    }
}

struct Part<'a> {
    file: &'a PackFile,
    offset: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut to[..most], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(unix)]
fn read_some(file: &File, to: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, to, offset)
}

#[cfg(not(unix))]
fn read_some(file: &File, to: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, to, offset)
}

/// Returns true for the stem of a file that a writer makes.
fn is_stem(stem: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !stem.is_empty() && stem.len() <= MAX_STEM_BYTES && stem.bytes().all(plain)
}

fn not_a_file(path: &Path) -> io::Error {
    let problem = format!("{} is not a file of the store; move it away", path.display());
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

pub(super) fn invalid(file: &PackFile, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {problem}", file.path.display()))
}
