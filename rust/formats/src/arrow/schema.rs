//! The columns of a table of records.

use std::sync::{Arc, LazyLock};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use edgesentry_chain::FIELDS;

use super::guard::Problem;
use crate::Error;
use crate::columns::{ColumnNames, Meaning};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let types = [
        DataType::Utf8,
        DataType::UInt64,
        DataType::UInt64,
        DataType::FixedSizeBinary(32),
        DataType::FixedSizeBinary(64),
        DataType::FixedSizeBinary(32),
        DataType::Utf8,
    ];
    let fields = FIELDS.into_iter().zip(types).map(|(name, kind)| Field::new(name, kind, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

/// Returns the columns of written records: `device_id` and `object_ref` as Utf8, `sequence` and `timestamp_ms` as
/// UInt64, `payload_hash` and `prev_record_hash` as 32 and `signature` as 64 bytes of FixedSizeBinary, none of them
/// nullable.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

impl ColumnNames {
    /// Returns the meaning of this name, in any case of its letters.
    pub(crate) fn meaning_in_any_case(&self, name: &str) -> Meaning {
        let alike = |other: &str| other.eq_ignore_ascii_case(name);
        match (self.meaning(name), self.fields().position(alike)) {
            (Meaning::Unknown, Some(index)) => Meaning::Field(index),
            (Meaning::Unknown, None) if self.ignored.iter().any(|ignored| alike(ignored)) => Meaning::Ignored,
            (exact, _) => exact,
        }
    }
}

/// The kind of value in a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    /// Milliseconds since 1970.
    Time,
    Bytes(usize),
}

impl Kind {
    /// Returns the kind of the field at this index of [`FIELDS`].
    pub(crate) fn of_field(index: usize) -> Kind {
        match index {
            0 | 6 => Kind::Text,
            1 => Kind::Integer,
            2 => Kind::Time,
            4 => Kind::Bytes(64),
            _ => Kind::Bytes(32),
        }
    }

    fn accepts(self, data_type: &DataType) -> bool {
        use DataType::*;
        match (self, data_type) {
            (_, Dictionary(keys, values)) => {
                keys.is_integer() && !matches!(**values, Dictionary(..)) && self.accepts(values)
            }
            (Kind::Text, Utf8 | LargeUtf8 | Utf8View) => true,
            // Spark and DuckDB give large and unsigned numbers in these types.
            (
                Kind::Integer | Kind::Time,
                Decimal32(_, 0) | Decimal64(_, 0) | Decimal128(_, 0) | Decimal256(_, 0),
            ) => true,
            (Kind::Time, Timestamp(..)) => true,
            (Kind::Integer | Kind::Time, kind) => kind.is_integer(),
            (Kind::Bytes(size), FixedSizeBinary(width)) => usize::try_from(*width) == Ok(size),
            (Kind::Bytes(size), FixedSizeList(item, length)) => {
                usize::try_from(*length) == Ok(size) && item.data_type().is_integer()
            }
            (Kind::Bytes(_), List(item) | LargeList(item)) => item.data_type().is_integer(),
            (Kind::Bytes(_), Binary | LargeBinary | BinaryView | Utf8 | LargeUtf8 | Utf8View) => true,
            _ => false,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "a string column",
            Kind::Integer => "an integer column",
            Kind::Time => "an integer column of milliseconds, or a timestamp column",
            Kind::Bytes(64) => "64 bytes as fixed-size binary, binary, hex or base64 text",
            Kind::Bytes(_) => "32 bytes as fixed-size binary, binary, hex or base64 text",
        }
    }
}

/// The columns of a table that hold the fields of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The positions of the columns of the first fields: of all, or of the device alone.
    positions: Vec<usize>,
    /// True if the table has no other columns, and these under the names of the fields.
    is_whole: bool,
}

impl Selection {
    /// Finds the column of each field. Other columns are rejected because a record hash would not cover them, unless the
    /// caller leaves them out. A name may be in another case if only one column has it.
    pub(crate) fn of(name: &Arc<str>, schema: &Schema, names: &ColumnNames) -> Result<Selection, Error> {
        select(name, schema, names).map_err(|problem| Error::Unreadable { name: name.clone(), problem })
    }

    /// Returns the position of the column of each field, in the order of [`FIELDS`].
    pub(crate) fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Returns a batch with the columns of the fields alone, under the names of the fields.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        if self.is_whole {
            return Ok(batch.clone());
        }
        let schema = batch.schema_ref();
        let (mut fields, mut columns) = (Vec::with_capacity(FIELDS.len()), Vec::with_capacity(FIELDS.len()));
        for (at, name) in self.positions.iter().zip(FIELDS) {
            let (Some(field), Some(column)) = (schema.fields().get(*at), batch.columns().get(*at)) else {
                return Err(Problem::decoder("a batch has fewer columns than its schema"));
            };
            // Nullable: a null is a finding about its row.
            fields.push(Field::new(name, field.data_type().clone(), true));
            columns.push(Arc::clone(column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(Problem::decoder)
    }

    /// Returns the selection from a table that has only these columns, in the order of their positions.
    pub(crate) fn of_selected(&self) -> Selection {
        let rank = |at: &usize| self.positions.iter().filter(|other| *other < at).count();
        let positions = self.positions.iter().map(rank).collect();
        Selection { positions, is_whole: false }
    }

    /// Returns the selection of the column with the devices.
    pub(crate) fn of_devices(&self) -> Selection {
        Selection { positions: self.positions[..1].to_vec(), is_whole: false }
    }
}

fn select(input: &str, schema: &Schema, names: &ColumnNames) -> Result<Selection, String> {
    let mut found: [Option<usize>; FIELDS.len()] = [None; FIELDS.len()];
    for (position, field) in schema.fields().iter().enumerate() {
        let column = shown(field.name());
        let index = match names.meaning_in_any_case(field.name()) {
            Meaning::Field(index) => index,
            Meaning::Ignored => continue,
            Meaning::Unknown if field.name().starts_with("__index_level_") => {
                return Err(format!(
                    "column {column} is the index of a pandas frame and not a field of an audit record; leave it out: \
                     frame.reset_index(drop=True), or to_parquet(..., index=False)"
                ));
            }
            Meaning::Unknown => {
                return Err(format!(
                    "column {column} is not a field of an audit record, so no hash covers it; remove it, or name it in \
                     ignore= or --ignore (the fields are {})",
                    FIELDS.join(", ")
                ));
            }
        };
        if let Some(earlier) = found[index].replace(position) {
            let earlier = shown(schema.field(earlier).name());
            return Err(match earlier == column {
                true => format!("column {column} appears twice; keep one"),
                false => format!(
                    "columns {earlier} and {column} differ only in case, so either may hold {}; keep one, or name the \
                     other one in ignore= or --ignore",
                    FIELDS[index]
                ),
            });
        }
        let kind = Kind::of_field(index);
        if !kind.accepts(field.data_type()) {
            let data_type: String = field.data_type().to_string().chars().take(80).collect();
            return Err(format!("column {column} has type {data_type}; cast it to {}", kind.wanted()));
        }
    }
    let missing = || (0..FIELDS.len()).filter(|index| found[*index].is_none());
    if let Some(column) = missing().map(|index| names.of(index)).find(|column| is_partition(input, column)) {
        return Err(format!(
            "column {} is missing: it is only in the names of the directories; pass the rows with this column, such as a \
             dataset of pyarrow or a DataFrame",
            shown(column)
        ));
    }
    let missing: Vec<String> = missing()
        .map(|index| match names.of(index) {
            name if name == FIELDS[index] => name.to_owned(),
            name => format!("{} for {}", shown(name), FIELDS[index]),
        })
        .collect();
    match missing.as_slice() {
        [] => {}
        [one] => {
            return Err(format!(
                "column {one} is missing; an audit record has the fields {}",
                FIELDS.join(", ")
            ));
        }
        many => {
            return Err(format!(
                "columns {} are missing; an audit record has the fields {}",
                many.join(", "),
                FIELDS.join(", ")
            ));
        }
    }
    let positions = found.map(Option::unwrap_or_default).to_vec();
    let is_whole = schema.fields().len() == FIELDS.len()
        && positions.iter().enumerate().all(|(index, at)| schema.field(*at).name() == FIELDS[index]);
    Ok(Selection { positions, is_whole })
}

/// Returns true if a directory in the path has values of this column, as in Hive.
fn is_partition(input: &str, column: &str) -> bool {
    let mut names = input.rsplit('/').skip(1).filter_map(|name| name.split_once('='));
    names.any(|(key, _)| key.eq_ignore_ascii_case(column))
}

/// Quotes text of an input, shortened to fit a sentence.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} and so on", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_one_in_another_case() {
        let names = ColumnNames::new([("sequence", "n")], ["DEVICE_ID", "day"]).unwrap();
        assert_eq!(names.meaning_in_any_case("device_id"), Meaning::Field(0));
        assert_eq!(names.meaning_in_any_case("Device_ID"), Meaning::Field(0));
        assert_eq!(names.meaning_in_any_case("DEVICE_ID"), Meaning::Ignored);
        assert_eq!(names.meaning_in_any_case("N"), Meaning::Field(1));
        assert_eq!(names.meaning_in_any_case("sequence"), Meaning::Unknown);
        assert_eq!(names.meaning_in_any_case("DAY"), Meaning::Ignored);
        assert_eq!(names.meaning("DAY"), Meaning::Unknown);
        // The long s, whose upper case is an S.
        assert_eq!(ColumnNames::default().meaning_in_any_case("\u{17f}equence"), Meaning::Unknown);
    }
}
