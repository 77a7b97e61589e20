//! The command `eds`, for the console script.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command `eds` and returns its exit code; the first argument is the program's name.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, argv: Vec<OsString>) -> u8 {
    py.detach(|| eds::run(argv))
}
