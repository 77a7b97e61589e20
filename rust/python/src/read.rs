//! `read_records`: records one by one, or as an Arrow stream, in limited memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::ArrowError;
use edgesentry_chain as chain;
use edgesentry_formats::{Malformed, Source, record_batch, records, records_to_batch};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyCapsule;
use pyo3_arrow::PyRecordBatch;

use crate::arrow::{int64_batches, int64_schema_if, schema_capsule, stream_capsule};
use crate::columns::{Ignored, column_names};
use crate::errors::malformed;
use crate::frames;
use crate::pickle::refuse;
use crate::pyarrow;
use crate::record::AuditRecord;
use crate::source::{Input, import, named_inputs};
use crate::work::Work;

/// Number of entries that the worker passes on at a time, and of rows in an Arrow batch.
const BLOCK: usize = 8192;

type Entry = Result<chain::AuditRecord, Malformed>;

/// Reads the records of a source one by one, or as an Arrow stream. Nothing is verified.
///
/// Args:
///     source: As for `verify_chain`.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
///     int64: Numbers in the Arrow stream are int64, for engines without unsigned types such as Spark. A
///         larger number is an error of the stream.
///     on_malformed: For an entry that is not a record: raise `RecordMalformed`, or skip and count it.
///
/// Raises:
///     FileNotFoundError: A file is missing.
///     UnreadableError: An input is not in a format that holds records; raised when the first record is
///         read.
#[pyfunction]
#[pyo3(signature = (source, *, columns = None, ignore = None, int64 = false, on_malformed = "raise"))]
pub(crate) fn read_records(
    source: &Bound<'_, PyAny>,
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
    int64: bool,
    on_malformed: &str,
) -> PyResult<RecordReader> {
    let skip_malformed = match on_malformed {
        "raise" => false,
        "skip" => true,
        other => {
            let message = format!("on_malformed must be \"raise\" or \"skip\", not {other:?}");
            return Err(PyValueError::new_err(message));
        }
    };
    let inputs = named_inputs(source, &column_names(columns, ignore)?)?;
    let RecordReader { reading, .. } = reader(inputs, skip_malformed)?;
    Ok(RecordReader { reading, int64 })
}

/// Reads inputs one by one.
pub(crate) fn reader(inputs: Vec<Input>, skip_malformed: bool) -> PyResult<RecordReader> {
    let (work, whole) = match <[Input; 1]>::try_from(inputs) {
        Ok([Input::Ready(Source::Batches { name, batches })]) => {
            (None, Some(Whole { name, batches: Batches::Others(batches) }))
        }
        Ok([Input::PyArrow { name, batches }]) => {
            (None, Some(Whole { name, batches: Batches::PyArrow(batches) }))
        }
        Ok([input]) => (Some(read_blocks(vec![input])?), None),
        Err(inputs) => (Some(read_blocks(inputs)?), None),
    };
    let reading = Reading {
        work,
        whole,
        ready: VecDeque::new(),
        index: 0,
        skip_malformed,
        skipped: 0,
        exported: false,
    };
    Ok(RecordReader { reading: Mutex::new(reading), int64: false })
}

/// The records of a source, one by one, in bounded memory; created by `read_records`.
///
/// Also an Arrow stream of the records not yet read, for pyarrow, polars, duckdb and others; it can be read
/// once. Columns: device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref;
/// the byte fields as fixed-size binary.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct RecordReader {
    reading: Mutex<Reading>,
    /// Exports numbers as int64.
    int64: bool,
}

#[pymethods]
impl RecordReader {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Returns the next record.
    ///
    /// Raises:
    ///     RecordMalformed: The entry is not a record. The reader can continue with the next entry.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<AuditRecord>> {
        let mut reading = self.reading.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        Ok(reading.next_record(py)?.map(AuditRecord))
    }

    /// Malformed entries skipped so far.
    #[getter]
    fn skipped(&self, py: Python<'_>) -> u64 {
        self.reading.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).skipped
    }

    /// Returns the rest of the records as a polars data frame, once.
    ///
    /// Raises:
    ///     ImportError: polars is not installed.
    fn to_polars<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        frames::polars(py)?;
        frames::to_polars(Bound::new(py, self.rest(py)?)?.as_any())
    }

    /// Returns the rest of the records as a pandas data frame, once.
    ///
    /// Raises:
    ///     ImportError: pandas or pyarrow is not installed.
    fn to_pandas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        frames::pandas(py)?;
        frames::to_pandas(Bound::new(py, self.rest(py)?)?.as_any())
    }

    /// Exports the schema of the stream.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &int64_schema_if(self.int64, edgesentry_formats::schema()))
    }

    /// Exports the rest of the records as an Arrow stream, once; the reader cannot be used afterwards.
    ///
    /// Raises:
    ///     ValueError: The records were exported before.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let mut reading = self.reading.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let batches = RecordBatches(reading.take()?);
        let schema = int64_schema_if(self.int64, edgesentry_formats::schema());
        stream_capsule(py, schema, int64_batches(self.int64, batches), requested_schema)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let reading = self.reading.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        match reading.exported {
            true => "<RecordReader, exported as Arrow>".to_owned(),
            false => format!("<RecordReader at entry {}>", reading.index),
        }
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("RecordReader", "it reads in this process; pass on the path, or a list of its records")
    }
}

impl RecordReader {
    /// Reads all remaining records.
    fn rest(&self, py: Python<'_>) -> PyResult<frames::Batches> {
        let reading = self.reading.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).take()?;
        let batches = int64_batches(self.int64, RecordBatches(reading)).collect::<Result<Vec<_>, _>>();
        let batches = batches.map_err(|error| match error {
            ArrowError::ExternalError(error) => match error.downcast::<PyErr>() {
                Ok(error) => *error,
                Err(error) => PyValueError::new_err(error.to_string()),
            },
            error => PyValueError::new_err(error.to_string()),
        })?;
        let schema = int64_schema_if(self.int64, edgesentry_formats::schema());
        Ok(frames::Batches { schema, batches })
    }
}

/// An Arrow table of another library.
struct Whole {
    name: Arc<str>,
    batches: Batches,
}

enum Batches {
    /// The copy is checked, and the batch itself is passed on.
    PyArrow(pyarrow::Batches),
    Others(Box<dyn RecordBatchReader + Send>),
}

impl Whole {
    /// Starts to decode it.
    fn read(self) -> PyResult<Work<Vec<Entry>>> {
        let name = self.name;
        read_blocks(vec![match self.batches {
            Batches::PyArrow(batches) => Input::PyArrow { name, batches },
            Batches::Others(batches) => Input::Ready(Source::Batches { name, batches }),
        }])
    }

    /// Returns the next batch unchanged if all its rows are records in our own form. Otherwise returns the rest of the
    /// table, including this batch.
    fn next_batch(mut self) -> Result<Option<(RecordBatch, Whole)>, Whole> {
        let (first, records) = match &mut self.batches {
            Batches::Others(batches) => match batches.next() {
                None => return Ok(None),
                Some(Ok(batch)) => (Ok(batch.clone()), record_batch(&batch)),
                Some(Err(error)) => (Err(error), None),
            },
            Batches::PyArrow(batches) => match Python::attach(|py| pair(py, batches)) {
                Ok(None) => return Ok(None),
                Ok(Some((copy, records))) => (Ok(copy), records),
                Err(error) => (Err(ArrowError::ExternalError(error.into())), None),
            },
        };
        match records {
            Some(records) => Ok(Some((records, self))),
            None => Err(self.from(first)),
        }
    }

    /// Returns the rest, with its first batch.
    fn from(self, first: Result<RecordBatch, ArrowError>) -> Whole {
        let batches: Box<dyn RecordBatchReader + Send> = match self.batches {
            Batches::PyArrow(batches) => Box::new(batches),
            Batches::Others(batches) => batches,
        };
        let schema = batches.schema();
        let batches = RecordBatchIterator::new(std::iter::once(first).chain(batches), schema);
        Whole { name: self.name, batches: Batches::Others(Box::new(batches)) }
    }
}

/// Returns the next batch as a copy and, if all rows of the copy are records in our own form, unchanged.
fn pair(
    py: Python<'_>,
    batches: &mut pyarrow::Batches,
) -> PyResult<Option<(RecordBatch, Option<RecordBatch>)>> {
    let Some((copy, batch)) = batches.next_pair(py)? else { return Ok(None) };
    let Some(records) = record_batch(&copy).filter(|_| batches.is_whole()) else {
        return Ok(Some((copy, None)));
    };
    let columns = import(&batch, |batch| Ok(batch.extract::<PyRecordBatch>()?.into_inner()))?;
    let schema = records.schema();
    let itself = RecordBatch::try_new(schema, columns.columns().to_vec());
    Ok(Some((copy, itself.ok())))
}

/// The blocks of the worker, record by record.
struct Reading {
    work: Option<Work<Vec<Entry>>>,
    /// A table that is not decoded yet.
    whole: Option<Whole>,
    ready: VecDeque<Entry>,
    /// The position of the first entry in `ready`.
    index: u64,
    skip_malformed: bool,
    skipped: u64,
    /// True if the remaining records were exported as an Arrow stream.
    exported: bool,
}

impl Reading {
    fn next_record(&mut self, py: Python<'_>) -> PyResult<Option<chain::AuditRecord>> {
        self.refuse_exported()?;
        loop {
            match self.ready.pop_front() {
                Some(Ok(record)) => {
                    self.index += 1;
                    return Ok(Some(record));
                }
                Some(Err(reason)) => {
                    self.index += 1;
                    if !self.skip_malformed {
                        return Err(malformed(self.index - 1, &reason));
                    }
                    self.skipped += 1;
                }
                None => {
                    if !self.refill(py)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Receives the next block of the worker. Returns false at the end.
    fn refill(&mut self, py: Python<'_>) -> PyResult<bool> {
        if let Some(whole) = self.whole.take() {
            self.work = Some(whole.read()?);
        }
        let Some(work) = &mut self.work else { return Ok(false) };
        match work.next(py, |_| Ok(())) {
            Ok(Some(block)) => {
                self.ready = block.into();
                Ok(true)
            }
            Ok(None) => {
                self.work = None;
                Ok(false)
            }
            Err(error) => {
                self.work = None;
                Err(error)
            }
        }
    }

    /// Takes all remaining records, once: a second reader would silently find none.
    fn take(&mut self) -> PyResult<Reading> {
        self.refuse_exported()?;
        let rest = Reading {
            work: self.work.take(),
            whole: self.whole.take(),
            ready: std::mem::take(&mut self.ready),
            ..*self
        };
        self.exported = true;
        Ok(rest)
    }

    fn refuse_exported(&self) -> PyResult<()> {
        if self.exported {
            let message =
                "the records were exported as an Arrow stream, which is read once; call read_records again";
            return Err(PyValueError::new_err(message));
        }
        Ok(())
    }
}

/// The records as Arrow batches, which the consumer of the stream pulls from any thread.
struct RecordBatches(Reading);

impl RecordBatches {
    /// Returns the next batch of a table that needs no decoding.
    fn next_whole(&mut self) -> Option<RecordBatch> {
        match self.0.whole.take()?.next_batch() {
            Ok(Some((batch, rest))) => {
                self.0.index += batch.num_rows() as u64;
                self.0.whole = Some(rest);
                Some(batch)
            }
            Ok(None) => None,
            Err(rest) => {
                self.0.whole = Some(rest);
                None
            }
        }
    }
}

impl Iterator for RecordBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.next_whole() {
            return Some(Ok(batch));
        }
        let block = Python::attach(|py| {
            let mut block = Vec::with_capacity(BLOCK);
            while block.len() < BLOCK
                && let Some(record) = self.0.next_record(py)?
            {
                block.push(record);
            }
            Ok::<_, PyErr>(block)
        });
        match block {
            Ok(block) if block.is_empty() => None,
            Ok(block) => Some(Ok(records_to_batch(&block))),
            Err(error) => {
                self.0.work = None;
                self.0.ready.clear();
                Some(Err(ArrowError::ExternalError(error.into())))
            }
        }
    }
}

/// Starts to read entries, in blocks.
fn read_blocks(inputs: Vec<Input>) -> PyResult<Work<Vec<Entry>>> {
    Work::start(inputs, |sources, _, results| {
        let mut block = Vec::with_capacity(BLOCK);
        for source in sources {
            for entry in records(source)? {
                block.push(entry?);
                if block.len() == BLOCK {
                    results.put(std::mem::replace(&mut block, Vec::with_capacity(BLOCK)))?;
                }
            }
        }
        if block.is_empty() { Ok(()) } else { results.put(block) }
    })
}
