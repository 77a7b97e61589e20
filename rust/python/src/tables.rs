//! Tables of our own forms in any Arrow library: keys, heads and segments.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, RecordBatchReader, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema};
use edgesentry_chain as chain;
use edgesentry_chain::{Hash, Heads, PublicKey, RingKey, Scheme};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3_arrow::input::AnyRecordBatch;

use crate::errors::{ConfigError, UnreadableError};
use crate::frames::Batches;
use crate::pyarrow;
use crate::source::{import, name_of_type};

/// The columns of a table, in the types that we read.
pub(crate) struct Columns {
    batch: RecordBatch,
    /// The number of rows before this batch.
    before: usize,
}

/// Returns true if the object exports Arrow.
pub(crate) fn is_table(source: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = source.py();
    Ok(source.hasattr(intern!(py, "__arrow_c_stream__"))?
        || source.hasattr(intern!(py, "__arrow_c_array__"))?)
}

/// Reads columns of a table, in any types that hold their values. A nullable column may be missing; others of the table are
/// dropped.
pub(crate) fn read(source: &Bound<'_, PyAny>, what: &str, fields: &[Field]) -> PyResult<Vec<Columns>> {
    batches_of(source, what, fields)?.collect()
}

/// Like [`read`], one batch at a time.
pub(crate) fn batches_of<'a>(
    source: &Bound<'_, PyAny>,
    what: &'a str,
    fields: &'a [Field],
) -> PyResult<impl Iterator<Item = PyResult<Columns>> + use<'a>> {
    if !is_table(source)? {
        let kind = name_of_type(source);
        let message = format!("{what} come from an object with __arrow_c_stream__, not {kind}");
        return Err(PyTypeError::new_err(message));
    }
    let batches: Box<dyn RecordBatchReader> = match pyarrow::batches(source)? {
        Some(batches) => Box::new(batches),
        None => import(source, |source| source.extract::<AnyRecordBatch>()?.into_reader())?,
    };
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let mut before = 0;
    Ok(batches.map(move |batch| {
        let unreadable = |problem: String| UnreadableError::new_err(format!("{what}: {problem}"));
        let batch = batch.map_err(|error| unreadable(error.to_string()))?;
        let columns = fields.iter().map(|field| column(&batch, field, before));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let table = RecordBatch::try_new(Arc::clone(&schema), columns);
        let columns = Columns { batch: table.map_err(|error| unreadable(error.to_string()))?, before };
        before += batch.num_rows();
        Ok(columns)
    }))
}

/// Returns a column of a batch, before which the table has `before` rows.
fn column(batch: &RecordBatch, field: &Field, before: usize) -> Result<ArrayRef, String> {
    let name = field.name();
    let Some(column) = batch.column_by_name(name) else {
        if field.is_nullable() {
            return Ok(arrow_array::new_null_array(field.data_type(), batch.num_rows()));
        }
        return Err(format!("column {name} is missing"));
    };
    column.to_data().validate_full().map_err(|error| format!("column {name} is damaged: {error}"))?;
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let is_text = matches!(
        column.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    let cast = |to: &DataType| {
        cast_with_options(column, to, &options).map_err(|_| {
            let data_type: String = column.data_type().to_string().chars().take(80).collect();
            format!("column {name} has type {data_type}; cast it to {}", field.data_type())
        })
    };
    let column = if is_text && *field.data_type() == DataType::Binary {
        unhex(name, cast(&DataType::Utf8)?.as_string(), before)?
    } else {
        cast(field.data_type())?
    };
    match (0..column.len()).find(|row| !field.is_nullable() && column.is_null(*row)) {
        Some(row) => Err(format!("row {}: {name} is null", before + row + 1)),
        None => Ok(column),
    }
}

/// Returns the bytes of hex digits.
fn unhex(name: &str, column: &StringArray, before: usize) -> Result<ArrayRef, String> {
    let wrong = |row| format!("row {}: {name} is not hex digits", before + row + 1);
    let bytes = (0..column.len()).map(|row| {
        let text = column.is_valid(row).then(|| column.value(row));
        text.map(|text| hex::decode(text).map_err(|_| wrong(row))).transpose()
    });
    let bytes = bytes.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(BinaryArray::from_iter(bytes)))
}

impl Columns {
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column = self.batch[name].as_string::<i32>();
        column.is_valid(row).then(|| column.value(row))
    }

    pub(crate) fn bytes(&self, name: &str, row: usize) -> Option<&[u8]> {
        let column = self.batch[name].as_binary::<i32>();
        column.is_valid(row).then(|| column.value(row))
    }

    pub(crate) fn number(&self, name: &str, row: usize) -> Option<u64> {
        let column = self.batch[name].as_primitive::<UInt64Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    /// Returns 32 bytes of a column.
    pub(crate) fn hash(&self, name: &str, row: usize) -> PyResult<[u8; 32]> {
        let bytes = self.bytes(name, row).unwrap_or_default();
        let length = bytes.len();
        bytes.try_into().map_err(|_| self.at(row, &format!("{name} has {length} bytes, expected 32")))
    }

    /// Returns an error about a row, counted from 1.
    pub(crate) fn at(&self, row: usize, problem: &str) -> PyErr {
        ConfigError::new_err(format!("row {}: {problem}", self.before + row + 1))
    }
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
}

/// Reads keys: `device_id`, `key`, and optionally `scheme` and `valid_from`.
pub(crate) fn keys(source: &Bound<'_, PyAny>, scheme: Scheme) -> PyResult<chain::KeyRing> {
    let fields = [
        field("device_id", DataType::Utf8, false),
        field("key", DataType::Binary, false),
        field("scheme", DataType::Utf8, true),
        field("valid_from", DataType::UInt64, true),
    ];
    let mut ring = chain::KeyRing::new();
    for table in read(source, "keys", &fields)? {
        for row in 0..table.rows() {
            let device_id = table.text("device_id", row).unwrap_or_default();
            let of_device =
                |problem: &dyn std::fmt::Display| table.at(row, &format!("device {device_id:?}: {problem}"));
            let key = PublicKey::from_bytes(table.hash("key", row)?).map_err(|error| of_device(&error))?;
            let scheme = match table.text("scheme", row) {
                Some(name) => name.parse().map_err(|error: chain::KeyError| of_device(&error))?,
                None => scheme,
            };
            let valid_from = table.number("valid_from", row).unwrap_or(1);
            ring.insert(device_id, RingKey { key, scheme, valid_from }).map_err(|error| of_device(&error))?;
        }
    }
    Ok(ring)
}

/// Reads heads: `device_id`, `sequence` and `hash`.
pub(crate) fn heads(source: &Bound<'_, PyAny>) -> PyResult<Heads> {
    let fields = [
        field("device_id", DataType::Utf8, false),
        field("sequence", DataType::UInt64, false),
        field("hash", DataType::Binary, false),
    ];
    let mut heads = Heads::new();
    for table in read(source, "heads", &fields)? {
        for row in 0..table.rows() {
            let device_id = table.text("device_id", row).unwrap_or_default();
            let sequence = table.number("sequence", row).unwrap_or_default();
            let head = chain::Head { sequence, hash: Hash(table.hash("hash", row)?) };
            if heads.insert(Arc::from(device_id), head).is_some() {
                return Err(table.at(row, &format!("device {device_id:?} has a head before; keep one")));
            }
        }
    }
    Ok(heads)
}

/// Returns heads as a table. Its numbers are signed: engines on the JVM have no others.
pub(crate) fn heads_table(heads: &Heads) -> PyResult<Batches> {
    let schema = Arc::new(Schema::new(vec![
        field("device_id", DataType::Utf8, false),
        field("sequence", DataType::Int64, false),
        field("hash", DataType::Binary, false),
    ]));
    let sequences = heads.iter().map(|(device_id, head)| {
        i64::try_from(head.sequence).map_err(|_| {
            let id = chain::escape::quoted(device_id);
            UnreadableError::new_err(format!("device {id}: its sequence is above 2^63-1, so it fits no lake"))
        })
    });
    let sequences = sequences.collect::<PyResult<Vec<_>>>()?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(heads.keys().map(|device_id| &**device_id))),
        Arc::new(Int64Array::from(sequences)),
        Arc::new(BinaryArray::from_iter_values(heads.values().map(|head| head.hash.0))),
    ];
    batches(schema, columns)
}

pub(crate) fn batches(schema: Arc<Schema>, columns: Vec<ArrayRef>) -> PyResult<Batches> {
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| UnreadableError::new_err(error.to_string()))?;
    Ok(Batches { schema, batches: vec![batch] })
}

/// Returns a column of numbers that may be missing; those above the largest signed number are.
pub(crate) fn signed(numbers: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let numbers = numbers.map(|number| number.and_then(|number| i64::try_from(number).ok()));
    Arc::new(numbers.collect::<arrow_array::PrimitiveArray<Int64Type>>())
}
