//! Copies pyarrow tables, buffer by buffer.
//!
//! The Arrow C data interface does not include the length of a buffer: a consumer trusts the last offset of a column,
//! and a damaged one can point anywhere. The objects of pyarrow know the length, so their columns are read through
//! them, within their buffers. The checks apply to the copy, so another thread may change a NumPy array behind a column
//! meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, DictionaryArray, FixedSizeListArray, GenericListArray,
    LargeBinaryArray, LargeStringArray, OffsetSizeTrait, PrimitiveArray, RecordBatch, RecordBatchReader,
    StringArray, StringViewArray, make_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyIterator;
use pyo3::{IntoPyObjectExt, intern};
use pyo3_arrow::PySchema;

use crate::errors::UnreadableError;
use crate::source::import;

/// Returns the batches of a pyarrow object: a table, a batch, a reader, a dataset, a scanner or a Parquet file.
pub(crate) fn batches(source: &Bound<'_, PyAny>) -> PyResult<Option<Batches>> {
    let py = source.py();
    let kind = source.get_type();
    let is_pyarrow = kind.module().and_then(|module| module.extract::<String>());
    if !is_pyarrow.is_ok_and(|module| module == "pyarrow" || module.starts_with("pyarrow.")) {
        return Ok(None);
    }
    let attribute = |name: &str| source.getattr_opt(name);
    let batches = if let Some(method) = attribute("to_batches")? {
        // Table, Dataset and Scanner.
        method.call0()?
    } else if let Some(method) = attribute("iter_batches")? {
        method.call0()?
    } else if attribute("read_next_batch")?.is_some() {
        source.clone()
    } else if attribute("columns")?.is_some() && attribute("schema")?.is_some() {
        [source.clone()].into_bound_py_any(py)?
    } else {
        return Ok(None);
    };
    let mut schema = None;
    for name in ["projected_schema", "schema_arrow", "schema"] {
        if schema.is_none() {
            schema = attribute(name)?;
        }
    }
    let Some(schema) = schema else { return Ok(None) };
    let schema: SchemaRef = import(&schema, |schema| Ok(schema.extract::<PySchema>()?.into_inner()))?;
    let batches = batches.try_iter()?.unbind();
    Ok(Some(Batches { schema, selected: None, batches, dictionaries: HashMap::new() }))
}

/// Batches of pyarrow.
pub(crate) struct Batches {
    schema: SchemaRef,
    /// The schema and the positions of the columns that hold the fields, if others are to be skipped.
    selected: Option<(SchemaRef, Vec<usize>)>,
    batches: Py<PyIterator>,
    /// The last dictionary copied of each column, with its address: batches share dictionaries.
    dictionaries: HashMap<usize, (Vec<(usize, usize)>, ArrayRef)>,
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.selected.as_ref().map_or(&self.schema, |(schema, _)| schema))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Not during interpreter shutdown.
        Python::try_attach(|py| {
            let copied = self.next_pair(py).transpose()?.map(|(copied, _)| copied);
            Some(copied.map_err(|error| ArrowError::ExternalError(error.into())))
        })?
    }
}

impl Batches {
    /// Returns the schema with all columns.
    pub(crate) fn all_columns(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Reads only these columns, as the fields of records in their order.
    pub(crate) fn select(&mut self, positions: Vec<usize>) {
        let ours = edgesentry_formats::schema();
        let fields = self.schema.fields();
        let is_same = fields.len() == ours.fields().len()
            && positions.iter().enumerate().all(|(index, at)| index == *at)
            && fields.iter().zip(ours.fields()).all(|(field, own)| field.name() == own.name());
        if is_same {
            return;
        }
        let selected = positions
            .iter()
            .zip(ours.fields())
            .filter_map(|(at, own)| Some(Field::new(own.name(), fields.get(*at)?.data_type().clone(), true)));
        self.selected = Some((Arc::new(Schema::new(selected.collect::<Vec<_>>())), positions));
    }

    /// Returns true if a batch has exactly the columns that are read, in their order.
    pub(crate) fn is_whole(&self) -> bool {
        self.selected.is_none()
    }

    /// Returns the next batch: a copy, which is checked, and the batch itself.
    pub(crate) fn next_pair<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<Option<(RecordBatch, Bound<'py, PyAny>)>> {
        match self.batches.bind(py).clone().next() {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some((self.copy(&batch)?, batch))),
            // An error of the reader, or of its source.
            Some(Err(error)) if error.is_instance_of::<PyException>(py) => {
                let unreadable =
                    UnreadableError::new_err(format!("the records could not be read: {}", error.value(py)));
                unreadable.set_cause(py, Some(error));
                Err(unreadable)
            }
            Some(Err(error)) => Err(error),
        }
    }

    fn copy(&mut self, batch: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
        let py = batch.py();
        let columns = batch.getattr(intern!(py, "columns"))?;
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        let columns = columns.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        if columns.len() > self.schema.fields().len() {
            return Err(PyValueError::new_err("a batch has more columns than its schema"));
        }
        let (schema, positions) = match &self.selected {
            Some((schema, positions)) => (Arc::clone(schema), positions.clone()),
            None => (Arc::clone(&self.schema), (0..columns.len()).collect()),
        };
        for (field, at) in schema.fields().iter().zip(positions) {
            let Some(column) = columns.get(at) else {
                return Err(PyValueError::new_err("a batch has fewer columns than its schema"));
            };
            let (name, data_type) = (field.name().clone(), field.data_type().clone());
            let column = Column { array: column.clone() };
            let array = match &data_type {
                DataType::Dictionary(keys, values) => self.dictionary(at, &column, keys, values)?,
                _ => column.copy(&data_type)?,
            };
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new(schema, arrays).map_err(damaged)
    }

    fn dictionary(
        &mut self,
        at: usize,
        column: &Column<'_>,
        keys: &DataType,
        values: &DataType,
    ) -> PyResult<ArrayRef> {
        let part = |name: &str| Ok::<_, PyErr>(Column { array: column.array.getattr(name)? });
        let (indices, dictionary) = (part("indices")?.copy(keys)?, part("dictionary")?);
        let place = dictionary.place()?;
        let values = match self.dictionaries.get(&at) {
            Some((known, values)) if *known == place => Arc::clone(values),
            _ => {
                let values = dictionary.copy(values)?;
                self.dictionaries.insert(at, (place, Arc::clone(&values)));
                values
            }
        };
        match keys {
            DataType::Int8 => joined::<Int8Type>(&indices, values),
            DataType::Int16 => joined::<Int16Type>(&indices, values),
            DataType::Int32 => joined::<Int32Type>(&indices, values),
            DataType::Int64 => joined::<Int64Type>(&indices, values),
            DataType::UInt8 => joined::<UInt8Type>(&indices, values),
            DataType::UInt16 => joined::<UInt16Type>(&indices, values),
            DataType::UInt32 => joined::<UInt32Type>(&indices, values),
            _ => joined::<UInt64Type>(&indices, values),
        }
    }
}

fn joined<K: ArrowDictionaryKeyType>(indices: &ArrayRef, values: ArrayRef) -> PyResult<ArrayRef> {
    let Some(indices) = indices.as_any().downcast_ref::<PrimitiveArray<K>>() else {
        return Err(invalid("a dictionary has keys of another type"));
    };
    Ok(Arc::new(DictionaryArray::<K>::try_new(indices.clone(), values).map_err(damaged)?))
}

/// An array of pyarrow.
struct Column<'py> {
    array: Bound<'py, PyAny>,
}

impl<'py> Column<'py> {
    fn size(&self, name: &str) -> PyResult<usize> {
        self.array.getattr(name)?.extract()
    }

    fn len(&self) -> PyResult<usize> {
        self.array.len()
    }

    fn buffers(&self) -> PyResult<Vec<Option<Bound<'py, PyAny>>>> {
        self.array.call_method0("buffers")?.extract()
    }

    /// Returns the addresses of the values in memory.
    fn place(&self) -> PyResult<Vec<(usize, usize)>> {
        let mut place = vec![(self.size("offset")?, self.len()?)];
        for buffer in self.buffers()?.into_iter().flatten() {
            place.push((buffer.getattr("address")?.extract()?, buffer.getattr("size")?.extract()?));
        }
        Ok(place)
    }

    fn copy(&self, data_type: &DataType) -> PyResult<ArrayRef> {
        let (offset, length) = (self.size("offset")?, self.len()?);
        self.range(data_type, offset, length)
    }

    /// Returns the rows from `offset`, counted from the start of the buffers.
    fn range(&self, data_type: &DataType, offset: usize, length: usize) -> PyResult<ArrayRef> {
        let buffers = Buffers { list: self.buffers()?, offset, length };
        match data_type {
            DataType::Utf8 => {
                let (offsets, values) = buffers.variable::<i32>()?;
                let nulls = buffers.nulls()?;
                Ok(match StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
                    Ok(array) => Arc::new(array),
                    // Rows that are not UTF-8 are findings.
                    Err(_) => Arc::new(BinaryArray::try_new(offsets, values, nulls).map_err(damaged)?),
                })
            }
            DataType::LargeUtf8 => {
                let (offsets, values) = buffers.variable::<i64>()?;
                let nulls = buffers.nulls()?;
                Ok(match LargeStringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
                    Ok(array) => Arc::new(array),
                    Err(_) => Arc::new(LargeBinaryArray::try_new(offsets, values, nulls).map_err(damaged)?),
                })
            }
            DataType::Binary => {
                let (offsets, values) = buffers.variable::<i32>()?;
                Ok(Arc::new(BinaryArray::try_new(offsets, values, buffers.nulls()?).map_err(damaged)?))
            }
            DataType::LargeBinary => {
                let (offsets, values) = buffers.variable::<i64>()?;
                Ok(Arc::new(LargeBinaryArray::try_new(offsets, values, buffers.nulls()?).map_err(damaged)?))
            }
            DataType::Utf8View | DataType::BinaryView => {
                let (views, values) = buffers.views()?;
                let nulls = buffers.nulls()?;
                let array = BinaryViewArray::try_new(views, values, nulls).map_err(damaged)?;
                if *data_type == DataType::BinaryView {
                    return Ok(Arc::new(array));
                }
                let (views, values, nulls) = array.clone().into_parts();
                Ok(match StringViewArray::try_new(views, values, nulls) {
                    Ok(text) => Arc::new(text),
                    Err(_) => Arc::new(array),
                })
            }
            DataType::List(item) => self.list::<i32>(&buffers, item),
            DataType::LargeList(item) => self.list::<i64>(&buffers, item),
            DataType::FixedSizeList(item, width) => {
                let size = usize::try_from(*width).map_err(|_| invalid("a list of negative size"))?;
                let (start, count) = (offset.checked_mul(size), length.checked_mul(size));
                let items = self.items(item, start, count)?;
                let item = Arc::new(Field::new(item.name(), items.data_type().clone(), true));
                let array = FixedSizeListArray::try_new(item, *width, items, buffers.nulls()?);
                Ok(Arc::new(array.map_err(damaged)?))
            }
            _ => {
                let width = match data_type {
                    DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
                    other => other.primitive_width(),
                };
                let Some(width) = width else {
                    return Err(invalid(&format!("a column of type {data_type}")));
                };
                let range = offset.checked_mul(width).zip(length.checked_mul(width));
                let (start, size) = range.ok_or_else(|| invalid("a column is longer than memory"))?;
                let data = ArrayData::builder(data_type.clone())
                    .len(length)
                    .add_buffer(buffers.copy(1, start, size)?)
                    .nulls(buffers.nulls()?);
                Ok(make_array(data.build().map_err(damaged)?))
            }
        }
    }

    fn list<O: OffsetSizeTrait>(&self, buffers: &Buffers<'_>, item: &Field) -> PyResult<ArrayRef> {
        let (offsets, first, last) = buffers.offsets::<O>()?;
        let items = self.items(item, Some(first), Some(last - first))?;
        let item = Arc::new(Field::new(item.name(), items.data_type().clone(), true));
        let array = GenericListArray::<O>::try_new(item, offsets, items, buffers.nulls()?);
        Ok(Arc::new(array.map_err(damaged)?))
    }

    /// Returns elements of a list, counted from the start of the result of `values`.
    fn items(&self, item: &Field, start: Option<usize>, length: Option<usize>) -> PyResult<ArrayRef> {
        let values = Column { array: self.array.getattr("values")? };
        let there = values.len()?;
        let range = start.zip(length);
        let range =
            range.filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= there));
        let (start, length) = range.ok_or_else(|| invalid("lists have more elements than there are"))?;
        let start = values
            .size("offset")?
            .checked_add(start)
            .ok_or_else(|| invalid("a list is longer than memory"))?;
        if !item.data_type().is_integer() {
            return Err(invalid(&format!("lists of {}", item.data_type())));
        }
        values.range(item.data_type(), start, length)
    }
}

/// The buffers of a range of rows of an array.
struct Buffers<'py> {
    list: Vec<Option<Bound<'py, PyAny>>>,
    offset: usize,
    length: usize,
}

impl Buffers<'_> {
    /// Copies bytes of a buffer.
    fn copy(&self, at: usize, start: usize, size: usize) -> PyResult<Buffer> {
        if size == 0 {
            return Ok(Buffer::from_vec(Vec::<u64>::new()));
        }
        let Some(Some(buffer)) = self.list.get(at) else { return Err(invalid("a column has no values")) };
        let there: usize = buffer.getattr(intern!(buffer.py(), "size"))?.extract()?;
        if start.checked_add(size).is_none_or(|end| end > there) {
            return Err(invalid(&format!("{size} bytes at byte {start} of a buffer of {there} bytes")));
        }
        let piece = buffer.call_method1(intern!(buffer.py(), "slice"), (start, size))?;
        let piece: PyBackedBytes = piece.call_method0(intern!(buffer.py(), "to_pybytes"))?.extract()?;
        if piece.len() != size {
            return Err(invalid("a buffer is shorter than declared"));
        }
        Ok(Buffer::from_slice_ref(&piece[..]))
    }

    fn nulls(&self) -> PyResult<Option<NullBuffer>> {
        if self.length == 0 || !matches!(self.list.first(), Some(Some(_))) {
            return Ok(None);
        }
        let bits = self.offset % 8;
        let copy = self.copy(0, self.offset / 8, (bits + self.length).div_ceil(8))?;
        Ok(Some(NullBuffer::new(BooleanBuffer::new(copy, bits, self.length))))
    }

    /// Returns the offsets of the rows, starting at zero, and the original first and last offset.
    fn offsets<O: OffsetSizeTrait>(&self) -> PyResult<(OffsetBuffer<O>, usize, usize)> {
        if self.length == 0 {
            return Ok((OffsetBuffer::new_empty(), 0, 0));
        }
        let width = size_of::<O>();
        let range = self
            .offset
            .checked_mul(width)
            .zip(self.length.checked_add(1).and_then(|rows| rows.checked_mul(width)));
        let (start, size) = range.ok_or_else(|| invalid("a column is longer than memory"))?;
        let offsets: ScalarBuffer<O> = self.copy(1, start, size)?.into();
        let first = offsets[0];
        if first < O::zero() || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(invalid("the offsets of a column go backwards"));
        }
        let last = offsets[offsets.len() - 1].as_usize();
        let rebased: Vec<O> = offsets.iter().map(|offset| *offset - first).collect();
        Ok((OffsetBuffer::new(rebased.into()), first.as_usize(), last))
    }

    fn variable<O: OffsetSizeTrait>(&self) -> PyResult<(OffsetBuffer<O>, Buffer)> {
        let (offsets, first, last) = self.offsets::<O>()?;
        Ok((offsets, self.copy(2, first, last - first)?))
    }

    /// Returns the views of the rows, and the part of each buffer that they use.
    fn views(&self) -> PyResult<(ScalarBuffer<u128>, Vec<Buffer>)> {
        let too_long = || invalid("a column is longer than memory");
        let range = self.offset.checked_mul(16).zip(self.length.checked_mul(16));
        let (start, size) = range.ok_or_else(too_long)?;
        let mut views: Vec<u128> = ScalarBuffer::<u128>::from(self.copy(1, start, size)?).to_vec();
        let mut parts = vec![(usize::MAX, 0usize); self.list.len().saturating_sub(2)];
        let place = |view: u128| {
            let length = view as u32 as usize;
            (length > 12).then_some(((view >> 64) as u32 as usize, (view >> 96) as usize, length))
        };
        let nulls = self.nulls()?;
        for (row, view) in views.iter_mut().enumerate() {
            // The view of a null is not checked.
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                *view = 0;
            }
            if let Some((buffer, start, length)) = place(*view) {
                let part = parts.get_mut(buffer).ok_or_else(|| invalid("a view into a missing buffer"))?;
                *part = (part.0.min(start), part.1.max(start.checked_add(length).ok_or_else(too_long)?));
            }
        }
        for view in &mut views {
            if let Some((buffer, start, _)) = place(*view) {
                let moved = (start - parts[buffer].0) as u128;
                *view = (*view & ((1 << 96) - 1)) | (moved << 96);
            }
        }
        let copy = |(at, (start, end)): (usize, &(usize, usize))| {
            self.copy(at + 2, *start, end.saturating_sub(*start))
        };
        let values = parts.iter().enumerate().map(copy).collect::<PyResult<Vec<_>>>()?;
        Ok((views.into(), values))
    }
}

fn damaged(error: ArrowError) -> PyErr {
    invalid(&error.to_string())
}

fn invalid(detail: &str) -> PyErr {
    UnreadableError::new_err(format!(
        "the Arrow data is damaged ({detail}); call validate(full=True) of the table, and get an intact copy"
    ))
}
