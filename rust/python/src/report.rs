//! `Report`: the result of a verification.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain as chain;
use edgesentry_chain::state::ReportState;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use serde::{Deserialize, Serialize};

use crate::arrow::schema_capsule;
use crate::coverage::{ChainSpan, Coverage, Input};
use crate::errors::VerificationError;
use crate::finding_table::{FindingTable, findings_schema};
use crate::findings::Findings;
use crate::heads::heads_to_dict;
use crate::html::{self, count};
use crate::pickle::{Reduced, reduce};

/// The result of a verification.
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
    #[getter]
    fn ok(&self) -> bool {
        self.0.ok()
    }

    #[getter]
    fn verdict(&self) -> &'static str {
        match self.0.verdict {
            chain::Verdict::Valid => "valid",
            chain::Verdict::Findings => "findings",
            chain::Verdict::NothingToVerify => "nothing_to_verify",
        }
    }

    #[getter]
    fn findings(&self) -> Findings {
        Findings::all(&self.0, &self.1)
    }

    #[getter]
    fn findings_omitted(&self) -> u64 {
        self.0.findings_omitted
    }

    #[getter]
    fn hints(&self) -> Vec<String> {
        self.0.hints.iter().map(ToString::to_string).collect()
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (code, count) in &self.0.counts {
            counts.set_item(code.name(), count)?;
        }
        Ok(counts)
    }

    #[getter]
    fn heads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        heads_to_dict(py, &self.0.heads)
    }

    #[getter]
    fn chains(&self) -> BTreeMap<String, ChainSpan> {
        let spans = self.0.chains.iter();
        spans.map(|(device_id, span)| (device_id.to_string(), ChainSpan::from(span.clone()))).collect()
    }

    #[getter]
    fn coverage(&self) -> Coverage {
        Coverage::of(&self.0)
    }

    #[getter]
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs.iter().cloned().map(Input::from).collect()
    }

    fn summary(&self, py: Python<'_>) -> String {
        py.detach(|| eds::summary(&self.0))
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.to_json(py, None)?,))
    }

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

    fn to_html(&self, py: Python<'_>) -> String {
        let Call { scheme, ledger } = self.2.clone();
        let circumstances =
            eds::page::Circumstances { scheme, ledger, ..eds::page::Circumstances::now(None) };
        py.detach(|| eds::page::render(&self.0, &circumstances))
    }

    fn raise_for_findings(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().0.ok() { Ok(()) } else { Err(VerificationError::new_err((slf.clone().unbind(),))) }
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &findings_schema())
    }

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

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Report>().is_ok_and(|other| other.get().0 == self.0)
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
