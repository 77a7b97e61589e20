//! Converts findings to an Arrow table, and a table to findings.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::builder::{StringBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use edgesentry_chain::{Cause, Evidence, Finding, FindingCode, Hash, Location};

/// Number of findings in an Arrow batch.
const BATCH_FINDINGS: usize = 65_536;

/// Returns the columns of findings. Hashes and evidence are text, as in the JSON form of the report.
pub(crate) fn findings_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name| Field::new(name, DataType::UInt64, true);
    Arc::new(Schema::new(vec![
        text("code", false),
        text("device_id", true),
        number("sequence"),
        number("timestamp_ms"),
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

/// Findings as batches, created on first use or taken from the input, and then returned unchanged.
#[derive(Clone, Default)]
pub(crate) struct FindingTable(Arc<OnceLock<Vec<RecordBatch>>>);

impl FindingTable {
    /// Creates a table of existing batches.
    pub(crate) fn of(batches: Vec<RecordBatch>) -> FindingTable {
        FindingTable(Arc::new(OnceLock::from(batches)))
    }

    /// Returns the batches of some of the findings, without a copy; `all` are the findings of the table.
    pub(crate) fn batches(
        &self,
        all: &[Finding],
        findings: Range<usize>,
    ) -> Result<Vec<RecordBatch>, ArrowError> {
        let whole = match self.0.get() {
            Some(batches) => batches,
            None => {
                let batches = all.chunks(BATCH_FINDINGS).map(batch);
                let batches = batches.collect::<Result<Vec<_>, _>>()?;
                self.0.get_or_init(|| batches)
            }
        };
        let mut next = 0;
        let parts = whole.iter().filter_map(|batch| {
            let first = next;
            next += batch.num_rows();
            let (start, end) = (findings.start.max(first), findings.end.min(next));
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
        number(findings, |finding| finding.timestamp_ms),
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

/// Reads findings from an external batch. Its columns may be in any order, and in any type that holds their values:
/// strings also as large, view or dictionary strings, integers of any width. Other columns are dropped. `before` is the
/// number of previous rows, for messages, which count from 1.
///
/// Returns the batch in the form of [`findings_schema`]; columns already in this form are not copied.
pub(crate) fn read(batch: &RecordBatch, before: usize) -> Result<(RecordBatch, Vec<Finding>), String> {
    let schema = findings_schema();
    let columns = schema.fields().iter().map(|field| column(batch, field, before));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let table = RecordBatch::try_new(schema, columns).map_err(|error| error.to_string())?;
    let rows = Rows::of(&table);
    let findings = (0..table.num_rows())
        .map(|row| rows.finding(row).map_err(|problem| format!("row {}: {problem}", before + row + 1)));
    let findings = findings.collect::<Result<Vec<_>, _>>()?;
    Ok((table, findings))
}

/// Returns the reason why a schema is not one of findings.
pub(crate) fn schema_problem(schema: &Schema) -> Option<String> {
    let wanted = findings_schema();
    let names: Vec<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
    let mut missing = Vec::new();
    for field in wanted.fields() {
        let mut found = schema.fields().iter().filter(|other| other.name() == field.name());
        let Some(column) = found.next() else {
            missing.push(field.name().as_str());
            continue;
        };
        if found.next().is_some() {
            return Some(format!("column {} appears twice; keep one", field.name()));
        }
        if !holds(field, column.data_type()) {
            let data_type: String = column.data_type().to_string().chars().take(80).collect();
            let kind = if is_text(field) { "a string column" } else { "an integer column" };
            return Some(format!("column {} has type {data_type}; cast it to {kind}", field.name()));
        }
    }
    let (columns, are) = match missing.len() {
        0 => return None,
        1 => ("column", "is"),
        _ => ("columns", "are"),
    };
    let (missing, names) = (missing.join(", "), names.join(", "));
    Some(format!("{columns} {missing} {are} missing; findings have the columns {names}"))
}

fn is_text(field: &Field) -> bool {
    *field.data_type() == DataType::Utf8
}

fn holds(field: &Field, data_type: &DataType) -> bool {
    match data_type {
        // In some libraries, a column with only nulls has no other type.
        DataType::Null => field.is_nullable(),
        DataType::Dictionary(_, values) => {
            !matches!(**values, DataType::Dictionary(..)) && holds(field, values)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => is_text(field),
        DataType::Decimal128(_, 0) | DataType::Decimal256(_, 0) => !is_text(field),
        other => !is_text(field) && other.is_integer(),
    }
}

/// Returns the column of a field, in its type.
fn column(batch: &RecordBatch, field: &Field, before: usize) -> Result<ArrayRef, String> {
    let name = field.name();
    let column = batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"))?;
    column.to_data().validate_full().map_err(|error| format!("column {name} is damaged: {error}"))?;
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(column, field.data_type(), &options);
    let column = cast.map_err(|error| format!("column {name} has an invalid value: {error}"))?;
    if !field.is_nullable()
        && let Some(row) = (0..column.len()).find(|row| column.is_null(*row))
    {
        return Err(format!("row {}: {name} is null", before + row + 1));
    }
    Ok(column)
}

/// The columns of a table of findings.
struct Rows<'a> {
    texts: [&'a StringArray; 7],
    numbers: [&'a UInt64Array; 6],
}

const TEXTS: [&str; 7] = ["code", "device_id", "expected", "actual", "record_hash", "cause_code", "input"];
const NUMBERS: [&str; 6] = ["sequence", "timestamp_ms", "index", "cause_sequence", "cause_index", "record"];

impl<'a> Rows<'a> {
    fn of(table: &'a RecordBatch) -> Rows<'a> {
        Rows {
            texts: TEXTS.map(|name| table[name].as_string()),
            numbers: NUMBERS.map(|name| table[name].as_primitive::<UInt64Type>()),
        }
    }

    fn finding(&self, row: usize) -> Result<Finding, String> {
        let [code, device_id, expected, actual, record_hash, cause_code, input] =
            self.texts.map(|column| column.is_valid(row).then(|| column.value(row)));
        let [sequence, timestamp_ms, index, cause_sequence, cause_index, record] =
            self.numbers.map(|column| column.is_valid(row).then(|| column.value(row)));
        let evidence = |text: Option<&str>| Evidence::Text(text.unwrap_or_default().into());
        let mut finding = Finding::malformed(0, "", "");
        finding.code = code_named(code.unwrap_or_default())?;
        finding.device_id = device_id.map(Arc::from);
        finding.sequence = sequence;
        finding.timestamp_ms = timestamp_ms;
        finding.index = index;
        finding.expected = evidence(expected);
        finding.actual = evidence(actual);
        finding.record_hash = record_hash.map(hash).transpose()?;
        finding.cause = match (cause_code, cause_index) {
            (Some(code), Some(index)) => {
                Some(Cause { code: code_named(code)?, sequence: cause_sequence, index })
            }
            (None, None) if cause_sequence.is_none() => None,
            _ => return Err("cause_code and cause_index are given together, or neither is".to_owned()),
        };
        finding.location = match (input, record) {
            (Some(input), Some(record)) => Some(Location { input: input.into(), record }),
            (None, None) => None,
            _ => return Err("input and record are given together, or neither is".to_owned()),
        };
        Ok(finding)
    }
}

fn code_named(text: &str) -> Result<FindingCode, String> {
    text.parse::<FindingCode>().map_err(|error| error.to_string())
}

fn hash(text: &str) -> Result<Hash, String> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(Hash(bytes)),
        Err(_) => {
            let shown: String = text.chars().take(80).collect();
            Err(format!("record_hash is {shown:?}, not 64 hex digits"))
        }
    }
}
