//! `verify_timestamp`: a time stamp of a checkpoint.

use std::path::PathBuf;

use edgesentry_formats::{StampCheck, read_tsa_roots};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::bundle::checkpoint_from_any;
use crate::coverage::TimeStamp;
use crate::errors::{ProofError, bad_log_file, shown};
use crate::log::read_file;

/// The most bytes of a file that are read; a larger one is not a time stamp.
const MAX_READ_BYTES: usize = 1 << 20;

/// Verifies a time stamp of a checkpoint (RFC 3161), offline.
///
/// Args:
///     stamp: The answer of a time stamping authority: its path, or its bytes.
///     checkpoint: The checkpoint.
///     tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust.
///     nonce: The nonce of the request, if the stamp is the answer to your own.
///
/// Raises:
///     OSError: A file cannot be read.
///     ConfigError: Checkpoint or roots are unreadable.
///     ProofError: The stamp does not hold; `code` is the reason.
#[pyfunction]
#[pyo3(signature = (stamp, checkpoint, *, tsa_roots, nonce = None))]
pub(crate) fn verify_timestamp(
    py: Python<'_>,
    stamp: &Bound<'_, PyAny>,
    checkpoint: &Bound<'_, PyAny>,
    tsa_roots: PathBuf,
    nonce: Option<u64>,
) -> PyResult<TimeStamp> {
    let (file, bytes) = match stamp.extract::<PyBackedBytes>() {
        Ok(bytes) => (String::new(), bytes.to_vec()),
        Err(_) => {
            let path: PathBuf = stamp.extract()?;
            (path.display().to_string(), read_file(py, &path, MAX_READ_BYTES)?)
        }
    };
    let note = checkpoint_from_any(checkpoint)?;
    let roots = read_tsa_roots(&tsa_roots).map_err(|error| bad_log_file(py, error))?;
    let verified = StampCheck::new(&note, &roots).with_nonce(nonce).verify(&file, &bytes);
    let stamp =
        verified.map_err(|error| ProofError::new_err((shown(&error.to_string()), error.problem.code())))?;
    Ok(TimeStamp(stamp))
}
