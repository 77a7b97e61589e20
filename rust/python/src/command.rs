//! The command `eds`, for the console script.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with these arguments (the first is the program name) and returns its exit code.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, argv: Vec<OsString>) -> u8 {
    py.detach(|| eds::run(argv))
}
