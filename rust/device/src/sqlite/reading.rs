//! Reading a database file without changing it, the files beside it, or their names.
//!
//! SQLite creates `-wal` and `-shm` files even for a reader; they belong to the reader and can block the owner. The
//! last connection also folds the write-ahead log into the file. The three ways here do neither.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgesentry_chain::count;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tempfile::TempDir;

use super::WRITE_LOCK_TIMEOUT;
use super::uses::Use;

/// Connections to a private copy: all are opened at once, because its name is then removed.
const COPY_CONNECTIONS: u32 = 4;
/// The header of a write-ahead log, <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>; longer than that of
/// a journal.
const HEADER_BYTES: usize = 32;
/// Free space to leave, in bytes, after making a private copy.
const SPARE_BYTES: u64 = 64 << 20;

/// How often to try to open a file whose writer is opening or closing it, and the interval.
const OPENS: usize = 10;
const OPEN_INTERVAL: Duration = Duration::from_millis(20);
/// How often to copy a file that is written meanwhile.
const COPIES: usize = 5;

/// How a file is read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Without locks, because there is no write-ahead log. Each read ends with a comparison of the file's state.
    Alone { path: PathBuf, state: State },
    /// With the write-ahead log, together with a process that writes. The log's index is only read.
    Shared { log_bytes: u64, keeper: tokio::sync::Mutex<Option<SqliteConnection>>, _index: Option<Use> },
    /// As a private copy, made with the log or journal: because the log has no index, or because this user could leave
    /// files that the owner cannot write.
    Copy { log: &'static str, log_bytes: u64 },
}

/// The state of a file; it changes with every write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    inode: (u64, u64),
    size_bytes: u64,
    modified: (i64, i64),
}

impl State {
    fn of(path: &Path) -> io::Result<State> {
        let file = fs::metadata(path)?;
        let inode = (file.dev(), file.ino());
        Ok(State { inode, size_bytes: file.size(), modified: (file.mtime(), file.mtime_nsec()) })
    }
}

impl Reading {
    /// Opens a file for reading.
    pub(super) async fn open(path: &Path) -> Result<(Reading, SqlitePool), sqlx::Error> {
        for _ in 1..OPENS {
            match Reading::open_once(path).await {
                // The files beside it appeared or disappeared at this moment, with the writer.
                Err(error) if cannot_open(&error) => tokio::time::sleep(OPEN_INTERVAL).await,
                opened => return opened,
            }
        }
        Reading::open_once(path).await
    }

    async fn open_once(path: &Path) -> Result<(Reading, SqlitePool), sqlx::Error> {
        // SQLite looks for the log beside the file itself, not beside a link to it.
        let path = path.canonicalize()?;
        let (log, index, journal) = (beside(&path, "-wal"), beside(&path, "-shm"), beside(&path, "-journal"));
        let journal_bytes = size(&journal).unwrap_or(0);
        if journal_bytes > 0 {
            return copy(&path, "-journal", journal_bytes).await;
        }
        match (size(&log), size(&index)) {
            (Some(log_bytes), Some(_)) if may_leave_files(&path)? => match log_bytes {
                0 => Reading::alone(path),
                _ => copy(&path, "-wal", log_bytes).await,
            },
            (Some(log_bytes), Some(_)) => {
                let index = Use::reading(&path);
                let options = reader_of(&path, "readonly_shm=1");
                let mut keeper = options.connect().await?;
                // The first read opens the log; it stays while a connection has it open.
                sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut keeper).await?;
                let keeper = tokio::sync::Mutex::new(Some(keeper));
                let reading = Reading::Shared { log_bytes, keeper, _index: index };
                Ok((reading, pool(8).connect_lazy_with(options)))
            }
            (Some(log_bytes), None) if log_bytes > 0 => copy(&path, "-wal", log_bytes).await,
            _ => Reading::alone(path),
        }
    }

    fn alone(path: PathBuf) -> Result<(Reading, SqlitePool), sqlx::Error> {
        let state = State::of(&path)?;
        let readers = pool(8).connect_lazy_with(reader_of(&path, "immutable=1"));
        Ok((Reading::Alone { path, state }, readers))
    }

    /// Fails if the file was written since it was opened: the rows may then mix two states.
    pub(super) fn check_unchanged(&self) -> Result<(), sqlx::Error> {
        match self {
            Reading::Alone { path, state } if State::of(path)? != *state => Err(changed()),
            _ => Ok(()),
        }
    }

    /// Closes the connection that is not in the readers' pool.
    pub(super) async fn close(&self) {
        if let Reading::Shared { keeper, .. } = self
            && let Some(keeper) = keeper.lock().await.take()
        {
            // A connection for reading has nothing to write.
            let _ = keeper.close().await;
        }
    }

    /// Returns a note for users if the read includes files beside the database.
    pub(crate) fn note(&self, place: &str) -> Option<String> {
        match self {
            Reading::Shared { log_bytes, .. } if *log_bytes > 0 => {
                let log_bytes = count(*log_bytes, "byte");
                Some(format!("{place}: read together with its write-ahead log {place}-wal ({log_bytes})"))
            }
            Reading::Copy { log, log_bytes } => {
                let log_bytes = count(*log_bytes, "byte");
                Some(format!("{place}: read as a temporary copy together with {place}{log} ({log_bytes})"))
            }
            Reading::Alone { .. } | Reading::Shared { .. } => None,
        }
    }
}

/// Returns options for reading a file; `parameters` are those of <https://www.sqlite.org/uri.html>.
pub(super) fn reader_of(path: &Path, parameters: &str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(uri(path, parameters))
        .read_only(true)
        .busy_timeout(WRITE_LOCK_TIMEOUT)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("query_only", "ON")
        .disable_statement_logging()
}

/// Returns a path as a SQLite URI.
fn uri(path: &Path, parameters: &str) -> String {
    use std::fmt::Write as _;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    format!("{uri}?{parameters}")
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.len())
}

// A reader keeps its connections: the log stays in place while one is open.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None)
}

/// Returns true if files that SQLite creates for this reader, when the writer closes the file at this moment, would
/// block the writer: those of the owner and of root belong to the owner.
fn may_leave_files(path: &Path) -> io::Result<bool> {
    let user = rustix::process::geteuid();
    let folder = path.parent().unwrap_or(path);
    Ok(!user.is_root()
        && fs::metadata(path)?.uid() != user.as_raw()
        && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok())
}

/// Matches SQLITE_CANTOPEN, SQLITE_READONLY and their extended codes.
pub(super) fn cannot_open(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| [8, 14].contains(&(code & 0xff)))
}

fn changed() -> sqlx::Error {
    sqlx::Error::Io(io::Error::other("the file was written to while it was read; run the command again"))
}

/// Reads a private copy of the file and of the log or journal beside it. The copy has no name once it is open, so the
/// system frees its space when the process ends.
async fn copy(path: &Path, log: &'static str, log_bytes: u64) -> Result<(Reading, SqlitePool), sqlx::Error> {
    let source = path.to_owned();
    let folder = tokio::task::spawn_blocking(move || copy_files(&source, log)).await;
    let folder = folder.map_err(|error| sqlx::Error::Io(io::Error::other(error)))??;
    let copied = folder.path().join("copy");
    let whole = SqliteConnectOptions::new()
        .filename(&copied)
        .pragma("trusted_schema", "OFF")
        .journal_mode(SqliteJournalMode::Delete)
        .disable_statement_logging();
    // Applies the log or rolls the journal back, in the copy.
    whole.connect().await?.close().await?;
    let readers = pool(COPY_CONNECTIONS).connect_lazy_with(reader_of(&copied, "immutable=1"));
    let mut opened = Vec::new();
    for _ in 0..COPY_CONNECTIONS {
        let mut reader = readers.acquire().await?;
        sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut *reader).await?;
        opened.push(reader);
    }
    drop(opened);
    folder.close()?;
    Ok((Reading::Copy { log, log_bytes }, readers))
}

fn copy_files(path: &Path, log: &str) -> io::Result<TempDir> {
    for _ in 1..COPIES {
        if let Some(folder) = copy_once(path, log)? {
            return Ok(folder);
        }
    }
    let busy = || io::Error::other("the file was written to each time it was copied; run the command again");
    copy_once(path, log)?.ok_or_else(busy)
}

/// Returns `None` if pages of the file were written meanwhile. Appends to the log do not count: its frames have
/// checksums, and an incomplete one ends the log.
fn copy_once(path: &Path, log: &str) -> io::Result<Option<TempDir>> {
    let parts = [(path.to_owned(), ""), (beside(path, log), log)];
    let identity = || Ok::<_, io::Error>((State::of(path)?, beginning(&parts[1].0)?));
    let before = identity()?;
    let log_bytes = fs::metadata(&parts[1].0)?.len();
    let folder = TempDir::with_prefix("edgesentry-read-")?;
    let free = rustix::fs::statvfs(folder.path())?;
    let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
    // The pages of the log are written into the copy, too.
    let needed_bytes = before.0.size_bytes + 2 * log_bytes + SPARE_BYTES;
    if free_bytes < needed_bytes {
        return Err(io::Error::other(format!(
            "a temporary copy with its {log} file needs {needed_bytes} bytes in {}, which has {free_bytes}; \
             set TMPDIR to a directory with more space",
            std::env::temp_dir().display()
        )));
    }
    for (part, suffix) in &parts {
        let copied = folder.path().join(format!("copy{suffix}"));
        let mut copied = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copied)?;
        // At most the bytes that the free space was checked for.
        let most_bytes = if suffix.is_empty() { before.0.size_bytes } else { log_bytes };
        io::copy(&mut File::open(part)?.take(most_bytes), &mut copied)?;
    }
    Ok((identity()? == before).then_some(folder))
}

/// Reads the header of a log, which changes when the log begins again.
fn beginning(log: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(log)?.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    Ok(header)
}
