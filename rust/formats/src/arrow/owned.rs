//! Arrays of another library, whose memory may be wrong from the start or change while it is read.
//!
//! Everything that leads to other memory (offsets of text and lists, views) is copied before it is checked, so that the
//! checked data is the data used. Values are not copied as a whole: each row copies them before any check, including
//! UTF-8.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, DictionaryArray, FixedSizeListArray, GenericListArray,
    LargeBinaryArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, FieldRef, Schema};

use super::guard::Problem;

/// Returns the batch with its structure copied and checked. Text columns become bytes; UTF-8 is checked per row.
pub(super) fn owned(batch: &RecordBatch) -> Result<RecordBatch, Problem> {
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|column| own(&column.to_data())).collect::<Result<_, _>>()?;
    let fields = batch.schema_ref().fields().iter().zip(&columns);
    let fields: Vec<Field> =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(Problem::decoder)
}

fn own(data: &ArrayData) -> Result<ArrayRef, Problem> {
    match data.data_type() {
        DataType::Utf8 | DataType::Binary => {
            let (offsets, values) = variable::<i32>(data)?;
            let array = BinaryArray::try_new(offsets, values, nulls(data)?);
            Ok(Arc::new(array.map_err(Problem::decoder)?))
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            let (offsets, values) = variable::<i64>(data)?;
            let array = LargeBinaryArray::try_new(offsets, values, nulls(data)?);
            Ok(Arc::new(array.map_err(Problem::decoder)?))
        }
        DataType::Utf8View | DataType::BinaryView => views(data),
        DataType::List(item) => list::<i32>(data, item),
        DataType::LargeList(item) => list::<i64>(data, item),
        DataType::FixedSizeList(item, size) => {
            let child = data.child_data().first().ok_or_else(|| damaged("a list has no elements"))?;
            let width = usize::try_from(*size).map_err(|_| damaged("a list of negative size"))?;
            let (start, length) = (data.offset().checked_mul(width), data.len().checked_mul(width));
            let items = items(child, start, length)?;
            let item = Arc::new(Field::new(item.name(), items.data_type().clone(), true));
            let array = FixedSizeListArray::try_new(item, *size, items, nulls(data)?);
            Ok(Arc::new(array.map_err(Problem::decoder)?))
        }
        DataType::Dictionary(keys, _) => dictionary(data, keys),
        kind if kind.is_integer()
            || kind.is_decimal()
            || matches!(kind, DataType::FixedSizeBinary(_) | DataType::Timestamp(..)) =>
        {
            let width = match kind {
                DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(usize::MAX),
                kind => kind.primitive_width().unwrap_or(usize::MAX),
            };
            let end = data.offset().checked_add(data.len()).and_then(|rows| rows.checked_mul(width));
            let there = data.buffers().first().map_or(0, Buffer::len);
            if end.is_none_or(|end| end > there)
                || nulls(data)?.is_some_and(|nulls| nulls.len() != data.len())
            {
                return Err(damaged("a column is shorter than declared"));
            }
            Ok(arrow_array::make_array(data.clone()))
        }
        other => Err(damaged(&format!("a column of type {other}"))),
    }
}

/// Copies the null bitmap, because it decides which values are present.
fn nulls(data: &ArrayData) -> Result<Option<NullBuffer>, Problem> {
    let Some(nulls) = data.nulls() else { return Ok(None) };
    if nulls.len() != data.len() {
        return Err(damaged("the nulls of a column are shorter than declared"));
    }
    Ok(Some(NullBuffer::from_iter(nulls.iter())))
}

/// Returns the offsets of the rows, starting at zero, and the values between them.
fn variable<O: OffsetSizeTrait>(data: &ArrayData) -> Result<(OffsetBuffer<O>, Buffer), Problem> {
    let offsets = offsets::<O>(data)?;
    let [.., values] = data.buffers() else { return Err(damaged("a column has no values")) };
    let (first, last) = ends(&offsets)?;
    // Nothing beyond the last offset is read: the offsets alone determine the memory in use.
    if last > values.len() {
        return Err(damaged("the offsets of a column lead out of its values"));
    }
    let base = offsets[0];
    let offsets: Vec<O> = offsets.into_iter().map(|offset| offset - base).collect();
    Ok((OffsetBuffer::new(offsets.into()), values.slice_with_length(first, last - first)))
}

/// Returns the offsets of the rows unchanged; they do not decrease.
fn offsets<O: OffsetSizeTrait>(data: &ArrayData) -> Result<Vec<O>, Problem> {
    let width = size_of::<O>();
    let buffer = data.buffers().first().ok_or_else(|| damaged("a column has no offsets"))?;
    if data.is_empty() {
        return Ok(vec![O::zero()]);
    }
    let range = data
        .offset()
        .checked_mul(width)
        .zip(data.len().checked_add(1).and_then(|rows| rows.checked_mul(width)));
    let range = range.filter(|(start, size)| start.checked_add(*size).is_some_and(|end| end <= buffer.len()));
    let (start, size) = range.ok_or_else(|| damaged("a column has fewer offsets than rows"))?;
    let bytes = buffer.slice_with_length(start, size);
    let offsets: Vec<O> = match width {
        4 => bytes
            .as_slice()
            .chunks_exact(4)
            .map(|raw| O::from_usize(u32::from_ne_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize))
            .collect::<Option<_>>(),
        _ => bytes
            .as_slice()
            .chunks_exact(8)
            .map(|raw| {
                let raw: [u8; 8] = raw.try_into().ok()?;
                O::from_usize(usize::try_from(u64::from_ne_bytes(raw)).ok()?)
            })
            .collect::<Option<_>>(),
    }
    .ok_or_else(|| damaged("a column has a negative offset"))?;
    if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(damaged("the offsets of a column go backwards"));
    }
    Ok(offsets)
}

fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> Result<(usize, usize), Problem> {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    if isize::try_from(last).is_err() {
        Err(damaged("an offset is beyond the address space"))
    } else {
        Ok((first, last))
    }
}

fn views(data: &ArrayData) -> Result<ArrayRef, Problem> {
    let [views, values @ ..] = data.buffers() else { return Err(damaged("a column has no views")) };
    let range = data.offset().checked_mul(16).zip(data.len().checked_mul(16));
    let range = range.filter(|(start, size)| start.checked_add(*size).is_some_and(|end| end <= views.len()));
    let (start, size) = range.ok_or_else(|| damaged("a column has fewer views than rows"))?;
    if values.iter().any(|buffer| isize::try_from(buffer.len()).is_err()) {
        return Err(damaged("a buffer of negative size"));
    }
    let copy = Buffer::from_slice_ref(views.slice_with_length(start, size).as_slice());
    let views: ScalarBuffer<u128> = ScalarBuffer::new(copy, 0, data.len());
    let array = BinaryViewArray::try_new(views, values.to_vec(), nulls(data)?);
    Ok(Arc::new(array.map_err(Problem::decoder)?))
}

fn list<O: OffsetSizeTrait>(data: &ArrayData, item: &FieldRef) -> Result<ArrayRef, Problem> {
    let offsets = offsets::<O>(data)?;
    let child = data.child_data().first().ok_or_else(|| damaged("a list has no elements"))?;
    let (first, last) = ends(&offsets)?;
    let items = items(child, Some(first), Some(last - first))?;
    let base = offsets[0];
    let offsets: Vec<O> = offsets.into_iter().map(|offset| offset - base).collect();
    let item = Arc::new(Field::new(item.name(), items.data_type().clone(), true));
    let array = GenericListArray::<O>::try_new(item, OffsetBuffer::new(offsets.into()), items, nulls(data)?);
    Ok(Arc::new(array.map_err(Problem::decoder)?))
}

/// Returns a range of the elements of a list.
fn items(child: &ArrayData, start: Option<usize>, length: Option<usize>) -> Result<ArrayRef, Problem> {
    let range = start.zip(length);
    let range =
        range.filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= child.len()));
    let (start, length) =
        range.ok_or_else(|| damaged("the lists of a column have more elements than there are"))?;
    own(&child.slice(start, length))
}

fn dictionary(data: &ArrayData, keys: &DataType) -> Result<ArrayRef, Problem> {
    let values = own(data.child_data().first().ok_or_else(|| damaged("a dictionary has no values"))?)?;
    let keys = data.clone().into_builder().data_type(keys.clone()).child_data(Vec::new());
    let keys = own(&keys.build().map_err(Problem::decoder)?)?;
    fn joined<K: ArrowDictionaryKeyType>(keys: &ArrayRef, values: ArrayRef) -> Result<ArrayRef, Problem> {
        // Keys are copied, because they are checked only once.
        let keys = keys.as_primitive::<K>();
        let keys = arrow_array::PrimitiveArray::<K>::new(
            ScalarBuffer::from(keys.values().to_vec()),
            keys.nulls().map(|nulls| NullBuffer::from_iter(nulls.iter())),
        );
        Ok(Arc::new(DictionaryArray::<K>::try_new(keys, values).map_err(Problem::decoder)?))
    }
    match keys.data_type() {
        DataType::Int8 => joined::<Int8Type>(&keys, values),
        DataType::Int16 => joined::<Int16Type>(&keys, values),
        DataType::Int32 => joined::<Int32Type>(&keys, values),
        DataType::Int64 => joined::<Int64Type>(&keys, values),
        DataType::UInt8 => joined::<UInt8Type>(&keys, values),
        DataType::UInt16 => joined::<UInt16Type>(&keys, values),
        DataType::UInt32 => joined::<UInt32Type>(&keys, values),
        _ => joined::<UInt64Type>(&keys, values),
    }
}

fn damaged(detail: &str) -> Problem {
    Problem::decoder(detail)
}
