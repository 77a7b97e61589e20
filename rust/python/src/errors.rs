//! Errors as Python exceptions. Findings are not exceptions.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;

use edgesentry_chain::{ChainFull, KeyError, PayloadError, escape};
use edgesentry_formats::{
    Destination, DestinationError, Error as FormatError, HeadsError, KeysError, LogFileError, LogFileProblem,
    Malformed, Readers, SeedError, SnapshotError, describe,
};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyIsADirectoryError, PyOSError, PyPermissionError, PyValueError,
};
use pyo3::prelude::*;

mod python {
    use pyo3::import_exception;

    import_exception!(edgesentry.exceptions, EdgesentryError);
    import_exception!(edgesentry.exceptions, ConfigError);
    import_exception!(edgesentry.exceptions, HeadsRewrittenError);
    import_exception!(edgesentry.exceptions, ProofError);
    import_exception!(edgesentry.exceptions, RegistryError);
    import_exception!(edgesentry.exceptions, RequirementError);
    import_exception!(edgesentry.exceptions, ServiceError);
    import_exception!(edgesentry.exceptions, SignerError);
    import_exception!(edgesentry.exceptions, StoreError);
    import_exception!(edgesentry.exceptions, UnreadableError);
    import_exception!(edgesentry.exceptions, RecordMalformed);
    import_exception!(edgesentry.exceptions, UpdateError);
    import_exception!(edgesentry.exceptions, UpdateRefusedError);
    import_exception!(edgesentry.exceptions, VerificationError);
}

pub(crate) use python::{
    ConfigError, EdgesentryError, HeadsRewrittenError, ProofError, RecordMalformed, RegistryError,
    RequirementError, ServiceError, SignerError, StoreError, UnreadableError, UpdateError,
    UpdateRefusedError, VerificationError,
};

/// Returns the exception for an error of reading, verifying or writing.
pub(crate) fn failure(py: Python<'_>, error: FormatError) -> PyErr {
    let message = sentence(&error);
    match error {
        FormatError::Io { name, source, .. } => os_error(py, &source, &name, &message),
        FormatError::Unreadable { .. } => UnreadableError::new_err(message),
        FormatError::Payload(error) => unreadable_payload(py, &error),
        FormatError::Source { source, .. } => match source.downcast::<PyErr>() {
            Ok(error) => *error,
            Err(source) => match source.downcast::<edgesentry_rs::StoreError>() {
                Ok(error) => StoreError::new_err((message, error.is_retryable(), error.component.name())),
                Err(_) => UnreadableError::new_err(message),
            },
        },
        FormatError::Part(error) => crate::segments::unusable(error),
        FormatError::Destination(error) => bad_destination(py, error),
        FormatError::PolicyMissing => ConfigError::new_err("the bundle has no policy; pass yours as policy="),
        _ => EdgesentryError::new_err(message),
    }
}

/// Returns `OSError(errno, reason, path)`, which Python turns into FileNotFoundError, PermissionError and so on.
/// Without an errno, returns the exception for its kind, with the message `otherwise`.
pub(crate) fn os_error(py: Python<'_>, source: &io::Error, name: &str, otherwise: &str) -> PyErr {
    let Some(errno) = source.raw_os_error() else {
        let message = shown(otherwise);
        return match source.kind() {
            io::ErrorKind::NotFound => PyFileNotFoundError::new_err(message),
            io::ErrorKind::PermissionDenied => PyPermissionError::new_err(message),
            io::ErrorKind::AlreadyExists => PyFileExistsError::new_err(message),
            io::ErrorKind::IsADirectory => PyIsADirectoryError::new_err(message),
            _ => PyOSError::new_err(message),
        };
    };
    let reason = py.import("os").and_then(|os| os.call_method1("strerror", (errno,)));
    match reason.and_then(|reason| reason.extract::<String>()) {
        Ok(reason) => PyOSError::new_err((errno, reason, name.to_owned())),
        Err(error) => error,
    }
}

fn unreadable_payload(py: Python<'_>, error: &PayloadError) -> PyErr {
    let failure = StoreError::new_err(sentence(error));
    if let Some(source) = error.source.downcast_ref::<io::Error>() {
        failure.set_cause(py, Some(os_error(py, source, &error.object_ref, &source.to_string())));
    }
    failure
}

/// Returns the exception for a malformed entry at position `index`.
pub(crate) fn malformed(index: u64, malformed: &Malformed) -> PyErr {
    RecordMalformed::new_err((index, malformed.expected.clone(), malformed.actual.clone()))
}

pub(crate) fn bad_key(error: KeyError) -> PyErr {
    ConfigError::new_err(error.to_string())
}

pub(crate) fn bad_keys(name: &str, error: &KeysError) -> PyErr {
    ConfigError::new_err(shown(&format!("{name}: {}", sentence(error))))
}

pub(crate) fn bad_heads(name: &str, error: &HeadsError) -> PyErr {
    ConfigError::new_err(shown(&format!("{name}: {}", sentence(error))))
}

/// Returns the exception for a checkpoint, policy or layout that cannot be used.
pub(crate) fn bad_log_file(py: Python<'_>, error: LogFileError) -> PyErr {
    let message = sentence(&error);
    match error.problem {
        LogFileProblem::Read(source) => os_error(py, &source, &error.path.display().to_string(), &message),
        _ => ConfigError::new_err(shown(&message)),
    }
}

/// Returns the exception for a rejected output path.
pub(crate) fn bad_destination(py: Python<'_>, error: DestinationError) -> PyErr {
    let message = sentence(&error);
    match error {
        DestinationError::Unusable { path, source } => {
            os_error(py, &source, &path.display().to_string(), &message)
        }
        _ => PyValueError::new_err(message),
    }
}

pub(crate) fn bad_snapshot(py: Python<'_>, error: SnapshotError) -> PyErr {
    let message = sentence(&error);
    match error {
        SnapshotError::Io { path, source, .. } => {
            os_error(py, &source, &path.display().to_string(), &message)
        }
        _ => ConfigError::new_err(message),
    }
}

/// Writes a text completely or not at all.
pub(crate) fn write_text(py: Python<'_>, path: &Path, text: &str) -> PyResult<()> {
    let destination = Destination::of("path", path).map_err(|error| bad_destination(py, error))?;
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot write: {error}"));
    destination.write(Readers::Umask, text.as_bytes()).map_err(failed)
}

pub(crate) fn bad_seed_file(py: Python<'_>, error: SeedError) -> PyErr {
    let message = sentence(&error);
    match error {
        SeedError::Exists { path, error } => os_error(py, &error, &path.display().to_string(), &message),
        SeedError::Io { path, source, .. } => os_error(py, &source, &path.display().to_string(), &message),
        _ => ConfigError::new_err(message),
    }
}

pub(crate) fn cannot_start_threads(error: impl Display) -> PyErr {
    EdgesentryError::new_err(format!("cannot start threads: {error}"))
}

pub(crate) fn chain_full(error: ChainFull) -> PyErr {
    EdgesentryError::new_err(error.to_string())
}

/// Returns the exception for the failure of a signer.
pub(crate) fn signer_failure(error: edgesentry_chain::SignerError) -> PyErr {
    SignerError::new_err((sentence(&error), error.retryable))
}

/// An error and its sources as one sentence that is safe to show.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    shown(&describe(error))
}

/// Escapes text for an exception, so that neither a terminal nor a pipeline runner acts on it.
#[pyfunction]
pub(crate) fn shown(text: &str) -> String {
    escape::sentence(text).into_owned()
}
