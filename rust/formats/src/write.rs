//! Writes records as JSON, NDJSON, Arrow IPC and Parquet.

mod json;
mod output;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use edgesentry_chain::AuditRecord;

pub use self::json::record_to_json;
use self::json::write_record;
pub(crate) use self::output::Output;
use crate::arrow::ColumnWriter;
use crate::destination::{Destination, Writing};
use crate::format::{Compression, Format, by_name};
use crate::new_file::{NewFile, Readers};
use crate::{DestinationError, Error};

/// JSON is written in pieces of about this size.
const TEXT_BYTES: usize = 256 << 10;

/// Writes records to a file or stream, in limited memory.
///
/// A file gets its name only in [`RecordWriter::finish`], complete and synced. Until then, or if the writer is dropped,
/// an existing file of this name remains.
///
/// ```no_run
/// # fn run(records: &[edgesentry_chain::AuditRecord]) -> Result<(), edgesentry_formats::Error> {
/// let mut writer = edgesentry_formats::RecordWriter::create("export.ndjson.zst".as_ref())?;
/// writer.write(records)?;
/// let count = writer.finish()?;
/// # Ok(()) }
/// ```
pub struct RecordWriter {
    name: Arc<str>,
    /// `None` after a failed write: the output cannot be completed.
    layout: Option<Layout>,
    /// Columns of numbers are int64.
    is_int64: bool,
    file: Option<NewFile>,
    records: u64,
}

enum Layout {
    Json {
        out: Output,
        text: Vec<u8>,
        first: bool,
    },
    Ndjson {
        out: Output,
        text: Vec<u8>,
    },
    Columns(Box<ColumnWriter>),
    /// Columns that are not begun yet, as their types can still change.
    New(Output, Format),
}

impl RecordWriter {
    /// Creates a file in the format of its name, see [`by_name`]. It is written beside its final place. For a run that
    /// reads files too, see [`RecordWriter::create_at`].
    ///
    /// # Errors
    /// The name has no known format, or the path is not writable.
    pub fn create(path: &Path) -> Result<RecordWriter, Error> {
        let (format, compression) = format_of(path)?;
        let destination = Destination::of("output", path).map_err(|error| creating(path, error))?;
        RecordWriter::to_destination(&destination, path, format, compression)
    }

    /// Like [`RecordWriter::create`], at a destination checked by [`crate::Destinations`]; `path` is its name.
    ///
    /// # Errors
    /// See [`RecordWriter::create`].
    pub fn create_at(destination: &Destination, path: &Path) -> Result<RecordWriter, Error> {
        let (format, compression) = format_of(path)?;
        RecordWriter::to_destination(destination, path, format, compression)
    }

    /// Like [`RecordWriter::create_at`], in a format independent of the name.
    ///
    /// # Errors
    /// See [`RecordWriter::to_writer`]; or the path is not writable.
    pub fn to_destination(
        destination: &Destination,
        path: &Path,
        format: Format,
        compression: Compression,
    ) -> Result<RecordWriter, Error> {
        let name: Arc<str> = path.display().to_string().into();
        refuse_outer_compression(&name, format, compression)?;
        let create = || {
            let (file, out): (_, Box<dyn Write + Send>) = match destination.open(Readers::Umask)? {
                Writing::Stream(stream) => (None, stream),
                Writing::File(file) => {
                    let writer = file.writer()?;
                    (Some(file), Box::new(writer))
                }
            };
            Ok((file, RecordWriter::new(Arc::clone(&name), out, format, compression)?))
        };
        let (file, writer) =
            create().map_err(|source| Error::Io { name: Arc::clone(&name), action: "create", source })?;
        Ok(RecordWriter { file, ..writer })
    }

    /// Writes to a stream. Arrow and Parquet compress internally, so they require [`Compression::None`].
    ///
    /// # Errors
    /// The format does not allow the compression, or the stream cannot be written.
    pub fn to_writer(
        name: Arc<str>,
        out: Box<dyn Write + Send>,
        format: Format,
        compression: Compression,
    ) -> Result<RecordWriter, Error> {
        refuse_outer_compression(&name, format, compression)?;
        RecordWriter::new(Arc::clone(&name), out, format, compression).map_err(|source| Error::Io {
            name,
            action: "write",
            source,
        })
    }

    fn new(
        name: Arc<str>,
        out: Box<dyn Write + Send>,
        format: Format,
        compression: Compression,
    ) -> io::Result<RecordWriter> {
        let out = Output::new(out, compression)?;
        let layout = match format {
            Format::Json => Layout::Json { out, text: b"[".to_vec(), first: true },
            Format::Ndjson => Layout::Ndjson { out, text: Vec::new() },
            Format::Arrow | Format::Parquet => Layout::New(out, format),
        };
        Ok(RecordWriter { name, layout: Some(layout), is_int64: false, file: None, records: 0 })
    }

    /// Writes numbers in Arrow and Parquet as int64, for engines without unsigned types. JSON stays the same. A number
    /// that is larger than any int64 is then an error of [`RecordWriter::write`] or [`RecordWriter::finish`].
    pub fn with_int64(mut self, is_int64: bool) -> RecordWriter {
        self.is_int64 = is_int64;
        self
    }

    /// Begins the columns.
    fn begin(&mut self) -> io::Result<()> {
        self.layout = match self.layout.take() {
            Some(Layout::New(out, format)) => {
                Some(Layout::Columns(Box::new(ColumnWriter::new(out, format, self.is_int64)?)))
            }
            layout => layout,
        };
        Ok(())
    }

    /// Writes more records; their division among calls does not affect the result.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, records: &[AuditRecord]) -> Result<(), Error> {
        let written = self.begin().and_then(|()| match &mut self.layout {
            Some(layout) => layout.write(records),
            None => Err(failed_before()),
        });
        if let Err(source) = written {
            self.layout = None;
            return Err(self.error(source));
        }
        self.records += records.len() as u64;
        Ok(())
    }

    /// Completes the output and returns its number of records. A file is synced and gets its name.
    ///
    /// # Errors
    /// The output cannot be written, synced or named; then there is no file.
    pub fn finish(self) -> Result<u64, Error> {
        self.complete()?.place()
    }

    /// Completes the output; a file is synced, but does not have its name yet.
    ///
    /// # Errors
    /// The last bytes cannot be written.
    pub fn complete(mut self) -> Result<CompleteOutput, Error> {
        let finished = self.begin().and_then(|()| match self.layout.take() {
            Some(layout) => layout.finish(),
            None => Err(failed_before()),
        });
        let synced = finished.and_then(|()| self.file.as_mut().map_or(Ok(()), NewFile::sync));
        synced.map_err(|source| self.error(source))?;
        Ok(CompleteOutput { name: self.name, file: self.file, records: self.records })
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { name: Arc::clone(&self.name), action: "write", source }
    }
}

/// Complete output, before a file gets its name. On drop, the file is removed.
pub struct CompleteOutput {
    name: Arc<str>,
    file: Option<NewFile>,
    records: u64,
}

impl CompleteOutput {
    /// Returns the temporary path of the file, or `None` for a stream.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().and_then(NewFile::temporary_path)
    }

    /// Gives the file its name, and returns the number of records.
    ///
    /// # Errors
    /// See [`NewFile::replace`].
    pub fn place(self) -> Result<u64, Error> {
        let placed = self.file.map_or(Ok(()), NewFile::replace);
        placed.map_err(|source| Error::Io { name: self.name, action: "write", source })?;
        Ok(self.records)
    }
}

impl Layout {
    fn write(&mut self, records: &[AuditRecord]) -> io::Result<()> {
        for record in records {
            match self {
                Layout::Json { out, text, first } => {
                    text.extend_from_slice(if std::mem::replace(first, false) { b"\n" } else { b",\n" });
                    write_record(text, record);
                    hand_on(text, out)?;
                }
                Layout::Ndjson { out, text } => {
                    write_record(text, record);
                    text.push(b'\n');
                    hand_on(text, out)?;
                }
                Layout::Columns(columns) => columns.push(record)?,
                Layout::New(..) => return Err(failed_before()),
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        let out = match self {
            Layout::Json { mut out, mut text, first } => {
                text.extend_from_slice(if first { b"]\n" } else { b"\n]\n" });
                out.write_all(&text)?;
                out
            }
            Layout::Ndjson { mut out, text } => {
                out.write_all(&text)?;
                out
            }
            Layout::Columns(columns) => columns.finish()?,
            Layout::New(..) => return Err(failed_before()),
        };
        out.finish()
    }
}

fn hand_on(text: &mut Vec<u8>, out: &mut Output) -> io::Result<()> {
    if text.len() >= TEXT_BYTES {
        out.write_all(text)?;
        text.clear();
    }
    Ok(())
}

/// Returns the format of a file name.
fn format_of(path: &Path) -> Result<(Format, Compression), Error> {
    by_name(path).ok_or_else(|| {
        let problem = "its name has no known format; end it in .json, .ndjson, .arrow or .parquet, the first two \
                       also with .gz or .zst on top";
        Error::Unreadable { name: path.display().to_string().into(), problem: problem.to_owned() }
    })
}

fn refuse_outer_compression(name: &Arc<str>, format: Format, compression: Compression) -> Result<(), Error> {
    if matches!(format, Format::Arrow | Format::Parquet) && compression != Compression::None {
        let problem = format!("{format} is not compressed as a whole; write it without gzip or zstd");
        return Err(Error::Unreadable { name: Arc::clone(name), problem });
    }
    Ok(())
}

fn creating(path: &Path, error: DestinationError) -> Error {
    match error {
        DestinationError::Unusable { source, .. } => {
            Error::Io { name: path.display().to_string().into(), action: "create", source }
        }
        other => other.into(),
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write failed, so the output is incomplete")
}
