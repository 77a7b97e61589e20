//! `manifest=`: the exporter's claims about an export.

use std::path::PathBuf;

use edgesentry_rs::export::{MANIFEST_VERSION, Manifest};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use serde::de::DeserializeOwned;

use crate::errors::{ConfigError, os_error};
use crate::heads::heads_from_any;
use crate::service::service_failure;
use crate::source::path_of;

/// Returns a manifest from its file, or from the result of `Ledger.export`.
pub(crate) fn manifest_from_any(value: &Bound<'_, PyAny>) -> PyResult<Manifest> {
    let py = value.py();
    if let Some(path) = path_of(value)? {
        let name = path.display().to_string();
        let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot open: {error}"));
        path.metadata().map_err(failed)?;
        return Manifest::read(&path).map_err(|error| service_failure(py, error));
    }
    let field = |name: &str| {
        value.getattr(name).map_err(|_| {
            let name = value.get_type().name().map_or_else(|_| "that".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!("a manifest is a path or a Manifest, not {name}"))
        })
    };
    Ok(Manifest {
        manifest: MANIFEST_VERSION,
        created_at_ms: field("created_at_ms")?.extract()?,
        ledger: field("ledger")?.extract()?,
        filter: from_json(&field("filter")?)?,
        records: field("records")?.extract()?,
        devices: field("devices")?.extract()?,
        file: from_json(&field("file")?)?,
        start_heads: heads_from_any(&field("start_heads")?)?,
        heads: heads_from_any(&field("heads")?)?,
    })
}

/// Returns the file that the manifest describes: the single path of `source`.
pub(crate) fn described(manifest: &Manifest, source: &Bound<'_, PyAny>) -> PyResult<Option<PathBuf>> {
    if manifest.file.is_none() {
        return Ok(None);
    }
    path_of(source)?.map(Some).ok_or_else(|| {
        PyValueError::new_err("manifest= describes one file; give the path of just that file as the source")
    })
}

/// Converts the json.loads form of a field back to its type.
fn from_json<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    let text: String = value.py().import("json")?.call_method1("dumps", (value,))?.extract()?;
    serde_json::from_str(&text).map_err(|error| ConfigError::new_err(format!("the manifest: {error}")))
}
