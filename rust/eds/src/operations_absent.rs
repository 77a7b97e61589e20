//! A build without operations.

use std::path::Path;

use crate::exit::Failure;

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
