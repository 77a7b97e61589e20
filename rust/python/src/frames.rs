//! Converts Arrow streams to data frames of the user's library.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::arrow::{int64_batches, int64_schema_if, stream_capsule};

/// Batches as an Arrow stream that does not call Python while it is read. When we call polars and pyarrow, they release
/// the interpreter without notice to our pyo3, and a stream that needs it would crash.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct Batches {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

#[pymethods]
impl Batches {
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let batches = self.batches.clone().into_iter().map(Ok);
        stream_capsule(py, self.schema.clone(), batches, requested_schema)
    }
}

/// Returns a polars data frame over the same buffers.
pub(crate) fn to_polars<'py>(stream: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    polars(stream.py())?.call_method1("DataFrame", (stream,))
}

/// Returns a pandas data frame, created by pyarrow. Integers that may be missing get the nullable type of pandas: the
/// usual one has no missing value, and pandas would round them to floats.
pub(crate) fn to_pandas<'py>(stream: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = stream.py();
    let pyarrow = pandas(py)?;
    let table = pyarrow.call_method1("table", (stream,))?;
    let integer = pyarrow.call_method0("uint64")?;
    let mut is_nullable = false;
    for field in table.getattr("schema")?.try_iter()? {
        let field = field?;
        is_nullable |= field.getattr("type")?.eq(&integer)? && field.getattr("nullable")?.is_truthy()?;
    }
    if !is_nullable {
        return table.call_method0("to_pandas");
    }
    let types = PyDict::new(py);
    types.set_item(integer, py.import("pandas")?.call_method0("UInt64Dtype")?)?;
    let options = PyDict::new(py);
    options.set_item("types_mapper", types.getattr("get")?)?;
    table.call_method("to_pandas", (), Some(&options))
}

/// Returns a pyarrow table over the same buffers; with int64, one without unsigned columns.
pub(crate) fn to_arrow<'py>(py: Python<'py>, batches: Batches, int64: bool) -> PyResult<Bound<'py, PyAny>> {
    let pyarrow = module(py, "pyarrow", "to_arrow")?;
    let schema = int64_schema_if(int64, batches.schema);
    let batches = int64_batches(int64, batches.batches.into_iter().map(Ok)).collect::<Result<_, _>>();
    let batches = batches.map_err(|error| PyValueError::new_err(error.to_string()))?;
    pyarrow.call_method1("table", (Bound::new(py, Batches { schema, batches })?,))
}

/// Returns the module polars. An error names the package to install.
pub(crate) fn polars(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    module(py, "polars", "to_polars")
}

/// Returns the module pyarrow, which creates pandas data frames. An error names the package to install.
pub(crate) fn pandas(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    module(py, "pandas", "to_pandas")?;
    module(py, "pyarrow", "to_pandas")
}

fn module<'py>(py: Python<'py>, name: &str, method: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(name).map_err(|error| {
        if !error.is_instance_of::<PyImportError>(py) {
            return error;
        }
        let missing = PyImportError::new_err(format!("{method} needs {name}; run: pip install {name}"));
        missing.set_cause(py, Some(error));
        missing
    })
}
