//! Converts one row of a table to a record, for any column types.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use edgesentry_chain::{AuditRecord, FIELDS, Hash, RecordRef};

use super::schema::{Kind, shown};
use crate::Malformed;
use crate::bytes::bytes_from_text;

/// The seven columns of a batch.
pub(crate) struct RecordColumns {
    columns: [Column; FIELDS.len()],
}

impl RecordColumns {
    /// Finds the columns; a batch of a `Selection` has all of them.
    pub(crate) fn of(batch: &RecordBatch) -> Result<RecordColumns, Fault> {
        let mut columns = Vec::with_capacity(FIELDS.len());
        for field in FIELDS {
            let column = batch.column_by_name(field).and_then(|array| Column::of(array.as_ref()));
            columns
                .push(column.ok_or_else(|| Fault::new("such a column", format!("{field} is not readable")))?);
        }
        let columns = columns.try_into().map_err(|_| Fault::new("seven columns", "another number".into()))?;
        Ok(RecordColumns { columns })
    }

    /// Returns the record in a row.
    pub(crate) fn record(&self, row: usize) -> Result<AuditRecord, Fault> {
        // Text comes last: it may be long, and shared by many rows that are not records.
        let without_text = self.without_text(row)?;
        let (device_id, object_ref) = (self.text(0, row)?, self.text(6, row)?);
        Ok(AuditRecord { device_id, object_ref, ..without_text.to_record() })
    }

    /// Like [`RecordColumns::record`], without a copy of the text; only for columns that lend it.
    pub(crate) fn row(&self, row: usize) -> Result<RecordRef<'_>, Fault> {
        let without_text = self.without_text(row)?;
        let (device_id, object_ref) = (self.lent_text(0, row)?, self.lent_text(6, row)?);
        Ok(RecordRef { device_id, object_ref, ..without_text })
    }

    #[inline]
    fn without_text(&self, row: usize) -> Result<RecordRef<'static>, Fault> {
        Ok(RecordRef {
            device_id: "",
            sequence: self.integer(1, row)?,
            timestamp_ms: self.integer(2, row)?,
            payload_hash: Hash(self.bytes(3, row)?),
            signature: self.bytes(4, row)?,
            prev_record_hash: Hash(self.bytes(5, row)?),
            object_ref: "",
        })
    }

    /// Returns true if the text of each row is text already, in memory of this process: [`RecordColumns::row`] can lend it.
    pub(crate) fn lend_text(&self) -> bool {
        [0, 6].into_iter().all(|index| {
            let values = &self.columns[index].values;
            matches!(values, Values::Utf8(_) | Values::LargeUtf8(_) | Values::Utf8View(_))
        })
    }

    /// Returns the device of a row; `None` if there is none that is text.
    pub(crate) fn device_id(&self, row: usize) -> Option<&str> {
        self.lent_text(0, row).ok()
    }

    #[inline]
    fn lent_text(&self, index: usize, row: usize) -> Result<&str, Fault> {
        if let Column { keys: None, values: Values::Utf8View(array) } = &self.columns[index]
            && array.null_count() == 0
        {
            return Ok(array.value(row));
        }
        match self.columns[index].value(row) {
            Value::Text(text) => Ok(text),
            other => Err(unexpected(index, &other)),
        }
    }

    /// Returns true if rows may share their text, so that records are larger than their batch.
    pub(crate) fn share_text(&self) -> bool {
        self.columns.iter().any(|column| {
            column.keys.is_some() || matches!(column.values, Values::Utf8View(_) | Values::BinaryView(_))
        })
    }

    /// Returns the size of the text in a row, in bytes.
    pub(crate) fn text_bytes(&self, row: usize) -> usize {
        [0, 6].into_iter().map(|index| self.columns[index].value(row).len()).sum()
    }

    fn text(&self, index: usize, row: usize) -> Result<String, Fault> {
        match self.columns[index].value(row) {
            Value::Text(text) => Ok(text.to_owned()),
            // Copied first: memory of another library may change between the check and the use.
            Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).map_err(|error| {
                let field = FIELDS[index];
                let at = error.utf8_error().valid_up_to();
                Fault::new(format!("{field} as text"), format!("{field} is not valid UTF-8 at its byte {at}"))
            }),
            other => Err(unexpected(index, &other)),
        }
    }

    /// Returns the number in a row. The usual columns come first.
    #[inline]
    fn integer(&self, index: usize, row: usize) -> Result<u64, Fault> {
        if let Column { keys: None, values: Values::Integer(integers) } = &self.columns[index] {
            match integers {
                Integers::UInt64(array) if array.null_count() == 0 => return Ok(array.value(row)),
                Integers::Int64(array) if array.null_count() == 0 => {
                    if let Ok(value) = u64::try_from(array.value(row)) {
                        return Ok(value);
                    }
                }
                _ => {}
            }
        }
        self.any_integer(index, row)
    }

    #[inline(never)]
    fn any_integer(&self, index: usize, row: usize) -> Result<u64, Fault> {
        match self.columns[index].value(row) {
            Value::Integer(value) => u64::try_from(value).map_err(|_| {
                let expected = format!("{} from 0 to {}", FIELDS[index], u64::MAX);
                Fault::new(expected, format!("{} is {value}", FIELDS[index]))
            }),
            Value::Large(value) => {
                let expected = format!("{} from 0 to {}", FIELDS[index], u64::MAX);
                Err(Fault::new(expected, format!("{} is {value}", FIELDS[index])))
            }
            Value::Time(value, unit) => milliseconds(value, unit).map_err(|actual| {
                let expected = format!("{} in whole milliseconds since 1970", FIELDS[index]);
                Fault::new(expected, format!("{} is {actual}", FIELDS[index]))
            }),
            other => Err(unexpected(index, &other)),
        }
    }

    /// Returns the bytes in a row. The usual columns come first.
    #[inline]
    fn bytes<const N: usize>(&self, index: usize, row: usize) -> Result<[u8; N], Fault> {
        if let Column { keys: None, values: Values::FixedSizeBinary(array) } = &self.columns[index]
            && array.null_count() == 0
            && let Ok(bytes) = array.value(row).try_into()
        {
            return Ok(bytes);
        }
        self.any_bytes(index, row)
    }

    #[inline(never)]
    fn any_bytes<const N: usize>(&self, index: usize, row: usize) -> Result<[u8; N], Fault> {
        let field = FIELDS[index];
        let fault = |actual| Fault::new(format!("{field} of {N} bytes"), actual);
        let text_fault = |text: &str| {
            let expected = format!("{field} of {N} bytes as {} hex digits", 2 * N);
            Fault::new(expected, format!("{field} is {}", shown(text)))
        };
        match self.columns[index].value(row) {
            Value::Bytes(bytes) => match bytes.try_into() {
                Ok(bytes) => Ok(bytes),
                Err(_) => match short_text(bytes, 4 * N) {
                    Some(text) => bytes_from_text(&text).ok_or_else(|| text_fault(&text)),
                    None => Err(fault(format!("{field} has {} bytes", bytes.len()))),
                },
            },
            Value::Text(text) => bytes_from_text(text).ok_or_else(|| text_fault(text)),
            Value::List(_, range) if range.len() != N => {
                Err(fault(format!("{field} has {} elements", range.len())))
            }
            Value::List(items, range) => {
                let mut bytes = [0; N];
                for (byte, at) in bytes.iter_mut().zip(range) {
                    let item = items.get(at).ok_or_else(|| fault(format!("{field} has a null element")))?;
                    // Java has signed bytes; their bit patterns are the same.
                    let item_is_signed = matches!(items, Integers::Int8(_));
                    let unsigned = if item_is_signed { item.rem_euclid(256) } else { item };
                    *byte = u8::try_from(unsigned)
                        .map_err(|_| fault(format!("{field} has the element {item}, which is not a byte")))?;
                }
                Ok(bytes)
            }
            other => Err(unexpected(index, &other)),
        }
    }
}

/// Calls a function with the device of each row that has one.
pub(crate) fn device_ids(batch: &RecordBatch, mut found: impl FnMut(&str)) {
    let Some(column) = batch.column_by_name(FIELDS[0]).and_then(|array| Column::of(array.as_ref())) else {
        return;
    };
    for row in 0..batch.num_rows() {
        match column.value(row) {
            Value::Text(text) => found(text),
            Value::Bytes(bytes) => {
                if let Ok(text) = String::from_utf8(bytes.to_vec()) {
                    found(&text);
                }
            }
            _ => {}
        }
    }
}

/// The reason why a row is not a record.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    expected: String,
    actual: String,
}

impl Fault {
    fn new(expected: impl Into<String>, actual: String) -> Fault {
        Fault { expected: expected.into(), actual }
    }

    /// Returns the fault in reported form, with the row counted from 1.
    pub(crate) fn at(self, row: u64) -> Malformed {
        Malformed { expected: self.expected, actual: format!("row {row}: {}", self.actual) }
    }
}

/// Returns the bytes as text if they look like text (letters, digits and signs, at most `max_bytes`), as in a column
/// without a text type.
fn short_text(bytes: &[u8], max_bytes: usize) -> Option<String> {
    if bytes.is_empty() || bytes.len() > max_bytes {
        return None;
    }
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}

/// Returns a time in milliseconds. The signature covers whole milliseconds, so no other time is one of a record.
fn milliseconds(value: i64, unit: TimeUnit) -> Result<u64, String> {
    let (exact, name) = match unit {
        TimeUnit::Second => (value.checked_mul(1000), "seconds"),
        TimeUnit::Millisecond => (Some(value), "milliseconds"),
        TimeUnit::Microsecond => ((value % 1000 == 0).then_some(value / 1000), "microseconds"),
        TimeUnit::Nanosecond => ((value % 1_000_000 == 0).then_some(value / 1_000_000), "nanoseconds"),
    };
    exact.and_then(|value| u64::try_from(value).ok()).ok_or_else(|| format!("{value} {name}"))
}

fn unexpected(index: usize, value: &Value<'_>) -> Fault {
    let field = FIELDS[index];
    let expected = match Kind::of_field(index) {
        Kind::Text => format!("{field} as text"),
        Kind::Integer | Kind::Time => format!("{field} as an integer"),
        Kind::Bytes(size) => format!("{field} of {size} bytes"),
    };
    let actual = match value {
        Value::Null => format!("{field} is null"),
        _ => format!("{field} is of another type"),
    };
    Fault::new(expected, actual)
}

/// A column: its values, and for a dictionary the key of each row.
struct Column {
    keys: Option<Integers>,
    values: Values,
}

/// The value in one row.
enum Value<'a> {
    Null,
    Text(&'a str),
    Bytes(&'a [u8]),
    Integer(i128),
    /// A number that no field can hold.
    Large(i256),
    Time(i64, TimeUnit),
    List(&'a Integers, Range<usize>),
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Column {
    fn of(array: &dyn Array) -> Option<Column> {
        match array.as_any_dictionary_opt() {
            None => Some(Column { keys: None, values: Values::of(array)? }),
            Some(dictionary) => Some(Column {
                keys: Some(Integers::of(dictionary.keys())?),
                values: Values::of(dictionary.values().as_ref())?,
            }),
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        match &self.keys {
            None => self.values.get(row),
            Some(keys) => match keys.get(row).map(usize::try_from) {
                Some(Ok(key)) if key < self.values.len() => self.values.get(key),
                _ => Value::Null,
            },
        }
    }
}

enum Values {
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    FixedSizeBinary(FixedSizeBinaryArray),
    Integer(Integers),
    Decimal256(Decimal256Array),
    Time(Int64Array, TimeUnit),
    List(ListArray, Integers),
    LargeList(LargeListArray, Integers),
    FixedSizeList(FixedSizeListArray, Integers),
}

/// Calls the same method on an array of any type.
macro_rules! with_values {
    ($values:expr, $array:ident => $call:expr) => {
        match $values {
            Values::Utf8($array) => $call,
            Values::LargeUtf8($array) => $call,
            Values::Utf8View($array) => $call,
            Values::Binary($array) => $call,
            Values::LargeBinary($array) => $call,
            Values::BinaryView($array) => $call,
            Values::FixedSizeBinary($array) => $call,
            Values::Integer($array) => $call,
            Values::Decimal256($array) => $call,
            Values::Time($array, _) => $call,
            Values::List($array, _) => $call,
            Values::LargeList($array, _) => $call,
            Values::FixedSizeList($array, _) => $call,
        }
    };
}

impl Values {
    fn of(array: &dyn Array) -> Option<Values> {
        Some(match array.data_type() {
            DataType::Utf8 => Values::Utf8(array.as_string().clone()),
            DataType::LargeUtf8 => Values::LargeUtf8(array.as_string().clone()),
            DataType::Utf8View => Values::Utf8View(array.as_string_view().clone()),
            DataType::Binary => Values::Binary(array.as_binary().clone()),
            DataType::LargeBinary => Values::LargeBinary(array.as_binary().clone()),
            DataType::BinaryView => Values::BinaryView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(_) => Values::FixedSizeBinary(array.as_fixed_size_binary().clone()),
            DataType::List(_) => {
                let list: &ListArray = array.as_list();
                Values::List(list.clone(), Integers::of(list.values().as_ref())?)
            }
            DataType::LargeList(_) => {
                let list: &LargeListArray = array.as_list();
                Values::LargeList(list.clone(), Integers::of(list.values().as_ref())?)
            }
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                Values::FixedSizeList(list.clone(), Integers::of(list.values().as_ref())?)
            }
            DataType::Decimal256(_, 0) => Values::Decimal256(array.as_primitive().clone()),
            DataType::Timestamp(unit, _) => Values::Time(numbers(array, *unit), *unit),
            _ => Values::Integer(Integers::of(array)?),
        })
    }

    fn len(&self) -> usize {
        with_values!(self, array => array.len())
    }

    fn is_null(&self, row: usize) -> bool {
        with_values!(self, array => array.is_null(row))
    }

    fn get(&self, row: usize) -> Value<'_> {
        if self.is_null(row) {
            return Value::Null;
        }
        match self {
            Values::Utf8(array) => Value::Text(array.value(row)),
            Values::LargeUtf8(array) => Value::Text(array.value(row)),
            Values::Utf8View(array) => Value::Text(array.value(row)),
            Values::Binary(array) => Value::Bytes(array.value(row)),
            Values::LargeBinary(array) => Value::Bytes(array.value(row)),
            Values::BinaryView(array) => Value::Bytes(array.value(row)),
            Values::FixedSizeBinary(array) => Value::Bytes(array.value(row)),
            Values::Integer(integers) => integers.get(row).map_or(Value::Null, Value::Integer),
            Values::Decimal256(array) => {
                let value = array.value(row);
                value.to_i128().map_or(Value::Large(value), Value::Integer)
            }
            Values::Time(array, unit) => Value::Time(array.value(row), *unit),
            Values::List(list, items) => {
                let offsets = list.value_offsets();
                Value::List(items, offsets[row] as usize..offsets[row + 1] as usize)
            }
            Values::LargeList(list, items) => {
                let offsets = list.value_offsets();
                Value::List(items, offsets[row] as usize..offsets[row + 1] as usize)
            }
            Values::FixedSizeList(list, items) => {
                let size = list.value_length() as usize;
                let start = list.value_offset(row) as usize;
                Value::List(items, start..start + size)
            }
        }
    }
}

/// Returns the numbers of a timestamp column, without a copy.
fn numbers(array: &dyn Array, unit: TimeUnit) -> Int64Array {
    fn of<T: ArrowTimestampType>(array: &dyn Array) -> Int64Array {
        array.as_primitive::<T>().reinterpret_cast()
    }
    match unit {
        TimeUnit::Second => of::<TimestampSecondType>(array),
        TimeUnit::Millisecond => of::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => of::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => of::<TimestampNanosecondType>(array),
    }
}

enum Integers {
    Int8(Int8Array),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    UInt8(UInt8Array),
    UInt16(UInt16Array),
    UInt32(UInt32Array),
    UInt64(UInt64Array),
    Decimal32(Decimal32Array),
    Decimal64(Decimal64Array),
    Decimal128(Decimal128Array),
}

macro_rules! with_integers {
    ($integers:expr, $array:ident => $call:expr) => {
        match $integers {
            Integers::Int8($array) => $call,
            Integers::Int16($array) => $call,
            Integers::Int32($array) => $call,
            Integers::Int64($array) => $call,
            Integers::UInt8($array) => $call,
            Integers::UInt16($array) => $call,
            Integers::UInt32($array) => $call,
            Integers::UInt64($array) => $call,
            Integers::Decimal32($array) => $call,
            Integers::Decimal64($array) => $call,
            Integers::Decimal128($array) => $call,
        }
    };
}

impl Integers {
    fn of(array: &dyn Array) -> Option<Integers> {
        Some(match array.data_type() {
            DataType::Int8 => Integers::Int8(array.as_primitive::<Int8Type>().clone()),
            DataType::Int16 => Integers::Int16(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Integers::Int32(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Integers::Int64(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt8 => Integers::UInt8(array.as_primitive::<UInt8Type>().clone()),
            DataType::UInt16 => Integers::UInt16(array.as_primitive::<UInt16Type>().clone()),
            DataType::UInt32 => Integers::UInt32(array.as_primitive::<UInt32Type>().clone()),
            DataType::UInt64 => Integers::UInt64(array.as_primitive::<UInt64Type>().clone()),
            DataType::Decimal32(_, 0) => Integers::Decimal32(array.as_primitive().clone()),
            DataType::Decimal64(_, 0) => Integers::Decimal64(array.as_primitive().clone()),
            DataType::Decimal128(_, 0) => Integers::Decimal128(array.as_primitive().clone()),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        with_integers!(self, array => array.len())
    }

    fn is_null(&self, row: usize) -> bool {
        with_integers!(self, array => array.is_null(row))
    }

    /// Returns the value, or `None` if it is null.
    // Decimal values are already i128.
    #[allow(clippy::useless_conversion)]
    fn get(&self, row: usize) -> Option<i128> {
        with_integers!(self, array => (!array.is_null(row)).then(|| i128::from(array.value(row))))
    }
}
