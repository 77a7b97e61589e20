//! A progress bar compatible with tqdm; the calling thread updates it from the counters of the core.

use std::time::{Duration, Instant};

use edgesentry_formats::Progress;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

/// The interval between two updates of the bar.
const UPDATE_INTERVAL: Duration = Duration::from_millis(50);

/// The `progress` argument, and the bar once there is progress to show.
pub(crate) struct Bar {
    factory: Option<Py<PyAny>>,
    bar: Option<Py<PyAny>>,
    name: &'static str,
    unit: Unit,
    shown: u64,
    fed_at: Option<Instant>,
}

/// The unit of the bar.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Records,
}

impl Bar {
    /// Creates a bar from None or False (no bar), True (`tqdm.auto`), or a callable such as the class tqdm.
    pub(crate) fn new(progress: Option<&Bound<'_, PyAny>>) -> PyResult<Bar> {
        Bar::named("verify", progress)
    }

    /// Like `new`, with the name of the work.
    pub(crate) fn named(name: &'static str, progress: Option<&Bound<'_, PyAny>>) -> PyResult<Bar> {
        let factory = match progress {
            None => None,
            Some(progress) => match progress.cast::<PyBool>() {
                Ok(wanted) if wanted.is_true() => Some(default_bar(progress.py())?),
                Ok(_) => None,
                Err(_) if progress.is_callable() => Some(progress.clone().unbind()),
                Err(_) => {
                    let message = "progress must be True or a callable such as tqdm.auto.tqdm";
                    return Err(PyTypeError::new_err(message));
                }
            },
        };
        Ok(Bar { factory, bar: None, name, unit: Unit::Bytes, shown: 0, fed_at: None })
    }

    /// Shows the counters, at most twenty times a second.
    pub(crate) fn tick(&mut self, py: Python<'_>, progress: &Progress) -> PyResult<()> {
        let due = self.fed_at.is_none_or(|fed_at| fed_at.elapsed() >= UPDATE_INTERVAL);
        if self.factory.is_some() && due && progress.bytes() + progress.records() > 0 {
            self.feed(py, progress)?;
            self.fed_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Shows the final counters and closes the bar.
    pub(crate) fn finish(&mut self, py: Python<'_>, progress: &Progress) -> PyResult<()> {
        if self.factory.is_some() {
            self.feed(py, progress)?;
        }
        self.close(py)
    }

    /// Closes the bar without an update.
    pub(crate) fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.bar.take() {
            Some(bar) => bar.call_method0(py, intern!(py, "close")).map(|_| ()),
            None => Ok(()),
        }
    }

    fn feed(&mut self, py: Python<'_>, progress: &Progress) -> PyResult<()> {
        if self.bar.is_none() {
            self.open(py, progress)?;
        }
        let done = match self.unit {
            Unit::Bytes => progress.bytes(),
            Unit::Records => progress.records(),
        };
        if let Some(bar) = &self.bar
            && done > self.shown
        {
            bar.call_method1(py, intern!(py, "update"), (done - self.shown,))?;
            self.shown = done;
        }
        Ok(())
    }

    fn open(&mut self, py: Python<'_>, progress: &Progress) -> PyResult<()> {
        let Some(factory) = &self.factory else { return Ok(()) };
        let total = Some(progress.total_bytes()).filter(|total| *total > 0);
        // Arrow tables and records have no size in bytes.
        let has_bytes = total.is_some() || progress.bytes() > 0;
        let (unit, of_unit) = if has_bytes { (Unit::Bytes, "B") } else { (Unit::Records, " records") };
        self.unit = unit;
        let options = PyDict::new(py);
        options.set_item("total", total)?;
        options.set_item("unit", of_unit)?;
        options.set_item("unit_scale", true)?;
        options.set_item("desc", self.name)?;
        self.bar = Some(factory.call(py, (), Some(&options))?);
        Ok(())
    }
}

/// Returns the bar of `progress=True`, shared by the whole package.
fn default_bar(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(py.import("edgesentry._progress")?.call_method0("default_bar")?.unbind())
}
