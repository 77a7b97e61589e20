//! Arrow streams over the PyCapsule interface, with pyo3-arrow.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use edgesentry_formats::{int64_batch, int64_schema};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::PySchema;
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

/// Returns record batches as an Arrow C stream.
pub(crate) fn stream_capsule<'py>(
    py: Python<'py>,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    requested_schema: Option<Bound<'py, PyCapsule>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let rows = Field::new_struct("", schema.fields().clone(), false);
    let arrays = batches.map(|batch| Ok(Arc::new(StructArray::from(batch?)) as ArrayRef));
    let requested = requested_schema.map(|capsule| PySchema::from_arrow_pycapsule(&capsule)).transpose()?;
    let requested = requested.map(|schema| DataType::Struct(schema.into_inner().fields().clone()));
    let requested = requested.filter(|requested| can_cast_types(rows.data_type(), requested));
    let Some(requested) = requested else {
        let reader = ArrayIterator::new(arrays, Arc::new(rows));
        return Ok(to_stream_pycapsule(py, Box::new(reader), None)?);
    };
    // A value that the requested type does not hold is an error and not a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let rows = Field::new("", requested.clone(), false);
    let arrays = arrays.map(move |array| cast_with_options(&array?, &requested, &options));
    let reader = ArrayIterator::new(arrays, Arc::new(rows));
    Ok(to_stream_pycapsule(py, Box::new(reader), None)?)
}

/// Returns a schema, or if the caller wants int64, the schema without unsigned columns.
pub(crate) fn int64_schema_if(is_int64: bool, schema: SchemaRef) -> SchemaRef {
    if is_int64 { int64_schema(&schema) } else { schema }
}

/// Returns batches, or if the caller wants int64, batches without unsigned columns.
pub(crate) fn int64_batches(
    is_int64: bool,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    batches.map(move |batch| if is_int64 { int64_batch(&batch?) } else { batch })
}

/// Returns a schema as an Arrow C schema, so that the caller need not open the stream for it.
pub(crate) fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    Ok(to_schema_pycapsule(py, schema)?)
}

/// One value of our own tables: their columns are text, u64 and f64.
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Number(u64),
    Real(f64),
    Null,
}

/// Returns the value of a column at a row.
pub(crate) fn cell(column: &dyn Array, at: usize) -> Cell<'_> {
    if column.is_null(at) {
        Cell::Null
    } else if let Some(text) = column.as_string_opt::<i32>() {
        Cell::Text(text.value(at))
    } else if let Some(numbers) = column.as_primitive_opt::<UInt64Type>() {
        Cell::Number(numbers.value(at))
    } else if let Some(reals) = column.as_primitive_opt::<Float64Type>() {
        Cell::Real(reals.value(at))
    } else {
        Cell::Null
    }
}
