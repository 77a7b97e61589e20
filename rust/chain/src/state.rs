//! Reports in a form for other processes of the same release: all fields, and evidence with its type. The `serde` form
//! of the report itself is for people and other programs, and has evidence as text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::coverage::{
    Coverage, HeadCoverage, LinkCoverage, LogCoverage, NotChecked, PayloadCoverage, SignatureCoverage,
    not_checked,
};
use crate::finding::{Cause, Evidence, Finding, FindingCode, Location};
use crate::hash::Hash;
use crate::head::Heads;
use crate::hint::Hint;
use crate::key::Scheme;
use crate::level::Providers;
use crate::report::{Input, Report, Verdict};
use crate::segment::ChainSpan;

/// A [`Report`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct ReportState {
    counts: BTreeMap<FindingCode, u64>,
    findings: Vec<FindingState>,
    findings_omitted: u64,
    hints: Vec<Hint>,
    heads: Heads,
    chains: BTreeMap<Arc<str>, ChainSpan>,
    coverage: CoverageState,
    inputs: Vec<InputState>,
}

impl From<&Report> for ReportState {
    fn from(report: &Report) -> ReportState {
        ReportState {
            counts: report.counts.clone(),
            findings: report.findings.iter().map(FindingState::from).collect(),
            findings_omitted: report.findings_omitted,
            hints: report.hints.clone(),
            heads: report.heads.clone(),
            chains: report.chains.clone(),
            coverage: CoverageState::from(&report.coverage),
            inputs: report.inputs.iter().map(InputState::from).collect(),
        }
    }
}

impl TryFrom<ReportState> for Report {
    type Error = &'static str;

    /// Restores the report; its verdict follows from its contents.
    ///
    /// # Errors
    /// The parts are inconsistent, unlike those of any report of a verification.
    fn try_from(state: ReportState) -> Result<Report, &'static str> {
        let ReportState { counts, findings, findings_omitted, hints, heads, chains, coverage, inputs } =
            state;
        let findings: Vec<Finding> = findings.into_iter().map(Finding::from).collect();
        let coverage = Coverage::from(coverage);
        let sum = |numbers: Vec<u64>| numbers.into_iter().try_fold(0_u64, u64::checked_add);
        let mut kept: BTreeMap<FindingCode, u64> = BTreeMap::new();
        for finding in &findings {
            *kept.entry(finding.code).or_default() += 1;
        }
        if kept.iter().any(|(code, kept)| counts.get(code).is_none_or(|count| count < kept)) {
            return Err("it has more findings than it counts");
        }
        if counts.values().any(|count| *count == 0) {
            return Err("it has a finding code with a count of 0");
        }
        if sum(counts.values().copied().collect()) != findings_omitted.checked_add(findings.len() as u64) {
            return Err("the number of its findings is not the sum of its counts");
        }
        if !heads.keys().eq(chains.keys()) || coverage.devices != heads.len() as u64 {
            return Err("its heads do not match its chains");
        }
        if sum(chains.values().map(|span| span.records).collect()) != Some(coverage.records) {
            return Err("the records of its chains do not match its count");
        }
        let verdict = if !counts.is_empty() {
            Verdict::Findings
        } else if coverage.records == 0 {
            Verdict::NothingToVerify
        } else {
            Verdict::Valid
        };
        Ok(Report {
            verdict,
            counts,
            findings,
            findings_omitted,
            hints,
            heads,
            chains,
            coverage,
            inputs: inputs.into_iter().map(Input::from).collect(),
        })
    }
}

/// A [`Finding`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct FindingState(#[serde(with = "FindingFields")] Finding);

/// All fields of a [`Finding`]; its own form leaves one out.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Finding")]
struct FindingFields {
    code: FindingCode,
    device_id: Option<Arc<str>>,
    sequence: Option<u64>,
    timestamp_ms: Option<u64>,
    index: Option<u64>,
    expected: Evidence,
    actual: Evidence,
    record_hash: Option<Hash>,
    cause: Option<Cause>,
    location: Option<Location>,
    #[serde(default)]
    predecessor: Option<u64>,
}

impl From<&Finding> for FindingState {
    fn from(finding: &Finding) -> FindingState {
        FindingState(finding.clone())
    }
}

impl From<FindingState> for Finding {
    fn from(FindingState(finding): FindingState) -> Finding {
        finding
    }
}

/// A [`Coverage`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct CoverageState(#[serde(with = "CoverageFields")] Coverage);

/// The fields of a [`Coverage`] except the missing checks, which follow from them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Coverage")]
struct CoverageFields {
    records: u64,
    devices: u64,
    malformed: u64,
    links: LinkCoverage,
    signatures: Option<SignatureCoverage>,
    payloads: Option<PayloadCoverage>,
    heads: Option<HeadCoverage>,
    log: Option<LogCoverage>,
    provided_by: Providers,
    #[serde(skip)]
    not_checked: Vec<NotChecked>,
}

impl From<&Coverage> for CoverageState {
    fn from(coverage: &Coverage) -> CoverageState {
        CoverageState(coverage.clone())
    }
}

impl From<CoverageState> for Coverage {
    fn from(CoverageState(mut coverage): CoverageState) -> Coverage {
        coverage.not_checked = not_checked(&coverage);
        coverage
    }
}

/// An [`Input`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct InputState {
    name: Arc<str>,
    format: String,
    entries: u64,
    bytes: Option<u64>,
    modified: Option<SystemTime>,
    /// Not a path: serde supports only paths in UTF-8.
    path: Option<OsString>,
}

impl From<&Input> for InputState {
    fn from(input: &Input) -> InputState {
        let Input { name, format, entries, bytes, modified, path } = input.clone();
        InputState { name, format, entries, bytes, modified, path: path.map(Into::into) }
    }
}

impl From<InputState> for Input {
    fn from(state: InputState) -> Input {
        let InputState { name, format, entries, bytes, modified, path } = state;
        Input { name, format, entries, bytes, modified, path: path.map(Into::into) }
    }
}

/// A [`Report`] in the form of its JSON. Evidence becomes text, and the inputs lose their paths.
#[derive(Deserialize, Debug)]
pub struct ReportJson {
    verdict: String,
    counts: BTreeMap<FindingCode, u64>,
    findings: Vec<FindingState>,
    findings_omitted: u64,
    hints: Vec<HintJson>,
    heads: Heads,
    chains: BTreeMap<Arc<str>, ChainSpan>,
    coverage: CoverageJson,
    inputs: Vec<InputState>,
}

/// A [`Coverage`] with its missing checks.
#[derive(Deserialize, Debug)]
struct CoverageJson {
    #[serde(flatten)]
    made: CoverageState,
    gaps: Vec<NotChecked>,
}

/// A [`Hint`]; its message follows from the other fields.
#[derive(Deserialize, Debug)]
#[serde(tag = "code", rename_all = "snake_case")]
enum HintJson {
    NotInOrder { devices: u64, device_id: Arc<str> },
    OtherScheme { scheme: Scheme, signatures: u64, devices: u64, device_id: Arc<str> },
    ErasureUnproven { payloads: u64 },
    PartOfExport { missing: u64, present: u64 },
}

impl HintJson {
    fn restored(self, many_inputs: bool) -> Hint {
        match self {
            HintJson::NotInOrder { devices, device_id } => {
                Hint::NotInOrder { devices, device_id, many_inputs }
            }
            HintJson::OtherScheme { scheme, signatures, devices, device_id } => {
                Hint::OtherScheme { scheme, signatures, devices, device_id }
            }
            HintJson::ErasureUnproven { payloads } => Hint::ErasureUnproven { payloads },
            HintJson::PartOfExport { missing, present } => Hint::PartOfExport { missing, present },
        }
    }
}

impl TryFrom<ReportJson> for Report {
    type Error = &'static str;

    /// Restores the report.
    ///
    /// # Errors
    /// The parts are inconsistent, or the verdict is not that of its contents.
    fn try_from(json: ReportJson) -> Result<Report, &'static str> {
        let many_inputs = json.inputs.len() > 1;
        let mut report = Report::try_from(ReportState {
            counts: json.counts,
            findings: json.findings,
            findings_omitted: json.findings_omitted,
            hints: json.hints.into_iter().map(|hint| hint.restored(many_inputs)).collect(),
            heads: json.heads,
            chains: json.chains,
            coverage: json.coverage.made,
            inputs: json.inputs,
        })?;
        report.coverage.not_checked = json.coverage.gaps;
        let verdict = match report.verdict {
            Verdict::Valid => "valid",
            Verdict::Findings => "findings",
            Verdict::NothingToVerify => "nothing_to_verify",
        };
        if verdict != json.verdict { Err("its verdict is not that of its contents") } else { Ok(report) }
    }
}
