//! `Policy`, `Checkpoint` and `verify_proof`: proofs of the transparency log, and `Ledger.prove`.

use std::fs::File;
use std::path::{Path, PathBuf};

use edgesentry_log as log;
use edgesentry_log::{
    Expected, MAX_NOTE_BYTES, MAX_POLICY_BYTES, MAX_RUN_PROOF_BYTES, ProofFile, Statement, StatementKind,
};
use edgesentry_rs::log::{LogReader, ProveError};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::errors::{ConfigError, EdgesentryError, ProofError, os_error, shown};
use crate::record::record_from_any;
use crate::service::service_failure;
use crate::verify::MaxAgeSeconds;

/// The keys of logs and witnesses that you trust, and the quorum of witnesses (C2SP tlog-policy).
///
/// Args:
///     text: Lines `log VKEY`, `witness NAME VKEY`, `group NAME all|any|K MEMBER...`, and one
///         `quorum NAME|none`.
///
/// Raises:
///     ConfigError: The policy is malformed.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Policy(pub(crate) log::Policy);

impl Policy {
    pub(crate) fn from_file(py: Python<'_>, path: &Path) -> PyResult<Policy> {
        let bytes = read_file(py, path, MAX_POLICY_BYTES)?;
        let policy = log::Policy::parse(&bytes);
        policy
            .map(Policy)
            .map_err(|error| ConfigError::new_err(shown(&format!("{}: {error}", path.display()))))
    }
}

#[pymethods]
impl Policy {
    #[new]
    fn new(text: &str) -> PyResult<Policy> {
        log::Policy::parse(text.as_bytes())
            .map(Policy)
            .map_err(|error| ConfigError::new_err(error.to_string()))
    }

    /// Reads a policy from a file.
    ///
    /// Raises:
    ///     ConfigError: The policy is malformed.
    #[classmethod]
    fn read(_: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Policy> {
        Policy::from_file(py, &path)
    }

    /// The names of the logs.
    #[getter]
    fn origins(&self) -> Vec<&str> {
        self.0.logs().iter().map(|log| log.key.name()).collect()
    }

    /// The names of the witnesses in the policy.
    #[getter]
    fn witnesses(&self) -> Vec<&str> {
        self.0.witnesses().iter().map(|witness| witness.name.as_str()).collect()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Policy({:?})", self.0.to_string())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Policy>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (String,)) {
        (slf.get_type().into_any(), (slf.get().__str__(),))
    }
}

/// A signed checkpoint of a transparency log: its origin, its size and its root. `str` gives the note.
///
/// A policy decides whether it is trusted: see `verify_proof`.
///
/// Args:
///     note: The signed note.
///
/// Raises:
///     ConfigError: The note is not a checkpoint.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Checkpoint {
    pub(crate) note: log::Note,
    pub(crate) checkpoint: log::Checkpoint,
}

impl Checkpoint {
    fn of(bytes: &[u8]) -> Result<Checkpoint, String> {
        let note = log::Note::parse(bytes).map_err(|error| error.to_string())?;
        let checkpoint = log::Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        Ok(Checkpoint { note, checkpoint })
    }

    pub(crate) fn from_file(py: Python<'_>, path: &Path) -> PyResult<Checkpoint> {
        let bytes = read_file(py, path, MAX_NOTE_BYTES)?;
        Checkpoint::of(&bytes)
            .map_err(|problem| ConfigError::new_err(shown(&format!("{}: {problem}", path.display()))))
    }
}

#[pymethods]
impl Checkpoint {
    #[new]
    fn new(note: &str) -> PyResult<Checkpoint> {
        Checkpoint::of(note.as_bytes()).map_err(|problem| ConfigError::new_err(shown(&problem)))
    }

    /// Reads a checkpoint from a file.
    ///
    /// Raises:
    ///     ConfigError: The file is not a checkpoint.
    #[classmethod]
    fn read(_: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Checkpoint> {
        Checkpoint::from_file(py, &path)
    }

    /// The name of the log.
    #[getter]
    fn origin(&self) -> &str {
        self.checkpoint.origin()
    }

    /// The number of leaves.
    #[getter]
    fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// The root of the tree, 32 bytes.
    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.checkpoint.root().0)
    }

    fn __str__(&self) -> String {
        self.note.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Checkpoint(origin={:?}, size={})", self.origin(), self.size())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Checkpoint>().is_ok_and(|other| other.get().note == self.note)
    }

    fn __hash__(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.checkpoint.root().0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ self.size()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (String,)) {
        (slf.get_type().into_any(), (slf.get().__str__(),))
    }
}

/// The fields of `edgesentry.Proven`.
#[allow(clippy::too_many_arguments)]
#[pyfunction]
#[pyo3(signature = (proof, policy, record, device_id, sequence, to_sequence, kind, previous, min_size, max_age))]
pub(crate) fn proven_fields<'py>(
    py: Python<'py>,
    proof: &Bound<'py, PyAny>,
    policy: &Bound<'py, Policy>,
    record: Option<&Bound<'py, PyAny>>,
    device_id: Option<&str>,
    sequence: Option<u64>,
    to_sequence: Option<u64>,
    kind: Option<&str>,
    previous: Option<&Bound<'py, Checkpoint>>,
    min_size: Option<u64>,
    max_age: Option<MaxAgeSeconds>,
) -> PyResult<Bound<'py, PyDict>> {
    let bytes = proof_bytes(proof)?;
    let record = record.map(record_from_any).transpose()?;
    let expected = Expected {
        kind: kind.map(kind_of).transpose()?,
        record: record.as_ref(),
        device_id,
        sequence,
        last_sequence: to_sequence,
        previous: previous.map(|previous| &previous.get().note),
        min_size,
        max_age: max_age.map(MaxAgeSeconds::until_now).transpose()?,
    };
    let proven = ProofFile::parse(&bytes).and_then(|proof| proof.verify(&policy.get().0, &expected));
    let proven = proven.map_err(|error| ProofError::new_err((shown(&error.to_string()), error.code())))?;
    let trusted = &proven.checkpoint;
    let cosigned = PyDict::new(py);
    for witness in trusted.cosigned() {
        cosigned.set_item(&witness.witness, witness.time)?;
    }
    let (index, hash) = match &proven.statement {
        Statement::Record { index, record } => (Some(*index), Some(record.hash())),
        Statement::Run { records, .. } => (None, records.last().map(|record| record.hash())),
        Statement::Leaf { index, .. } => (Some(*index), None),
        Statement::Head(entry) => (None, Some(entry.record_hash)),
        Statement::Absent(_) | Statement::Extends(_) => (None, None),
    };
    let fields = PyDict::new(py);
    fields.set_item("kind", proven.statement.kind().name())?;
    fields.set_item("statement", shown(&proven.to_string()))?;
    fields.set_item("origin", trusted.checkpoint().origin())?;
    fields.set_item("size", trusted.checkpoint().size())?;
    fields.set_item("root", PyBytes::new(py, &trusted.checkpoint().root().0))?;
    fields.set_item("device_id", proven.statement.device_id())?;
    fields.set_item("sequence", proven.statement.sequence())?;
    fields.set_item("to_sequence", proven.statement.last_sequence())?;
    fields.set_item("record_hash", hash.map(|hash| PyBytes::new(py, &hash.0)))?;
    fields.set_item("index", index)?;
    fields.set_item("cosigned", cosigned)?;
    fields.set_item("quorum_time", trusted.quorum_time())?;
    Ok(fields)
}

/// Returns the text of a proof, given as text, as bytes or as a path.
fn proof_bytes(proof: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(text) = proof.cast::<PyString>() {
        return Ok(text.to_str()?.as_bytes().to_vec());
    }
    if let Ok(bytes) = proof.extract::<PyBackedBytes>() {
        return Ok(bytes.to_vec());
    }
    match proof.extract::<PathBuf>() {
        Ok(path) => read_file(proof.py(), &path, MAX_RUN_PROOF_BYTES),
        Err(_) => {
            let message = "a proof is its text, its bytes, or a pathlib.Path, not ";
            Err(PyTypeError::new_err(format!("{message}{}", proof.get_type().name()?)))
        }
    }
}

fn kind_of(name: &str) -> PyResult<StatementKind> {
    let kind = StatementKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| {
        PyValueError::new_err(format!(
            "kind must be record, run, leaf, head, absence or consistency, got {}",
            edgesentry_chain::escape::quoted(name)
        ))
    })
}

/// Reads a file up to one byte behind the limit, which the parser then refuses.
pub(crate) fn read_file(py: Python<'_>, path: &std::path::Path, limit: usize) -> PyResult<Vec<u8>> {
    let read = || edgesentry_formats::read_start(File::open(path)?, limit as u64 + 1);
    let name = path.display().to_string();
    py.detach(read).map_err(|error: std::io::Error| {
        os_error(py, &error, &name, &format!("{name}: cannot read: {error}"))
    })
}

/// A statement to prove.
pub(crate) enum ToProve {
    Record(String, u64),
    Run(String, u64, u64),
    Head(String),
    Growth(log::Checkpoint),
}

impl ToProve {
    /// Returns the statement that arguments of `Ledger.prove` name.
    pub(crate) fn of(
        device_id: Option<String>,
        sequence: Option<u64>,
        to_sequence: Option<u64>,
        previous: Option<&Bound<'_, Checkpoint>>,
    ) -> PyResult<ToProve> {
        match (device_id, sequence, to_sequence, previous) {
            (Some(device_id), Some(first), Some(last), None) => Ok(ToProve::Run(device_id, first, last)),
            (Some(device_id), Some(sequence), None, None) => Ok(ToProve::Record(device_id, sequence)),
            (Some(device_id), None, None, None) => Ok(ToProve::Head(device_id)),
            (None, None, None, Some(previous)) => Ok(ToProve::Growth(previous.get().checkpoint.clone())),
            _ => Err(PyTypeError::new_err(
                "prove takes a device, a device and a sequence or its range, or previous= with an older checkpoint",
            )),
        }
    }

    /// Returns the proof at a checkpoint as text.
    pub(crate) async fn prove(self, log: &LogReader, size: Option<u64>) -> Result<String, ProveError> {
        let published = log.published_at(size).await?;
        Ok(match self {
            ToProve::Run(device_id, first, last) => {
                log.prove_run(&published, &device_id, first, last).await?.to_string()
            }
            ToProve::Record(device_id, sequence) => {
                log.prove_record(&published, &device_id, sequence).await?.to_string()
            }
            ToProve::Head(device_id) => log.prove_head(&published, &device_id).await?.to_string(),
            ToProve::Growth(older) => log.prove_consistency(&published, &older).await?.to_string(),
        })
    }
}

/// Returns the published checkpoint.
pub(crate) async fn published(log: &LogReader) -> Result<Checkpoint, ProveError> {
    let published = log.published().await?;
    Ok(Checkpoint { note: published.note, checkpoint: published.checkpoint })
}

/// Returns the exception of a proof that cannot be made.
pub(crate) fn prove_failure(py: Python<'_>, error: ProveError) -> PyErr {
    use edgesentry_rs::ledger::LogTablesError;
    use edgesentry_rs::log::LogError;
    match error {
        ProveError::Log(LogError::Store(error) | LogError::Tables(LogTablesError::Store(error))) => {
            service_failure(py, error.into())
        }
        ProveError::Log(error) => EdgesentryError::new_err(shown(&error.to_string())),
        error => ProofError::new_err((shown(&error.to_string()), error.code())),
    }
}
