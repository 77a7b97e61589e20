//! The columns of a table of records.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use edgesentry_chain::FIELDS;

use crate::Error;

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

/// The kind of value in a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Bytes(usize),
}

impl Kind {
    /// Returns the kind of the field at this index of [`FIELDS`].
    pub(crate) fn of_field(index: usize) -> Kind {
        match index {
            0 | 6 => Kind::Text,
            1 | 2 => Kind::Integer,
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
            // Spark writes unsigned numbers in this type.
            (Kind::Integer, Decimal128(_, 0)) => true,
            (Kind::Integer, kind) => kind.is_integer(),
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
            Kind::Bytes(64) => "64 bytes as fixed-size binary, binary, hex or base64 text",
            Kind::Bytes(_) => "32 bytes as fixed-size binary, binary, hex or base64 text",
        }
    }
}

/// Checks that every column is a field of a record, appears once, and has a suitable type. Other columns are rejected
/// because a record hash would not cover them.
pub(crate) fn check_schema(name: &Arc<str>, schema: &Schema) -> Result<(), Error> {
    match schema_problem(schema) {
        None => Ok(()),
        Some(problem) => Err(Error::Unreadable { name: name.clone(), problem }),
    }
}

fn schema_problem(schema: &Schema) -> Option<String> {
    let mut found = [false; FIELDS.len()];
    for field in schema.fields() {
        let column = shown(field.name());
        if field.name().starts_with("__index_level_") {
            return Some(format!(
                "column {column} is the index of a pandas frame and not a field of an audit record; leave it out: \
                 frame.reset_index(drop=True), or to_parquet(..., index=False)"
            ));
        }
        let Some(index) = FIELDS.iter().position(|known| known == field.name()) else {
            return Some(format!(
                "column {column} is not a field of an audit record, so no hash covers it; remove it (the fields are \
                 {})",
                FIELDS.join(", ")
            ));
        };
        if std::mem::replace(&mut found[index], true) {
            return Some(format!("column {column} appears twice; keep one"));
        }
        let kind = Kind::of_field(index);
        if !kind.accepts(field.data_type()) {
            let data_type: String = field.data_type().to_string().chars().take(80).collect();
            return Some(format!("column {column} has type {data_type}; cast it to {}", kind.wanted()));
        }
    }
    let missing: Vec<&str> =
        FIELDS.iter().zip(found).filter(|(_, found)| !found).map(|(name, _)| *name).collect();
    match missing.as_slice() {
        [] => None,
        [one] => {
            Some(format!("column {one} is missing; an audit record has the fields {}", FIELDS.join(", ")))
        }
        many => Some(format!(
            "columns {} are missing; an audit record has the fields {}",
            many.join(", "),
            FIELDS.join(", ")
        )),
    }
}

/// Quotes text of an input, shortened to fit a sentence.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} and so on", &text[..end]),
    }
}
