//! Tables without unsigned columns, for engines that have none.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

/// Returns a schema with int64 in place of uint64.
pub fn int64_schema(schema: &Schema) -> SchemaRef {
    let signed = |field: &FieldRef| match field.data_type() {
        DataType::UInt64 => Arc::new(Field::clone(field).with_data_type(DataType::Int64)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(signed).collect::<Vec<_>>()))
}

/// Returns a batch with int64 in place of uint64, without a copy.
///
/// # Errors
/// A value is larger than any int64; the message names it with its column.
///
/// ```
/// use edgesentry_formats::{int64_batch, records_from_batch, records_to_batch};
/// let batch = int64_batch(&records_to_batch(&[]))?;
/// assert_eq!(batch.schema().field(1).data_type().to_string(), "Int64");
/// assert!(records_from_batch(&batch).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn int64_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| signed(field, column));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(int64_schema(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn signed(field: &Field, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(values) = column.as_primitive_opt::<UInt64Type>() else { return Ok(Arc::clone(column)) };
    let is_large = |value: &u64| i64::try_from(*value).is_err();
    let large = match values.null_count() {
        0 => values.values().iter().copied().find(is_large),
        _ => values.iter().flatten().find(is_large),
    };
    if let Some(value) = large {
        let name = field.name();
        return Err(ArrowError::ComputeError(format!(
            "{name} is {value}, larger than any int64; write it without int64"
        )));
    }
    // The same bytes, now that no value has the bit of the sign.
    let numbers = ScalarBuffer::<i64>::from(values.values().inner().clone());
    Ok(Arc::new(Int64Array::try_new(numbers, values.nulls().cloned())?))
}
