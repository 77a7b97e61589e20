//! `Witness`: cosigns checkpoints of other logs.

use std::path::PathBuf;

use edgesentry_log::Checkpoint as LogCheckpoint;
use edgesentry_log::Note;
use edgesentry_rs::Error;
use edgesentry_rs::ledger::{PostgresSettings, WitnessAccess};
use edgesentry_rs::log::{Witness as Service, WitnessError, WitnessSettings};
use edgesentry_rs::telemetry::metrics::Metrics;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{EdgesentryError, shown};
use crate::log::Checkpoint;
use crate::pickle::refuse;
use crate::service::{service_failure, wait_on};

/// A witness that cosigns checkpoints of other transparency logs, without a network.
///
/// It cosigns one history of each log. `eds witness init` makes its key and its state, and
/// `eds witness serve` is the same over HTTP. A witness that loses its state must go on under another key
/// and name.
///
/// Args:
///     state: `sqlite:PATH`, a path, or the URL of a PostgreSQL database of its own; it must exist.
///     key: The seed file of the key that cosigns.
///     name: The name of the key.
///     logs: A file with lines `log VKEY`, such as a policy.
///
/// Raises:
///     ConfigError: An argument cannot be used, or there is no state.
///     StoreError: The state cannot be opened.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Witness {
    service: Service,
    settings: WitnessSettings,
}

#[pymethods]
impl Witness {
    #[new]
    #[pyo3(signature = (state, *, key, name, logs))]
    fn new(py: Python<'_>, state: String, key: PathBuf, name: String, logs: PathBuf) -> PyResult<Witness> {
        let settings =
            WitnessSettings { state: Some(state.into()), key: Some(key), name: Some(name), logs: Some(logs) };
        let asked = settings.clone();
        let service =
            wait_on(py, async move { asked.start(&PostgresSettings::default(), Metrics::global()).await })?;
        Ok(Witness { service: service.map_err(|error| service_failure(py, error))?, settings })
    }

    /// The public key with its name, for policies.
    #[getter]
    fn verifier_key(&self) -> String {
        self.service.key().to_string()
    }

    /// Cosigns the checkpoint of a request, and returns the signature line; durable before it returns.
    ///
    /// The same request gives the same line again.
    ///
    /// Args:
    ///     request: The body of add-checkpoint (C2SP tlog-witness), as `eds checkpoint request` writes it.
    ///
    /// Raises:
    ///     EdgesentryError: The log is unknown, or the checkpoint does not extend the last one.
    ///     StoreError: The state cannot be written.
    fn cosign(&self, py: Python<'_>, request: &str) -> PyResult<String> {
        let (service, request) = (self.service.clone(), request.to_owned());
        let line = wait_on(py, async move { service.cosign(request.as_bytes()).await })?;
        line.map(|line| line.to_string()).map_err(|error| match error {
            WitnessError::Store(error) => service_failure(py, error.into()),
            error => EdgesentryError::new_err(shown(&error.to_string())),
        })
    }

    /// Returns the last cosigned checkpoint of each log.
    ///
    /// Raises:
    ///     StoreError: The state cannot be read.
    fn checkpoints<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let settings = self.settings.clone();
        let rows = wait_on(py, async move {
            let tables = settings.open(WitnessAccess::Read, &PostgresSettings::default()).await?;
            tables.all_witnessed().await.map_err(Error::from)
        })?;
        let found = PyDict::new(py);
        for row in rows.map_err(|error| service_failure(py, error))? {
            let damaged =
                |problem: String| EdgesentryError::new_err(shown(&format!("{}: {problem}", row.origin)));
            let note = Note::parse(&row.note).map_err(|error| damaged(error.to_string()))?;
            let checkpoint = LogCheckpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
            found.set_item(&row.origin, Checkpoint { note, checkpoint })?;
        }
        Ok(found)
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Witness", "its key and state are open in this process; open it in the other one")
    }

    fn __repr__(&self) -> String {
        format!("Witness({:?})", self.verifier_key())
    }
}
