//! `ClientCore`: the core of `edgesentry.Client`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edgesentry_rs::transport::{Client, ClientSettings};
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ledger::{IngestAnswer, submissions};
use crate::service::{runtime, service_failure, wait_on};

/// Implements `edgesentry.Client`.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct ClientCore(Mutex<Option<Client>>);

#[pymethods]
impl ClientCore {
    #[new]
    #[pyo3(signature = (url, token, ca, identity, timeout, attempts))]
    fn new(
        py: Python<'_>,
        url: String,
        token: Option<String>,
        ca: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        timeout: f64,
        attempts: u32,
    ) -> PyResult<ClientCore> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| PyValueError::new_err("timeout must be a number of seconds above 0"))?;
        let settings = ClientSettings {
            token: token.map(Into::into),
            ca,
            identity,
            timeout,
            attempts,
            ..ClientSettings::new(url)
        };
        if let Some(problem) = settings.exposure() {
            let problem = std::ffi::CString::new(problem)?;
            // Reported at the call of `edgesentry.Client`.
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &problem, 2)?;
        }
        let _runtime = runtime()?.enter();
        let client = Client::new(settings).map_err(|error| service_failure(py, error))?;
        Ok(ClientCore(Mutex::new(Some(client))))
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns the body of a successful response.
    fn fetch<'py>(
        &self,
        py: Python<'py>,
        method: String,
        path: String,
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let client = self.client()?;
        let fetched = wait_on(py, async move { client.fetch(&method, &path, body, limit).await })?;
        fetched.map(|body| PyBytes::new(py, &body)).map_err(|error| service_failure(py, error))
    }

    /// Ingests one record in one request.
    fn ingest(
        &self,
        py: Python<'_>,
        record: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<IngestAnswer> {
        let client = self.client()?;
        let submission = submissions(vec![(record.clone(), payload.clone())])?.pop();
        let submission = submission.ok_or_else(|| PyValueError::new_err("expected a record"))?;
        Ok(wait_on(py, async move { client.ingest(submission).await })?.into())
    }

    /// Ingests records in order. Returns one result for each.
    fn ingest_many(
        &self,
        py: Python<'_>,
        items: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> PyResult<Vec<IngestAnswer>> {
        let client = self.client()?;
        let submissions = submissions(items)?;
        let answers = wait_on(py, async move { client.ingest_many(submissions).await })?;
        Ok(answers.into_iter().map(IngestAnswer::from).collect())
    }
}

impl ClientCore {
    /// Returns the client, unless it is closed.
    pub(crate) fn client(&self) -> PyResult<Client> {
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        client.ok_or_else(|| PyValueError::new_err("the client is closed"))
    }
}
