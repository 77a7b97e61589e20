//! Exports: records of a ledger in a file, with a manifest beside it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, Hash, Head, Heads, escape};
use edgesentry_formats::times::now_ms;
use edgesentry_formats::{
    Destination, DestinationError, Destinations, Error as FormatError, MAX_FILE_BYTES, Readers, RecordWriter,
    Writing, by_name, layout_path, other_file, read_file,
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::error::{Error, StoreError};
use crate::ledger::{self, Filter, Ledger};
use crate::log::Logged;

/// The version of the manifest; it changes when a field is renamed or removed.
pub const MANIFEST_VERSION: u32 = 1;

/// The description of an export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub manifest: u32,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: u64,
    /// The ledger, without secrets.
    pub ledger: String,
    /// The filter of the records.
    pub filter: Filter,
    /// The number of records.
    pub records: u64,
    /// The number of devices.
    pub devices: u64,
    /// The file; none if the export went into a stream.
    pub file: Option<ExportFile>,
    /// The links after which chains begin that do not begin at sequence 1: claims, like the heads.
    pub start_heads: Heads,
    /// The last link of every chain in the file.
    pub heads: Heads,
}

/// A file of records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportFile {
    /// Its name, without the directory.
    pub name: String,
    /// `JSON`, `NDJSON`, `Arrow IPC` or `Parquet`.
    pub format: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Hash,
}

impl Manifest {
    /// Returns the path of the manifest of a file: `export.parquet.manifest.json`.
    pub fn path_for(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".manifest.json");
        PathBuf::from(name)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// The file cannot be read, is not a manifest, or is of a newer release.
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let wrong = |problem: &str| format!("{}: {problem}", path.display());
        let bytes = read_file(path, MAX_FILE_BYTES)
            .map_err(|error| Error::unusable(wrong("cannot read the manifest"), error))?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| match other_file(&bytes, "a manifest") {
                Some(words) => Error::Config(wrong(&words)),
                None => Error::unusable(wrong("not an export manifest"), error),
            })?;
        if manifest.manifest != MANIFEST_VERSION {
            let version = manifest.manifest;
            let problem = format!("unsupported manifest version {version}; use a newer release");
            return Err(Error::Config(wrong(&problem)));
        }
        Ok(manifest)
    }

    /// Returns a difference between the file and the manifest, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn difference(&self, file: &Path) -> Result<Option<String>, Error> {
        let Some(expected) = &self.file else { return Ok(None) };
        let found = measure(file, file)?;
        if found.blake3 == expected.blake3 {
            return Ok(None);
        }
        let (path, found, expected) = (file.display(), found.blake3, expected.blake3);
        Ok(Some(format!("{path} is not the file that was exported: its BLAKE3 is {found}, not {expected}")))
    }

    /// Writes the manifest atomically.
    ///
    /// # Errors
    /// The destination cannot be used or written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let destination = Destination::of("manifest", path).map_err(FormatError::from)?;
        Ok(self.prepare(&destination, path)?()?)
    }

    fn text(&self) -> serde_json::Result<String> {
        Ok(escape::json(&serde_json::to_string_pretty(self)?).into_owned() + "\n")
    }

    /// Writes the manifest durably under a temporary name; the returned function gives it its own.
    fn prepare(
        &self,
        destination: &Destination,
        path: &Path,
    ) -> Result<impl FnOnce() -> Result<(), FormatError> + use<>, FormatError> {
        let name: Arc<str> = path.display().to_string().into();
        let failed = move |source| FormatError::Io { name, action: "write", source };
        let write = || -> std::io::Result<Writing> {
            let text = self.text()?;
            let mut writing = destination.open(Readers::Umask)?;
            writing.write_all(text.as_bytes())?;
            if let Writing::File(file) = &mut writing {
                file.sync()?;
            }
            Ok(writing)
        };
        match write() {
            Ok(writing) => Ok(move || writing.finish().map_err(failed)),
            Err(source) => Err(failed(source)),
        }
    }
}

/// The destination of an export.
#[non_exhaustive]
pub enum Target {
    /// A file whose name implies the format; the manifest is written beside it.
    File(PathBuf),
    /// Like [`Target::File`], at destinations that [`edgesentry_formats::Destinations`] chose.
    Placed {
        /// The name of the file.
        path: PathBuf,
        /// The destination of the file.
        destination: Destination,
        /// The destination of the manifest.
        manifest: Destination,
    },
    /// A writer; only the records are written.
    Writer(Box<RecordWriter>),
    /// Another target, with numbers in Arrow and Parquet as int64.
    Int64(Box<Target>),
}

/// Exports the records of a filter, in bounded memory. `exported` gets the number of records written so far, and
/// returns false to stop.
///
/// # Errors
/// The ledger, or the output, fails, or `exported` returns false; then there is no file.
pub async fn export(
    ledger: &dyn Ledger,
    filter: &Filter,
    target: Target,
    exported: impl FnMut(u64) -> bool,
) -> Result<Manifest, Error> {
    export_all(ledger, filter, None, target, exported).await
}

/// The files of the log beside an export: the layout `export.parquet.log`, the checkpoint `export.parquet.checkpoint`,
/// and its time stamps `export.parquet.tsa-0.tsr`, …
#[derive(Debug)]
pub struct LogBeside {
    logged: Logged,
    layout: (PathBuf, Destination),
    checkpoint: (PathBuf, Destination),
    timestamps: Vec<(PathBuf, Destination)>,
}

impl LogBeside {
    /// Chooses the destinations beside an export.
    ///
    /// # Errors
    /// A destination cannot be used.
    pub fn place(
        logged: Logged,
        export: &Path,
        destinations: &mut Destinations,
    ) -> Result<LogBeside, DestinationError> {
        let (layout, note) = (layout_path(export), checkpoint_path(export));
        let layout_place = destinations.place("the layout beside the export", &layout)?;
        let note_place = destinations.place("the checkpoint beside the export", &note)?;
        let stamps = (0..logged.timestamps.len()).map(|number| timestamp_path(export, number));
        let place = |path: PathBuf| {
            let place = destinations.place("the time stamp beside the export", &path)?;
            Ok((path, place))
        };
        let timestamps = stamps.map(place).collect::<Result<_, DestinationError>>()?;
        Ok(LogBeside { logged, layout: (layout, layout_place), checkpoint: (note, note_place), timestamps })
    }

    /// Returns a file of the log of an earlier export, which would be taken for that of a new export without a log.
    pub fn earlier(export: &Path) -> Option<PathBuf> {
        [layout_path(export), checkpoint_path(export), timestamp_path(export, 0)]
            .into_iter()
            .find(|path| path.exists())
    }

    /// Returns the log up to its checkpoint.
    pub fn logged(&self) -> &Logged {
        &self.logged
    }

    /// Returns the path of the layout.
    pub fn layout(&self) -> &Path {
        &self.layout.0
    }

    /// Returns the path of the checkpoint.
    pub fn checkpoint(&self) -> &Path {
        &self.checkpoint.0
    }

    /// Returns the paths of the time stamps.
    pub fn timestamps(&self) -> impl Iterator<Item = &Path> {
        self.timestamps.iter().map(|(path, _)| path.as_path())
    }

    /// Writes the files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self) -> Result<(), FormatError> {
        let write = |(path, place): &(PathBuf, Destination), bytes: &[u8]| {
            let name = || path.display().to_string().into();
            let failed = |source| FormatError::Io { name: name(), action: "write", source };
            place.write(Readers::Umask, bytes).map_err(failed)
        };
        write(&self.layout, &self.logged.layout)?;
        for (place, stamp) in self.timestamps.iter().zip(&self.logged.timestamps) {
            write(place, &stamp.response)?;
        }
        write(&self.checkpoint, &self.logged.checkpoint.note)
    }
}

fn checkpoint_path(export: &Path) -> PathBuf {
    beside(export, ".checkpoint")
}

fn timestamp_path(export: &Path, number: usize) -> PathBuf {
    beside(export, &format!(".tsa-{number}.tsr"))
}

fn beside(export: &Path, end: &str) -> PathBuf {
    let mut name = export.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Like [`export`], with the records that are in the log of the ledger, and no others.
pub async fn export_logged(
    ledger: &dyn Ledger,
    log: &Logged,
    target: Target,
    exported: impl FnMut(u64) -> bool,
) -> Result<Manifest, Error> {
    export_all(ledger, &Filter::default(), Some(log), target, exported).await
}

async fn export_all(
    ledger: &dyn Ledger,
    filter: &Filter,
    log: Option<&Logged>,
    target: Target,
    exported: impl FnMut(u64) -> bool,
) -> Result<Manifest, Error> {
    let starts = start_heads(ledger, filter).await?;
    let Opened { writer, file } = Opened::new(target)?;
    let (chunks, work) = mpsc::channel(2);
    // Compression keeps a thread busy; meanwhile the next records are read.
    let written = tokio::task::spawn_blocking(move || write_all(writer, work));
    let copied = copy(ledger, filter, log, chunks, exported).await;
    // If the stream ends early the writer drops its data, and no file appears.
    let ended = |error| Error::internal("the export writer ended early", error);
    let writer = written.await.map_err(ended)??;
    let summary = copied?;
    let (place, filter) = (ledger.place().to_owned(), filter.clone());
    let finished = tokio::task::spawn_blocking(move || {
        let output = writer.complete()?;
        let measured = match (&file, output.path()) {
            (Some((path, _)), Some(written)) => Some(measure(written, path)?),
            _ => None,
        };
        let manifest = summary.manifest(&place, &filter, starts, measured);
        match file {
            None => drop(output.place()?),
            Some((path, place)) => {
                // Both are on the disk before either gets its name, so that a full disk does not separate them.
                let prepared = manifest.prepare(&place, &Manifest::path_for(&path))?;
                output.place().map_err(|error| match manifest.difference(&path) {
                    // It has its name; a later step failed.
                    Ok(None) => without_manifest(error, &manifest, &place),
                    _ => error,
                })?;
                prepared().map_err(|error| without_manifest(error, &manifest, &place))?;
            }
        }
        Ok::<_, Error>(manifest)
    });
    finished.await.map_err(ended)?
}

/// An opened target.
struct Opened {
    writer: Box<RecordWriter>,
    /// The path of a file, and the place of its manifest.
    file: Option<(PathBuf, Destination)>,
}

impl Opened {
    fn new(target: Target) -> Result<Opened, Error> {
        Ok(match target {
            Target::File(path) => {
                let mut destinations = Destinations::default();
                let destination = destinations.place("path", &path).map_err(FormatError::from)?;
                let writer = Box::new(RecordWriter::create_at(&destination, &path)?);
                // A FIFO has no place for a manifest beside it, and cannot be read again to be measured.
                if destination.file().is_none() {
                    return Ok(Opened { writer, file: None });
                }
                let manifest = destinations.place("manifest", &Manifest::path_for(&path));
                Opened { writer, file: Some((path, manifest.map_err(FormatError::from)?)) }
            }
            Target::Placed { path, destination, manifest } => {
                let writer = RecordWriter::create_at(&destination, &path)?;
                Opened { writer: Box::new(writer), file: Some((path, manifest)) }
            }
            Target::Writer(writer) => Opened { writer, file: None },
            Target::Int64(target) if matches!(*target, Target::Int64(_)) => {
                return Err(Error::Config("the target of an export is int64 twice; name it once".to_owned()));
            }
            Target::Int64(target) => {
                let Opened { writer, file } = Opened::new(*target)?;
                Opened { writer: Box::new(writer.with_int64(true)), file }
            }
        })
    }
}

/// Sends the records of the ledger to a writer, without those that the log lacks.
async fn copy(
    ledger: &dyn Ledger,
    filter: &Filter,
    log: Option<&Logged>,
    chunks: mpsc::Sender<Arc<Vec<AuditRecord>>>,
    mut exported: impl FnMut(u64) -> bool,
) -> Result<Summary, Error> {
    let mut records = ledger.records(filter);
    let mut summary = Summary::default();
    while let Some(chunk) = records.next().await {
        let mut chunk = chunk?;
        if let Some(log) = log {
            chunk.retain(|record| log.places.of(&record.device_id, record.sequence).is_some());
        }
        let chunk = Arc::new(chunk);
        summary.add(&chunk);
        // A writer that failed says why.
        if chunks.send(chunk).await.is_err() {
            break;
        }
        if !exported(summary.records) {
            return Err(FormatError::Cancelled.into());
        }
    }
    Ok(summary)
}

/// Handles a failure between naming the export and naming its manifest: the manifest of an earlier export must not stay
/// beside the new file.
fn without_manifest(error: FormatError, manifest: &Manifest, place: &Destination) -> FormatError {
    let FormatError::Io { name, action, source } = error else { return error };
    let is_new = place.file().is_some_and(|file| {
        std::fs::read(file).is_ok_and(|found| manifest.text().is_ok_and(|text| text.as_bytes() == found))
    });
    let problem = match place.file().filter(|_| !is_new).map(std::fs::remove_file) {
        None => "the new export and its manifest are in place, but may not survive a crash",
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            "the new export is in place next to the manifest of an earlier one"
        }
        Some(_) => "the new export is in place without a manifest",
    };
    let source = std::io::Error::new(source.kind(), format!("{source}; {problem}: export again"));
    FormatError::Io { name, action, source }
}

/// Returns the links after which the records of a filter begin, according to the ledger.
pub(crate) async fn start_heads(ledger: &dyn Ledger, filter: &Filter) -> Result<Heads, StoreError> {
    let mut heads = ledger::start_heads(&ledger.devices().await?);
    let Some(from) = filter.from_sequence.filter(|from| *from > 1) else { return Ok(heads) };
    let before = Filter {
        devices: filter.devices.clone(),
        from_sequence: Some(from - 1),
        to_sequence: Some(from - 1),
        ..Filter::default()
    };
    let mut records = ledger.records(&before);
    while let Some(chunk) = records.try_next().await? {
        for record in chunk {
            let head = Head { sequence: record.sequence, hash: record.hash() };
            heads.insert(record.device_id.into(), head);
        }
    }
    Ok(heads)
}

fn write_all(
    mut writer: Box<RecordWriter>,
    mut work: mpsc::Receiver<Arc<Vec<AuditRecord>>>,
) -> Result<Box<RecordWriter>, FormatError> {
    while let Some(chunk) = work.blocking_recv() {
        writer.write(&chunk)?;
    }
    Ok(writer)
}

/// Measures a file whose name is or will be `path`.
fn measure(written: &Path, path: &Path) -> Result<ExportFile, Error> {
    let format = by_name(path).map(|(format, _)| format.to_string()).unwrap_or_default();
    let failed = |source| FormatError::Io { name: path.display().to_string().into(), action: "read", source };
    let file = File::open(written).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ExportFile { name, format, size_bytes, blake3: Hash(*hasher.finalize().as_bytes()) })
}

/// A summary of the records passed so far, device by device.
#[derive(Default)]
struct Summary {
    records: u64,
    starts: Heads,
    heads: Heads,
    last: Option<AuditRecord>,
}

impl Summary {
    fn add(&mut self, records: &[AuditRecord]) {
        self.records += records.len() as u64;
        for chain in records.chunk_by(|one, other| one.device_id == other.device_id) {
            let (Some(first), Some(last)) = (chain.first(), chain.last()) else { continue };
            if self.last.as_ref().is_none_or(|last| last.device_id != first.device_id) {
                self.close();
                if first.sequence > 1 {
                    let start = Head { sequence: first.sequence - 1, hash: first.prev_record_hash };
                    self.starts.insert(first.device_id.as_str().into(), start);
                }
            }
            self.last = Some(last.clone());
        }
    }

    /// Stores the head of the device that has ended.
    fn close(&mut self) {
        if let Some(last) = self.last.take() {
            let head = Head { sequence: last.sequence, hash: last.hash() };
            self.heads.insert(last.device_id.into(), head);
        }
    }

    fn manifest(mut self, ledger: &str, filter: &Filter, known: Heads, file: Option<ExportFile>) -> Manifest {
        self.close();
        // The ledger's start heads take precedence over those derived from records.
        for (device_id, start) in known {
            if self.starts.get(&device_id).is_some_and(|found| found.sequence == start.sequence) {
                self.starts.insert(device_id, start);
            }
        }
        Manifest {
            manifest: MANIFEST_VERSION,
            created_at_ms: now_ms(),
            ledger: ledger.to_owned(),
            filter: filter.clone(),
            records: self.records,
            devices: self.heads.len() as u64,
            file,
            start_heads: self.starts,
            heads: self.heads,
        }
    }
}
