//! A build without operations.

use std::path::{Path, PathBuf};

use edgesentry_rs::{Error, Settings};

use crate::exit::Failure;

/// A section `[ops]` has no meaning here.
pub(crate) fn check(_: &Settings) -> Result<(), Error> {
    Ok(())
}

/// None: the settings of operations have no meaning here.
pub(crate) fn metrics_file(_: &Settings) -> Result<Option<PathBuf>, Error> {
    Ok(None)
}

/// A file of metrics, which this build does not have.
pub(crate) enum Textfile {}

impl Textfile {
    pub(crate) fn open(_: &Path) -> Result<Textfile, Failure> {
        Err(Failure::usage(
            "usage",
            "--metrics-file: this build has no operations; build with --features ops",
        ))
    }

    pub(crate) fn set(&self, _: &[()]) -> Result<(), Failure> {
        match *self {}
    }
}

/// A metric.
pub(crate) struct Family;

impl Family {
    pub(crate) fn sample(&self, _: &str, _: f64) {}
}

pub(crate) const HEADS_LAST_SUCCESS: Family = Family;
pub(crate) const HEADS_REWRITTEN: Family = Family;
pub(crate) const RECEIPTS_AGE: Family = Family;
pub(crate) const RECEIPTS_PENDING: Family = Family;
