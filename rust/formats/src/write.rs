//! Records into JSON, NDJSON, Arrow IPC and Parquet.

mod json;
mod output;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::schema::types::ColumnPath;
use arrow_ipc::writer::FileWriter;
use arrow_schema::ArrowError;
use edgesentry_chain::AuditRecord;

pub use self::json::record_to_json;
use self::json::write_record;
use self::output::Output;
use crate::arrow::{Rows, schema};
use crate::destination::{Destination, Writing};
use crate::format::{Compression, Format, by_name};
use crate::new_file::{NewFile, Readers};
use crate::{DestinationError, Error};

/// Rows and bytes of a Parquet row group, at most: reader and writer hold about one.
const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 128 << 20;

/// JSON is handed on in pieces of about this size.
const TEXT_BYTES: usize = 256 << 10;

/// Writes records to a file or stream, in bounded memory.
///
/// A file appears under its name only in [`RecordWriter::finish`], complete and synced; until then, and for ever
/// where the writer is dropped, whatever had the name before stays.
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
    /// Gone after a write that failed: what is there cannot be finished.
    layout: Option<Layout>,
    file: Option<NewFile>,
    records: u64,
}

enum Layout {
    Json { out: Output, text: Vec<u8>, first: bool },
    Ndjson { out: Output, text: Vec<u8> },
    Arrow { out: Box<FileWriter<Output>>, rows: Rows },
    Parquet { out: Box<ArrowWriter<Output>>, rows: Rows },
}

impl RecordWriter {
    /// A new file in the format that its name says, see [`by_name`]. It is written beside its final place. For a run
    /// that reads files too, see [`RecordWriter::create_at`].
    ///
    /// # Errors
    /// The name says no format, or nothing can be written there.
    pub fn create(path: &Path) -> Result<RecordWriter, Error> {
        let (format, compression) = format_of(path)?;
        let destination = Destination::of("output", path).map_err(|error| creating(path, error))?;
        RecordWriter::to_destination(&destination, path, format, compression)
    }

    /// Like [`RecordWriter::create`], at a place that [`crate::Destinations`] has decided on; `path` is its name.
    ///
    /// # Errors
    /// As [`RecordWriter::create`].
    pub fn create_at(destination: &Destination, path: &Path) -> Result<RecordWriter, Error> {
        let (format, compression) = format_of(path)?;
        RecordWriter::to_destination(destination, path, format, compression)
    }

    /// Like [`RecordWriter::create_at`], in a format that the name need not say.
    ///
    /// # Errors
    /// As [`RecordWriter::to_writer`], or nothing can be written there.
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

    /// Writes to a stream. Arrow and Parquet compress in their own way: around them there is
    /// [`Compression::None`] only.
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
            Format::Arrow => {
                let out = FileWriter::try_new(out, &schema()).map_err(arrow_error)?;
                Layout::Arrow { out: Box::new(out), rows: Rows::default() }
            }
            Format::Parquet => {
                let out =
                    ArrowWriter::try_new(out, schema(), Some(parquet_properties())).map_err(parquet_error)?;
                Layout::Parquet { out: Box::new(out), rows: Rows::default() }
            }
        };
        Ok(RecordWriter { name, layout: Some(layout), file: None, records: 0 })
    }

    /// Writes more records; how they are divided among calls does not show in the result.
    pub fn write(&mut self, records: &[AuditRecord]) -> Result<(), Error> {
        let written = match &mut self.layout {
            Some(layout) => layout.write(records),
            None => Err(failed_before()),
        };
        if let Err(source) = written {
            self.layout = None;
            return Err(self.error(source));
        }
        self.records += records.len() as u64;
        Ok(())
    }

    /// Completes the output and answers how many records it has. A file is synced and takes its name.
    pub fn finish(self) -> Result<u64, Error> {
        self.complete()?.place()
    }

    /// Completes the output; a file is synced, and has not taken its name yet.
    ///
    /// # Errors
    /// The last bytes cannot be written.
    pub fn complete(mut self) -> Result<CompleteOutput, Error> {
        let finished = match self.layout.take() {
            Some(layout) => layout.finish(),
            None => Err(failed_before()),
        };
        let synced = finished.and_then(|()| self.file.as_mut().map_or(Ok(()), NewFile::sync));
        synced.map_err(|source| self.error(source))?;
        Ok(CompleteOutput { name: self.name, file: self.file, records: self.records })
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { name: Arc::clone(&self.name), action: "write", source }
    }
}

/// Records that are written, before a file of them takes its name. Dropped, the file is removed.
pub struct CompleteOutput {
    name: Arc<str>,
    file: Option<NewFile>,
    records: u64,
}

impl CompleteOutput {
    /// Where the file is meanwhile; none for a stream.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().and_then(NewFile::temporary_path)
    }

    /// Gives the file its name, and answers how many records it has.
    ///
    /// # Errors
    /// As [`NewFile::replace`].
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
                Layout::Arrow { rows, .. } | Layout::Parquet { rows, .. } => {
                    rows.push(record);
                    if rows.is_full() {
                        self.write_rows()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_rows(&mut self) -> io::Result<()> {
        match self {
            Layout::Arrow { out, rows } if !rows.is_empty() => out.write(&rows.take()).map_err(arrow_error),
            Layout::Parquet { out, rows } if !rows.is_empty() => {
                out.write(&rows.take()).map_err(parquet_error)?;
                if out.in_progress_size() >= ROW_GROUP_BYTES {
                    out.flush().map_err(parquet_error)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.write_rows()?;
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
            // Both write their footer when asked for what they wrote to.
            Layout::Arrow { out, .. } => out.into_inner().map_err(arrow_error)?,
            Layout::Parquet { out, .. } => out.into_inner().map_err(parquet_error)?,
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

/// zstd; no dictionary and no minimum or maximum for the hashes, which never repeat.
fn parquet_properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for field in ["payload_hash", "signature", "prev_record_hash"] {
        let column = ColumnPath::from(field);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_compression(column.clone(), ParquetCompression::UNCOMPRESSED)
            .set_column_statistics_enabled(column, ::parquet::file::properties::EnabledStatistics::None);
    }
    properties.build()
}

/// The format that the name of a file says.
fn format_of(path: &Path) -> Result<(Format, Compression), Error> {
    by_name(path).ok_or_else(|| {
        let problem = "its name does not say the format; end it in .json, .ndjson, .arrow or .parquet, the first two \
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
    io::Error::other("an earlier write failed, so that the output is incomplete")
}

fn arrow_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    }
}

fn parquet_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
