//! Arrow streams over the PyCapsule interface, by pyo3-arrow.

use std::sync::Arc;

use arrow_array::builder::{StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
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

/// The findings of a report, from `next` up to `end`, as batches.
pub(crate) struct FindingBatches {
    pub(crate) report: Arc<Report>,
    pub(crate) next: usize,
    pub(crate) end: usize,
}

impl Iterator for FindingBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.end.min(self.next + BATCH_FINDINGS);
        let findings = self.report.findings.get(self.next..end).filter(|findings| !findings.is_empty())?;
        self.next = end;
        Some(batch(findings))
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
