//! `verify_bundle`, and `Ledger.bundle`: evidence bundles.

use std::path::PathBuf;

use edgesentry_chain::{InputKind, Level, ProvidedBy, Providers, Scheme};
use edgesentry_formats::BundleInputs;
use edgesentry_log as log;
use edgesentry_rs::log::BundleError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::errors::{ConfigError, ProofError, bad_log_file, os_error, shown};
use crate::keys::{GivenKeys, given_keys, scheme_of};
use crate::log::{Checkpoint, Policy, prove_failure};
use crate::progress::Bar;
use crate::report::{Call, Report};
use crate::require::Required;
use crate::segments::options_of;
use crate::service::service_failure;
use crate::source::inputs;
use crate::verify::MaxAgeSeconds;
use crate::work::{Work, pool, wait};

/// Verifies an evidence bundle, offline: records, signatures, heads, and the checkpoint of the log.
///
/// The bytes are read once, in bounded memory, on threads without the GIL.
///
/// Args:
///     bundle: The path of the bundle, its bytes, or a binary file object.
///     policy: Your policy, with the logs, witnesses and quorum that you trust. By default the policy in the
///         bundle, which is a claim: the report then shows only that the bundle agrees with itself.
///     keys: Public keys, to check signatures: see `KeyRing`. By default those in the bundle, which are
///         claims. The key ring of a ledger is a claim too, and takes their place.
///     previous: An earlier checkpoint of the same log that you kept: the log must continue it.
///     max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.
///     tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust. Without
///         them the time stamps in the bundle are not verified.
///     scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
///     require: Levels that your inputs must cover in full: `signatures`, `payloads`, `log`. `log` requires a
///         bundle of the whole log, and a policy with witnesses.
///     progress: As for `verify_chain`.
///     threads: As for `verify_chain`.
///     max_findings: Findings to keep in the report; all are counted.
///
/// Returns:
///     The report. A file that is not a bundle is a finding in it, `bundle_malformed`.
///
/// Raises:
///     OSError: The bundle cannot be read.
///     ConfigError: Keys, policy or checkpoint are unreadable, or there is no policy.
///     TypeError: An argument has the wrong type.
///     ValueError: An argument has a wrong value, or a required level lacks its input.
///     RequirementError: The report is valid, but a required level was not covered in full. It has the
///         report.
///     KeyboardInterrupt: Ctrl-C.
#[pyfunction]
#[pyo3(signature = (
    bundle, *, policy = None, keys = None, previous = None, max_age = None, tsa_roots = None,
    scheme = None, require = None, progress = None, threads = None, max_findings = 100_000
))]
// The arguments of the Python function.
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify_bundle(
    py: Python<'_>,
    bundle: &Bound<'_, PyAny>,
    policy: Option<&Bound<'_, PyAny>>,
    keys: Option<&Bound<'_, PyAny>>,
    previous: Option<&Bound<'_, PyAny>>,
    max_age: Option<MaxAgeSeconds>,
    tsa_roots: Option<PathBuf>,
    scheme: Option<&str>,
    require: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<i64>,
    max_findings: i64,
) -> PyResult<Report> {
    let scheme = scheme.map(scheme_of).transpose()?;
    let policy = policy.map(policy_from_any).transpose()?;
    let previous = previous.map(checkpoint_from_any).transpose()?;
    let keys = keys.map(|keys| given_keys(keys, scheme)).transpose()?;
    let max_age = max_age.map(MaxAgeSeconds::until_now).transpose()?;
    let tsa_roots = tsa_roots.as_deref().map(edgesentry_formats::read_tsa_roots).transpose();
    let tsa_roots = tsa_roots.map_err(|error| bad_log_file(py, error))?;
    let required = Required::from_any(require)?;
    let mut providers = Providers::new();
    for (kind, by) in [
        (InputKind::Policy, policy.as_ref().map(|_| ProvidedBy::Auditor)),
        (InputKind::Keys, keys.as_ref().map(|keys| keys.by)),
        // The bundle says whether it has payloads.
        (InputKind::Payloads, Some(ProvidedBy::Auditor)),
    ] {
        if let Some(by) = by {
            providers.entry(kind).or_default().insert(by);
        }
    }
    if required.has(Level::Heads) {
        // Heads are in the log.
        let message = "require must be signatures, payloads or log for a bundle, not heads";
        return Err(PyValueError::new_err(message));
    }
    required.refuse_missing(&providers, "policy")?;
    let options = options_of("position", max_findings)?;
    let pool = pool(threads)?;
    let bar = Bar::new(progress)?;
    let source = inputs(bundle)?;
    if source.len() != 1 {
        return Err(PyTypeError::new_err("a bundle is one path, the bytes of one, or a binary file object"));
    }
    let work = Work::start(source, move |sources, progress, results| {
        let inputs = BundleInputs {
            policy: policy.as_ref(),
            keys: keys.as_ref().and_then(GivenKeys::brought),
            claimed_keys: keys.as_ref().and_then(GivenKeys::claimed),
            previous: previous.as_ref(),
            max_age,
            tsa_roots: tsa_roots.as_ref(),
        };
        let verify = |source| edgesentry_formats::verify_bundle(source, &inputs, &options, progress);
        for source in sources {
            results.put(pool.install(|| verify(source))?)?;
        }
        Ok(())
    })?;
    let report = wait(py, work, bar)?;
    let call = Call { scheme: scheme.or(Some(Scheme::OF_FILES)), ledger: None };
    required.refuse_uncovered(py, Report::new(report, call), None)
}

/// Returns a policy from a `Policy` or the path of one.
pub(crate) fn policy_from_any(policy: &Bound<'_, PyAny>) -> PyResult<log::Policy> {
    if let Ok(policy) = policy.cast::<Policy>() {
        return Ok(policy.get().0.clone());
    }
    let path: PathBuf = policy.extract()?;
    Ok(Policy::from_file(policy.py(), &path)?.0)
}

/// Returns the note of a `Checkpoint` or the path of one.
pub(crate) fn checkpoint_from_any(checkpoint: &Bound<'_, PyAny>) -> PyResult<log::Note> {
    if let Ok(checkpoint) = checkpoint.cast::<Checkpoint>() {
        return Ok(checkpoint.get().note.clone());
    }
    let path: PathBuf = checkpoint.extract()?;
    Ok(Checkpoint::from_file(checkpoint.py(), &path)?.note)
}

/// Returns the exception for a bundle that was not written.
pub(crate) fn bundle_failure(py: Python<'_>, path: &str, error: BundleError) -> PyErr {
    let message = shown(&error.to_string());
    match error {
        BundleError::Log(error) => prove_failure(py, error),
        BundleError::Store(error) => service_failure(py, error.into()),
        BundleError::Write(source) => os_error(py, &source, path, &message),
        BundleError::Keys(_) => ConfigError::new_err(message),
        error => ProofError::new_err((message, error.code())),
    }
}
