//! `Report`: the result of a verification.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use edgesentry_chain as chain;
use edgesentry_chain::count;
use edgesentry_chain::state::ReportState;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyCapsule, PyDict, PyType};
use serde::{Deserialize, Serialize};

use crate::arrow::schema_capsule;
use crate::coverage::{ChainSpan, Coverage, Input};
use crate::difference::{Parted, parted};
use crate::errors::{UnreadableError, VerificationError, sentence, write_text};
use crate::finding_table::{FindingTable, findings_schema};
use crate::findings::Findings;
use crate::frames;
use crate::heads::{heads_batches, heads_to_dict};
use crate::html;
use crate::pickle::{Reduced, reduce};

/// The result of a verification. It has no truth value: use `ok`.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Report(pub(crate) Arc<chain::Report>, FindingTable, Call);

/// The call that created the report, for the command that repeats it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The default scheme of keys.
    pub(crate) scheme: Option<chain::Scheme>,
    /// For a ledger verified in place: the requested devices; empty for all devices.
    pub(crate) ledger: Option<Vec<String>>,
}

impl Report {
    pub(crate) fn new(report: chain::Report, call: Call) -> Report {
        Report(Arc::new(report), FindingTable::default(), call)
    }
}

impl Report {
    /// Restores the report of a pickle.
    pub(crate) fn from_state((state, call): (ReportState, Call)) -> Result<Report, String> {
        Ok(Report::new(chain::Report::try_from(state)?, call))
    }
}

#[pymethods]
impl Report {
    /// True if every requested check was made and passed. False if there was nothing to verify.
    #[getter]
    fn ok(&self) -> bool {
        self.0.ok()
    }

    /// `valid`, `findings` or `nothing_to_verify`.
    #[getter]
    fn verdict(&self) -> &'static str {
        match self.0.verdict {
            chain::Verdict::Valid => "valid",
            chain::Verdict::Findings => "findings",
            chain::Verdict::NothingToVerify => "nothing_to_verify",
        }
    }

    /// The findings in the order of their records, then the findings without a record.
    #[getter]
    fn findings(&self) -> Findings {
        Findings::all(&self.0, &self.1)
    }

    /// Findings that were counted but not kept.
    #[getter]
    fn findings_omitted(&self) -> u64 {
        self.0.findings_omitted
    }

    /// Likely causes of many findings at once, and how to fix them; one sentence each.
    ///
    /// `to_dict()["hints"]` has them with their codes and figures.
    #[getter]
    fn hints(&self) -> Vec<String> {
        self.0.hints.iter().map(ToString::to_string).collect()
    }

    /// The number of findings of each code, including those that were not kept.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (code, count) in self.0.kinds() {
            counts.set_item(code.name(), count)?;
        }
        Ok(counts)
    }

    /// The last link of each chain, as found, by device id.
    #[getter]
    fn heads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        heads_to_dict(py, &self.0.heads)
    }

    /// Returns the heads as a pyarrow table: `device_id`, `sequence`, and `hash` as 64 hex digits.
    ///
    /// Args:
    ///     int64: Numbers are int64, for engines without unsigned types such as Spark.
    ///
    /// Raises:
    ///     ImportError: pyarrow is not installed.
    ///     ValueError: With `int64`, a number is larger than any int64.
    #[pyo3(signature = (*, int64 = false))]
    fn heads_to_arrow<'py>(&self, py: Python<'py>, int64: bool) -> PyResult<Bound<'py, PyAny>> {
        frames::to_arrow(py, heads_batches(&self.0.heads)?, int64)
    }

    /// The range of each chain, by device id.
    #[getter]
    fn chains(&self) -> BTreeMap<String, ChainSpan> {
        let spans = self.0.chains.iter();
        spans.map(|(device_id, span)| (device_id.to_string(), ChainSpan::from(*span))).collect()
    }

    /// The checks that were made, and those that were not.
    #[getter]
    fn coverage(&self) -> Coverage {
        Coverage::of(&self.0)
    }

    /// The inputs, in the order in which they were read.
    #[getter]
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs.iter().cloned().map(Input::from).collect()
    }

    /// Returns the report as text, as `eds verify-chain` prints it.
    fn summary(&self, py: Python<'_>) -> String {
        py.detach(|| eds::summary(&self.0))
    }

    /// Returns the report as `eds verify-chain --json` prints it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.to_json(py, None)?,))
    }

    /// Returns the report as JSON, on one line or indented by this number of spaces.
    #[pyo3(signature = (*, indent = None))]
    fn to_json(&self, py: Python<'_>, indent: Option<usize>) -> PyResult<String> {
        let report = &*self.0;
        let text = py.detach(|| match indent {
            None => serde_json::to_string(report),
            Some(indent) => indented(report, indent),
        });
        let text = text.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(chain::escape::json(&text).into_owned())
    }

    /// Reads a report that was kept as JSON: of `to_json`, or the output of `eds verify-chain --json`.
    ///
    /// It verifies nothing: the report is as trustworthy as the place where it was kept. Evidence becomes
    /// text.
    ///
    /// Raises:
    ///     UnreadableError: The text is not a report, or its parts contradict each other.
    #[classmethod]
    fn from_json(_class: &Bound<'_, PyType>, json: &Bound<'_, PyAny>) -> PyResult<Report> {
        let report = match json.extract::<PyBackedStr>() {
            Ok(text) if !text.trim_start().starts_with(['{', '[']) => {
                let message = "json: expected the JSON of a report, got other text; for a file: \
                               Report.from_json(Path(\"verdict.json\").read_text())";
                return Err(UnreadableError::new_err(message));
            }
            Ok(text) => json.py().detach(|| edgesentry_formats::read_report(text.as_bytes())),
            Err(_) => {
                let Ok(bytes) = json.extract::<PyBackedBytes>() else {
                    let kind = json.get_type().name()?;
                    let message = format!(
                        "Report.from_json takes JSON as str or bytes, not {kind}; for a file: \
                         Report.from_json(Path(\"verdict.json\").read_text())"
                    );
                    return Err(PyTypeError::new_err(message));
                };
                json.py().detach(|| edgesentry_formats::read_report(&bytes))
            }
        };
        let report = report.map_err(|error| UnreadableError::new_err(sentence(&error)))?;
        Ok(Report::new(report, Call::default()))
    }

    /// Returns the report as one self-contained page, as `eds verify-chain --html` writes it.
    ///
    /// Reads inputs that are files once more, to show their hashes; a file that has changed since the
    /// verification gets none.
    ///
    /// Args:
    ///     path: A file to write the page to.
    ///
    /// Raises:
    ///     OSError: The file cannot be written.
    #[pyo3(signature = (path = None))]
    fn to_html(&self, py: Python<'_>, path: Option<PathBuf>) -> PyResult<String> {
        let Call { scheme, ledger } = self.2.clone();
        let circumstances =
            eds::page::Circumstances { scheme, ledger, ..eds::page::Circumstances::now(None) };
        let page = py.detach(|| eds::page::render(&self.0, &circumstances));
        if let Some(path) = path {
            write_text(py, &path, &page)?;
        }
        Ok(page)
    }

    /// Compares the findings with those of a later report: new, gone and same ones.
    ///
    /// Two findings are the same if code, device, sequence, record hash, expected and actual value are equal;
    /// their place in the files does not count.
    ///
    /// Raises:
    ///     ValueError: A report does not keep all of its findings; see `max_findings`.
    fn diff<'py>(&self, py: Python<'py>, after: &Bound<'py, Report>) -> PyResult<Bound<'py, PyAny>> {
        let (before, after) = (&*self.0, &*after.get().0);
        for (name, report) in [("before", before), ("after", after)] {
            if report.findings_omitted > 0 {
                let total = report.findings.len() as u64 + report.findings_omitted;
                return Err(PyValueError::new_err(format!(
                    "{name} keeps {} of {total} findings; verify again with max_findings={total}",
                    report.findings.len()
                )));
            }
        }
        let Parted { new, gone, same } = parted(&before.findings, &after.findings);
        let parts = (Findings::alone(new), Findings::alone(gone), Findings::alone(same));
        py.import("edgesentry._difference")?.getattr("Difference")?.call1(parts)
    }

    /// Raises an exception unless the report is ok.
    ///
    /// Raises:
    ///     VerificationError: There are findings, or there was nothing to verify.
    fn raise_for_findings(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().0.ok() { Ok(()) } else { Err(VerificationError::new_err((slf.clone().unbind(),))) }
    }

    /// Exports the schema of the stream.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &findings_schema())
    }

    /// Exports the findings as an Arrow stream; see `Findings`.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        self.findings().__arrow_c_stream__(py, requested_schema)
    }

    fn _repr_html_(&self, py: Python<'_>) -> String {
        py.detach(|| html::report(&self.0))
    }

    fn __bool__(&self) -> PyResult<bool> {
        let message = "a report has no truth value: use report.ok, or report.raise_for_findings()";
        Err(PyTypeError::new_err(message))
    }

    /// A report that was read from JSON has evidence as text.
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let json = |report: &chain::Report| serde_json::to_string(report).ok();
        other.cast::<Report>().is_ok_and(|other| {
            let other = &other.get().0;
            *other == self.0 || (other.counts == self.0.counts && json(other) == json(&self.0))
        })
    }

    fn __repr__(&self) -> String {
        let chain::Coverage { records, devices, .. } = self.0.coverage;
        let findings = count(self.0.counts.values().sum(), "finding");
        let (records, devices) = (count(records, "record"), count(devices, "device"));
        format!("<Report {}: {findings} in {records} of {devices}>", self.verdict())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Report", &(ReportState::from(&*self.0), &self.2))
    }
}

fn indented(report: &chain::Report, indent: usize) -> serde_json::Result<String> {
    let mut json = Vec::new();
    let indent = " ".repeat(indent);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
    serde::Serialize::serialize(report, &mut serializer)?;
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}
