//! Databases for tests, used by the fixtures of the pytest plugin.

use edgesentry_rs::ledger;
use pyo3::prelude::*;

use crate::service::{service_failure, wait_on};

/// Creates a database on a PostgreSQL server. Returns its URL.
#[pyfunction]
pub(crate) fn create_database(py: Python<'_>, url: String, name: String) -> PyResult<String> {
    let made = wait_on(py, async move { ledger::create_database(&url, &name).await })?;
    made.map_err(|error| service_failure(py, error))
}

/// Drops a database created by `create_database`.
#[pyfunction]
pub(crate) fn drop_database(py: Python<'_>, url: String, name: String) -> PyResult<()> {
    let gone = wait_on(py, async move { ledger::drop_database(&url, &name).await })?;
    gone.map_err(|error| service_failure(py, error))
}
