//! `verify_chain`: verifies any readable source.

use std::path::PathBuf;

use edgesentry_chain::{Checks, Claim, Claims, Heads, Payloads, ProvidedBy};
use edgesentry_formats::{Options, PayloadFolder};
use edgesentry_rs::export::Manifest;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::failure;
use crate::heads::heads_from_any;
use crate::keys::{GivenKeys, given_keys, scheme_of};
use crate::manifest::{described, manifest_from_any};
use crate::progress::Bar;
use crate::report::{Call, Report};
use crate::require::Required;
use crate::service::service_failure;
use crate::source::inputs;
use crate::work::{Work, pool, wait};

/// Verifies records and returns the report.
#[pyfunction]
#[pyo3(signature = (
    source, *, keys = None, payloads = None, heads = None, start_heads = None, manifest = None,
    scheme = "payload-hash", require = None, progress = None, threads = None, max_findings = 100_000
))]
// The arguments of the Python function.
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify_chain(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    keys: Option<&Bound<'_, PyAny>>,
    payloads: Option<PathBuf>,
    heads: Option<&Bound<'_, PyAny>>,
    start_heads: Option<&Bound<'_, PyAny>>,
    manifest: Option<&Bound<'_, PyAny>>,
    scheme: &str,
    require: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<i64>,
    max_findings: i64,
) -> PyResult<Report> {
    let scheme = scheme_of(scheme)?;
    let given = Given {
        keys: keys.map(|keys| given_keys(keys, scheme)).transpose()?,
        payloads: match payloads {
            Some(folder) => Some(PayloadFolder::open(&folder).map_err(|error| failure(py, error))?),
            None => None,
        },
        heads: heads.map(heads_from_any).transpose()?,
        start_heads: start_heads.map(heads_from_any).transpose()?,
        manifest: manifest.map(manifest_from_any).transpose()?,
    };
    let required = Required::from_any(require)?;
    required.refuse_missing(&given.checks().providers())?;
    let Ok(max_findings) = usize::try_from(max_findings) else {
        return Err(PyValueError::new_err("max_findings must be a number from 0"));
    };
    let pool = pool(threads)?;
    let bar = Bar::new(progress)?;
    let file = given.manifest.as_ref().map(|manifest| described(manifest, source)).transpose()?.flatten();
    let inputs = inputs(source)?;
    let work = Work::start(inputs, move |sources, progress, results| {
        let options = Options { max_findings };
        let difference = match (&given.manifest, &file) {
            (Some(manifest), Some(file)) => manifest.difference(file),
            _ => Ok(None),
        };
        let report =
            pool.install(|| edgesentry_formats::verify(sources, &given.checks(), &options, progress))?;
        results.put((report, difference))
    })?;
    let (report, difference) = wait(py, work, bar)?;
    let difference = difference.map_err(|error| service_failure(py, error))?;
    let call = Call { scheme: Some(scheme), ledger: None };
    required.refuse_uncovered(py, Report::new(report, call), difference)
}

/// The inputs of the verification.
struct Given {
    keys: Option<GivenKeys>,
    payloads: Option<PayloadFolder>,
    heads: Option<Heads>,
    start_heads: Option<Heads>,
    manifest: Option<Manifest>,
}

impl Given {
    fn checks(&self) -> Checks<'_> {
        let claim = |what| Claim { by: ProvidedBy::Manifest, what };
        let manifest = self.manifest.as_ref();
        let start_heads = manifest.filter(|_| self.start_heads.is_none());
        Checks {
            keys: self.keys.as_ref().and_then(GivenKeys::brought),
            payloads: self.payloads.as_ref().map(|payloads| payloads as &dyn Payloads),
            heads: self.heads.as_ref(),
            start_heads: self.start_heads.as_ref(),
            claims: Claims {
                keys: self.keys.as_ref().and_then(GivenKeys::claimed),
                heads: manifest.map(|manifest| claim(&manifest.heads)),
                start_heads: start_heads.map(|manifest| claim(&manifest.start_heads)),
                ..Claims::default()
            },
        }
    }
}
