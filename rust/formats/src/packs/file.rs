//! The directory of packs and the files in it. It is below a root that others may write: nothing here follows a link,
//! leaves the directory, or opens anything but a regular file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::directory::{Directory, is_not_a_file};

/// The directory of packs, below the root of a payload directory. The name of a payload never leads there.
pub const PACKS: &str = ".packs";
/// The most packs of one directory.
pub const MAX_PACKS: usize = 1 << 14;

const PACK_ENDING: &str = ".pack";
const INDEX_ENDING: &str = ".index";
/// The endings of files whose writer has not finished.
const NEW_ENDING: &str = ".new";
const PARTIAL_ENDING: &str = ".partial";
const MAX_STEM_BYTES: usize = 100;

/// Returns true for a name that may lead to the directory of packs, also on a file system that does not distinguish
/// upper case.
pub fn is_packs(name: &str) -> bool {
    let folded = name.to_lowercase().to_uppercase();
    folded.eq_ignore_ascii_case(PACKS)
}

/// The open directory of packs.
#[derive(Clone, Debug)]
pub struct PackFolder {
    path: PathBuf,
    folder: Arc<Directory>,
}

/// An open pack or index.
#[derive(Debug)]
pub struct PackFile {
    path: PathBuf,
    file: File,
}

/// The purpose for which a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
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
        let folder = Arc::new(Directory::open(&path)?);
        Ok(Some(PackFolder { path, folder }))
    }

    /// Returns false once the directory was removed, or another one has its path, as after a restore.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn is_in_place(&self) -> io::Result<bool> {
        self.folder.is_at(&self.path)
    }

    /// Returns the stems of all packs, in order.
    ///
    /// # Errors
    /// The directory cannot be read, or has too many packs.
    pub fn list(&self) -> io::Result<Vec<String>> {
        self.list_up_to(MAX_PACKS)
    }

    /// Like [`PackFolder::list`], of any number of packs.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list_all(&self) -> io::Result<Vec<String>> {
        self.list_up_to(usize::MAX)
    }

    /// Returns the number of packs without an index.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn count_without_index(&self) -> io::Result<u64> {
        let mut has_index: HashMap<String, [bool; 2]> = HashMap::new();
        self.folder.for_each_name(|name| {
            for (which, ending) in [PACK_ENDING, INDEX_ENDING].into_iter().enumerate() {
                if let Some(stem) = name.strip_suffix(ending).filter(|stem| is_stem(stem))
                    && has_index.len() < 2 * MAX_PACKS
                {
                    has_index.entry(stem.to_owned()).or_default()[which] = true;
                }
            }
            Ok(())
        })?;
        Ok(has_index.values().filter(|found| **found == [true, false]).count() as u64)
    }

    fn list_up_to(&self, most: usize) -> io::Result<Vec<String>> {
        let mut stems = Vec::new();
        self.folder.for_each_name(|name| {
            let stem = name.strip_suffix(PACK_ENDING).filter(|stem| is_stem(stem));
            let Some(stem) = stem else { return Ok(()) };
            if stems.len() == most {
                let problem = format!(
                    "{} has more than {most} packs of payloads; write the payloads into files with eds unpack DIR",
                    self.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            stems.push(stem.to_owned());
            Ok(())
        })?;
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

    /// Creates a pack that `prepare` writes to before it has its name, whose stem `prepare` returns; durable when it
    /// returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(
        &self,
        stem: &str,
        prepare: impl FnOnce(&PackFile) -> io::Result<String>,
    ) -> io::Result<(String, PackFile)> {
        let partial = format!("{stem}{NEW_ENDING}");
        let mut file = self.file(&partial, Open::New)?.ok_or(io::ErrorKind::NotFound)?;
        let placed = prepare(&file).and_then(|stem| {
            let name = format!("{stem}{PACK_ENDING}");
            file.file.sync_all()?;
            self.folder.rename(&partial, &name)?;
            Ok((stem, name))
        });
        match placed {
            Ok((stem, name)) => {
                file.path = self.path.join(name);
                self.sync()?;
                Ok((stem, file))
            }
            Err(error) => {
                // It has no payload.
                let _ = self.folder.remove(&partial);
                Err(error)
            }
        }
    }

    /// Opens the index of a pack for reading; `None` if there is none.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened.
    pub fn index(&self, stem: &str) -> io::Result<Option<PackFile>> {
        self.file(&format!("{stem}{INDEX_ENDING}"), Open::Read)
    }

    /// Returns true if a pack has an index.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn has_index(&self, stem: &str) -> io::Result<bool> {
        self.folder.status(&format!("{stem}{INDEX_ENDING}")).map(|status| status.is_some())
    }

    /// Returns the size of a pack; `None` if there is none.
    ///
    /// # Errors
    /// The system does not report it.
    pub(super) fn pack_bytes(&self, stem: &str) -> io::Result<Option<u64>> {
        Ok(self.folder.status(&format!("{stem}{PACK_ENDING}"))?.map(|status| status.bytes))
    }

    /// Puts the index of a pack into place, durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_index(&self, stem: &str, bytes: &[u8]) -> io::Result<()> {
        let partial = format!("{stem}{PARTIAL_ENDING}");
        self.folder.remove(&partial)?;
        let file = self.file(&partial, Open::New)?.ok_or(io::ErrorKind::NotFound)?;
        let placed = file
            .write_all_at(bytes, 0)
            .and_then(|()| file.file.sync_all())
            .and_then(|()| self.folder.rename(&partial, &format!("{stem}{INDEX_ENDING}")));
        if let Err(error) = placed {
            let _ = self.folder.remove(&partial);
            return Err(error);
        }
        self.sync()
    }

    /// Removes a pack and its index, durably.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn remove(&self, stem: &str) -> io::Result<()> {
        // A pack can lack its index, but an index without a pack would stay.
        for ending in [INDEX_ENDING, PACK_ENDING] {
            self.folder.remove(&format!("{stem}{ending}"))?;
        }
        self.sync()
    }

    /// Removes files of writers that were interrupted at least this long ago. None of them has a payload.
    ///
    /// # Errors
    /// The directory cannot be read, or a file cannot be removed.
    pub fn remove_unfinished(&self, age: Duration) -> io::Result<()> {
        let mut names = Vec::new();
        self.folder.for_each_name(|name| {
            let stem = name.strip_suffix(NEW_ENDING).or_else(|| name.strip_suffix(PARTIAL_ENDING));
            if stem.is_some_and(is_stem) && names.len() < MAX_PACKS {
                names.push(name.to_owned());
            }
            Ok(())
        })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for name in names {
            let modified_s = self.folder.status(&name)?.map(|status| status.modified_s);
            if modified_s.is_some_and(|time| time.saturating_add(age.as_secs()) < now.as_secs()) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// The directory cannot be synced.
    pub fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str, how: Open) -> io::Result<Option<PackFile>> {
        let path = self.path.join(name);
        match self.folder.file(name, how) {
            Ok(file) if file.metadata()?.is_file() => Ok(Some(PackFile { path, file })),
            Ok(_) => Err(not_a_file(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && how != Open::New => Ok(None),
            Err(error) if is_not_a_file(&error) => Err(not_a_file(&path)),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
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

    /// Returns false once the file was removed, or another one has its path.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn is_in_place(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok(is_same(&there, &self.file.metadata()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
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
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &fs::Metadata, _other: &fs::Metadata) -> bool {
    one.is_file()
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
