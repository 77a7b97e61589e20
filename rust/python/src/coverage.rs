//! `Coverage`: the checks that were made and those that were not, with their inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain as chain;
use edgesentry_chain::state;
use pyo3::prelude::*;

use crate::pickle::{Reduced, reduce};

/// The checks that were made and those that were not.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Coverage(Arc<chain::Report>);

impl Coverage {
    pub(crate) fn of(report: &Arc<chain::Report>) -> Coverage {
        Coverage(Arc::clone(report))
    }

    /// Returns a coverage without its report.
    pub(crate) fn alone(coverage: chain::Coverage) -> Coverage {
        Coverage(Arc::new(chain::Report {
            verdict: chain::Verdict::NothingToVerify,
            counts: BTreeMap::new(),
            findings: Vec::new(),
            findings_omitted: 0,
            hints: Vec::new(),
            heads: chain::Heads::new(),
            chains: BTreeMap::new(),
            coverage,
            inputs: Vec::new(),
        }))
    }
}

#[pymethods]
impl Coverage {
    #[getter]
    fn records(&self) -> u64 {
        self.0.coverage.records
    }

    #[getter]
    fn devices(&self) -> u64 {
        self.0.coverage.devices
    }

    #[getter]
    fn malformed(&self) -> u64 {
        self.0.coverage.malformed
    }

    #[getter]
    fn links(&self) -> LinkCoverage {
        LinkCoverage(self.0.coverage.links.clone())
    }

    #[getter]
    fn signatures(&self) -> Option<SignatureCoverage> {
        self.0.coverage.signatures.clone().map(SignatureCoverage)
    }

    #[getter]
    fn payloads(&self) -> Option<PayloadCoverage> {
        self.0.coverage.payloads.clone().map(PayloadCoverage)
    }

    #[getter]
    fn heads(&self) -> Option<HeadCoverage> {
        self.0.coverage.heads.clone().map(HeadCoverage)
    }

    #[getter]
    fn log(&self) -> Option<LogCoverage> {
        self.0.coverage.log.clone().map(LogCoverage)
    }

    #[getter]
    fn not_checked(&self) -> Vec<String> {
        self.0.coverage.not_checked.iter().map(chain::NotChecked::with_level).collect()
    }

    #[getter]
    fn provided_by(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let providers = self.0.coverage.provided_by.iter();
        providers.map(|(kind, by)| (kind.name(), by.iter().map(|by| by.name()).collect())).collect()
    }

    fn __repr__(&self) -> String {
        let chain::Coverage { records, devices, malformed, signatures, payloads, heads, log, .. } =
            &self.0.coverage;
        let levels = [
            ("signatures", signatures.is_some()),
            ("payloads", payloads.is_some()),
            ("heads", heads.is_some()),
            ("log", log.is_some()),
        ];
        let checked = levels.iter().filter(|(_, checked)| *checked).map(|(level, _)| format!(", {level}"));
        let checked: String = checked.collect();
        format!(
            "<Coverage {records} records, {devices} devices, {malformed} malformed; links{checked} checked>"
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Coverage", &state::CoverageState::from(&self.0.coverage))
    }
}

/// How the starts of chains are known.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct LinkCoverage(pub(crate) chain::LinkCoverage);

#[pymethods]
impl LinkCoverage {
    #[getter(from_first)]
    fn begins_first(&self) -> u64 {
        self.0.from_first
    }

    #[getter(from_trusted)]
    fn begins_trusted(&self) -> u64 {
        self.0.from_trusted
    }

    #[getter(from_claimed)]
    fn begins_claimed(&self) -> u64 {
        self.0.from_claimed
    }

    fn __repr__(&self) -> String {
        let chain::LinkCoverage { from_first, from_trusted, from_claimed } = self.0;
        format!(
            "LinkCoverage(from_first={from_first}, from_trusted={from_trusted}, from_claimed={from_claimed})"
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "LinkCoverage", &self.0)
    }
}

/// Signatures that were decided.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct SignatureCoverage(pub(crate) chain::SignatureCoverage);

#[pymethods]
impl SignatureCoverage {
    #[getter]
    fn payload_hash(&self) -> u64 {
        self.0.payload_hash
    }

    #[getter]
    fn record(&self) -> u64 {
        self.0.record
    }

    #[getter]
    fn unchecked(&self) -> u64 {
        self.0.unchecked
    }

    fn __repr__(&self) -> String {
        let chain::SignatureCoverage { payload_hash, record, unchecked } = self.0;
        format!("SignatureCoverage(payload_hash={payload_hash}, record={record}, unchecked={unchecked})")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "SignatureCoverage", &self.0)
    }
}

/// Payloads that were looked up.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct PayloadCoverage(pub(crate) chain::PayloadCoverage);

#[pymethods]
impl PayloadCoverage {
    #[getter]
    fn checked(&self) -> u64 {
        self.0.checked
    }

    #[getter]
    fn erased(&self) -> u64 {
        self.0.erased
    }

    #[getter]
    fn erased_present(&self) -> u64 {
        self.0.erased_present
    }

    fn __repr__(&self) -> String {
        let chain::PayloadCoverage { checked, erased, erased_present } = self.0;
        format!("PayloadCoverage(checked={checked}, erased={erased}, erased_present={erased_present})")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "PayloadCoverage", &self.0)
    }
}

/// Heads that were compared.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct HeadCoverage(pub(crate) chain::HeadCoverage);

#[pymethods]
impl HeadCoverage {
    #[getter]
    fn trusted(&self) -> u64 {
        self.0.trusted
    }

    #[getter]
    fn claimed(&self) -> u64 {
        self.0.claimed
    }

    #[getter]
    fn devices_without(&self) -> u64 {
        self.0.devices_without
    }

    #[getter]
    fn devices_claimed(&self) -> u64 {
        self.0.devices_claimed
    }

    fn __repr__(&self) -> String {
        let chain::HeadCoverage { trusted, claimed, devices_without, devices_claimed } = self.0;
        format!(
            "HeadCoverage(trusted={trusted}, claimed={claimed}, devices_without={devices_without}, \
             devices_claimed={devices_claimed})"
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "HeadCoverage", &self.0)
    }
}

/// A log that was compared with a checkpoint.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct LogCoverage(pub(crate) chain::LogCoverage);

#[pymethods]
impl LogCoverage {
    #[getter]
    fn origin(&self) -> &str {
        &self.0.origin
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }

    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    #[getter]
    fn after(&self) -> u64 {
        self.0.after
    }

    #[getter]
    fn erased(&self) -> u64 {
        self.0.erased
    }

    #[getter]
    fn unknown_leaves(&self) -> u64 {
        self.0.unknown_leaves
    }

    #[getter]
    fn witnesses(&self) -> u64 {
        self.0.witnesses
    }

    #[getter]
    fn quorum(&self) -> bool {
        self.0.quorum
    }

    #[getter]
    fn compared(&self) -> bool {
        self.0.root == chain::RootCheck::Compared
    }

    #[getter]
    fn previous(&self) -> Option<bool> {
        self.0.previous
    }

    #[getter]
    fn predecessor(&self) -> Option<(&str, u64, &str)> {
        let chain::Predecessor { origin, size, root } = self.0.predecessor.as_ref()?;
        Some((origin, *size, root))
    }

    #[getter]
    fn timestamps(&self) -> Vec<TimeStamp> {
        self.0.timestamps.iter().cloned().map(TimeStamp).collect()
    }

    fn __repr__(&self) -> String {
        let chain::LogCoverage { origin, size, records, after, witnesses, .. } = &self.0;
        let compared = if self.compared() { "True" } else { "False" };
        format!(
            "LogCoverage(origin={origin:?}, size={size}, records={records}, after={after}, witnesses={witnesses}, \
             compared={compared})"
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "LogCoverage", &self.0)
    }
}

/// A valid time stamp of a checkpoint.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct TimeStamp(pub(crate) chain::TimeStamp);

#[pymethods]
impl TimeStamp {
    #[getter]
    fn file(&self) -> &str {
        &self.0.file
    }

    #[getter]
    fn authority(&self) -> &str {
        &self.0.authority
    }

    #[getter]
    fn serial(&self) -> &str {
        &self.0.serial
    }

    #[getter]
    fn time_ms(&self) -> u64 {
        self.0.time_ms
    }

    #[getter]
    fn before_ms(&self) -> u64 {
        self.0.before_ms
    }

    fn __repr__(&self) -> String {
        let chain::TimeStamp { authority, before_ms, .. } = &self.0;
        format!("TimeStamp(authority={}, before_ms={before_ms})", chain::escape::quoted(authority))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "TimeStamp", &self.0)
    }
}

/// One of the inputs of a verification.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Input(chain::Input);

impl From<chain::Input> for Input {
    fn from(input: chain::Input) -> Input {
        Input(input)
    }
}

#[pymethods]
impl Input {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn format(&self) -> &str {
        &self.0.format
    }

    #[getter]
    fn entries(&self) -> u64 {
        self.0.entries
    }

    #[getter]
    fn bytes(&self) -> Option<u64> {
        self.0.bytes
    }

    fn __repr__(&self) -> String {
        let chain::Input { name, format, entries, .. } = &self.0;
        format!("<Input {}: {format}, {entries} entries>", chain::escape::quoted(name))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Input", &state::InputState::from(&self.0))
    }
}

/// The extent of one chain.
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct ChainSpan(chain::ChainSpan);

impl From<chain::ChainSpan> for ChainSpan {
    fn from(span: chain::ChainSpan) -> ChainSpan {
        ChainSpan(span)
    }
}

#[pymethods]
impl ChainSpan {
    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    #[getter]
    fn lowest_sequence(&self) -> u64 {
        self.0.lowest_sequence
    }

    #[getter]
    fn highest_sequence(&self) -> u64 {
        self.0.highest_sequence
    }

    #[getter]
    fn earliest_ms(&self) -> u64 {
        self.0.earliest_ms
    }

    #[getter]
    fn latest_ms(&self) -> u64 {
        self.0.latest_ms
    }

    fn __repr__(&self) -> String {
        let chain::ChainSpan { records, lowest_sequence, highest_sequence, .. } = self.0;
        format!("<ChainSpan of {records} records, sequence {lowest_sequence} to {highest_sequence}>")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "ChainSpan", &self.0)
    }
}
