//! Checks the destinations of all outputs once, before any input is read, for every command and for Python.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::new_file::{NewFile, Readers, folder_of};

/// The name of stdout on the command line.
const STDOUT: &str = "-";
/// The first bytes of a SQLite file.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The suffixes that SQLite appends to the name of a database for its own files.
const SQLITE_SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Bytes read to detect the kind of a file.
const START_BYTES: u64 = 512;
/// Maximum number of symbolic links followed, as on Linux.
const MAX_LINKS: usize = 40;

/// The files of one run: its inputs and its outputs.
///
/// An output must not be an input, by any name or link, nor the file of another output, nor a database. Output through
/// a symbolic link replaces its target, and the link remains. A FIFO, a terminal or another character device is written
/// to, never replaced; so is a descriptor such as `/dev/stdout`. `-` is stdout.
///
/// ```
/// use edgesentry_formats::{Destinations, Readers};
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// # std::fs::write(path("jan.ndjson"), "")?;
/// let mut destinations = Destinations::default();
/// destinations.read("an input", &path("jan.ndjson"));
/// assert!(destinations.place("--html", &path("jan.ndjson")).is_err());
/// let report = destinations.place("--html", &path("report.html"))?;
/// report.write(Readers::Umask, b"<!doctype html>")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default, Debug)]
pub struct Destinations {
    read: Vec<Named>,
    folders: Vec<(String, PathBuf)>,
    written: Vec<Named>,
}

/// A file and its role.
#[derive(Debug)]
struct Named {
    role: String,
    identity: Identity,
}

/// The reason why output cannot go to a path. Nothing has been read or written yet.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The file is an input of the same run.
    #[error("{option}: {} is read as {role}, and writing would destroy it; name another file", path.display())]
    Input {
        /// The option or argument with this path.
        option: String,
        /// The path as given.
        path: PathBuf,
        /// The role of the input.
        role: String,
    },
    /// Two outputs would go to one file.
    #[error("{option}: {} is written by {other} too; name another file", path.display())]
    Twice {
        /// The option or argument with this path.
        option: String,
        /// The path as given.
        path: PathBuf,
        /// The other option.
        other: String,
    },
    /// The file is a database, or a file that belongs to one.
    #[error("{option}: {} belongs to a database, perhaps a ledger, and is not replaced; name another file", path.display())]
    Database {
        /// The option or argument with this path.
        option: String,
        /// The path as given.
        path: PathBuf,
    },
    /// The file lies in an input directory.
    #[error("{option}: {} lies in a directory that is read as {role}; write it elsewhere", path.display())]
    InFolder {
        /// The option or argument with this path.
        option: String,
        /// The path as given.
        path: PathBuf,
        /// The role of the input directory.
        role: String,
    },
    /// The existing file is not an earlier report.
    #[error("{option}: {} exists and is not {kind}; name another file, or remove it first", path.display())]
    OtherFile {
        /// The option or argument with this path.
        option: String,
        /// The path as given.
        path: PathBuf,
        /// The kind of report that would replace it.
        kind: ReportKind,
    },
    /// The path cannot be written.
    #[error("{}: cannot write", path.display())]
    Unusable {
        /// The path as given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Destinations {
    /// Registers an input file; `role` names its role, such as `an input`. `-` is stdin.
    pub fn read(&mut self, role: &str, path: &Path) {
        let path = if path.as_os_str() == STDOUT { Path::new("/dev/stdin") } else { path };
        // A missing file fails when it is read.
        if let Ok(place) = resolve(path) {
            self.read.push(Named { role: role.to_owned(), identity: place.identity() });
        }
    }

    /// Registers an input directory: nothing is written into it.
    pub fn read_folder(&mut self, role: &str, path: &Path) {
        if let Ok(folder) = path.canonicalize() {
            self.folders.push((role.to_owned(), folder));
        }
    }

    /// Registers a SQLite file as input, with the files that SQLite keeps beside it.
    pub fn read_database(&mut self, role: &str, path: &Path) {
        self.read(role, path);
        for sidecar in SQLITE_SIDECARS {
            self.read(role, &with_suffix(path, sidecar));
        }
    }

    /// Checks whether output may go to `path`; `option` is the option or argument with this path.
    ///
    /// # Errors
    /// See [`DestinationError`].
    pub fn place(&mut self, option: &str, path: &Path) -> Result<Destination, DestinationError> {
        let unusable = |source| DestinationError::Unusable { path: path.to_owned(), source };
        let option_name = || option.to_owned();
        let place =
            if path.as_os_str() == STDOUT { Place::Stdout } else { resolve(path).map_err(unusable)? };
        let identity = place.identity();
        if let Some(named) = self.read.iter().find(|named| named.identity.is_same(&identity)) {
            let role = named.role.clone();
            return Err(DestinationError::Input { option: option_name(), path: path.to_owned(), role });
        }
        if let Some(named) = self.written.iter().find(|named| named.identity.is_same(&identity)) {
            let other = named.role.clone();
            return Err(DestinationError::Twice { option: option_name(), path: path.to_owned(), other });
        }
        if let Place::File(file) = &place {
            if let Some((role, _)) = self.folders.iter().find(|(_, folder)| file.starts_with(folder)) {
                let role = role.clone();
                return Err(DestinationError::InFolder {
                    option: option_name(),
                    path: path.to_owned(),
                    role,
                });
            }
            if is_of_database(file).map_err(unusable)? {
                return Err(DestinationError::Database { option: option_name(), path: path.to_owned() });
            }
        }
        self.written.push(Named { role: option_name(), identity });
        Ok(Destination { place })
    }

    /// Like [`Destinations::place`], for a report. It replaces only an earlier report of its kind or an empty file,
    /// because a shell pattern after the option may expand to a file of records.
    ///
    /// # Errors
    /// See [`DestinationError`].
    pub fn place_report(
        &mut self,
        option: &str,
        path: &Path,
        kind: ReportKind,
    ) -> Result<Destination, DestinationError> {
        let destination = self.place(option, path)?;
        let unusable = |source| DestinationError::Unusable { path: path.to_owned(), source };
        let start = destination.file().map(start_of).transpose().map_err(unusable)?.unwrap_or_default();
        if start.is_empty() || kind.begins(&start) {
            return Ok(destination);
        }
        Err(DestinationError::OtherFile { option: option.to_owned(), path: path.to_owned(), kind })
    }
}

/// A format of reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReportKind {
    /// An HTML page.
    Html,
    /// JUnit XML.
    Junit,
    /// SARIF.
    Sarif,
    /// A quarterly report of drills in Markdown.
    Drills,
}

impl ReportKind {
    /// Returns true if a file with this start can be such a report.
    fn begins(self, start: &[u8]) -> bool {
        let start = String::from_utf8_lossy(start).to_ascii_lowercase();
        let start = start.trim_start_matches('\u{feff}').trim_start();
        match self {
            ReportKind::Html => start.starts_with("<!doctype html"),
            ReportKind::Junit => start.starts_with("<?xml") || start.starts_with("<testsuite"),
            ReportKind::Sarif => start.starts_with('{') && start.contains("sarif"),
            ReportKind::Drills => start.starts_with("# drills of "),
        }
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReportKind::Html => "an HTML page",
            ReportKind::Junit => "a JUnit report",
            ReportKind::Sarif => "a SARIF report",
            ReportKind::Drills => "a report of drills in Markdown",
        })
    }
}

/// A checked destination of output.
#[derive(Clone, Debug)]
pub struct Destination {
    place: Place,
}

impl Destination {
    /// Checks a single output of a run that reads no files.
    ///
    /// # Errors
    /// See [`Destinations::place`].
    pub fn of(option: &str, path: &Path) -> Result<Destination, DestinationError> {
        Destinations::default().place(option, path)
    }

    /// Returns true if it is stdout.
    pub fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout)
    }

    /// Returns the file that is replaced, with links resolved, or `None` if the output goes to a stream.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Stream(_) | Place::Stdout => None,
        }
    }

    /// Opens the output. A FIFO blocks until it has a reader.
    ///
    /// # Errors
    /// The file or stream cannot be opened.
    pub fn open(&self, readers: Readers) -> io::Result<Writing> {
        Ok(match &self.place {
            Place::Stdout => Writing::Stream(Box::new(io::stdout())),
            // Append, because other processes may write to the file of a descriptor as well.
            Place::Stream(path) => Writing::Stream(Box::new(OpenOptions::new().append(true).open(path)?)),
            Place::File(path) => Writing::File(NewFile::beside(path, readers)?),
        })
    }

    /// Writes the whole output.
    ///
    /// # Errors
    /// The output cannot be opened or written; an existing file then remains unchanged.
    pub fn write(&self, readers: Readers, bytes: &[u8]) -> io::Result<()> {
        let mut writing = self.open(readers)?;
        writing.write_all(bytes)?;
        writing.finish()
    }
}

/// Output in progress.
pub enum Writing {
    /// A file that gets its final name at the end.
    File(NewFile),
    /// A stream.
    Stream(Box<dyn Write + Send>),
}

impl Writing {
    /// Completes the output: a file gets its final name, complete and synced.
    ///
    /// # Errors
    /// See [`NewFile::replace`]; or the stream cannot be flushed.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Writing::File(file) => file.replace(),
            Writing::Stream(mut stream) => stream.flush(),
        }
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writing::File(file) => file.write(bytes),
            Writing::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writing::File(file) => file.flush(),
            Writing::Stream(stream) => stream.flush(),
        }
    }
}

#[derive(Clone, Debug)]
enum Place {
    Stdout,
    /// A path that is opened and written to.
    Stream(PathBuf),
    /// A path that is replaced: not a link, in an existing directory.
    File(PathBuf),
}

impl Place {
    fn identity(&self) -> Identity {
        let path = match self {
            Place::Stdout => Path::new("/dev/stdout"),
            Place::Stream(path) | Place::File(path) => path,
        };
        let metadata = fs::metadata(path).ok();
        // Terminals and /dev/null have no content of their own: many outputs may go to them.
        let is_device = metadata.as_ref().is_some_and(is_character_device);
        let path = match self {
            _ if is_device => None,
            Place::Stdout => Some(PathBuf::from(STDOUT)),
            Place::Stream(path) | Place::File(path) => Some(path.clone()),
        };
        let node = metadata.filter(|_| !is_device).and_then(|metadata| node(&metadata));
        Identity { path, node }
    }
}

/// The identity of a file: two names with the same identity are one file.
#[derive(Debug)]
struct Identity {
    path: Option<PathBuf>,
    /// Device and inode, if the file exists.
    node: Option<(u64, u64)>,
}

impl Identity {
    fn is_same(&self, other: &Identity) -> bool {
        (self.node.is_some() && self.node == other.node) || (self.path.is_some() && self.path == other.path)
    }
}

/// Follows links to the file that would be written.
fn resolve(path: &Path) -> io::Result<Place> {
    let problem = |text: &str| io::Error::new(ErrorKind::InvalidInput, text.to_owned());
    let is_a_directory = || io::Error::new(ErrorKind::IsADirectory, "it is a directory");
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = folder_of(&path);
        let folder = folder.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => io::Error::new(
                error.kind(),
                format!("there is no directory {}; create it first", folder.display()),
            ),
            _ => error,
        })?;
        let place = folder.join(path.file_name().ok_or_else(is_a_directory)?);
        if is_folder_of_descriptors(&folder) {
            let own = folder == Path::new(&format!("/proc/{}/fd", std::process::id()));
            let is_stdout = own && place.file_name().is_some_and(|name| name == "1");
            return Ok(if is_stdout { Place::Stdout } else { Place::Stream(place) });
        }
        let metadata = match place.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::File(place)),
            Err(error) => return Err(error),
        };
        if metadata.is_symlink() {
            if is_planted(&folder, &metadata) {
                return Err(problem(
                    "it is a symbolic link that another user made in a directory that all users can write",
                ));
            }
            path = folder.join(fs::read_link(&place)?);
        } else if metadata.is_dir() {
            return Err(is_a_directory());
        } else if metadata.is_file() {
            return Ok(Place::File(place));
        } else if is_written_to(&metadata) {
            return Ok(Place::Stream(place));
        } else {
            return Err(problem("it is neither a file nor a stream"));
        }
    }
    Err(problem("it is a loop of symbolic links"))
}

/// Returns true for `/proc/PID/fd`, the target of `/dev/fd` and `/dev/stdout`.
fn is_folder_of_descriptors(folder: &Path) -> bool {
    folder.starts_with("/proc") && folder.file_name().is_some_and(|name| name == "fd")
}

/// Returns true if a file is a SQLite database, or one of the files beside it.
fn is_of_database(file: &Path) -> io::Result<bool> {
    if begins_as_database(file)? {
        return Ok(true);
    }
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return Ok(false) };
    for sidecar in SQLITE_SIDECARS {
        if let Some(database) = name.strip_suffix(sidecar).filter(|name| !name.is_empty())
            && begins_as_database(&file.with_file_name(database))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn begins_as_database(file: &Path) -> io::Result<bool> {
    Ok(start_of(file)?.starts_with(SQLITE_MAGIC))
}

/// Returns the first bytes of a file, or none if it does not exist or is not readable. In the latter case the
/// permissions of its directory decide whether it can be replaced.
fn start_of(file: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        match File::open(file) {
            Ok(file) => file.take(START_BYTES).read_to_end(&mut start)?,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(start)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(unix)]
fn node(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn node(_: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn is_character_device(metadata: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_character_device(_: &Metadata) -> bool {
    false
}

/// Returns true for a FIFO or a character device, which pass output on to a reader.
#[cfg(unix)]
fn is_written_to(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_fifo() || metadata.file_type().is_char_device()
}

#[cfg(not(unix))]
fn is_written_to(_: &Metadata) -> bool {
    false
}

/// Returns true if a link in a directory like `/tmp` belongs neither to us nor to the owner of the directory. Linux
/// does not follow such links either (`fs.protected_symlinks`).
#[cfg(unix)]
fn is_planted(folder: &Path, link: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = folder.metadata() else { return true };
    let is_everybodys = folder.mode() & 0o1002 == 0o1002;
    is_everybodys && link.uid() != folder.uid() && link.uid() != rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_planted(_: &Path, _: &Metadata) -> bool {
    false
}
