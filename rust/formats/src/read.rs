//! Sources of records in any format, and their chunks.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use edgesentry_chain::{AuditRecord, Finding};

use crate::arrow::{self, RecordBatch, RecordBatchReader};
use crate::columns::ColumnNames;
use crate::compressed::peel;
use crate::error::Error;
use crate::format::Compression;
use crate::json::{TextChunk, TextChunks};
use crate::progress::Progress;
use crate::recognise::{text_format, unreadable_head, url};

/// Bytes at the start of a file that identify a binary format.
const HEAD_BYTES: usize = 512;

/// An error of the caller's iterator.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A source of records.
#[non_exhaustive]
pub enum Source {
    /// A file; its first bytes identify its format.
    Path(PathBuf),
    /// A byte stream, identified in the same way.
    Reader {
        /// Its name in findings.
        name: Arc<str>,
        /// The bytes.
        reader: Box<dyn Read + Send>,
    },
    /// Records.
    Records {
        /// Their name in findings.
        name: Arc<str>,
        /// The records, or the error that ends them.
        records: Box<dyn Iterator<Item = Result<AuditRecord, BoxError>> + Send>,
    },
    /// Arrow record batches.
    Batches {
        /// Their name in findings.
        name: Arc<str>,
        /// The batches.
        batches: Box<dyn RecordBatchReader + Send>,
    },
    /// Bytes that are read in ranges, such as an object of a store; the first bytes identify their format.
    Ranges {
        /// Their name in findings.
        name: Arc<str>,
        /// The bytes, from the first.
        ranges: Box<dyn ReadSeek>,
        /// Their number.
        bytes: u64,
        /// The time of the last change.
        modified: Option<SystemTime>,
    },
    /// A source that names its columns differently, or has others.
    Named {
        /// The source.
        source: Box<Source>,
        /// The names of its columns.
        names: Arc<ColumnNames>,
    },
    /// A share of a file: the row groups of Parquet that begin in these bytes. Another format is wholly in the share that
    /// begins at 0.
    Share {
        /// The source.
        source: Box<Source>,
        /// The bytes.
        bytes: Range<u64>,
    },
}

impl Source {
    /// Returns the source with these names of columns.
    pub fn named(self, names: &Arc<ColumnNames>) -> Source {
        match names.is_plain() {
            true => self,
            false => Source::Named { source: Box::new(self), names: Arc::clone(names) },
        }
    }

    /// Returns the path of a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Source::Path(path) => Some(path),
            Source::Named { source, .. } | Source::Share { source, .. } => source.path(),
            _ => None,
        }
    }
}

/// Bytes that can be read from any position.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The reason why an entry is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The required form of an entry.
    pub expected: String,
    /// The fault of this entry, with its line and byte offset or its row.
    pub actual: String,
}

impl Malformed {
    /// Returns the finding of the entry at this position in the whole input.
    pub(crate) fn finding(self, index: u64) -> Finding {
        Finding::malformed(index, self.expected, self.actual)
    }
}

/// Decoded entries: the records, and the positions of malformed entries.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records, in order.
    pub records: Vec<AuditRecord>,
    /// Malformed entries, each with its position among all decoded entries.
    pub malformed: Vec<(usize, Malformed)>,
}

impl Decoded {
    pub(crate) fn with_capacity(entries: usize) -> Decoded {
        Decoded { records: Vec::with_capacity(entries), malformed: Vec::new() }
    }
}

/// Entries of a source, not yet decoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Chunk {
    /// JSON or NDJSON.
    Text(TextChunk),
    /// Arrow, with the number of its first row.
    Batch(RecordBatch, u64),
    /// Records.
    Records(Vec<AuditRecord>),
    /// One entry that is not a record.
    Malformed(Malformed),
}

impl Chunk {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        match self {
            Chunk::Text(text) => text.len(),
            Chunk::Batch(batch, _) => batch.num_rows(),
            Chunk::Records(records) => records.len(),
            Chunk::Malformed(_) => 1,
        }
    }

    /// Returns the size of the buffers of the chunk, except those in `counted`, to which it adds them. Rows may refer to
    /// far more than their text: pages, dictionaries and the rest of a batch.
    pub(crate) fn buffer_bytes(&self, counted: &mut HashSet<usize>) -> usize {
        match self {
            Chunk::Batch(batch, _) => arrow::buffer_bytes(batch, counted),
            Chunk::Text(_) | Chunk::Records(_) | Chunk::Malformed(_) => 0,
        }
    }

    /// Returns the size of the text of the chunk; 0 if it has another form.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Chunk::Text(text) => text.bytes(),
            Chunk::Batch(..) | Chunk::Records(_) | Chunk::Malformed(_) => 0,
        }
    }

    /// Returns true if the chunk has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes a range of the entries; any thread may decode any range.
    pub fn decode(&self, range: Range<usize>) -> Decoded {
        match self {
            Chunk::Text(text) => text.decode(range),
            Chunk::Batch(batch, first_row) => arrow::decode_batch(batch, range, *first_row),
            Chunk::Records(records) => Decoded { records: records[range].to_vec(), malformed: Vec::new() },
            Chunk::Malformed(malformed) => {
                Decoded { records: Vec::new(), malformed: range.map(|at| (at, malformed.clone())).collect() }
            }
        }
    }
}

/// Reads a source chunk by chunk.
pub(crate) trait ChunkReader: Send {
    /// Returns the next entries, or `None` at the end. A chunk is never empty.
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Error>;
}

/// A source after opening and recognition.
pub(crate) struct Opened {
    pub(crate) name: Arc<str>,
    pub(crate) format: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) chunks: Box<dyn ChunkReader>,
}

/// Opens a source. `progress` counts the bytes read.
pub(crate) fn open(source: Source, progress: &Arc<Progress>) -> Result<Opened, Error> {
    let (mut source, mut names, mut share) = (source, None, None);
    loop {
        source = match source {
            // The outer names are those of the caller.
            Source::Named { source, names: inner } => {
                names.get_or_insert(inner);
                *source
            }
            Source::Share { source, bytes } => {
                share.get_or_insert(bytes);
                *source
            }
            source => break open_plain(source, &names.unwrap_or_default(), share, progress),
        };
    }
}

fn open_plain(
    source: Source,
    names: &Arc<ColumnNames>,
    share: Option<Range<u64>>,
    progress: &Arc<Progress>,
) -> Result<Opened, Error> {
    let is_first = share.as_ref().is_none_or(|share| share.start == 0);
    let mut opened = match source {
        Source::Path(path) => open_path(&path, names, share, progress)?,
        Source::Reader { name, reader } => open_reader(name, reader, None, names, progress)?,
        Source::Ranges { name, ranges, bytes, modified } => {
            let opened = open_ranges(name, ranges, bytes, names, share, progress)?;
            Opened { modified, ..opened }
        }
        Source::Records { name, records } => Opened {
            chunks: Box::new(RecordChunks { name: Arc::clone(&name), records }),
            name,
            format: "records".into(),
            bytes: None,
            modified: None,
        },
        Source::Batches { name, batches } => Opened {
            chunks: Box::new(arrow::BatchChunks::new(Arc::clone(&name), batches, names)?),
            name,
            format: "arrow".into(),
            bytes: None,
            modified: None,
        },
        // Opened by the caller.
        Source::Named { source, .. } | Source::Share { source, .. } => return open(*source, progress),
    };
    if !is_first && opened.format != "parquet" {
        opened.chunks = Box::new(NoChunks);
    }
    Ok(opened)
}

/// The chunks of a share that has none.
struct NoChunks;

impl ChunkReader for NoChunks {
    fn next_chunk(&mut self, _: &Progress) -> Result<Option<Chunk>, Error> {
        Ok(None)
    }
}

/// Returns a source that reads the same file again; `None` if the source is not a file.
pub(crate) fn again(source: &Source) -> Option<Source> {
    match source {
        Source::Path(path) => Some(Source::Path(path.clone())),
        Source::Named { source, names } => Some(again(source)?.named(names)),
        _ => None,
    }
}

/// Returns the size of a source in bytes, if it has one.
pub(crate) fn size_bytes(source: &Source) -> Option<u64> {
    match source {
        Source::Path(path) => path.metadata().ok().map(|metadata| metadata.len()),
        Source::Ranges { bytes, .. } => Some(*bytes),
        Source::Share { source, bytes } => size_bytes(source).map(|size| size.min(bytes.end - bytes.start)),
        Source::Named { source, .. } => size_bytes(source),
        _ => None,
    }
}

fn open_path(
    path: &Path,
    names: &Arc<ColumnNames>,
    share: Option<Range<u64>>,
    progress: &Arc<Progress>,
) -> Result<Opened, Error> {
    let name: Arc<str> = path.display().to_string().into();
    let io_error = |source| Error::Io { name: Arc::clone(&name), action: "open", source };
    let file = File::open(path).map_err(|error| missing_url(path).unwrap_or_else(|| io_error(error)))?;
    let metadata = file.metadata().map_err(io_error)?;
    if metadata.is_dir() {
        return Err(io_error(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory, not an export",
        )));
    }
    let bytes = metadata.is_file().then_some(metadata.len());
    let modified = bytes.and(metadata.modified().ok());
    let mut head = [0u8; HEAD_BYTES];
    if let Some(size) = bytes {
        let length = read_head(&file, &mut head).map_err(io_error)?;
        let file = || File::open(path).map_err(io_error);
        if head[..length].starts_with(b"ARROW1") {
            let chunks = arrow::ArrowChunks::file(Arc::clone(&name), file()?, names)?;
            return Ok(Opened { name, format: "arrow".into(), bytes, modified, chunks: Box::new(chunks) });
        }
        let opened = open_ranges(Arc::clone(&name), Box::new(file()?), size, names, share, progress)?;
        return Ok(Opened { modified, ..opened });
    }
    open_reader(name, Box::new(file), None, names, progress)
}

/// Opens bytes that are read in ranges: Parquet by its footer, another format from the first byte on.
fn open_ranges(
    name: Arc<str>,
    mut ranges: Box<dyn ReadSeek>,
    size: u64,
    names: &Arc<ColumnNames>,
    share: Option<Range<u64>>,
    progress: &Arc<Progress>,
) -> Result<Opened, Error> {
    let failed = |source| Error::reading(&name, source);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    ranges.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    if let Some(problem) = unreadable_head(&head) {
        return Err(Error::Unreadable { name, problem });
    }
    ranges.seek(SeekFrom::Start(0)).map_err(failed)?;
    if !head.starts_with(b"PAR1") {
        return open_reader(name, ranges, Some(size), names, progress);
    }
    let chunks = Box::new(arrow::ParquetChunks::open(Arc::clone(&name), ranges, names, share.as_ref())?);
    let name = match share {
        Some(share) if share.start > 0 => format!("{name} from byte {}", share.start).into(),
        _ => name,
    };
    Ok(Opened { name, format: "parquet".into(), bytes: Some(size), modified: None, chunks })
}

/// Returns the error for a path that is a URL, whose password it does not repeat; `None` for any other path.
pub fn missing_url(path: &Path) -> Option<Error> {
    let (start, advice) = url(path.to_str()?)?;
    if path.exists() {
        return None;
    }
    Some(Error::Unreadable { name: format!("{start}…").into(), problem: advice.into() })
}

fn read_head(file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    let mut file = file;
    while length < head.len() {
        match file.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn open_reader(
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
    bytes: Option<u64>,
    names: &Arc<ColumnNames>,
    progress: &Arc<Progress>,
) -> Result<Opened, Error> {
    let reader = Counted { reader, progress: Arc::clone(progress) };
    let (compression, reader) = peel(&name, Box::new(reader))?;
    let (head, reader) = peek(&name, reader, 64 << 10)?;
    if let Some(problem) = unreadable_head(&head) {
        return Err(Error::Unreadable { name, problem });
    }
    let suffix = match compression {
        Compression::None => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    let opened = |format: &str, chunks: Box<dyn ChunkReader>| Opened {
        name: Arc::clone(&name),
        format: format!("{format}{suffix}"),
        bytes,
        modified: None,
        chunks,
    };
    if head.starts_with(b"PAR1") {
        let file = arrow::spool(&name, reader, progress)?;
        let chunks = arrow::ParquetChunks::open(Arc::clone(&name), Box::new(file), names, None)?;
        return Ok(opened("parquet", Box::new(chunks.uncounted())));
    }
    if head.starts_with(b"ARROW1") {
        let file = arrow::spool(&name, reader, progress)?;
        let chunks = arrow::ArrowChunks::file(Arc::clone(&name), file, names)?;
        return Ok(opened("arrow", Box::new(chunks.uncounted())));
    }
    if head.starts_with(&[0xff, 0xff, 0xff, 0xff]) {
        let chunks = arrow::ArrowChunks::stream(Arc::clone(&name), reader, names)?;
        return Ok(opened("arrow-stream", Box::new(chunks)));
    }
    let format = text_format(&name, &head)?;
    let chunks = TextChunks::new(Arc::clone(&name), format, reader).with_names(names);
    Ok(opened(&format.to_string(), Box::new(chunks)))
}

/// Returns the first bytes of a stream, and the stream from its start.
pub(crate) fn peek(
    name: &Arc<str>,
    mut reader: Box<dyn Read + Send>,
    length: u64,
) -> Result<(Vec<u8>, Box<dyn Read + Send>), Error> {
    let mut head = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut head).map_err(|source| Error::reading(name, source))?;
    let whole = Cursor::new(head.clone()).chain(reader);
    Ok((head, Box::new(whole)))
}

struct Counted {
    reader: Box<dyn Read + Send>,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.add_bytes(read as u64);
        Ok(read)
    }
}

/// Records of the caller, in chunks.
struct RecordChunks {
    name: Arc<str>,
    records: Box<dyn Iterator<Item = Result<AuditRecord, BoxError>> + Send>,
}

impl ChunkReader for RecordChunks {
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Error> {
        let mut records = Vec::new();
        for record in self.records.by_ref() {
            let source_error = |source| Error::Source { name: Arc::clone(&self.name), source };
            records.push(record.map_err(source_error)?);
            if records.len() == 2 * edgesentry_chain::SLICE_RECORDS || progress.is_cancelled() {
                break;
            }
        }
        Ok((!records.is_empty()).then_some(Chunk::Records(records)))
    }
}

/// Returns the entries of a source one by one, in limited memory: a record, or the reason why an entry is malformed. An
/// error ends the iteration.
///
/// # Errors
/// The source cannot be opened, or is not of its format.
pub fn records(
    source: Source,
) -> Result<impl Iterator<Item = Result<Result<AuditRecord, Malformed>, Error>> + Send, Error> {
    let progress = Arc::new(Progress::default());
    let opened = open(source, &progress)?;
    Ok(entries_of(opened.chunks, progress))
}

/// Returns the entries of chunks, one by one.
pub(crate) fn entries_of(
    chunks: Box<dyn ChunkReader>,
    progress: Arc<Progress>,
) -> impl Iterator<Item = Result<Result<AuditRecord, Malformed>, Error>> + Send {
    EntryIterator { chunks: Some(chunks), progress, ready: VecDeque::new() }
}

struct EntryIterator {
    chunks: Option<Box<dyn ChunkReader>>,
    progress: Arc<Progress>,
    ready: VecDeque<Result<AuditRecord, Malformed>>,
}

impl Iterator for EntryIterator {
    type Item = Result<Result<AuditRecord, Malformed>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.chunks.as_mut()?.next_chunk(&self.progress) {
                Ok(Some(chunk)) => self.ready = entries(chunk.decode(0..chunk.len())),
                Ok(None) => self.chunks = None,
                Err(error) => {
                    self.chunks = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn entries(decoded: Decoded) -> VecDeque<Result<AuditRecord, Malformed>> {
    let total = decoded.records.len() + decoded.malformed.len();
    let mut records = decoded.records.into_iter();
    let mut malformed = decoded.malformed.into_iter().peekable();
    (0..total)
        .filter_map(|position| match malformed.next_if(|(at, _)| *at == position) {
            Some((_, malformed)) => Some(Err(malformed)),
            None => records.next().map(Ok),
        })
        .collect()
}
