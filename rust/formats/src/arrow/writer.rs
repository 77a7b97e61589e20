//! Writes record batches as Arrow IPC and Parquet.

use std::io;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::schema::types::ColumnPath;
use arrow_ipc::writer::FileWriter;
use arrow_schema::ArrowError;
use edgesentry_chain::AuditRecord;

use super::{Rows, int64_batch, int64_schema, schema};
use crate::format::Format;
use crate::write::Output;

/// Maximum rows and bytes of a Parquet row group: reader and writer hold about one group.
const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Writes records in columns.
pub(crate) struct ColumnWriter {
    layout: Layout,
    rows: Rows,
    is_int64: bool,
}

enum Layout {
    Arrow(Box<FileWriter<Output>>),
    Parquet(Box<ArrowWriter<Output>>),
}

impl ColumnWriter {
    /// Starts a file: Parquet if that is the format, Arrow IPC otherwise.
    pub(crate) fn new(out: Output, format: Format, is_int64: bool) -> io::Result<ColumnWriter> {
        let schema = if is_int64 { int64_schema(&schema()) } else { schema() };
        let layout = if format == Format::Parquet {
            let properties = Some(parquet_properties());
            Layout::Parquet(Box::new(ArrowWriter::try_new(out, schema, properties).map_err(parquet_error)?))
        } else {
            Layout::Arrow(Box::new(FileWriter::try_new(out, &schema).map_err(arrow_error)?))
        };
        Ok(ColumnWriter { layout, rows: Rows::default(), is_int64 })
    }

    /// Adds a record; full batches are written at once.
    pub(crate) fn push(&mut self, record: &AuditRecord) -> io::Result<()> {
        self.rows.push(record);
        if self.rows.is_full() { self.write_rows() } else { Ok(()) }
    }

    /// Writes the remaining rows and the footer.
    pub(crate) fn finish(mut self) -> io::Result<Output> {
        self.write_rows()?;
        // Both write their footer when the inner writer is taken.
        match self.layout {
            Layout::Arrow(out) => out.into_inner().map_err(arrow_error),
            Layout::Parquet(out) => out.into_inner().map_err(parquet_error),
        }
    }

    fn write_rows(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut batch = self.rows.take();
        if self.is_int64 {
            batch = int64_batch(&batch).map_err(arrow_error)?;
        }
        match &mut self.layout {
            Layout::Arrow(out) => out.write(&batch).map_err(arrow_error),
            Layout::Parquet(out) => {
                out.write(&batch).map_err(parquet_error)?;
                if out.in_progress_size() >= ROW_GROUP_BYTES {
                    out.flush().map_err(parquet_error)?;
                }
                Ok(())
            }
        }
    }
}

/// Returns the properties: zstd, no dictionary, and no minimum or maximum for hashes, which never repeat. Numbers have no
/// dictionary either: Spark cannot read an unsigned one as bigint, the type of its tables.
fn parquet_properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for field in ["sequence", "timestamp_ms"] {
        let column = ColumnPath::from(field);
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    for field in ["payload_hash", "signature", "prev_record_hash"] {
        let column = ColumnPath::from(field);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_compression(column.clone(), ParquetCompression::UNCOMPRESSED)
            .set_column_statistics_enabled(column, ::parquet::file::properties::EnabledStatistics::None);
    }
    properties.build()
}

fn arrow_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        ArrowError::ComputeError(problem) => io::Error::new(io::ErrorKind::InvalidData, problem),
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
