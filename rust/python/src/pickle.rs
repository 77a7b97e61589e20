//! Pickles of results, to move them between processes of one release: a version, a checksum, and postcard.
//!
//! The author of a pickle decides which code unpickling runs, so an untrusted pickle is never safe to open. The checks
//! here only prevent a damaged pickle, or one of another release, from giving a wrong result.

use edgesentry_chain as chain;
use edgesentry_chain::Hash;
use edgesentry_chain::state::{CoverageState, FindingState, InputState};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::coverage::{
    ChainSpan, Coverage, HeadCoverage, Input, LinkCoverage, LogCoverage, PayloadCoverage, SignatureCoverage,
    TimeStamp,
};
use crate::errors::UnreadableError;
use crate::findings::{Cause, Finding, Findings};
use crate::keys::KeyRing;
use crate::log_inputs::LogInputs;
use crate::packed_heads::PackedHeads;
use crate::packed_keys::PackedKeys;
use crate::report::Report;
use crate::segments::Segments;
use crate::statistics::Statistics;

/// Incremented with every change of a pickled type.
const VERSION: u8 = 2;
/// Size of the checksum after the version, in bytes.
const CHECKSUM_BYTES: usize = 8;

/// The return value of `__reduce__`: a function and its arguments.
pub(crate) type Reduced<'py> = (Bound<'py, PyAny>, (&'static str, Bound<'py, PyBytes>));

/// Returns the pickle of a result of class `kind`.
pub(crate) fn reduce<'py>(
    py: Python<'py>,
    kind: &'static str,
    content: &(impl Serialize + Sync),
) -> PyResult<Reduced<'py>> {
    let state = py.detach(|| Ok::<_, postcard::Error>(sealed(kind, &postcard::to_stdvec(content)?)));
    let state =
        state.map_err(|error| PyRuntimeError::new_err(format!("cannot pickle the {kind}: {error}")))?;
    reduced(py, kind, &state)
}

/// Returns content with a version and a checksum before it.
pub(crate) fn sealed(kind: &str, content: &[u8]) -> Vec<u8> {
    let mut state = vec![VERSION];
    state.extend_from_slice(&checksum(kind, content));
    state.extend_from_slice(content);
    state
}

/// Returns the content of [`sealed`].
pub(crate) fn unsealed(state: &[u8]) -> &[u8] {
    state.get(1 + CHECKSUM_BYTES..).unwrap_or_default()
}

/// Returns the pickle of a sealed state.
pub(crate) fn reduced<'py>(py: Python<'py>, kind: &'static str, state: &[u8]) -> PyResult<Reduced<'py>> {
    let restore = py.import("edgesentry._core")?.getattr("_restore")?;
    Ok((restore, (kind, PyBytes::new(py, state))))
}

/// Rejects pickling of an object that belongs to one process.
pub(crate) fn refuse<T>(kind: &str, instead: &str) -> PyResult<T> {
    Err(PyTypeError::new_err(format!("a {kind} does not pickle: {instead}")))
}

/// Restores a result from its pickle.
#[pyfunction]
#[pyo3(name = "_restore")]
pub(crate) fn restore(py: Python<'_>, kind: &str, state: PyBackedBytes) -> PyResult<Py<PyAny>> {
    let bytes = state.as_ref();
    match kind {
        "Report" => object(py, kind, bytes, Report::from_state),
        "Findings" => object(py, kind, bytes, |findings: Vec<FindingState>| {
            Ok(Findings::alone(findings.into_iter().map(Into::into).collect()))
        }),
        "Finding" => object(py, kind, bytes, |finding: FindingState| Ok(Finding(finding.into()))),
        "Cause" => object(py, kind, bytes, |cause| Ok(Cause(cause))),
        "Coverage" => object(py, kind, bytes, |coverage: CoverageState| Ok(Coverage::alone(coverage.into()))),
        "LinkCoverage" => object(py, kind, bytes, |coverage| Ok(LinkCoverage(coverage))),
        "SignatureCoverage" => object(py, kind, bytes, |coverage| Ok(SignatureCoverage(coverage))),
        "PayloadCoverage" => object(py, kind, bytes, |coverage| Ok(PayloadCoverage(coverage))),
        "HeadCoverage" => object(py, kind, bytes, |coverage| Ok(HeadCoverage(coverage))),
        "LogCoverage" => object(py, kind, bytes, |coverage| Ok(LogCoverage(coverage))),
        "TimeStamp" => object(py, kind, bytes, |stamp| Ok(TimeStamp(stamp))),
        "Input" => object(py, kind, bytes, |input: InputState| Ok(Input::from(chain::Input::from(input)))),
        "ChainSpan" => object(py, kind, bytes, |span: chain::ChainSpan| Ok(ChainSpan::from(span))),
        "KeyRing" => object(py, kind, bytes, KeyRing::from_state),
        "PackedKeys" => {
            opened(py, kind, bytes)?;
            Ok(Py::new(py, PackedKeys::from_state(state))?.into_any())
        }
        "PackedHeads" => {
            opened(py, kind, bytes)?;
            Ok(Py::new(py, PackedHeads::from_state(state))?.into_any())
        }
        "LogInputs" => object(py, kind, bytes, LogInputs::from_state),
        "Segments" => object(py, kind, bytes, Segments::from_state),
        "Statistics" => object(py, kind, bytes, Statistics::from_state),
        _ => {
            let kind: String = kind.chars().take(60).collect();
            Err(UnreadableError::new_err(format!("this release of edgesentry has no result {kind:?}")))
        }
    }
}

/// Creates the object of a state.
fn object<S, T>(
    py: Python<'_>,
    kind: &str,
    bytes: &[u8],
    make: impl FnOnce(S) -> Result<T, String>,
) -> PyResult<Py<PyAny>>
where
    S: DeserializeOwned + Send,
    T: pyo3::PyClass + Into<pyo3::PyClassInitializer<T>>,
{
    let made = make(read(py, kind, bytes)?).map_err(|problem| {
        UnreadableError::new_err(format!("the pickle of a {kind} is inconsistent: {problem}"))
    })?;
    Ok(Py::new(py, made)?.into_any())
}

fn read<T: DeserializeOwned + Send>(py: Python<'_>, kind: &str, state: &[u8]) -> PyResult<T> {
    let content = opened(py, kind, state)?;
    py.detach(|| {
        let (value, rest) = postcard::take_from_bytes(content).ok()?;
        rest.is_empty().then_some(value)
    })
    .ok_or_else(|| problem(kind, "is damaged"))
}

fn problem(kind: &str, problem: &str) -> PyErr {
    UnreadableError::new_err(format!("the pickle of a {kind} {problem}"))
}

/// Returns the content of a sealed state if it is intact, and of this release.
fn opened<'s>(py: Python<'_>, kind: &str, state: &'s [u8]) -> PyResult<&'s [u8]> {
    let [version, rest @ ..] = state else { return Err(problem(kind, "is empty")) };
    if *version != VERSION {
        return Err(problem(
            kind,
            "is of another release of edgesentry; pickles pass between processes of one release, to keep a report \
             use to_json()",
        ));
    }
    py.detach(|| {
        let (sum, content) = rest.split_at_checked(CHECKSUM_BYTES)?;
        (sum == checksum(kind, content)).then_some(content)
    })
    .ok_or_else(|| problem(kind, "is damaged"))
}

fn checksum(kind: &str, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut all = Vec::with_capacity(kind.len() + 1 + content.len());
    all.extend_from_slice(kind.as_bytes());
    all.push(0);
    all.extend_from_slice(content);
    let Hash(hash) = Hash::of(&all);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hash[..CHECKSUM_BYTES]);
    sum
}
