//! `device_statistics`: one row per device.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use edgesentry_chain::DeviceStatistics;
use edgesentry_chain::count;
use edgesentry_formats as formats;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};
use serde::{Deserialize, Serialize};

use crate::arrow::{Cell, cell, schema_capsule, stream_capsule};
use crate::columns::{Ignored, column_names};
use crate::frames;
use crate::html;
use crate::pickle::{Reduced, reduce};
use crate::progress::Bar;
use crate::source::named_inputs;
use crate::work::{Work, pool, wait};

/// Reads records and computes statistics of each device: rate, gaps, silence, clock, duplicates.
///
/// It verifies nothing, and none of the figures is a finding: a device may be silent or late, or its clock
/// wrong, for honest reasons. One pass, in bounded memory; Ctrl-C raises KeyboardInterrupt within 200 ms.
///
/// Args:
///     source: As for `verify_chain`; also the records of a ledger, `ledger.records()`.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
///     gap_ms: The time between two records above which it is a gap, in milliseconds; ten times the device's
///         median if None.
///     until_ms: The time until which silence is counted, Unix milliseconds; the latest time of all records
///         if None.
///     jump_ms: The time from one sequence to the next above which the clock jumped forward, in milliseconds;
///         ten times the device's median, and at least 30 minutes, if None.
///     now_ms: The time of the reader, Unix milliseconds, after which records are counted as of the future.
///     progress: As for `verify_chain`.
///     threads: As for `verify_chain`.
///
/// Raises:
///     FileNotFoundError: A file is missing.
///     UnreadableError: An input is not in a format that holds records.
#[pyfunction]
#[pyo3(signature = (source, *, columns = None, ignore = None, gap_ms = None, until_ms = None, jump_ms = None, now_ms = None, progress = None, threads = None))]
// The arguments of the Python function.
#[allow(clippy::too_many_arguments)]
pub(crate) fn device_statistics(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
    gap_ms: Option<u64>,
    until_ms: Option<u64>,
    jump_ms: Option<u64>,
    now_ms: Option<u64>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<i64>,
) -> PyResult<Statistics> {
    for (name, threshold) in [("gap_ms", gap_ms), ("jump_ms", jump_ms)] {
        if threshold == Some(0) {
            return Err(PyValueError::new_err(format!("{name} must be a number of milliseconds from 1")));
        }
    }
    let (pool, bar) = (pool(threads)?, Bar::named("read", progress)?);
    let inputs = named_inputs(source, &column_names(columns, ignore)?)?;
    let work = Work::start(inputs, move |sources, progress, results| {
        results.put(pool.install(|| formats::device_statistics(sources, now_ms, progress))?)
    })?;
    let found = wait(py, work, bar)?;
    let latest = found.devices.values().map(|device| device.latest_ms).max().unwrap_or(0);
    let batch = batch(&found, (gap_ms, jump_ms), until_ms.unwrap_or(latest));
    let batch = batch.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(Statistics { batch, malformed: found.malformed })
}

/// Statistics of each device, one row for each; created by `device_statistics`. An Arrow stream.
///
/// Times are those of the devices' own clocks. Columns:
///
/// - `device_id`
/// - `records`: number of records, repeated ones included
/// - `duplicates`: number of records whose sequence occurred before
/// - `first_sequence`, `last_sequence`: the lowest and the highest sequence
/// - `missing`: sequences between these two without a record
/// - `earliest_ms`, `latest_ms`: the earliest and the latest time of a record, Unix milliseconds
/// - `first_ms`, `last_ms`: the times of the records with the lowest and the highest sequence
/// - `rate_per_hour`: records per hour between these two; null if they are equal
/// - `interval_median_ms`: the median time from one record to the next, to one part in sixteen
/// - `longest_gap_ms`, `longest_gap_sequence`: the longest such time, and the record after it
/// - `gaps`: number of such times longer than `gap_ms`, or than ten medians; to one part in sixteen
/// - `clock_backwards`: number of records dated before the previous one
/// - `clock_backwards_max_ms`, `clock_backwards_sequence`: the largest such step, and its record
/// - `clock_forwards`: number of times from one sequence to the next longer than `jump_ms`, or than ten
///   medians and 30 minutes; to one part in sixteen
/// - `clock_forwards_max_ms`, `clock_forwards_sequence`: the longest such time, and the record after it
/// - `clock_ahead`: number of records later than `now_ms`; null without it
/// - `silence_ms`: from the latest record to `until_ms`; 0 if `until_ms` is earlier
///
/// Columns in `_ms` are milliseconds.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Statistics {
    batch: RecordBatch,
    malformed: u64,
}

#[pymethods]
impl Statistics {
    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }

    /// Entries of the source that are not records; no column counts them.
    #[getter]
    fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Returns the rows as dicts, sorted by device id.
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = PyList::empty(py);
        for at in 0..self.batch.num_rows() {
            let row = PyDict::new(py);
            for (field, column) in self.batch.schema().fields().iter().zip(self.batch.columns()) {
                match cell(column, at) {
                    Cell::Text(text) => row.set_item(field.name(), text)?,
                    Cell::Number(number) => row.set_item(field.name(), number)?,
                    Cell::Real(real) => row.set_item(field.name(), real)?,
                    Cell::Null => row.set_item(field.name(), py.None())?,
                }
            }
            rows.append(row)?;
        }
        Ok(rows)
    }

    /// Returns the table as a polars data frame, without copying it.
    ///
    /// Raises:
    ///     ImportError: polars is not installed.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_polars(slf.as_any())
    }

    /// Returns the table as a pandas data frame, with nullable integers.
    ///
    /// Raises:
    ///     ImportError: pandas or pyarrow is not installed.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_pandas(slf.as_any())
    }

    /// Returns the table as a pyarrow table.
    ///
    /// Args:
    ///     int64: Numbers are int64, for engines without unsigned types such as Spark.
    ///
    /// Raises:
    ///     ImportError: pyarrow is not installed.
    ///     ValueError: With `int64`, a number is larger than any int64.
    #[pyo3(signature = (*, int64 = false))]
    fn to_arrow<'py>(&self, py: Python<'py>, int64: bool) -> PyResult<Bound<'py, PyAny>> {
        let batches = vec![self.batch.clone()];
        frames::to_arrow(py, frames::Batches { schema: schema(), batches }, int64)
    }

    /// Exports the schema of the stream.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &schema())
    }

    /// Exports the table as an Arrow stream.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let batches = std::iter::once(Ok(self.batch.clone()));
        stream_capsule(py, schema(), batches, requested_schema)
    }

    fn _repr_html_(&self) -> String {
        html::table(&self.batch)
    }

    fn __repr__(&self) -> String {
        format!("<Statistics of {}>", count(self.batch.num_rows() as u64, "device"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let columns = self.batch.columns();
        let names = columns.first().and_then(|column| column.as_string_opt::<i32>());
        let names = names.map(|names| names.iter().flatten().map(str::to_owned).collect());
        let rates = columns.iter().find_map(|column| column.as_primitive_opt::<Float64Type>());
        let numbers = columns.iter().filter_map(|column| column.as_primitive_opt::<UInt64Type>());
        let state = StatisticsState {
            devices: names.unwrap_or_default(),
            rates: rates.map(|rates| rates.iter().collect()).unwrap_or_default(),
            numbers: numbers.map(|column| column.iter().collect()).collect(),
            malformed: self.malformed,
        };
        reduce(py, "Statistics", &state)
    }
}

/// Statistics in a pickle: the columns by type, in the order of [`schema`].
#[derive(Serialize, Deserialize)]
pub(crate) struct StatisticsState {
    devices: Vec<String>,
    rates: Vec<Option<f64>>,
    numbers: Vec<Vec<Option<u64>>>,
    malformed: u64,
}

impl Statistics {
    /// Restores the statistics of a pickle.
    pub(crate) fn from_state(state: StatisticsState) -> Result<Statistics, String> {
        let mut numbers =
            state.numbers.into_iter().map(|column| Arc::new(UInt64Array::from(column)) as ArrayRef);
        let mut columns = Vec::new();
        for field in schema().fields() {
            columns.push(match field.data_type() {
                DataType::Utf8 => Arc::new(StringArray::from_iter_values(&state.devices)) as ArrayRef,
                DataType::Float64 => Arc::new(Float64Array::from(state.rates.clone())) as ArrayRef,
                _ => numbers.next().ok_or("a column is missing")?,
            });
        }
        if numbers.next().is_some() {
            return Err("it has another column".to_owned());
        }
        let batch = RecordBatch::try_new(schema(), columns).map_err(|error| error.to_string())?;
        Ok(Statistics { batch, malformed: state.malformed })
    }
}

fn schema() -> SchemaRef {
    let number = |name, nullable| Field::new(name, DataType::UInt64, nullable);
    Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8, false),
        number("records", false),
        number("duplicates", false),
        number("first_sequence", false),
        number("last_sequence", false),
        number("missing", false),
        number("earliest_ms", false),
        number("latest_ms", false),
        number("first_ms", false),
        number("last_ms", false),
        Field::new("rate_per_hour", DataType::Float64, true),
        number("interval_median_ms", true),
        number("longest_gap_ms", true),
        number("longest_gap_sequence", true),
        number("gaps", false),
        number("clock_backwards", false),
        number("clock_backwards_max_ms", true),
        number("clock_backwards_sequence", true),
        number("clock_forwards", false),
        number("clock_forwards_max_ms", true),
        number("clock_forwards_sequence", true),
        number("clock_ahead", true),
        number("silence_ms", false),
    ]))
}

fn batch(
    found: &formats::Statistics,
    (gap_ms, jump_ms): (Option<u64>, Option<u64>),
    until_ms: u64,
) -> Result<RecordBatch, ArrowError> {
    let devices: Vec<&DeviceStatistics> = found.devices.values().collect();
    let mut names = StringBuilder::new();
    found.devices.keys().for_each(|device_id| names.append_value(device_id));
    let mut rates = Float64Builder::new();
    devices.iter().for_each(|device| rates.append_option(device.rate_per_hour()));
    let number = |value: &dyn Fn(&DeviceStatistics) -> Option<u64>| {
        let mut column = UInt64Builder::with_capacity(devices.len());
        devices.iter().for_each(|device| column.append_option(value(device)));
        Arc::new(column.finish()) as ArrayRef
    };
    let furthest_jump =
        |device: &DeviceStatistics| device.furthest_forward.filter(|_| device.jumps(jump_ms) > 0);
    let columns = vec![
        Arc::new(names.finish()) as ArrayRef,
        number(&|device| Some(device.records)),
        number(&|device| Some(device.duplicates)),
        number(&|device| Some(device.first_sequence())),
        number(&|device| Some(device.last_sequence())),
        number(&|device| Some(device.missing())),
        number(&|device| Some(device.earliest_ms)),
        number(&|device| Some(device.latest_ms)),
        number(&|device| Some(device.first_ms)),
        number(&|device| Some(device.last_ms)),
        Arc::new(rates.finish()) as ArrayRef,
        number(&|device| device.interval_median_ms()),
        number(&|device| device.longest_gap.map(|(gap, _)| gap)),
        number(&|device| device.longest_gap.map(|(_, sequence)| sequence)),
        number(&|device| Some(device.gaps(gap_ms))),
        number(&|device| Some(device.clock_backwards)),
        number(&|device| device.furthest_back.map(|(step, _)| step)),
        number(&|device| device.furthest_back.map(|(_, sequence)| sequence)),
        number(&|device| Some(device.jumps(jump_ms))),
        number(&|device| furthest_jump(device).map(|(step, _)| step)),
        number(&|device| furthest_jump(device).map(|(_, sequence)| sequence)),
        number(&|device| device.ahead),
        number(&|device| Some(until_ms.saturating_sub(device.latest_ms))),
    ];
    RecordBatch::try_new(schema(), columns)
}
