//! `Head`, and heads snapshots: the trusted last links of many chains.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use edgesentry_chain as chain;
use edgesentry_chain::{Hash, Heads};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping};

use crate::errors::{bad_heads, os_error, write_text};
use crate::record::{bytes, unsigned};
use crate::report::Report;
use crate::source::path_of;

/// The last record of a chain: its sequence and its hash.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Head(pub(crate) chain::Head);

#[pymethods]
impl Head {
    #[new]
    fn new(sequence: &Bound<'_, PyAny>, hash: &Bound<'_, PyAny>) -> PyResult<Head> {
        let sequence = unsigned("sequence", sequence)?;
        Ok(Head(chain::Head { sequence, hash: Hash(bytes("hash", hash)?) }))
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.hash.0)
    }

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

/// Reads a heads snapshot, as `eds heads` writes it.
#[pyfunction]
pub(crate) fn read_heads<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    heads_to_dict(py, &heads_from_file(py, path)?)
}

/// Writes a heads snapshot, to be checked against later.
#[pyfunction]
pub(crate) fn write_heads(py: Python<'_>, heads: &Bound<'_, PyAny>, path: PathBuf) -> PyResult<()> {
    let heads = heads_from_any(heads)?;
    let text = edgesentry_formats::write_heads(&heads);
    write_text(py, &path, &text)
}

/// Heads from a snapshot file, a report, or a mapping from device id to head.
pub(crate) fn heads_from_any(value: &Bound<'_, PyAny>) -> PyResult<Heads> {
    if let Some(path) = path_of(value)? {
        return heads_from_file(value.py(), path);
    }
    if let Ok(report) = value.cast::<Report>() {
        return Ok(report.get().0.heads.clone());
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        let message = "heads are a path, a Report, or a mapping from device id to Head, not ";
        return Err(PyTypeError::new_err(format!("{message}{}", value.get_type().name()?)));
    };
    let mut heads = Heads::new();
    for item in mapping.items()?.iter() {
        let (device_id, head): (String, Bound<'_, PyAny>) = item.extract()?;
        heads.insert(Arc::from(device_id.as_str()), head_from_any(&device_id, &head)?);
    }
    Ok(heads)
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
    let json = fs::read(&path).map_err(failed)?;
    edgesentry_formats::read_heads(&json).map_err(|error| bad_heads(&name, &error))
}

/// Heads as a dict from device id to `Head`.
pub(crate) fn heads_to_dict<'py>(py: Python<'py>, heads: &Heads) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (device_id, head) in heads {
        dict.set_item(&**device_id, Head(*head))?;
    }
    Ok(dict)
}
