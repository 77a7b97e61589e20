//! `read_records`: records one by one, or as an Arrow stream, in bounded memory.

use std::collections::VecDeque;
use std::sync::Mutex;

use edgesentry_chain as chain;
use edgesentry_formats::{Error as FormatError, Malformed, records, records_to_batch};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyCapsule;

use crate::arrow::{Batches, stream_capsule};
use crate::errors::malformed;
use crate::record::AuditRecord;
use crate::source::inputs;
use crate::work::Work;

/// Entries that the worker hands over at a time, and rows of an Arrow batch.
const BLOCK: usize = 8192;
/// Blocks that may wait for the reader.
const WAITING: usize = 2;

type Entry = Result<chain::AuditRecord, Malformed>;

/// Reads the records of a source one by one.
#[pyfunction]
#[pyo3(signature = (source, *, on_malformed = "raise"))]
pub(crate) fn read_records(source: &Bound<'_, PyAny>, on_malformed: &str) -> PyResult<RecordReader> {
    let skip_malformed = match on_malformed {
        "raise" => false,
        "skip" => true,
        _ => return Err(PyValueError::new_err(format!("on_malformed is \"raise\" or \"skip\", not {on_malformed:?}"))),
    };
    let entries = Entries { work: Some(start(source)?), skip_malformed, next_index: 0 };
    Ok(RecordReader(Mutex::new(Reading { entries: Some(entries), ready: VecDeque::new() })))
}

fn start(source: &Bound<'_, PyAny>) -> PyResult<Work<Vec<Entry>>> {
    todo!()
}
