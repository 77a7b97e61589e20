//! The arguments `columns` and `ignore` of functions that read records.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_formats::ColumnNames;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// One name, or several.
#[derive(FromPyObject)]
pub(crate) enum Ignored {
    One(String),
    More(Vec<String>),
}

/// Returns the names of the columns that hold the fields.
pub(crate) fn column_names(
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
) -> PyResult<Arc<ColumnNames>> {
    let columns = columns.unwrap_or_default();
    let ignored = match ignore {
        None => Vec::new(),
        Some(Ignored::One(name)) => vec![name],
        Some(Ignored::More(names)) => names,
    };
    let columns = columns.iter().map(|(field, column)| (field.as_str(), column.as_str()));
    let names = ColumnNames::new(columns, ignored.iter().map(String::as_str));
    names.map(Arc::new).map_err(|error| PyValueError::new_err(error.to_string()))
}
