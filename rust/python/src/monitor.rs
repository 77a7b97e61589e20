//! `MonitorCore`: the core of `edgesentry.Monitor`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edgesentry_rs::log::{Checked, Monitor, MonitorFinding, MonitorFindings, MonitorSettings};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use tokio::sync::Mutex;

use crate::bundle::policy_from_any;
use crate::errors::shown;
use crate::pickle::refuse;
use crate::service::{service_failure, wait_on};
use crate::verify::MaxAgeSeconds;

/// Implements `edgesentry.Monitor`.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct MonitorCore {
    monitor: Arc<Mutex<Option<Monitor>>>,
    state: PathBuf,
}

#[pymethods]
impl MonitorCore {
    #[new]
    #[pyo3(signature = (url, policy, state, origin, token, ca, timeout, max_age, accept_policy))]
    // The arguments of the Python class.
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        url: String,
        policy: &Bound<'_, PyAny>,
        state: PathBuf,
        origin: Option<String>,
        token: Option<String>,
        ca: Option<PathBuf>,
        timeout: f64,
        max_age: Option<MaxAgeSeconds>,
        accept_policy: bool,
    ) -> PyResult<MonitorCore> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| PyValueError::new_err("timeout must be a number of seconds above 0"))?;
        let settings = MonitorSettings {
            origin,
            token: token.map(Into::into),
            ca,
            timeout,
            max_age: max_age.map(MaxAgeSeconds::seconds),
            accept_policy,
            ..MonitorSettings::new(url, policy_from_any(policy)?, &state)
        };
        let opened = wait_on(py, Monitor::open(settings))?;
        let monitor = opened.map_err(|error| service_failure(py, error))?;
        Ok(MonitorCore { monitor: Arc::new(Mutex::new(Some(monitor))), state })
    }

    /// Runs one round, and returns the fields of `edgesentry.MonitorResult`.
    fn check<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let monitor = Arc::clone(&self.monitor);
        let checked = wait_on(py, async move {
            match &mut *monitor.lock().await {
                Some(monitor) => monitor.check().await.map(Some),
                None => Ok(None),
            }
        })?;
        let checked = checked.map_err(|error| service_failure(py, error))?;
        let checked = checked.ok_or_else(|| PyValueError::new_err("the monitor is closed"))?;
        fields(py, &checked)
    }

    /// Returns the evidence of a finding: the content of each file by its name.
    fn evidence<'py>(&self, py: Python<'py>, id: u64) -> PyResult<Bound<'py, PyDict>> {
        let state = self.state.clone();
        let done = wait_on(py, async move {
            let findings = MonitorFindings::open(&state).await?;
            let done = findings.evidence_of(id).await;
            findings.close().await;
            done
        })?;
        let files = PyDict::new(py);
        for (_, name, bytes) in done.map_err(|error| service_failure(py, error))? {
            files.set_item(name, PyBytes::new(py, &bytes))?;
        }
        Ok(files)
    }

    /// Acknowledges a finding. Returns false if no open finding has this number.
    fn acknowledge(&self, py: Python<'_>, id: u64) -> PyResult<bool> {
        let state = self.state.clone();
        let done = wait_on(py, async move {
            let findings = MonitorFindings::open(&state).await?;
            let done = findings.acknowledge(id).await;
            findings.close().await;
            done
        })?;
        done.map_err(|error| service_failure(py, error))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let monitor = Arc::clone(&self.monitor);
        wait_on(py, async move {
            if let Some(monitor) = monitor.lock().await.take() {
                monitor.close().await;
            }
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Monitor", "it holds an open file; open it in the process that monitors")
    }
}

fn fields<'py>(py: Python<'py>, checked: &Checked) -> PyResult<Bound<'py, PyDict>> {
    let verified = checked.verified.as_ref();
    let witnesses = PyDict::new(py);
    for witness in &checked.witnesses {
        witnesses.set_item(&witness.name, witness.state.name())?;
    }
    let findings = checked.findings.iter().map(|finding| finding_fields(py, finding));
    let fields = PyDict::new(py);
    fields.set_item("outcome", checked.outcome().name())?;
    fields.set_item("origin", &checked.origin)?;
    fields.set_item("size", verified.map(|verified| verified.size))?;
    fields.set_item("root", verified.map(|verified| PyBytes::new(py, &verified.root.0)))?;
    fields.set_item("verified_ms", verified.map(|verified| verified.at_ms))?;
    fields.set_item("confirmed", checked.confirmed)?;
    fields.set_item("replayed", checked.replayed)?;
    fields.set_item("dropped", checked.dropped)?;
    fields.set_item("keys_by_device", checked.replaced_keys.by_device)?;
    fields.set_item("keys_by_operator", checked.replaced_keys.by_operator)?;
    fields.set_item("findings", findings.collect::<PyResult<Vec<_>>>()?)?;
    let failures: Vec<String> = checked.failures.iter().map(|failure| shown(&failure.to_string())).collect();
    fields.set_item("failures", failures)?;
    fields.set_item("witnesses", witnesses)?;
    Ok(fields)
}

fn finding_fields<'py>(py: Python<'py>, finding: &MonitorFinding) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("id", finding.id)?;
    fields.set_item("class_", finding.class.name())?;
    fields.set_item("code", &finding.code)?;
    fields.set_item("message", shown(&finding.message))?;
    fields.set_item("device_id", &finding.device_id)?;
    fields.set_item("sequence", finding.sequence)?;
    fields.set_item("leaf", finding.leaf)?;
    fields.set_item("first_ms", finding.first_ms)?;
    fields.set_item("last_ms", finding.last_ms)?;
    fields.set_item("times", finding.times)?;
    fields.set_item("evidence", PyTuple::new(py, &finding.evidence)?)?;
    Ok(fields)
}
