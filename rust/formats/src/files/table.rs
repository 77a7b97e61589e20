//! Tables whose directory has files that no longer belong to them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;

/// The kind of a table that lists its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableKind {
    /// A table of Delta Lake.
    Delta,
    /// A table of Apache Iceberg.
    Iceberg,
    /// A table of Apache Hudi.
    Hudi,
}

impl TableKind {
    fn name(self) -> &'static str {
        match self {
            TableKind::Delta => "a Delta table",
            TableKind::Iceberg => "an Iceberg table",
            TableKind::Hudi => "a Hudi table",
        }
    }

    /// Returns the library of such tables in Python, if there is one that is used here.
    pub fn library(self) -> Option<&'static str> {
        match self {
            TableKind::Delta => Some("deltalake"),
            TableKind::Iceberg => Some("pyiceberg"),
            TableKind::Hudi => None,
        }
    }

    /// Returns how to read such a table.
    fn advice(self) -> &'static str {
        match self {
            TableKind::Delta => {
                "read it in Python with its library (pip install deltalake pyarrow): verify_chain(DeltaTable(...))"
            }
            TableKind::Iceberg => {
                "read it in Python with its library (pip install \"pyiceberg[pyarrow]\"): verify_chain(catalog.load_table(...))"
            }
            TableKind::Hudi => "write its records with its engine as plain Parquet first",
        }
    }
}

/// Returns true for names that no file of records has in a directory, as in Hive and Spark: those that begin with `.`,
/// or with `_` unless they name the value of a partition.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.starts_with('_') && !name.contains('=')
}

/// The tables that a list of names shows.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    first: Option<(PathBuf, TableKind)>,
}

impl Tables {
    /// Returns one table.
    pub fn of(folder: &Path, kind: TableKind) -> Tables {
        Tables { first: Some((folder.to_owned(), kind)) }
    }

    /// Looks at a name in a directory.
    pub fn see(&mut self, folder: &Path, name: &OsStr, is_folder: bool) {
        let kind = match name.to_str() {
            Some("_delta_log") if is_folder => TableKind::Delta,
            Some(".hoodie") if is_folder => TableKind::Hudi,
            Some(name) if !is_folder && name.ends_with(".metadata.json") => TableKind::Iceberg,
            _ => return,
        };
        let table = match kind {
            // Its metadata is in a directory of the table.
            TableKind::Iceberg if folder.file_name() == Some(OsStr::new("metadata")) => folder.parent(),
            TableKind::Iceberg => None,
            _ => Some(folder),
        };
        let Some(table) = table else { return };
        if self.first.as_ref().is_none_or(|(first, _)| table < first.as_path()) {
            self.first = Some((table.to_owned(), kind));
        }
    }

    /// Returns the first table in the order of paths.
    pub fn first(&self) -> Option<(&Path, TableKind)> {
        self.first.as_ref().map(|(path, kind)| (path.as_path(), *kind))
    }

    /// Returns an error if there is a table.
    ///
    /// # Errors
    /// There is one.
    pub fn refuse(&self, name: &Arc<str>) -> Result<(), Error> {
        let Some((path, kind)) = self.first() else { return Ok(()) };
        let place = match path.as_os_str() == &**name || path.as_os_str().is_empty() {
            true => "it".to_owned(),
            false => format!("the directory {}", path.display()),
        };
        Err(Error::Unreadable {
            name: Arc::clone(name),
            problem: format!(
                "{place} is {}, and some of its files are no longer part of the table; {}",
                kind.name(),
                kind.advice()
            ),
        })
    }
}

/// Returns the kind of table in a directory, if it is one.
pub fn table_of(folder: &Path) -> Option<TableKind> {
    if folder.join("_delta_log").is_dir() {
        return Some(TableKind::Delta);
    }
    if folder.join(".hoodie").is_dir() {
        return Some(TableKind::Hudi);
    }
    let metadata = std::fs::read_dir(folder.join("metadata")).ok()?;
    let mut names = metadata.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.any(|name| name.ends_with(".metadata.json")).then_some(TableKind::Iceberg)
}
