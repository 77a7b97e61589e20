//! The devices in files, without an object of Python for each.

use std::collections::{BTreeMap, HashSet};

use edgesentry_chain::count;
use edgesentry_formats::devices_of;
use pyo3::prelude::*;

use crate::columns::{Ignored, column_names};
use crate::progress::Bar;
use crate::segments::in_ranges;
use crate::source::named_inputs;
use crate::work::{Work, wait};

/// The devices in some files, of which Parquet is read in part.
///
/// Args:
///     paths: As the source of `verify_part`.
///     byte_ranges: As for `verify_part`.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct DeviceIds(HashSet<Box<str>>);

#[pymethods]
impl DeviceIds {
    #[new]
    #[pyo3(signature = (paths, byte_ranges, *, columns = None, ignore = None))]
    fn new(
        py: Python<'_>,
        paths: &Bound<'_, PyAny>,
        byte_ranges: Vec<(u64, u64)>,
        columns: Option<BTreeMap<String, String>>,
        ignore: Option<Ignored>,
    ) -> PyResult<DeviceIds> {
        let inputs = in_ranges(named_inputs(paths, &column_names(columns, ignore)?)?, byte_ranges)?;
        let work =
            Work::start(inputs, |sources, progress, results| results.put(devices_of(sources, progress)?))?;
        wait(py, work, Bar::new(None)?).map(DeviceIds)
    }

    fn __repr__(&self) -> String {
        format!("<DeviceIds of {}>", count(self.0.len() as u64, "device"))
    }
}

/// Devices in files, or a set of Python.
#[derive(FromPyObject)]
pub(crate) enum SomeDevices<'py> {
    InFiles(Bound<'py, DeviceIds>),
    Set(HashSet<String>),
}

impl SomeDevices<'_> {
    pub(crate) fn ids(&self) -> Ids<'_> {
        match self {
            SomeDevices::InFiles(ids) => Ids::InFiles(&ids.get().0),
            SomeDevices::Set(ids) => Ids::Set(ids),
        }
    }
}

/// The devices of [`SomeDevices`], which another thread may read.
pub(crate) enum Ids<'i> {
    InFiles(&'i HashSet<Box<str>>),
    Set(&'i HashSet<String>),
}

impl Ids<'_> {
    pub(crate) fn contains(&self, device_id: &str) -> bool {
        match self {
            Ids::InFiles(ids) => ids.contains(device_id),
            Ids::Set(ids) => ids.contains(device_id),
        }
    }
}
