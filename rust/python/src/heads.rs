//! `Head`, and heads snapshots: the trusted last links of many chains.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use edgesentry_chain as chain;
use edgesentry_chain::{Checks, FindingCode, Hash, Heads, Verdict, check_extension};
use edgesentry_formats::{Destinations, MAX_FILE_BYTES, Options, Snapshot, read_file};
use edgesentry_rs::Ledger;
use edgesentry_rs::extension::Extension;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping};

use crate::errors::{
    ConfigError, HeadsRewrittenError, VerificationError, bad_destination, bad_heads, bad_snapshot, os_error,
    write_text,
};
use crate::findings::Finding;
use crate::frames::Batches;
use crate::ledger::LedgerCore;
use crate::packed_heads::PackedHeads;
use crate::progress::Bar;
use crate::record::{bytes, unsigned};
use crate::report::{Call, Report};
use crate::service::{runtime, service_failure};
use crate::source::{Input, inputs, path_of};
use crate::tables;
use crate::work::{Work, pool, wait};

/// The last record of a chain: its sequence and its record hash.
///
/// Args:
///     sequence: The sequence of the last record.
///     hash: Its record hash, 32 bytes.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Head(pub(crate) chain::Head);

#[pymethods]
impl Head {
    #[new]
    fn new(sequence: &Bound<'_, PyAny>, hash: &Bound<'_, PyAny>) -> PyResult<Head> {
        let sequence = unsigned("sequence", sequence)?;
        Ok(Head(chain::Head { sequence, hash: Hash(bytes("hash", hash)?) }))
    }

    /// The sequence of the last record.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// Its record hash, 32 bytes.
    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.hash.0)
    }

    /// Returns the sequence, and the hash as hex digits.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("sequence", self.0.sequence)?;
        fields.set_item("hash", self.0.hash.to_string())?;
        Ok(fields)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Head>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.hash.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ self.0.sequence
    }

    fn __repr__(&self) -> String {
        format!("Head(sequence={}, hash='{}')", self.0.sequence, self.0.hash)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (u64, Bound<'py, PyBytes>)) {
        let head = slf.get();
        (slf.get_type().into_any(), (head.0.sequence, head.hash(slf.py())))
    }
}

/// Reads a heads snapshot, as `write_heads` and `eds heads` write it.
///
/// Raises:
///     FileNotFoundError: The file does not exist.
///     ConfigError: The file is not a heads snapshot.
#[pyfunction]
pub(crate) fn read_heads<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    heads_to_dict(py, &heads_from_file(py, path)?)
}

/// Writes a heads snapshot; verify later exports against it with `heads=`.
///
/// An existing snapshot is replaced only by heads that extend it: every chain must still hold the record at
/// the old head. A history keeps every state under its time.
///
/// Args:
///     heads: A report without findings, a mapping from device id to `Head`, or a ledger, whose records show
///         that its heads extend the old ones.
///     path: The file to write.
///     records: The records of the heads, as `verify_chain` takes them; required if a chain has grown since
///         the old heads, unless `heads` is a ledger.
///     history: Directory for a dated copy of every state; by default `heads.d` for `heads.json`.
///     accept_rewrite: The reason to accept heads that do not extend the old ones, such as a restore. The log
///         of the history records it.
///
/// Raises:
///     HeadsRewrittenError: A chain was cut, rewritten or left out since the old heads; nothing was replaced.
///     VerificationError: The records have findings.
///     ConfigError: The existing file is not a snapshot, records are required, or the report has findings.
///     ValueError: The path is that of a source or a database.
///     OSError: The file cannot be written.
#[pyfunction]
#[pyo3(signature = (heads, path, *, records = None, history = None, accept_rewrite = None))]
pub(crate) fn write_heads(
    py: Python<'_>,
    heads: &Bound<'_, PyAny>,
    path: PathBuf,
    records: Option<&Bound<'_, PyAny>>,
    history: Option<PathBuf>,
    accept_rewrite: Option<String>,
) -> PyResult<()> {
    let sources = records.map(inputs).transpose()?.unwrap_or_default();
    let mut destinations = Destinations::default();
    for file in sources.iter().filter_map(Input::path) {
        destinations.read("a source", file);
    }
    let destination = destinations.place("path", &path).map_err(|error| bad_destination(py, error))?;
    let opened = py.detach(|| Snapshot::open(&destination, &path, history.as_deref()));
    let Some(snapshot) = opened.map_err(|error| bad_snapshot(py, error))? else {
        return write_text(py, &path, &edgesentry_formats::write_heads(&heads_from_any(heads)?));
    };
    let old = snapshot.before().cloned();
    let (new, findings) = if let Some(ledger) = ledger_of(heads)? {
        if records.is_some() {
            return Err(PyTypeError::new_err("leave out records=: a ledger has its own records"));
        }
        of_ledger(py, ledger, old)?
    } else {
        let new = heads_from_any(heads)?;
        let findings = match (&old, records) {
            (None, _) => Vec::new(),
            (Some(old), None) => of_heads_alone(old, &new, accept_rewrite.is_some())?,
            (Some(old), Some(_)) => of_records(py, sources, old.clone(), &new)?,
        };
        (new, findings)
    };
    let reason = accept_rewrite.as_deref().filter(|_| !findings.is_empty());
    if let (None, Some(_)) = (reason, findings.first()) {
        let findings: Vec<Finding> = findings.into_iter().map(Finding).collect();
        return Err(HeadsRewrittenError::new_err((path, findings)));
    }
    let replaced = py.detach(|| snapshot.replace(&new, reason).map(|_| ()));
    replaced.map_err(|error| bad_snapshot(py, error))
}

/// Returns the ledger of an `edgesentry.Ledger`.
fn ledger_of(value: &Bound<'_, PyAny>) -> PyResult<Option<Arc<dyn Ledger>>> {
    let Ok(core) = value.getattr(intern!(value.py(), "_core")) else { return Ok(None) };
    core.cast::<LedgerCore>().ok().map(|core| core.get().ledger()).transpose()
}

fn of_ledger(
    py: Python<'_>,
    ledger: Arc<dyn Ledger>,
    old: Option<Heads>,
) -> PyResult<(Heads, Vec<chain::Finding>)> {
    let (pool, handle) = (pool(None)?, runtime()?.handle().clone());
    let work = Work::start(Vec::new(), move |_, progress, results| {
        let options = Options::default();
        results.put(pool.install(|| Extension::of(&ledger, old.as_ref(), &options, &handle, progress)))
    })?;
    let extension = wait(py, work, Bar::new(None)?)?.map_err(|error| service_failure(py, error))?;
    if !extension.broken_counts.is_empty() {
        let findings: Vec<Finding> = extension.broken.into_iter().map(Finding).collect();
        return Err(HeadsRewrittenError::new_err(("the ledger", findings)));
    }
    Ok((extension.heads, extension.rewritten))
}

/// Without records, only unchanged heads are known to extend the old ones.
fn of_heads_alone(old: &Heads, new: &Heads, accepted: bool) -> PyResult<Vec<chain::Finding>> {
    let moved = old
        .iter()
        .find(|(device_id, head)| new.get(*device_id).is_some_and(|new| new.sequence > head.sequence));
    if let Some((device_id, head)) = moved.filter(|_| !accepted) {
        return Err(ConfigError::new_err(format!(
            "device {}: cannot check that its chain still has the record of the old head at sequence {}; give the \
             records of the heads, records=..., or the ledger instead of its heads",
            chain::escape::quoted(device_id),
            head.sequence
        )));
    }
    let same = |device_id: &str, sequence| {
        new.get(device_id).filter(|head| head.sequence == sequence).map(|head| head.hash)
    };
    Ok(check_extension(old, new, same))
}

fn of_records(py: Python<'_>, sources: Vec<Input>, old: Heads, new: &Heads) -> PyResult<Vec<chain::Finding>> {
    let pool = pool(None)?;
    let work = Work::start(sources, move |sources, progress, results| {
        let checks = Checks { heads: Some(&old), ..Checks::default() };
        let verify = || edgesentry_formats::verify(sources, &checks, &Options::default(), progress);
        results.put(pool.install(verify)?)
    })?;
    let report = wait(py, work, Bar::new(None)?)?;
    if let Some((device_id, _)) =
        new.iter().find(|(device_id, head)| report.heads.get(*device_id) != Some(head))
    {
        return Err(ConfigError::new_err(format!(
            "device {}: the head is not the last record of its chain in records=",
            chain::escape::quoted(device_id)
        )));
    }
    let is_of_heads =
        |code: &FindingCode| matches!(code, FindingCode::HeadMismatch | FindingCode::DeviceMissing);
    if report.counts.keys().any(|code| !is_of_heads(code)) {
        let report = Report::new(report, Call::default()).into_pyobject(py)?.unbind();
        return Err(VerificationError::new_err((report,)));
    }
    Ok(report.findings)
}

/// Returns heads from a snapshot file, a report, or a mapping from device id to head.
pub(crate) fn heads_from_any(value: &Bound<'_, PyAny>) -> PyResult<Heads> {
    if let Some(path) = path_of(value)? {
        return heads_from_file(value.py(), path);
    }
    if let Ok(report) = value.cast::<Report>() {
        return heads_of_report(&report.get().0);
    }
    if let Ok(packed) = value.cast::<PackedHeads>() {
        return packed.get().heads();
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        if tables::is_table(value)? {
            return tables::heads(value);
        }
        let message = "heads are a path, a Report, a table or a mapping from device id to Head, not ";
        return Err(PyTypeError::new_err(format!("{message}{}", value.get_type().name()?)));
    };
    let mut heads = Heads::new();
    for item in mapping.items()?.iter() {
        let (device_id, head): (String, Bound<'_, PyAny>) = item.extract()?;
        heads.insert(Arc::from(device_id.as_str()), head_from_any(&device_id, &head)?);
    }
    Ok(heads)
}

/// Returns the heads of a report without findings: others would make the fault of the records the trusted state.
fn heads_of_report(report: &chain::Report) -> PyResult<Heads> {
    match report.verdict {
        Verdict::Valid => Ok(report.heads.clone()),
        Verdict::NothingToVerify => Err(ConfigError::new_err(
            "heads: the report has no record, so it has no heads; give one of records",
        )),
        Verdict::Findings => {
            let kinds: Vec<String> = report.kinds().map(|(code, total)| format!("{total} {code}")).collect();
            Err(ConfigError::new_err(format!(
                "heads: the report has findings ({}), so its heads are not trusted; resolve them, or pass report.heads \
                 to trust the records as they are",
                kinds.join(", ")
            )))
        }
    }
}

fn head_from_any(device_id: &str, value: &Bound<'_, PyAny>) -> PyResult<chain::Head> {
    if let Ok(head) = value.cast::<Head>() {
        return Ok(head.get().0);
    }
    let fields = value.cast::<PyMapping>().ok().filter(|fields| fields.len().is_ok_and(|len| len == 2));
    let field = |name| fields.and_then(|fields| fields.get_item(name).ok());
    match (field("sequence"), field("hash")) {
        (Some(sequence), Some(hash)) => {
            Ok(chain::Head { sequence: unsigned("sequence", &sequence)?, hash: Hash(bytes("hash", &hash)?) })
        }
        _ => {
            let message = "a Head or a mapping with sequence and hash";
            Err(PyTypeError::new_err(format!("the head of device {device_id:?} is {message}")))
        }
    }
}

fn heads_from_file(py: Python<'_>, path: PathBuf) -> PyResult<Heads> {
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot read: {error}"));
    let json = read_file(&path, MAX_FILE_BYTES).map_err(failed)?;
    edgesentry_formats::read_heads(&json).map_err(|error| bad_heads(&name, &error))
}

/// Returns heads as a dict from device id to `Head`.
pub(crate) fn heads_to_dict<'py>(py: Python<'py>, heads: &Heads) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (device_id, head) in heads {
        dict.set_item(&**device_id, Head(*head))?;
    }
    Ok(dict)
}

/// Returns heads as a table.
pub(crate) fn heads_batches(heads: &Heads) -> PyResult<Batches> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8, false),
        Field::new("sequence", DataType::UInt64, false),
        Field::new("hash", DataType::Utf8, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(heads.keys())),
        Arc::new(UInt64Array::from_iter_values(heads.values().map(|head| head.sequence))),
        Arc::new(StringArray::from_iter_values(heads.values().map(|head| head.hash.to_string()))),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
    let batch = batch.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(Batches { schema, batches: vec![batch] })
}
