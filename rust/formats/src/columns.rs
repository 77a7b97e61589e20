//! The columns of a table that hold the fields of a record, if a table names them differently or has others.

use edgesentry_chain::FIELDS;

/// Maximum number of characters of a name in a message.
const SHOWN_CHARS: usize = 80;

/// The names of the columns that hold the fields of records, and the columns that the caller leaves out.
///
/// In a table, a name also matches in another case if only one column does. In JSON, names match exactly.
///
/// ```
/// use edgesentry_formats::ColumnNames;
/// let names = ColumnNames::new([("timestamp_ms", "event_time")], ["day"])?;
/// assert!(!names.is_plain());
/// assert!(ColumnNames::new([("day", "event_time")], [] as [&str; 0]).is_err());
/// # Ok::<(), edgesentry_formats::ColumnNamesError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    renamed: [Option<Box<str>>; FIELDS.len()],
    pub(crate) ignored: Vec<Box<str>>,
    /// True if only the devices of records are needed.
    pub(crate) has_only_devices: bool,
}

/// The reason why names of columns contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnNamesError {
    /// No record has such a field.
    #[error("{field:?} is not a field of an audit record; the fields are {}", FIELDS.join(", "))]
    UnknownField {
        /// The name.
        field: String,
    },
    /// A field has two columns.
    #[error("the field {field} is given two columns; give one")]
    TwoColumns {
        /// The field.
        field: String,
    },
    /// A column holds two fields.
    #[error("the column {column:?} is given for two fields; each field has a column of its own")]
    TwoFields {
        /// The column.
        column: String,
    },
    /// A column is both read and ignored.
    #[error("the column {column:?} holds a field of the records, so it cannot be ignored")]
    Ignored {
        /// The column.
        column: String,
    },
}

/// The meaning of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The field at this index.
    Field(usize),
    /// A column that the caller leaves out.
    Ignored,
    /// Nothing that the caller or the format knows.
    Unknown,
}

impl ColumnNames {
    /// Creates names from fields with the name of the column that holds them, and from columns to leave out. A column
    /// that is left out need not exist.
    ///
    /// # Errors
    /// The names contradict each other.
    pub fn new<'a>(
        columns: impl IntoIterator<Item = (&'a str, &'a str)>,
        ignored: impl IntoIterator<Item = &'a str>,
    ) -> Result<ColumnNames, ColumnNamesError> {
        let mut names = ColumnNames::default();
        for (field, column) in columns {
            let Some(index) = FIELDS.iter().position(|known| *known == field) else {
                return Err(ColumnNamesError::UnknownField { field: shown(field) });
            };
            if names.renamed[index].replace(column.into()).is_some() {
                return Err(ColumnNamesError::TwoColumns { field: field.to_owned() });
            }
        }
        for (at, column) in names.fields().enumerate() {
            if names.fields().skip(at + 1).any(|other| other.eq_ignore_ascii_case(column)) {
                return Err(ColumnNamesError::TwoFields { column: shown(column) });
            }
        }
        for column in ignored {
            if names.fields().any(|field| field == column) {
                return Err(ColumnNamesError::Ignored { column: shown(column) });
            }
            names.ignored.push(column.into());
        }
        Ok(names)
    }

    /// Returns true if these are the names of the fields, and no column is left out.
    pub fn is_plain(&self) -> bool {
        self.ignored.is_empty() && !self.is_renamed() && !self.has_only_devices
    }

    /// Returns the names for a reader of devices alone.
    pub(crate) fn only_devices(&self) -> ColumnNames {
        ColumnNames { has_only_devices: true, ..self.clone() }
    }

    /// Returns true if a field has a column of another name.
    pub(crate) fn is_renamed(&self) -> bool {
        self.renamed.iter().any(Option::is_some)
    }

    /// Returns the name of the column of a field.
    pub(crate) fn of(&self, index: usize) -> &str {
        self.renamed[index].as_deref().unwrap_or(FIELDS[index])
    }

    /// Returns the meaning of exactly this name.
    pub(crate) fn meaning(&self, name: &str) -> Meaning {
        match self.fields().position(|field| field == name) {
            Some(index) => Meaning::Field(index),
            None if self.ignored.iter().any(|ignored| **ignored == *name) => Meaning::Ignored,
            None => Meaning::Unknown,
        }
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..FIELDS.len()).map(|index| self.of(index))
    }
}

/// Returns a name for a message, shortened.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_contradict_each_other_are_refused() {
        let new = |columns: &[(&'static str, &'static str)], ignored: &[&'static str]| {
            ColumnNames::new(columns.iter().copied(), ignored.iter().copied())
                .map_err(|error| error.to_string())
        };
        assert!(new(&[("timestamp_ms", "event_time")], &["day", "timestamp_ms"]).is_ok());
        // Two fields may change places.
        assert!(
            new(&[("payload_hash", "prev_record_hash"), ("prev_record_hash", "payload_hash")], &[]).is_ok()
        );
        for (columns, ignored, part) in [
            (&[("day", "x")][..], &[][..], "not a field"),
            (&[("sequence", "a"), ("sequence", "b")], &[], "two columns"),
            (&[("sequence", "a"), ("timestamp_ms", "A")], &[], "two fields"),
            (&[("sequence", "Timestamp_MS")], &[], "two fields"),
            (&[("sequence", "n")], &["n"], "cannot be ignored"),
            (&[], &["device_id"], "cannot be ignored"),
        ] {
            let error = new(columns, ignored).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
