//! Record batches from another library.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef};

use super::guard::{Problem, caught};
use super::owned::owned;
use super::{Selection, Slices};
use crate::Error;
use crate::columns::ColumnNames;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader};

/// Chunks of the batches of a reader.
pub(crate) struct BatchChunks {
    name: Arc<str>,
    batches: Box<dyn RecordBatchReader + Send>,
    schema: SchemaRef,
    names: Arc<ColumnNames>,
    selection: Selection,
    slices: Slices,
    done: bool,
}

impl BatchChunks {
    pub(crate) fn new(
        name: Arc<str>,
        batches: Box<dyn RecordBatchReader + Send>,
        names: &Arc<ColumnNames>,
    ) -> Result<BatchChunks, Error> {
        let schema = batches.schema();
        let selection = Selection::of(&name, &schema, names)?;
        let (names, slices) = (Arc::clone(names), Slices::default());
        Ok(BatchChunks { name, batches, schema, names, selection, slices, done: false })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let batch = match self.batches.next() {
            None => return Ok(None),
            Some(Ok(batch)) => batch,
            Some(Err(ArrowError::ExternalError(source))) => {
                return Err(Error::Source { name: self.name.clone(), source });
            }
            Some(Err(error)) => {
                return Err(Error::Source { name: self.name.clone(), source: Box::new(error) });
            }
        };
        if &self.schema == batch.schema_ref() {
            return caught(&self.name, "Arrow", || owned(&self.selection.apply(&batch)?)).map(Some);
        }
        let schema = declared(&self.schema, batch.schema_ref());
        let selection = Selection::of(&self.name, &schema, &self.names)?;
        caught(&self.name, "Arrow", || owned(&selection.apply(&batch)?)).map(Some)
    }
}

impl ChunkReader for BatchChunks {
    fn next_chunk(&mut self, _progress: &Progress) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.slices.next_chunk() {
                return Ok(Some(chunk));
            }
            if self.done {
                return Ok(None);
            }
            match self.next_batch() {
                Ok(Some(batch)) => self.slices.put(batch),
                end => {
                    self.done = true;
                    end?;
                }
            }
        }
    }
}

/// Returns the schema of a batch, whose text columns may now be bytes because some values are not UTF-8.
fn declared(reader: &Schema, batch: &Schema) -> Schema {
    let text = |field: &FieldRef| match reader.field_with_name(field.name()) {
        Ok(known) if is_text(known.data_type()) && is_bytes(field.data_type()) => Arc::new(known.clone()),
        _ => Arc::clone(field),
    };
    Schema::new(batch.fields().iter().map(text).collect::<Vec<_>>())
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Checks offsets, dictionary keys and UTF-8, because other libraries pass data on without these checks.
pub(super) fn validate(batch: &RecordBatch) -> Result<(), Problem> {
    batch.columns().iter().try_for_each(|column| column.to_data().validate_full()).map_err(Problem::decoder)
}
