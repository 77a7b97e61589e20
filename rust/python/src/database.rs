//! Databases for tests: what the fixtures of the pytest plugin stand on.

use edgesentry_rs::ledger;
use pyo3::prelude::*;

use crate::service::{service_failure, wait_on};

/// Makes a database on a PostgreSQL server; its URL.
#[pyfunction]
pub(crate) fn create_database(py: Python<'_>, url: String, name: String) -> PyResult<String> {
    let made = wait_on(py, async move { ledger::create_database(&url, &name).await })?;
    made.map_err(|error| service_failure(py, error))
}

/// Drops a database of `create_database`.
#[pyfunction]
pub(crate) fn drop_database(py: Python<'_>, url: String, name: String) -> PyResult<()> {
    let gone = wait_on(py, async move { ledger::drop_database(&url, &name).await })?;
    gone.map_err(|error| service_failure(py, error))
}
