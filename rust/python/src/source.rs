//! Inputs: the values that Python users may pass as a source of records.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_formats::{
    ColumnNames, Error as FormatError, Source, files_of, missing_url, path_of_url, select_columns, table_of,
};
use edgesentry_rs::lake;
use edgesentry_rs::settings::{Overrides, Settings};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyList, PyMapping, PyMemoryView, PyString, PyTuple};
use pyo3_arrow::input::AnyRecordBatch;

use crate::errors::{UnreadableError, failure, os_error};
use crate::progress::Bar;
use crate::pyarrow;
use crate::record::AuditRecord;
use crate::service::service_failure;
use crate::tables::is_table;
use crate::work::{Work, wait};

/// One input of a verification or a conversion.
pub(crate) enum Input {
    /// Read without Python.
    Ready(Source),
    /// A binary file object, read through its method `read`.
    File {
        /// Its name in findings.
        name: Arc<str>,
        /// The bound method.
        read: Py<PyAny>,
    },
    /// Batches of pyarrow.
    PyArrow {
        /// Their name in findings.
        name: Arc<str>,
        /// The batches.
        batches: pyarrow::Batches,
    },
    /// An iterable of records.
    Records {
        /// Its name in findings.
        name: Arc<str>,
        /// Its iterator.
        iterator: Py<PyIterator>,
    },
}

impl Input {
    /// Returns the path of the input, if it is known.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Input::Ready(source) if source.path().is_some() => source.path(),
            Input::File { name, .. } => Some(Path::new(&**name)),
            Input::Ready(_) | Input::PyArrow { .. } | Input::Records { .. } => None,
        }
    }
}

/// Returns the inputs in a path, a list of paths, bytes, a binary file object, an iterable of records, or an object
/// that exports Arrow.
pub(crate) fn inputs(source: &Bound<'_, PyAny>) -> PyResult<Vec<Input>> {
    named_inputs(source, &Arc::default())
}

/// Like [`inputs`], with these names of columns.
pub(crate) fn named_inputs(source: &Bound<'_, PyAny>, names: &Arc<ColumnNames>) -> PyResult<Vec<Input>> {
    let py = source.py();
    if let Some(path) = path_of(source)? {
        return named_files(py, path, names);
    }
    let Some(paths) = list_of_paths(source)? else {
        return one_input(source, names).map(|input| vec![input]);
    };
    let mut inputs = Vec::with_capacity(paths.len());
    for path in paths {
        inputs.extend(named_files(py, path, names)?);
    }
    Ok(inputs)
}

/// Returns the files, objects or table that a path stands for.
fn named_files(py: Python<'_>, path: PathBuf, names: &Arc<ColumnNames>) -> PyResult<Vec<Input>> {
    let ready = |source: Source| Input::Ready(source.named(names));
    let text = path.to_str().unwrap_or_default();
    if lake::path_of_url(text).is_some() {
        let settings = Settings::load(None, &Overrides::default());
        let settings = settings.map_err(|error| service_failure(py, error))?.s3;
        let url = text.to_owned();
        let sources = listed(py, move || lake::sources(&url, &settings))?;
        return Ok(sources.into_iter().map(ready).collect());
    }
    let path = path_of_url(text).transpose().map_err(|error| failure(py, error))?.unwrap_or(path);
    if let Some(table) = library_table(py, &path)? {
        return Ok(vec![one_input(&table, names)?]);
    }
    py.check_signals()?;
    let files = match path.is_file() {
        true => vec![path],
        false => listed(py, move || files_of(&path))?,
    };
    files.into_iter().map(|path| file(py, path).map(ready)).collect()
}

/// Lists the inputs that a name stands for, on a thread of its own: Ctrl-C ends the wait.
fn listed<T: Send + 'static>(
    py: Python<'_>,
    list: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> PyResult<T> {
    let work = Work::start(Vec::new(), move |_, _, results| results.put(list()?))?;
    wait(py, work, Bar::new(None)?)
}

/// Returns the files or objects that a path stands for.
///
/// Each has its name, its size in bytes, and a text that changes with each version.
#[pyfunction]
pub(crate) fn file_states(py: Python<'_>, path: PathBuf) -> PyResult<Vec<(String, u64, String)>> {
    let text = path.to_str().unwrap_or_default();
    if lake::path_of_url(text).is_some() {
        let settings = Settings::load(None, &Overrides::default());
        let settings = settings.map_err(|error| service_failure(py, error))?.s3;
        let url = text.to_owned();
        let states = listed(py, move || lake::states(&url, &settings))?;
        return Ok(states.into_iter().map(|state| (state.name, state.bytes, state.etag)).collect());
    }
    let path = path_of_url(text).transpose().map_err(|error| failure(py, error))?.unwrap_or(path);
    let files = py.detach(|| files_of(&path)).map_err(|error| failure(py, error))?;
    files.iter().map(|path| state_of(py, path)).collect()
}

fn state_of(py: Python<'_>, path: &Path) -> PyResult<(String, u64, String)> {
    use std::os::unix::fs::MetadataExt;
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot open: {error}"));
    let metadata = path.metadata().map_err(failed)?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    let Some(absolute) = absolute.to_str() else {
        return Err(UnreadableError::new_err(format!("{name}: the path is not UTF-8; rename the file")));
    };
    let version = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    Ok((absolute.to_owned(), metadata.len(), version))
}

/// Returns a directory that is a Delta or Iceberg table as an object of its library, if that is installed.
fn library_table<'py>(py: Python<'py>, path: &Path) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(kind) = table_of(path) else { return Ok(None) };
    let table = py.import(ADAPTERS)?.call_method1("table", (path, kind.library()))?;
    Ok((!table.is_none()).then_some(table))
}

/// The module that opens objects of other libraries.
const ADAPTERS: &str = "edgesentry._sources";

/// The libraries whose objects are opened in Python: some hold no rows yet, others have types of their own.
const ADAPTED: [&str; 5] = ["polars", "dask", "dask_expr", "deltalake", "pyiceberg"];

/// Returns the rows of an object of another library in a form that is read here; any other object unchanged.
fn adapted<'py>(source: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = source.py();
    let module = source.get_type().module().and_then(|module| module.extract::<String>());
    let module = module.unwrap_or_default();
    match ADAPTED.contains(&module.split('.').next().unwrap_or_default()) {
        true => py.import(ADAPTERS)?.call_method1("adapted", (source,)),
        false => Ok(source.clone()),
    }
}

fn one_input(source: &Bound<'_, PyAny>, names: &Arc<ColumnNames>) -> PyResult<Input> {
    let source = &adapted(source)?;
    let input = unnamed_input(source)?;
    Ok(match input {
        Input::Ready(source) => Input::Ready(source.named(names)),
        Input::PyArrow { name, mut batches } => {
            // Otherwise the error is that of the reader.
            if let Ok(positions) = select_columns(&name, &batches.all_columns(), names) {
                batches.select(positions);
            }
            Input::PyArrow { name, batches }
        }
        input => input,
    })
}

fn unnamed_input(source: &Bound<'_, PyAny>) -> PyResult<Input> {
    let py = source.py();
    if source.is_instance_of::<PyBytes>() || source.is_instance_of::<PyByteArray>() {
        return Ok(in_memory(source.extract()?));
    }
    if source.is_instance_of::<PyMemoryView>() {
        return Ok(in_memory(source.call_method0(intern!(py, "tobytes"))?.extract()?));
    }
    refuse_others(source)?;
    if let Some(batches) = pyarrow::batches(source)? {
        return Ok(Input::PyArrow { name: name_of_type(source), batches });
    }
    if is_table(source)? {
        let batches = import(source, |source| source.extract::<AnyRecordBatch>()?.into_reader())?;
        return Ok(Input::Ready(Source::Batches { name: name_of_type(source), batches }));
    }
    if source.hasattr(intern!(py, "read"))? {
        let name = source.getattr(intern!(py, "name")).ok().and_then(|name| name.extract::<String>().ok());
        let name = name.map_or_else(|| name_of_type(source), Arc::from);
        return Ok(Input::File { name, read: source.getattr(intern!(py, "read"))?.unbind() });
    }
    if source.cast::<PyMapping>().is_ok() || source.is_instance_of::<AuditRecord>() {
        return Err(PyTypeError::new_err("a single record is not a source; put it into a list"));
    }
    match source.try_iter() {
        Ok(iterator) => Ok(Input::Records { name: name_of_type(source), iterator: iterator.unbind() }),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a source is a path, a list of paths, bytes, a binary file object, an iterable of records, or an object \
             with __arrow_c_stream__, not {}",
            source.get_type().name()?
        ))),
    }
}

/// Imports Arrow data of another library. Inconsistent data, or names that are not UTF-8, make the import panic.
pub(crate) fn import<'py, T>(
    source: &Bound<'py, PyAny>,
    how: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(|| how(source))).unwrap_or_else(|_| {
        let name = name_of_type(source);
        Err(UnreadableError::new_err(format!(
            "the Arrow data of {name} is inconsistent, or has names that are not UTF-8; get an intact copy"
        )))
    })
}

/// Rejects objects that hold no records, but lead to some.
fn refuse_others(source: &Bound<'_, PyAny>) -> PyResult<()> {
    let kind = name_of_type(source);
    let is_ours = source.get_type().module().is_ok_and(|module| module.to_string().starts_with("edgesentry"));
    let advice = match &*kind {
        "Ledger" if is_ours => {
            "a Ledger is verified in place: ledger.verify(keys=...); ledger.records() are its records"
        }
        "AsyncLedger" if is_ours => "an AsyncLedger is verified in place: await ledger.verify(keys=...)",
        "Report" | "Findings" if is_ours => "a report holds no records; pass the records that it is about",
        "Manifest" if is_ours => {
            "a Manifest holds no records; pass the path of its export, and it as manifest="
        }
        "Fleet" if is_ours => "a Fleet is not a source; pass fleet.records",
        "Tampered" if is_ours => "a Tampered is not a source; pass tampered.records",
        _ => return Ok(()),
    };
    Err(PyTypeError::new_err(advice))
}

fn in_memory(bytes: PyBackedBytes) -> Input {
    Input::Ready(Source::Reader { name: "bytes".into(), reader: Box::new(Cursor::new(bytes)) })
}

/// Returns an existing file: a missing one is reported before hours of work on the others.
fn file(py: Python<'_>, path: PathBuf) -> PyResult<Source> {
    if let Some(error) = missing_url(&path) {
        return Err(failure(py, error));
    }
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot open: {error}"));
    path.metadata().map_err(failed)?;
    Ok(Source::Path(path))
}

/// Returns the name of a value in messages.
pub(crate) fn name_of_type(source: &Bound<'_, PyAny>) -> Arc<str> {
    let name = source.get_type().name().map(|name| name.to_string());
    name.map_or_else(|_| "source".into(), Arc::from)
}

/// Returns a path if the value is a str or a path-like object.
pub(crate) fn path_of(value: &Bound<'_, PyAny>) -> PyResult<Option<PathBuf>> {
    if value.is_instance_of::<PyString>() || value.hasattr(intern!(value.py(), "__fspath__"))? {
        let path: PathBuf = value.extract()?;
        if path.as_os_str().is_empty() {
            return Err(PyValueError::new_err("the path is empty"));
        }
        return Ok(Some(path));
    }
    Ok(None)
}

/// Returns the paths of a list or tuple that starts with a path.
fn list_of_paths(source: &Bound<'_, PyAny>) -> PyResult<Option<Vec<PathBuf>>> {
    if !source.is_instance_of::<PyList>() && !source.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut paths = Vec::new();
    for (at, item) in source.try_iter()?.enumerate() {
        let item = item?;
        match path_of(&item)? {
            Some(path) => paths.push(path),
            None if at == 0 => return Ok(None),
            None => {
                let message = format!("item {at} of the list of paths is {}", item.get_type().name()?);
                return Err(PyTypeError::new_err(message));
            }
        }
    }
    Ok((!paths.is_empty()).then_some(paths))
}
