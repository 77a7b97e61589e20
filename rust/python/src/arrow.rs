//! Arrow streams over the PyCapsule interface, with pyo3-arrow.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
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
    let reader = ArrayIterator::new(arrays, Arc::new(rows));
    Ok(to_stream_pycapsule(py, Box::new(reader), requested_schema)?)
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
