//! `write_records`: writes records to a file, in the format of its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgesentry_formats::{
    Destination, Destinations, Error, Malformed, Progress, RecordWriter, Source, by_name, records,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::columns::{Ignored, column_names};
use crate::errors::{bad_destination, malformed, shown};
use crate::progress::Bar;
use crate::source::{Input, named_inputs};
use crate::work::{Work, wait};

/// Number of records written at a time.
const BLOCK: usize = 8192;

/// Writes records to a file and returns their number. The extension of the file selects the format.
///
/// The file appears under its name only when it is complete.
///
/// Args:
///     records: As for `verify_chain`.
///     path: `.json`, `.ndjson` or `.jsonl`, also followed by `.gz` or `.zst`; `.arrow` or `.parquet`.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
///     int64: Numbers in Arrow and Parquet are int64, for engines without unsigned types such as Spark.
///
/// Raises:
///     ValueError: The extension is not that of a format.
///     RecordMalformed: An entry of the source is not a record; nothing is written.
///     OSError: The file cannot be written, or with `int64`, a number is larger than any int64.
#[pyfunction]
#[pyo3(signature = (records, path, *, columns = None, ignore = None, int64 = false))]
pub(crate) fn write_records(
    py: Python<'_>,
    records: &Bound<'_, PyAny>,
    path: PathBuf,
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
    int64: bool,
) -> PyResult<u64> {
    if by_name(&path).is_none() {
        return Err(PyValueError::new_err(shown(&format!(
            "{}: the name has no known format; use .json, .ndjson or .jsonl (also with .gz or .zst), .arrow or \
             .parquet",
            path.display()
        ))));
    }
    let inputs = named_inputs(records, &column_names(columns, ignore)?)?;
    let mut destinations = Destinations::default();
    for file in inputs.iter().filter_map(Input::path) {
        destinations.read("a source", file);
    }
    let destination = destinations.place("path", &path).map_err(|error| bad_destination(py, error))?;
    let work = Work::start(inputs, move |sources, progress, results| {
        let written = copy(sources, &destination, &path, int64, progress)?;
        results.put(written)
    })?;
    wait(py, work, Bar::new(None)?)?.map_err(|(index, reason)| malformed(index, &reason))
}

/// The number of records written, or the malformed entry; then no file is left behind.
type Written = Result<u64, (u64, Malformed)>;

fn copy(
    sources: Vec<Source>,
    destination: &Destination,
    path: &Path,
    int64: bool,
    progress: &Progress,
) -> Result<Written, Error> {
    let mut writer = RecordWriter::create_at(destination, path)?.with_int64(int64);
    let mut block = Vec::with_capacity(BLOCK);
    let mut index = 0;
    for source in sources {
        for entry in records(source)? {
            match entry? {
                Ok(record) => block.push(record),
                Err(reason) => return Ok(Err((index, reason))),
            }
            index += 1;
            if block.len() == BLOCK {
                refuse_cancelled(progress)?;
                writer.write(&block)?;
                block.clear();
            }
        }
    }
    writer.write(&block)?;
    refuse_cancelled(progress)?;
    writer.finish().map(Ok)
}

/// After Ctrl-C the file keeps its previous content.
fn refuse_cancelled(progress: &Progress) -> Result<(), Error> {
    if progress.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}
