//! `Findings` and `Finding`: failed checks.

use std::sync::Arc;

use arrow_array::RecordBatchReader;
use edgesentry_chain as chain;
use edgesentry_chain::state::FindingState;
use edgesentry_chain::{FindingCode, Level, UnknownCode, UnknownLevel};
use edgesentry_formats::{Error as FormatError, Progress};
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyIterator, PyList, PySlice, PyType};
use pyo3_arrow::input::AnyRecordBatch;

use crate::arrow::{schema_capsule, stream_capsule};
use crate::finding_table::{self, FindingTable, findings_schema};
use crate::frames;
use crate::html;
use crate::pickle::{Reduced, reduce};
use crate::progress::Bar;
use crate::source::name_of_type;
use crate::tables::is_table;
use crate::work::{Work, wait};

/// The findings of a report: a sequence, and an Arrow stream with one row for each finding.
///
/// Arrow columns: code, device_id, sequence, timestamp_ms, index, expected, actual, record_hash, cause_code,
/// cause_sequence, cause_index, input, record. Hashes are hex digits.
// Not registered as collections.abc.Sequence: polars would treat it as a list of objects instead of a table.
#[pyclass(frozen, sequence, module = "edgesentry")]
pub(crate) struct Findings {
    held: Held,
    table: FindingTable,
    positions: Positions,
}

/// The storage of findings.
#[derive(Clone)]
enum Held {
    Report(Arc<chain::Report>),
    Alone(Arc<[chain::Finding]>),
}

impl Held {
    fn all(&self) -> &[chain::Finding] {
        match self {
            Held::Report(report) => &report.findings,
            Held::Alone(findings) => findings,
        }
    }
}

/// A run of findings.
#[derive(Clone, Copy)]
struct Positions {
    start: usize,
    end: usize,
}

#[pymethods]
impl Findings {
    /// Reads findings from a table, such as one that was stored as Parquet or filtered in polars.
    ///
    /// The columns may have any order, and any type that holds their values; other columns are ignored.
    /// Columns that have the types of `Findings` are not copied.
    ///
    /// Args:
    ///     table: Any object with `__arrow_c_stream__`: of pyarrow, polars, DuckDB and others.
    ///
    /// Raises:
    ///     TypeError: The object exports no Arrow.
    ///     UnreadableError: A column is missing or has another type, or a row is not a finding.
    #[classmethod]
    fn from_arrow(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        table: &Bound<'_, PyAny>,
    ) -> PyResult<Findings> {
        if !is_table(table)? {
            let kind = table.get_type().name()?;
            let message = format!("findings come from an object with __arrow_c_stream__, not {kind}");
            return Err(PyTypeError::new_err(message));
        }
        let (name, batches) = (name_of_type(table), table.extract::<AnyRecordBatch>()?.into_reader()?);
        let work = Work::start(Vec::new(), move |_, progress, results| {
            results.put(read(&name, batches, progress)?)
        })?;
        wait(py, work, Bar::new(None)?)
    }

    fn __len__(&self) -> usize {
        self.positions.end - self.positions.start
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, findings) = (slf.py(), slf.get());
        let length = findings.__len__();
        if let Ok(slice) = key.cast::<PySlice>() {
            let indices = slice.indices(length as isize)?;
            if indices.step == 1 {
                let start = findings.positions.start + indices.start as usize;
                let positions = Positions { start, end: start + indices.slicelength };
                let part = Findings { held: findings.held.clone(), table: findings.table.clone(), positions };
                return Ok(Bound::new(py, part)?.into_any());
            }
            let message = "findings are sliced without a step; for one, use list(findings)[...]";
            return Err(PyValueError::new_err(message));
        }
        let at = key.extract::<isize>()?;
        let at = if at < 0 { at + length as isize } else { at };
        let finding = usize::try_from(at).ok().and_then(|at| findings.as_slice().get(at));
        match finding {
            Some(finding) => Ok(Bound::new(py, Finding(finding.clone()))?.into_any()),
            None => Err(PyIndexError::new_err("the index is out of range")),
        }
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        slf.get().list(slf.py())?.try_iter()
    }

    fn __reversed__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let list = slf.get().list(slf.py())?;
        list.reverse()?;
        list.try_iter()
    }

    fn __contains__(&self, value: &Bound<'_, PyAny>) -> bool {
        value.cast::<Finding>().is_ok_and(|finding| self.place(&finding.get().0).is_some())
    }

    /// Returns the position of a finding.
    ///
    /// Raises:
    ///     ValueError: The findings do not contain it.
    fn index(&self, value: &Bound<'_, Finding>) -> PyResult<usize> {
        let at = self.place(&value.get().0);
        at.ok_or_else(|| PyValueError::new_err("the finding is not in this sequence"))
    }

    /// Returns the number of findings that are equal to this one.
    fn count(&self, value: &Bound<'_, Finding>) -> usize {
        self.as_slice().iter().filter(|finding| same(finding, &value.get().0)).count()
    }

    /// Returns the findings of some devices, codes and levels, in their order.
    ///
    /// Args:
    ///     device: A device id, or a list of them.
    ///     code: A code, or a list of them.
    ///     level: The level of the check, or a list of levels.
    ///
    /// Raises:
    ///     ValueError: There is no such code or level.
    #[pyo3(signature = (*, device = None, code = None, level = None))]
    fn filter(
        &self,
        py: Python<'_>,
        device: Option<&Bound<'_, PyAny>>,
        code: Option<&Bound<'_, PyAny>>,
        level: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Findings> {
        let devices = names("device", device)?;
        let codes = parsed(names("code", code)?, |code| code.parse::<FindingCode>().map_err(unknown_code))?;
        let levels = parsed(names("level", level)?, |level| level.parse::<Level>().map_err(unknown_level))?;
        let is_wanted = |finding: &&chain::Finding| {
            let of_device = |devices: &Vec<String>| {
                finding
                    .device_id
                    .as_deref()
                    .is_some_and(|device_id| devices.iter().any(|one| one == device_id))
            };
            devices.as_ref().is_none_or(of_device)
                && codes.as_ref().is_none_or(|codes| codes.contains(&finding.code))
                && levels.as_ref().is_none_or(|levels| levels.contains(&finding.code.level()))
        };
        Ok(py.detach(|| Findings::alone(self.as_slice().iter().filter(is_wanted).cloned().collect())))
    }

    /// Exports the schema of the stream.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &findings_schema())
    }

    /// Exports the findings as an Arrow stream.
    #[pyo3(signature = (requested_schema = None))]
    pub(crate) fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let Positions { start, end } = self.positions;
        let batches = py.detach(|| self.table.batches(self.held.all(), start..end));
        let batches = batches.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        stream_capsule(py, findings_schema(), batches.into_iter().map(Ok), requested_schema)
    }

    /// Returns the findings as a polars data frame, without copying them.
    ///
    /// Raises:
    ///     ImportError: polars is not installed.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_polars(slf.as_any())
    }

    /// Returns the findings as a pandas data frame, with nullable integers.
    ///
    /// Raises:
    ///     ImportError: pandas or pyarrow is not installed.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_pandas(slf.as_any())
    }

    /// Returns the findings as a pyarrow table.
    ///
    /// Args:
    ///     int64: Numbers are int64, for engines without unsigned types such as Spark.
    ///
    /// Raises:
    ///     ImportError: pyarrow is not installed.
    ///     ValueError: With `int64`, a number is larger than any int64.
    #[pyo3(signature = (*, int64 = false))]
    fn to_arrow<'py>(&self, py: Python<'py>, int64: bool) -> PyResult<Bound<'py, PyAny>> {
        let Positions { start, end } = self.positions;
        let batches = py.detach(|| self.table.batches(self.held.all(), start..end));
        let batches = batches.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        frames::to_arrow(py, frames::Batches { schema: findings_schema(), batches }, int64)
    }

    fn _repr_html_(&self) -> String {
        html::findings(self.as_slice())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Findings>().is_ok_and(|other| {
            let (these, those) = (self.as_slice(), other.get().as_slice());
            these.len() == those.len() && these.iter().zip(those).all(|(this, that)| same(this, that))
        })
    }

    fn __repr__(&self) -> String {
        match self.as_slice() {
            [] => "<Findings: none>".into(),
            [only] => format!("<Findings: {only}>"),
            [first, rest @ ..] => format!("<Findings: {first}; and {} more>", rest.len()),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let findings: Vec<FindingState> = self.as_slice().iter().map(FindingState::from).collect();
        reduce(py, "Findings", &findings)
    }
}

impl Findings {
    /// Returns findings without a report.
    pub(crate) fn alone(findings: Vec<chain::Finding>) -> Findings {
        let positions = Positions { start: 0, end: findings.len() };
        Findings { held: Held::Alone(findings.into()), table: FindingTable::default(), positions }
    }

    /// Returns all findings of a report.
    pub(crate) fn all(report: &Arc<chain::Report>, table: &FindingTable) -> Findings {
        let positions = Positions { start: 0, end: report.findings.len() };
        Findings { held: Held::Report(Arc::clone(report)), table: table.clone(), positions }
    }

    fn as_slice(&self) -> &[chain::Finding] {
        &self.held.all()[self.positions.start..self.positions.end]
    }

    fn place(&self, wanted: &chain::Finding) -> Option<usize> {
        self.as_slice().iter().position(|finding| same(finding, wanted))
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.as_slice().iter().cloned().map(Finding))
    }
}

/// Returns the findings in external batches, which are kept as their table.
fn read(
    name: &Arc<str>,
    batches: Box<dyn RecordBatchReader + Send>,
    progress: &Progress,
) -> Result<Findings, FormatError> {
    let unreadable = |problem| FormatError::Unreadable { name: name.clone(), problem };
    if let Some(problem) = finding_table::schema_problem(&batches.schema()) {
        return Err(unreadable(problem));
    }
    let (mut tables, mut findings) = (Vec::new(), Vec::new());
    for batch in batches {
        if progress.is_cancelled() {
            return Err(FormatError::Cancelled);
        }
        let batch = batch.map_err(|error| unreadable(error.to_string()))?;
        let (table, more) = finding_table::read(&batch, findings.len()).map_err(unreadable)?;
        tables.push(table);
        findings.extend(more);
    }
    let positions = Positions { start: 0, end: findings.len() };
    Ok(Findings { held: Held::Alone(findings.into()), table: FindingTable::of(tables), positions })
}

/// Returns true if two findings are equal. External findings have their evidence as text.
fn same(one: &chain::Finding, other: &chain::Finding) -> bool {
    let told = |evidence: &chain::Evidence| evidence.to_string();
    one.code == other.code
        && one.device_id == other.device_id
        && one.sequence == other.sequence
        && one.timestamp_ms == other.timestamp_ms
        && one.index == other.index
        && one.record_hash == other.record_hash
        && one.cause == other.cause
        && one.location == other.location
        && (one.expected == other.expected || told(&one.expected) == told(&other.expected))
        && (one.actual == other.actual || told(&one.actual) == told(&other.actual))
}

/// Returns one name or several, as an argument gives them.
fn names(argument: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Vec<String>>> {
    let Some(value) = value else { return Ok(None) };
    if let Ok(name) = value.extract::<String>() {
        return Ok(Some(vec![name]));
    }
    let names = value.extract::<Vec<String>>().map_err(|_| {
        let kind = name_of_type(value);
        PyTypeError::new_err(format!("{argument} is a string or a list of strings, not {kind}"))
    });
    names.map(Some)
}

fn parsed<T>(names: Option<Vec<String>>, parse: impl Fn(&String) -> PyResult<T>) -> PyResult<Option<Vec<T>>> {
    names.map(|names| names.iter().map(parse).collect()).transpose()
}

fn unknown_level(error: UnknownLevel) -> PyErr {
    let levels: Vec<&str> = Level::ALL.iter().map(|level| level.name()).collect();
    PyValueError::new_err(format!("{error}; the levels are {}", levels.join(", ")))
}

fn unknown_code(error: UnknownCode) -> PyErr {
    PyValueError::new_err(format!("{error}; edgesentry.FINDING_CODES lists them"))
}

/// One failed check: its place, the expected value and the actual one.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Finding(pub(crate) chain::Finding);

#[pymethods]
impl Finding {
    /// The stable code; docs/findings has a page for each.
    #[getter]
    fn code(&self) -> &'static str {
        self.0.code.name()
    }

    /// The level of the check.
    #[getter]
    fn level(&self) -> &'static str {
        self.0.code.level().name()
    }

    /// The meaning of the code, usual causes and what to do, as `eds explain` prints it.
    #[getter]
    fn explanation(&self) -> String {
        eds::explanation(self.0.code)
    }

    /// The address of the page of the code.
    #[getter]
    fn url(&self) -> String {
        self.0.code.url()
    }

    /// The device; None for an entry too broken to name one.
    #[getter]
    fn device_id(&self) -> Option<&str> {
        self.0.device_id.as_deref()
    }

    /// The sequence that the record claims; for a truncated chain or a missing device that of the head.
    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.0.sequence
    }

    /// The time that the record claims, Unix milliseconds; None if there is no record.
    #[getter]
    fn timestamp_ms(&self) -> Option<u64> {
        self.0.timestamp_ms
    }

    /// Position of the record, from 0, over all inputs; None if a record or chain is missing.
    #[getter]
    fn index(&self) -> Option<u64> {
        self.0.index
    }

    /// The expected value; hashes as hex digits.
    #[getter]
    fn expected(&self) -> String {
        self.0.expected.to_string()
    }

    /// The actual value; hashes as hex digits.
    #[getter]
    fn actual(&self) -> String {
        self.0.actual.to_string()
    }

    /// Hash of the record as found, 64 hex digits; None if there is no record.
    #[getter]
    fn record_hash(&self) -> Option<String> {
        self.0.record_hash.map(|hash| hash.to_string())
    }

    /// The earlier finding that probably caused this one.
    #[getter]
    fn cause(&self) -> Option<Cause> {
        self.0.cause.clone().map(Cause)
    }

    /// The name of the input that holds the record, such as its path.
    #[getter]
    fn input(&self) -> Option<&str> {
        self.0.location.as_ref().map(|location| &*location.input)
    }

    /// The number of the record in that input, from 1; 0 for the input as a whole.
    #[getter]
    fn record(&self) -> Option<u64> {
        self.0.location.as_ref().map(|location| location.record)
    }

    /// Returns the finding as in the JSON report.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json =
            serde_json::to_string(&self.0).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        py.import("json")?.call_method1("loads", (json,))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Finding>().is_ok_and(|other| same(&other.get().0, &self.0))
    }

    fn __hash__(&self) -> u64 {
        let chain::Finding { code, sequence, index, .. } = self.0;
        let place = index.unwrap_or(u64::MAX).rotate_left(32) ^ sequence.unwrap_or(u64::MAX);
        place ^ ((code as u64) << 56)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Finding {}>", self.0)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Finding", &FindingState::from(&self.0))
    }
}

/// The earlier finding that probably caused a later one.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Cause(pub(crate) chain::Cause);

#[pymethods]
impl Cause {
    /// Its code.
    #[getter]
    fn code(&self) -> &'static str {
        self.0.code.name()
    }

    /// The sequence of its record; None for a malformed entry.
    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.0.sequence
    }

    /// The position of its record, from 0, over all inputs.
    #[getter]
    fn index(&self) -> u64 {
        self.0.index
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Cause>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        self.0.index ^ ((self.0.code as u64) << 56)
    }

    fn __repr__(&self) -> String {
        match self.0.sequence {
            Some(sequence) => format!("<Cause {} at sequence {sequence}>", self.0.code),
            None => format!("<Cause {} at index {}>", self.0.code, self.0.index),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Cause", &self.0)
    }
}
