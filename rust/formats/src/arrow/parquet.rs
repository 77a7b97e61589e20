//! Parquet, page by page.

use std::io::{self, Cursor, Read, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader as FileRanges, Length};
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};

use super::guard::{Problem, caught};
use super::metadata::check_footer;
use super::page::PageFault;
use super::pages::Columns;
use super::{CHUNK_ROWS, Consumed, Selection, Slices};
use crate::Error;
use crate::columns::ColumnNames;
use crate::error::Undecodable;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader, ReadSeek};

/// Maximum size of a footer, in bytes.
const FOOTER_BYTES: u64 = 64 << 20;

/// Chunks of a Parquet file. Only the pages of one chunk of rows are in memory at a time, at most 1 GiB.
pub(crate) struct ParquetChunks {
    name: Arc<str>,
    rows: ParquetRecordBatchReader,
    rows_left: u64,
    input: Arc<Input>,
    columns: Arc<Columns>,
    selection: Selection,
    consumed: Consumed,
    slices: Slices,
    done: bool,
}

impl ParquetChunks {
    /// Reads the footer. Bytes read are counted. A share has the row groups that begin in it.
    pub(crate) fn open(
        name: Arc<str>,
        file: Box<dyn ReadSeek>,
        names: &ColumnNames,
        share: Option<&Range<u64>>,
    ) -> Result<ParquetChunks, Error> {
        let (ranges, metadata) = caught(&name, "Parquet", || open(file))?;
        let mut selection = Selection::of(&name, metadata.schema(), names)?;
        if names.has_only_devices {
            selection = selection.of_devices();
        }
        let (size, input, columns) = (ranges.size, Arc::clone(&ranges.input), Arc::clone(&ranges.columns));
        let (rows, rows_left) = caught(&name, "Parquet", || {
            let mut rows_left = 0u64;
            let mut groups = Vec::new();
            for (number, group) in metadata.metadata().row_groups().iter().enumerate() {
                if share.is_some_and(|share| !share.contains(&start_of(group))) {
                    continue;
                }
                groups.push(number);
                let rows = u64::try_from(group.num_rows()).ok().and_then(|rows| rows.checked_add(rows_left));
                rows_left = rows.ok_or_else(|| Problem::decoder("a row group of negative size"))?;
            }
            let schema = metadata.metadata().file_metadata().schema_descr_ptr();
            let columns = ProjectionMask::roots(&schema, selection.positions().iter().copied());
            let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(ranges, metadata.clone())
                .with_projection(columns)
                .with_row_groups(groups)
                .with_batch_size(CHUNK_ROWS)
                .build()
                .map_err(Problem::decoder)?;
            Ok((rows, rows_left))
        })?;
        let consumed = Consumed { left: share.map_or(size, |share| size.min(share.end - share.start)) };
        let (selection, slices) = (selection.of_selected(), Slices::default());
        Ok(ParquetChunks { name, rows, rows_left, input, columns, selection, consumed, slices, done: false })
    }

    /// Turns counting off, for a file whose bytes have already been counted.
    pub(crate) fn uncounted(mut self) -> ParquetChunks {
        self.consumed.left = 0;
        self
    }
}

impl ChunkReader for ParquetChunks {
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.slices.next_chunk() {
                return Ok(Some(chunk));
            }
            if self.done {
                return Ok(None);
            }
            let ParquetChunks { name, rows, rows_left, columns, selection, .. } = self;
            columns.give_out();
            let step = caught(name, "Parquet", || {
                let batch = rows.next().transpose().map_err(Problem::decoder)?;
                let size = batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
                *rows_left = rows_left
                    .checked_sub(size)
                    .ok_or_else(|| Problem::decoder("it has more rows than its footer says"))?;
                // The reader stops without an error if the pages of a column end early.
                if size == 0 && *rows_left > 0 {
                    return Err(Problem::decoder(format!("{rows_left} rows of its footer are missing")));
                }
                batch.filter(|batch| batch.num_rows() > 0).map(|batch| selection.apply(&batch)).transpose()
            });
            self.consumed.add(self.input.read.swap(0, Relaxed), progress);
            match step {
                Ok(Some(batch)) => self.slices.put(batch),
                end => {
                    self.done = true;
                    if let Some(source) = self.input.take_failure() {
                        return Err(Error::reading(&self.name, source));
                    }
                    end?;
                    self.consumed.finish(progress);
                }
            }
        }
    }
}

/// Returns the position of the first page of a row group.
fn start_of(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or_default()
}

fn open(mut file: Box<dyn ReadSeek>) -> Result<(Ranges, ArrowReaderMetadata), Problem> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut tail = [0u8; 8];
    file.seek(SeekFrom::Start(size.saturating_sub(8)))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(Problem::said("its footer is encrypted; decrypt the file first")),
        _ => return Err(Problem::decoder("the footer at its end is missing")),
    }
    let footer_size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let start = size.checked_sub(8 + footer_size).filter(|_| footer_size <= FOOTER_BYTES);
    let start = start.ok_or_else(|| Problem::decoder("the footer is longer than the file"))?;
    let mut footer = vec![0; footer_size as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    check_footer(&footer)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(Problem::decoder)?;
    // The Arrow schema that some writers embed adds nothing to the columns.
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options()).map_err(Problem::decoder)?;
    let columns = Columns::of(metadata.metadata(), size)?;
    let options = options().with_schema(viewed(metadata.schema()));
    let metadata = Arc::clone(metadata.metadata());
    let metadata = ArrowReaderMetadata::try_new(metadata, options).map_err(Problem::decoder)?;
    let input = Input { file: Mutex::new(file), read: AtomicU64::new(0), failure: Mutex::new(None) };
    Ok((Ranges { input: Arc::new(input), size, columns: Arc::new(columns) }, metadata))
}

/// Returns the schema with text and bytes as views into the pages: rows with the same dictionary value share it.
fn viewed(schema: &Schema) -> SchemaRef {
    let view = |field: &FieldRef| {
        let data_type = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>()))
}

/// The file, as the decoder reads it.
struct Input {
    file: Mutex<Box<dyn ReadSeek>>,
    /// Bytes read since the last count.
    read: AtomicU64,
    /// The error of a failed read; the decoder would report it as damage.
    failure: Mutex<Option<io::Error>>,
}

impl Input {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = file.seek(SeekFrom::Start(position)).and_then(|_| file.read(buffer));
        outcome.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.fail(error);
            }
            kind.into()
        })
    }

    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The file in the form that the decoder expects: ranges, which must lie within it.
struct Ranges {
    input: Arc<Input>,
    size: u64,
    columns: Arc<Columns>,
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.size
    }
}

impl FileRanges for Ranges {
    type T = Cursor<Vec<u8>>;

    /// Reads a page header: the decoder uses this method for nothing else.
    fn get_read(&self, start: u64) -> Result<Cursor<Vec<u8>>, ParquetError> {
        let read = |position| Onward { input: Arc::clone(&self.input), position };
        match self.columns.header(start, read) {
            Ok(header) => Ok(Cursor::new(header)),
            Err(PageFault::Damaged(problem)) => Err(ParquetError::General(problem)),
            Err(PageFault::Said(problem)) => {
                self.input.fail(io::Error::other(Undecodable { problem }));
                Err(ParquetError::General("not read".into()))
            }
            Err(PageFault::Io(error)) => Err(error.into()),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF(format!("{length} bytes at byte {start} lie outside of the file")));
        }
        let mut bytes = vec![0; length];
        Onward { input: Arc::clone(&self.input), position: start }.read_exact(&mut bytes)?;
        self.input.read.fetch_add(length as u64, Relaxed);
        Ok(bytes.into())
    }
}

/// The file from a position.
struct Onward {
    input: Arc<Input>,
    position: u64,
}

impl Read for Onward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read_at(self.position, buffer)?;
        self.position += size as u64;
        Ok(size)
    }
}
