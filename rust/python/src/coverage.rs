//! `Coverage`: the checks that were made and those that were not, with their inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain as chain;
use edgesentry_chain::count;
use edgesentry_chain::state;
use pyo3::prelude::*;

use crate::pickle::{Reduced, reduce};

/// The checks that were made, and those that were not.
#[pyclass(frozen, eq, module = "edgesentry")]
pub(crate) struct Coverage(Arc<chain::Report>);

impl PartialEq for Coverage {
    fn eq(&self, other: &Coverage) -> bool {
        self.0.coverage == other.0.coverage
    }
}

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
    /// Records whose links were checked.
    #[getter]
    fn records(&self) -> u64 {
        self.0.coverage.records
    }

    /// Devices among them.
    #[getter]
    fn devices(&self) -> u64 {
        self.0.coverage.devices
    }

    /// Entries that are not records.
    #[getter]
    fn malformed(&self) -> u64 {
        self.0.coverage.malformed
    }

    /// Chains by their beginning.
    #[getter]
    fn links(&self) -> LinkCoverage {
        LinkCoverage(self.0.coverage.links.clone())
    }

    /// Signatures; None if no keys were given.
    #[getter]
    fn signatures(&self) -> Option<SignatureCoverage> {
        self.0.coverage.signatures.clone().map(SignatureCoverage)
    }

    /// Payloads; None if no payloads were given.
    #[getter]
    fn payloads(&self) -> Option<PayloadCoverage> {
        self.0.coverage.payloads.clone().map(PayloadCoverage)
    }

    /// Heads; None if there were none.
    #[getter]
    fn heads(&self) -> Option<HeadCoverage> {
        self.0.coverage.heads.clone().map(HeadCoverage)
    }

    /// The log; None if no checkpoint was given.
    #[getter]
    fn log(&self) -> Option<LogCoverage> {
        self.0.coverage.log.clone().map(LogCoverage)
    }

    /// Checks that were not made and faults that could therefore go unnoticed; one sentence each.
    #[getter]
    fn not_checked(&self) -> Vec<String> {
        self.0.coverage.not_checked.iter().map(chain::NotChecked::with_level).collect()
    }

    /// The inputs that the levels were checked against, and who provided each.
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
        let (records, devices) = (count(*records, "record"), count(*devices, "device"));
        format!("<Coverage {records}, {devices}, {malformed} malformed; links{checked} checked>")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Coverage", &state::CoverageState::from(&self.0.coverage))
    }
}

/// The number of chains by their beginning. A chain with an unexpected beginning is a finding.
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct LinkCoverage(pub(crate) chain::LinkCoverage);

#[pymethods]
impl LinkCoverage {
    /// Chains that begin at sequence 1.
    #[getter(from_first)]
    fn begins_first(&self) -> u64 {
        self.0.from_first
    }

    /// Chains that begin after a start head of the auditor.
    #[getter(from_trusted)]
    fn begins_trusted(&self) -> u64 {
        self.0.from_trusted
    }

    /// Chains that begin after a start head which the side under test claims.
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

/// Signatures that were checked.
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct SignatureCoverage(pub(crate) chain::SignatureCoverage);

#[pymethods]
impl SignatureCoverage {
    /// Records checked under scheme `payload-hash`, which covers the payload hash only.
    #[getter]
    fn payload_hash(&self) -> u64 {
        self.0.payload_hash
    }

    /// Records checked under scheme `record`, which covers the whole record.
    #[getter]
    fn record(&self) -> u64 {
        self.0.record
    }

    /// Records not checked: the device has no key, or none that is valid at the sequence.
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

/// Payloads that were checked.
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct PayloadCoverage(pub(crate) chain::PayloadCoverage);

#[pymethods]
impl PayloadCoverage {
    /// Payloads looked for, and hashed if they were found.
    #[getter]
    fn checked(&self) -> u64 {
        self.0.checked
    }

    /// Missing payloads that the log of a trusted checkpoint says were erased: no findings.
    #[getter]
    fn erased(&self) -> u64 {
        self.0.erased
    }

    /// Payloads that this log says were erased, and that are there with the bytes of their records.
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
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct HeadCoverage(pub(crate) chain::HeadCoverage);

#[pymethods]
impl HeadCoverage {
    /// Heads of the auditor.
    #[getter]
    fn trusted(&self) -> u64 {
        self.0.trusted
    }

    /// Heads that the side under test claims.
    #[getter]
    fn claimed(&self) -> u64 {
        self.0.claimed
    }

    /// Devices in the input without a trusted head.
    #[getter]
    fn devices_without(&self) -> u64 {
        self.0.devices_without
    }

    /// Devices without a trusted head but with a claimed one.
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
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct LogCoverage(pub(crate) chain::LogCoverage);

#[pymethods]
impl LogCoverage {
    /// The name of the log.
    #[getter]
    fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The number of leaves up to the checkpoint.
    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }

    /// Records of the input up to the checkpoint.
    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    /// Records of the log after the checkpoint, which were not compared.
    #[getter]
    fn after(&self) -> u64 {
        self.0.after
    }

    /// Records of the input whose payloads were erased, by the log; 0 if the checkpoint is not trusted.
    #[getter]
    fn erased(&self) -> u64 {
        self.0.erased
    }

    /// Leaves of kinds that this release does not know; only their hashes were checked.
    #[getter]
    fn unknown_leaves(&self) -> u64 {
        self.0.unknown_leaves
    }

    /// Witnesses of the policy that have signed the checkpoint.
    #[getter]
    fn witnesses(&self) -> u64 {
        self.0.witnesses
    }

    /// True if the policy requires witnesses.
    #[getter]
    fn quorum(&self) -> bool {
        self.0.quorum
    }

    /// True if the root was computed from the records and compared with the checkpoint.
    #[getter]
    fn compared(&self) -> bool {
        self.0.root == chain::RootCheck::Compared
    }

    /// True if the log was compared with the earlier checkpoint; None if there was none.
    #[getter]
    fn previous(&self) -> Option<bool> {
        self.0.previous
    }

    /// The log that this one succeeds: name, size and root in base64 of its last checkpoint.
    ///
    /// None if there is none, or if the checkpoint of this log is not trusted.
    #[getter]
    fn predecessor(&self) -> Option<(&str, u64, &str)> {
        let chain::Predecessor { origin, size, root } = self.0.predecessor.as_ref()?;
        Some((origin, *size, root))
    }

    /// The valid time stamps of the checkpoint.
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
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct TimeStamp(pub(crate) chain::TimeStamp);

#[pymethods]
impl TimeStamp {
    /// The name of the file.
    #[getter]
    fn file(&self) -> &str {
        &self.0.file
    }

    /// The subject of the certificate of the time stamping authority.
    #[getter]
    fn authority(&self) -> &str {
        &self.0.authority
    }

    /// The serial number of the stamp in hex.
    #[getter]
    fn serial(&self) -> &str {
        &self.0.serial
    }

    /// The time in the stamp, Unix milliseconds, rounded up.
    #[getter]
    fn time_ms(&self) -> u64 {
        self.0.time_ms
    }

    /// The checkpoint existed before this time: that of the stamp and its accuracy, Unix milliseconds.
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

/// An input of a verification.
#[pyclass(frozen, eq, module = "edgesentry")]
#[derive(PartialEq)]
pub(crate) struct Input(chain::Input);

impl From<chain::Input> for Input {
    fn from(input: chain::Input) -> Input {
        Input(input)
    }
}

#[pymethods]
impl Input {
    /// Its name, such as a file path.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Its format, such as `json`, `ndjson+gzip` or `parquet`.
    #[getter]
    fn format(&self) -> &str {
        &self.0.format
    }

    /// Entries read from it, malformed ones included.
    #[getter]
    fn entries(&self) -> u64 {
        self.0.entries
    }

    /// Its size in bytes; None if it has none.
    #[getter]
    fn bytes(&self) -> Option<u64> {
        self.0.bytes
    }

    fn __repr__(&self) -> String {
        let chain::Input { name, format, entries, .. } = &self.0;
        let entries = if *entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
        format!("<Input {}: {format}, {entries}>", chain::escape::quoted(name))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Input", &state::InputState::from(&self.0))
    }
}

/// The range of sequences and times of a chain.
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
    /// Records found.
    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    /// The lowest sequence found, at any position.
    #[getter]
    fn lowest_sequence(&self) -> u64 {
        self.0.lowest_sequence
    }

    /// The highest sequence found.
    #[getter]
    fn highest_sequence(&self) -> u64 {
        self.0.highest_sequence
    }

    /// The earliest time that a record claims, Unix milliseconds.
    #[getter]
    fn earliest_ms(&self) -> u64 {
        self.0.earliest_ms
    }

    /// The latest time that a record claims, Unix milliseconds.
    #[getter]
    fn latest_ms(&self) -> u64 {
        self.0.latest_ms
    }

    fn __repr__(&self) -> String {
        let chain::ChainSpan { records, lowest_sequence, highest_sequence, .. } = self.0;
        let records = count(records, "record");
        format!("<ChainSpan of {records}, sequence {lowest_sequence} to {highest_sequence}>")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "ChainSpan", &self.0)
    }
}
