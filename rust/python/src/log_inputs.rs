//! `LogInputs`: the files of the level `log`, for workers.

use std::path::PathBuf;
use std::sync::Arc;

use edgesentry_formats::{LogBytes, LogCheck, LogFiles};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::errors::{bad_log_file, sentence};
use crate::pickle::{Reduced, reduce};
use crate::verify::{LogArguments, MaxAgeSeconds, OneOrMore, layout_beside};

/// The inputs of the level `log`, for the parts of a run and its report: see `verify_part`.
///
/// The files are read once. The object pickles with their contents, so workers do not need the files.
///
/// Args:
///     checkpoint: As for `verify_chain`.
///     policy: As for `verify_chain`.
///     log_layout: As for `verify_chain`.
///     previous: As for `verify_chain`.
///     max_age: As for `verify_chain`; it counts when the report is made.
///     timestamps: As for `verify_chain`.
///     tsa_roots: As for `verify_chain`.
///     source: The records, beside which the layout is if `log_layout` is None, as for `verify_chain`.
///
/// Raises:
///     FileNotFoundError: A file is missing.
///     OSError: A file cannot be read.
///     ConfigError: A file is not a checkpoint, a policy, a layout or a root.
///     ValueError: `checkpoint` or `policy` is missing.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct LogInputs {
    state: LogInputsState,
    files: Arc<LogFiles>,
}

/// The contents of the files, and the maximum age in seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LogInputsState(LogBytes, Option<u64>);

/// The parsed files.
#[derive(Clone)]
pub(crate) struct SharedLog {
    files: Arc<LogFiles>,
    max_age: Option<u64>,
}

impl SharedLog {
    /// Starts a comparison of records, for which the age of the checkpoint does not matter.
    pub(crate) fn check(&self) -> LogCheck<'_> {
        self.files.check(None)
    }

    /// Starts the comparison of a whole run.
    pub(crate) fn check_now(&self) -> PyResult<LogCheck<'_>> {
        let max_age = self.max_age.map(|seconds| MaxAgeSeconds::Seconds(seconds).until_now());
        Ok(self.files.check(max_age.transpose()?))
    }
}

impl LogInputs {
    /// Restores the inputs of a pickle.
    pub(crate) fn from_state(state: LogInputsState) -> Result<LogInputs, String> {
        let files = LogFiles::parse(&state.0).map_err(|error| sentence(&error))?;
        Ok(LogInputs { state, files: Arc::new(files) })
    }

    pub(crate) fn shared(&self) -> SharedLog {
        SharedLog { files: Arc::clone(&self.files), max_age: self.state.1 }
    }
}

#[pymethods]
impl LogInputs {
    #[new]
    #[pyo3(signature = (
        *, checkpoint = None, policy = None, log_layout = None, previous = None, max_age = None,
        timestamps = None, tsa_roots = None, source = None
    ))]
    // The arguments of the Python class.
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        checkpoint: Option<PathBuf>,
        policy: Option<PathBuf>,
        log_layout: Option<PathBuf>,
        previous: Option<PathBuf>,
        max_age: Option<MaxAgeSeconds>,
        timestamps: Option<OneOrMore>,
        tsa_roots: Option<PathBuf>,
        source: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<LogInputs> {
        let timestamps = timestamps.map(OneOrMore::paths);
        let given = LogArguments { checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots };
        let Some((bytes, max_age)) = given.bytes(py, || source.and_then(layout_beside))? else {
            return Err(PyValueError::new_err("the level log needs checkpoint and policy"));
        };
        let files = LogFiles::parse(&bytes).map_err(|error| bad_log_file(py, error))?;
        let state = LogInputsState(bytes, max_age.map(MaxAgeSeconds::seconds));
        Ok(LogInputs { state, files: Arc::new(files) })
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "LogInputs", &self.state)
    }

    fn __repr__(&self) -> String {
        format!("<LogInputs of checkpoint {}>", self.state.0.checkpoint_name())
    }
}
