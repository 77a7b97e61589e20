//! Stubs of Arrow and Parquet for a build without the feature `columnar`. Files in these formats are errors.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use edgesentry_chain::{AuditRecord, RecordRef};

use crate::columns::ColumnNames;
use crate::error::Error;
use crate::format::Format;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader, Decoded, Malformed, ReadSeek};
use crate::write::Output;

const ABSENT: &str = "this build has no Arrow and Parquet support; build with --features columnar";

fn absent(name: &Arc<str>) -> Error {
    Error::Unreadable { name: Arc::clone(name), problem: ABSENT.to_owned() }
}

/// A record batch.
#[derive(Debug)]
pub enum RecordBatch {}

impl RecordBatch {
    pub(crate) fn num_rows(&self) -> usize {
        match *self {}
    }
}

/// Record batches.
pub trait RecordBatchReader {}

pub(crate) fn decode_batch(batch: &RecordBatch, _: Range<usize>, _: u64) -> Decoded {
    match *batch {}
}

pub(crate) fn buffer_bytes(batch: &RecordBatch, _: &mut HashSet<usize>) -> usize {
    match *batch {}
}

/// Rows of a batch.
pub(crate) enum LentRows {}

impl LentRows {
    pub(crate) fn of(batch: &RecordBatch, _: Range<usize>, _: u64) -> Option<LentRows> {
        match *batch {}
    }

    pub(crate) fn record(&self, _: usize) -> Result<RecordRef<'_>, Malformed> {
        match *self {}
    }

    pub(crate) fn device_id(&self, _: usize) -> Option<&str> {
        match *self {}
    }
}

pub(crate) fn device_ids(batch: &RecordBatch, _: impl FnMut(&str)) {
    match *batch {}
}

pub(crate) fn spool(name: &Arc<str>, _: Box<dyn Read + Send>, _: &Progress) -> Result<File, Error> {
    Err(absent(name))
}

/// Chunks of a columnar file.
pub(crate) enum Columns {}

pub(crate) type BatchChunks = Columns;
pub(crate) type ArrowChunks = Columns;
pub(crate) type ParquetChunks = Columns;

impl Columns {
    pub(crate) fn new(
        name: Arc<str>,
        _: Box<dyn RecordBatchReader + Send>,
        _: &Arc<ColumnNames>,
    ) -> Result<Columns, Error> {
        Err(absent(&name))
    }

    pub(crate) fn open(
        name: Arc<str>,
        _: Box<dyn ReadSeek>,
        _: &ColumnNames,
        _: Option<&Range<u64>>,
    ) -> Result<Columns, Error> {
        Err(absent(&name))
    }

    pub(crate) fn file(name: Arc<str>, _: File, _: &ColumnNames) -> Result<Columns, Error> {
        Err(absent(&name))
    }

    pub(crate) fn stream(name: Arc<str>, _: Box<dyn Read + Send>, _: &ColumnNames) -> Result<Columns, Error> {
        Err(absent(&name))
    }

    pub(crate) fn uncounted(self) -> Columns {
        self
    }
}

impl ChunkReader for Columns {
    fn next_chunk(&mut self, _: &Progress) -> Result<Option<Chunk>, Error> {
        match *self {}
    }
}

/// Writes records in columns.
pub(crate) enum ColumnWriter {}

impl ColumnWriter {
    pub(crate) fn new(_: Output, _: Format, _: bool) -> io::Result<ColumnWriter> {
        Err(io::Error::new(io::ErrorKind::Unsupported, ABSENT))
    }

    pub(crate) fn push(&mut self, _: &AuditRecord) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn finish(self) -> io::Result<Output> {
        match self {}
    }
}
