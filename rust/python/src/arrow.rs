//! Arrow streams over the PyCapsule interface, by pyo3-arrow.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::builder::{StringBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use edgesentry_chain::{Finding, Report};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

/// Findings of one Arrow batch.
const BATCH_FINDINGS: usize = 65_536;

/// Record batches as an Arrow C stream.
pub(crate) fn stream_capsule<'py>(
    py: Python<'py>,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    requested_schema: Option<Bound<'py, PyCapsule>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let rows = Field::new_struct("", schema.fields().clone(), false);
    let arrays = batches.map(|batch| Ok(Arc::new(StructArray::from(batch?)) as ArrayRef));
    let reader = ArrayIterator::new(arrays, Arc::new(rows));
    Ok(to_stream_pycapsule(py, Box::new(reader), requested_schema)?)
}

/// A schema as an Arrow C schema, so that a stream need not be opened to learn it.
pub(crate) fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    Ok(to_schema_pycapsule(py, schema)?)
}

/// The columns of findings. Hashes and evidence are text, as in the JSON form of the report.
pub(crate) fn findings_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name| Field::new(name, DataType::UInt64, true);
    Arc::new(Schema::new(vec![
        text("code", false),
        text("device_id", true),
        number("sequence"),
        number("index"),
        text("expected", false),
        text("actual", false),
        text("record_hash", true),
        text("cause_code", true),
        number("cause_sequence"),
        number("cause_index"),
        text("input", true),
        number("record"),
    ]))
}

/// The findings of a report as batches, made when first asked for and then handed out as they are.
#[derive(Clone, Default)]
pub(crate) struct FindingTable(Arc<OnceLock<Vec<RecordBatch>>>);

impl FindingTable {
    /// The batches of some of the findings; nothing is copied.
    pub(crate) fn batches(
        &self,
        report: &Report,
        findings: Range<usize>,
    ) -> Result<Vec<RecordBatch>, ArrowError> {
        let whole = match self.0.get() {
            Some(batches) => batches,
            None => {
                let batches = report.findings.chunks(BATCH_FINDINGS).map(batch);
                let batches = batches.collect::<Result<Vec<_>, _>>()?;
                self.0.get_or_init(|| batches)
            }
        };
        let parts = whole.iter().enumerate().filter_map(|(at, batch)| {
            let first = at * BATCH_FINDINGS;
            let start = findings.start.max(first);
            let end = findings.end.min(first + batch.num_rows());
            (start < end).then(|| batch.slice(start - first, end - start))
        });
        Ok(parts.collect())
    }
}

fn batch(findings: &[Finding]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        text(findings, |finding| Some(finding.code.name())),
        text(findings, |finding| finding.device_id.as_deref()),
        number(findings, |finding| finding.sequence),
        number(findings, |finding| finding.index),
        text(findings, |finding| Some(finding.expected.to_string())),
        text(findings, |finding| Some(finding.actual.to_string())),
        text(findings, |finding| finding.record_hash.map(|hash| hash.to_string())),
        text(findings, |finding| finding.cause.as_ref().map(|cause| cause.code.name())),
        number(findings, |finding| finding.cause.as_ref().and_then(|cause| cause.sequence)),
        number(findings, |finding| finding.cause.as_ref().map(|cause| cause.index)),
        text(findings, |finding| finding.location.as_ref().map(|location| &*location.input)),
        number(findings, |finding| finding.location.as_ref().map(|location| location.record)),
    ];
    RecordBatch::try_new(findings_schema(), columns)
}

fn text<'f, T: AsRef<str>>(findings: &'f [Finding], value: impl Fn(&'f Finding) -> Option<T>) -> ArrayRef {
    let mut column = StringBuilder::new();
    findings.iter().for_each(|finding| column.append_option(value(finding)));
    Arc::new(column.finish())
}

fn number(findings: &[Finding], value: impl Fn(&Finding) -> Option<u64>) -> ArrayRef {
    let mut column = UInt64Builder::with_capacity(findings.len());
    findings.iter().for_each(|finding| column.append_option(value(finding)));
    Arc::new(column.finish())
}

/// One value of the tables that are made here: their columns are text, u64 and f64.
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Number(u64),
    Real(f64),
    Null,
}

/// The value of a column at a row.
pub(crate) fn cell(column: &dyn Array, at: usize) -> Cell<'_> {
    if column.is_null(at) {
        Cell::Null
    } else if let Some(text) = column.as_string_opt::<i32>() {
        Cell::Text(text.value(at))
    } else if let Some(numbers) = column.as_primitive_opt::<UInt64Type>() {
        Cell::Number(numbers.value(at))
    } else if let Some(reals) = column.as_primitive_opt::<Float64Type>() {
        Cell::Real(reals.value(at))
    } else {
        Cell::Null
    }
}
