//! Records in columns: Arrow record batches, Arrow IPC and Parquet.

mod batches;
mod column;
mod delta;
mod guard;
mod int64;
mod ipc;
mod metadata;
mod owned;
mod page;
mod pages;
mod parquet;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder, UInt64Builder};
use arrow_array::{Array as _, ArrayRef};
pub(crate) use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_data::ArrayData;
use arrow_schema::Schema;
use edgesentry_chain::{AuditRecord, RecordRef};

pub(crate) use self::batches::BatchChunks;
pub(crate) use self::column::{RecordColumns, device_ids};
pub use self::int64::{int64_batch, int64_schema};
pub(crate) use self::ipc::ArrowChunks;
pub(crate) use self::parquet::ParquetChunks;
pub(crate) use self::schema::Selection;
pub use self::schema::schema;
pub(crate) use self::writer::ColumnWriter;
use crate::Error;
use crate::columns::ColumnNames;
use crate::progress::Progress;
use crate::read::{Chunk, Decoded, Malformed};

/// Maximum number of rows in a chunk.
pub(crate) const CHUNK_ROWS: usize = 16_384;

/// Maximum size of the text in a chunk, in bytes, unless one row has more. Rows of a dictionary share their text, so a
/// small batch may hold large records.
const CHUNK_TEXT_BYTES: usize = 64 << 20;

/// Maximum size of one record batch in memory, in bytes. A file that declares more is rejected before it is read.
const BATCH_BYTES: u64 = 2 << 30;

/// Up to this decompressed size, in bytes, data is not checked against its declared size.
const UNSEEN_BYTES: u64 = 64 << 20;

/// Maximum compression ratio of LZ4: one byte lengthens a match by 255.
const LZ4_RATIO: u64 = 255;
/// Maximum compression ratio of Zstandard: a block of 128 KiB takes four bytes.
const ZSTD_RATIO: u64 = 32 << 10;

/// Returns the records as one batch with the columns of [`schema`].
///
/// # Panics
///
/// If all device ids or all object references together have 2 GiB or more.
///
/// ```
/// use edgesentry_formats::{records_from_batch, records_to_batch};
/// let batch = records_to_batch(&[]);
/// assert_eq!(batch.num_columns(), 7);
/// assert!(records_from_batch(&batch)?.is_empty());
/// # Ok::<(), edgesentry_formats::Error>(())
/// ```
pub fn records_to_batch(records: &[AuditRecord]) -> RecordBatch {
    let mut rows = Rows::default();
    records.iter().for_each(|record| rows.push(record));
    rows.take()
}

/// Returns the records of a batch. Columns may be in any order, and in any type that holds their values: strings also
/// as large, view or dictionary strings, byte fields also as binary, hex text or lists of integers, integers of any
/// width. If a row is not a record, the error names the row, counted from 1.
pub fn records_from_batch(batch: &RecordBatch) -> Result<Vec<AuditRecord>, Error> {
    let name: Arc<str> = Arc::from("record batch");
    let selection = Selection::of(&name, batch.schema_ref(), &ColumnNames::default())?;
    let decoded = guard::caught(&name, "record batch", || {
        let batch = selection.apply(batch)?;
        batches::validate(&batch)?;
        Ok(decode_batch(&batch, 0..batch.num_rows(), 0))
    })?;
    match decoded.malformed.into_iter().next() {
        None => Ok(decoded.records),
        Some((_, Malformed { expected, actual })) => {
            Err(Error::Unreadable { name, problem: format!("{actual}, expected {expected}") })
        }
    }
}

/// Returns the batch unchanged, without a copy, if every row is a record in exactly the form of [`schema`]. Returns
/// `None` if it must be decoded.
pub fn record_batch(batch: &RecordBatch) -> Option<RecordBatch> {
    let schema = schema();
    let form = |schema: &Schema| {
        let fields = schema.fields().iter();
        fields.map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
    };
    if form(&schema) != form(batch.schema_ref()) {
        return None;
    }
    guard::caught(&"batch".into(), "Arrow", || batches::validate(batch)).ok()?;
    // Rejects nulls.
    RecordBatch::try_new(schema, batch.columns().to_vec()).ok()
}

/// Returns the positions of the columns that hold the fields, in the order of the fields.
///
/// # Errors
/// A column is missing, ambiguous or of another type, or a column is neither a field nor left out.
pub fn select_columns(name: &Arc<str>, schema: &Schema, names: &ColumnNames) -> Result<Vec<usize>, Error> {
    Ok(Selection::of(name, schema, names)?.positions().to_vec())
}

/// Decodes rows of a batch whose schema is already checked. `first_row` is the index of the first row of the batch in
/// its source, from 0; messages count from 1.
pub(crate) fn decode_batch(batch: &RecordBatch, rows: Range<usize>, first_row: u64) -> Decoded {
    let first_row = first_row + rows.start as u64;
    let count = rows.len();
    let mut decoded = Decoded::with_capacity(count);
    let columns = RecordColumns::of(&batch.slice(rows.start, count));
    for row in 0..count {
        let record = match &columns {
            Ok(columns) => columns.record(row),
            Err(fault) => Err(fault.clone()),
        };
        match record {
            Ok(record) => decoded.records.push(record),
            Err(fault) => decoded.malformed.push((row, fault.at(first_row + row as u64 + 1))),
        }
    }
    decoded
}

/// Returns the size of the allocations behind a batch, except those whose address is in `counted`, to which it adds them.
pub(crate) fn buffer_bytes(batch: &RecordBatch, counted: &mut HashSet<usize>) -> usize {
    fn of(data: &ArrayData, counted: &mut HashSet<usize>) -> usize {
        let mut bytes: usize = 0;
        for buffer in data.buffers() {
            if counted.insert(buffer.data_ptr().addr().get()) {
                bytes = bytes.saturating_add(buffer.capacity());
            }
        }
        data.child_data().iter().fold(bytes, |bytes, child| bytes.saturating_add(of(child, counted)))
    }
    batch.columns().iter().fold(0, |bytes, column| bytes.saturating_add(of(&column.to_data(), counted)))
}

/// Rows of a batch whose text is lent: no record is made of them.
pub(crate) struct LentRows {
    columns: RecordColumns,
    /// The index of the first row in the source, from 0.
    first_row: u64,
}

impl LentRows {
    /// Returns the rows, if the columns lend their text.
    pub(crate) fn of(batch: &RecordBatch, rows: Range<usize>, first_row: u64) -> Option<LentRows> {
        let first_row = first_row + rows.start as u64;
        let columns = RecordColumns::of(&batch.slice(rows.start, rows.len())).ok()?;
        columns.lend_text().then_some(LentRows { columns, first_row })
    }

    /// Returns the record in a row, counted from the first of these.
    pub(crate) fn record(&self, row: usize) -> Result<RecordRef<'_>, Malformed> {
        self.columns.row(row).map_err(|fault| fault.at(self.first_row + row as u64 + 1))
    }

    /// Returns the device of a row; `None` if there is none that is text.
    pub(crate) fn device_id(&self, row: usize) -> Option<&str> {
        self.columns.device_id(row)
    }
}

/// Collects rows into a batch.
struct Rows {
    device_id: StringBuilder,
    sequence: UInt64Builder,
    timestamp_ms: UInt64Builder,
    payload_hash: FixedSizeBinaryBuilder,
    signature: FixedSizeBinaryBuilder,
    prev_record_hash: FixedSizeBinaryBuilder,
    object_ref: StringBuilder,
    rows: usize,
    text_bytes: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows {
            device_id: StringBuilder::new(),
            sequence: UInt64Builder::new(),
            timestamp_ms: UInt64Builder::new(),
            payload_hash: FixedSizeBinaryBuilder::new(32),
            signature: FixedSizeBinaryBuilder::new(64),
            prev_record_hash: FixedSizeBinaryBuilder::new(32),
            object_ref: StringBuilder::new(),
            rows: 0,
            text_bytes: 0,
        }
    }
}

impl Rows {
    fn push(&mut self, record: &AuditRecord) {
        const WIDTH: &str = "a value of the builder's width";
        self.device_id.append_value(&record.device_id);
        self.sequence.append_value(record.sequence);
        self.timestamp_ms.append_value(record.timestamp_ms);
        self.payload_hash.append_value(record.payload_hash.0).expect(WIDTH);
        self.signature.append_value(record.signature).expect(WIDTH);
        self.prev_record_hash.append_value(record.prev_record_hash.0).expect(WIDTH);
        self.object_ref.append_value(&record.object_ref);
        self.rows += 1;
        self.text_bytes += record.device_id.len() + record.object_ref.len();
    }

    fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns true if the batch is large enough to be written.
    fn is_full(&self) -> bool {
        self.rows >= CHUNK_ROWS || self.text_bytes >= CHUNK_TEXT_BYTES
    }

    /// Returns the batch of the rows so far, and starts a new one.
    fn take(&mut self) -> RecordBatch {
        self.rows = 0;
        self.text_bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.device_id.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.timestamp_ms.finish()),
            Arc::new(self.payload_hash.finish()),
            Arc::new(self.signature.finish()),
            Arc::new(self.prev_record_hash.finish()),
            Arc::new(self.object_ref.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("seven columns of the schema's types, equally long")
    }
}

/// Splits the batches of a source into chunks.
#[derive(Default)]
struct Slices {
    /// The current batch, and the number of its rows already returned.
    current: Option<(RecordBatch, usize)>,
    /// The index of the next row in the source, from 0.
    next_row: u64,
}

impl Slices {
    /// Returns the next chunk of the current batch.
    fn next_chunk(&mut self) -> Option<Chunk> {
        let (batch, done) = self.current.take()?;
        let rows = chunk_rows(&batch, done);
        let chunk = batch.slice(done, rows);
        let first_row = self.next_row;
        self.next_row += rows as u64;
        if done + rows < batch.num_rows() {
            self.current = Some((batch, done + rows));
        }
        Some(Chunk::Batch(chunk, first_row))
    }

    fn put(&mut self, batch: RecordBatch) {
        debug_assert!(self.current.is_none());
        self.current = (batch.num_rows() > 0).then_some((batch, 0));
    }
}

/// Returns the number of rows from `start` that make a chunk.
fn chunk_rows(batch: &RecordBatch, start: usize) -> usize {
    let rows = CHUNK_ROWS.min(batch.num_rows() - start);
    let Ok(columns) = RecordColumns::of(&batch.slice(start, rows)) else { return rows };
    if !columns.share_text() {
        return rows;
    }
    let mut text_bytes = 0;
    let fitting = (0..rows).take_while(|row| {
        text_bytes += columns.text_bytes(*row);
        text_bytes <= CHUNK_TEXT_BYTES
    });
    fitting.count().max(1)
}

/// Copies a stream that is not seekable to an unnamed temporary file.
pub(crate) fn spool(
    name: &Arc<str>,
    mut reader: Box<dyn Read + Send>,
    progress: &Progress,
) -> Result<File, Error> {
    let error = |action| move |source| Error::Io { name: name.clone(), action, source };
    let mut file = tempfile::tempfile().map_err(error("make a temporary copy of"))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => file.write_all(&buffer[..size]).map_err(error("make a temporary copy of"))?,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::reading(name, source)),
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(error("make a temporary copy of"))?;
    Ok(file)
}

/// Counts bytes of a file of known size: never more than its size, and exactly its size at the end.
struct Consumed {
    left: u64,
}

impl Consumed {
    fn add(&mut self, bytes: u64, progress: &Progress) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        progress.add_bytes(bytes);
    }

    fn finish(&mut self, progress: &Progress) {
        self.add(u64::MAX, progress);
    }
}
