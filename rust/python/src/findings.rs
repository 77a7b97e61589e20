//! `Findings` and `Finding`: the failed checks of a report.

use std::sync::Arc;

use edgesentry_chain as chain;
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyIterator, PyList, PySlice};

use crate::arrow::{FindingTable, findings_schema, schema_capsule, stream_capsule};
use crate::frames;
use crate::html;

/// The findings of a report: a sequence, and an Arrow stream.
// Not registered as collections.abc.Sequence: polars would then take it for a list of objects, not for a table.
#[pyclass(frozen, sequence, module = "edgesentry")]
pub(crate) struct Findings {
    report: Arc<chain::Report>,
    table: FindingTable,
    positions: Positions,
}

/// A run of findings.
#[derive(Clone, Copy)]
struct Positions {
    start: usize,
    end: usize,
}

#[pymethods]
impl Findings {
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
                let part = Findings {
                    report: Arc::clone(&findings.report),
                    table: findings.table.clone(),
                    positions,
                };
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
            None => Err(PyIndexError::new_err("there are only so many findings")),
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
        value.cast::<Finding>().is_ok_and(|finding| self.as_slice().contains(&finding.get().0))
    }

    fn index(&self, value: &Bound<'_, Finding>) -> PyResult<usize> {
        let at = self.as_slice().iter().position(|finding| *finding == value.get().0);
        at.ok_or_else(|| PyValueError::new_err("the finding is not among them"))
    }

    fn count(&self, value: &Bound<'_, Finding>) -> usize {
        self.as_slice().iter().filter(|finding| **finding == value.get().0).count()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &findings_schema())
    }

    #[pyo3(signature = (requested_schema = None))]
    pub(crate) fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let Positions { start, end } = self.positions;
        let batches = py.detach(|| self.table.batches(&self.report, start..end));
        let batches = batches.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        stream_capsule(py, findings_schema(), batches.into_iter().map(Ok), requested_schema)
    }

    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_polars(slf.as_any())
    }

    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        frames::to_pandas(slf.as_any())
    }

    fn _repr_html_(&self) -> String {
        html::findings(self.as_slice())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Findings>().is_ok_and(|other| other.get().as_slice() == self.as_slice())
    }

    fn __repr__(&self) -> String {
        match self.as_slice() {
            [] => "<Findings: none>".into(),
            [only] => format!("<Findings: {only}>"),
            [first, rest @ ..] => format!("<Findings: {first}; and {} more>", rest.len()),
        }
    }
}

impl Findings {
    /// All findings of a report.
    pub(crate) fn all(report: &Arc<chain::Report>, table: &FindingTable) -> Findings {
        let positions = Positions { start: 0, end: report.findings.len() };
        Findings { report: Arc::clone(report), table: table.clone(), positions }
    }

    fn as_slice(&self) -> &[chain::Finding] {
        &self.report.findings[self.positions.start..self.positions.end]
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.as_slice().iter().cloned().map(Finding))
    }
}

/// One failed check.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Finding(chain::Finding);

#[pymethods]
impl Finding {
    #[getter]
    fn code(&self) -> &'static str {
        self.0.code.name()
    }

    #[getter]
    fn device_id(&self) -> Option<&str> {
        self.0.device_id.as_deref()
    }

    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.0.sequence
    }

    #[getter]
    fn timestamp_ms(&self) -> Option<u64> {
        self.0.timestamp_ms
    }

    #[getter]
    fn index(&self) -> Option<u64> {
        self.0.index
    }

    #[getter]
    fn expected(&self) -> String {
        self.0.expected.to_string()
    }

    #[getter]
    fn actual(&self) -> String {
        self.0.actual.to_string()
    }

    #[getter]
    fn record_hash(&self) -> Option<String> {
        self.0.record_hash.map(|hash| hash.to_string())
    }

    #[getter]
    fn cause(&self) -> Option<Cause> {
        self.0.cause.clone().map(Cause)
    }

    #[getter]
    fn input(&self) -> Option<&str> {
        self.0.location.as_ref().map(|location| &*location.input)
    }

    #[getter]
    fn record(&self) -> Option<u64> {
        self.0.location.as_ref().map(|location| location.record)
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json =
            serde_json::to_string(&self.0).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        py.import("json")?.call_method1("loads", (json,))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Finding>().is_ok_and(|other| other.get().0 == self.0)
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
}

/// The earlier finding that probably explains a later one.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Cause(chain::Cause);

#[pymethods]
impl Cause {
    #[getter]
    fn code(&self) -> &'static str {
        self.0.code.name()
    }

    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.0.sequence
    }

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
}
