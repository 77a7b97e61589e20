//! `verify_chain`: the one call that verifies whatever can be read.

use std::path::PathBuf;
use std::sync::Arc;

use edgesentry_chain::{Checks, Heads, KeyRing, Payloads};
use edgesentry_formats::{Options, PayloadFolder, thread_count};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::ThreadPoolBuilder;

use crate::errors::{EdgesentryError, failure};
use crate::heads::heads_from_any;
use crate::keys::{keys_from_any, scheme_of};
use crate::progress::Bar;
use crate::report::Report;
use crate::source::inputs;
use crate::work::Work;

/// Verifies records and says what was found.
#[pyfunction]
#[pyo3(signature = (
    source, *, keys = None, payloads = None, heads = None, start_heads = None, scheme = "payload-hash",
    require = None, progress = None, threads = None, max_findings = 100_000
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
    scheme: &str,
    require: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<i64>,
    max_findings: i64,
) -> PyResult<Report> {
    let scheme = scheme_of(scheme)?;
    let given = Given {
        keys: keys.map(|keys| keys_from_any(keys, scheme)).transpose()?,
        payloads: match payloads {
            Some(folder) => Some(PayloadFolder::open(&folder).map_err(|error| failure(py, error))?),
            None => None,
        },
        heads: heads.map(heads_from_any).transpose()?,
        start_heads: start_heads.map(heads_from_any).transpose()?,
    };
    if let Some(levels) = require {
        given.require(levels)?;
    }
    let Ok(max_findings) = usize::try_from(max_findings) else {
        return Err(PyValueError::new_err("max_findings is a number from 0"));
    };
    let pool = pool(threads)?;
    let bar = Bar::new(progress)?;
    let inputs = inputs(source)?;
    let work = Work::start(inputs, move |sources, progress, results| {
        let options = Options { max_findings };
        let report =
            pool.install(|| edgesentry_formats::verify(sources, &given.checks(), &options, progress))?;
        results.put(report)
    })?;
    wait(py, work, bar).map(Report::from)
}

/// A pool for this call alone: a global one would be dead after a fork.
pub(crate) fn pool(threads: Option<i64>) -> PyResult<rayon::ThreadPool> {
    let threads = match threads {
        None => thread_count(None),
        Some(threads @ 1..=1024) => threads as usize,
        Some(_) => {
            return Err(PyValueError::new_err("threads is a number from 1 to 1024, or None for one a core"));
        }
    };
    let named = ThreadPoolBuilder::new().thread_name(|at| format!("edgesentry-{at}"));
    let pool = named.num_threads(threads).build();
    pool.map_err(|error| EdgesentryError::new_err(format!("cannot start threads: {error}")))
}

/// Waits for the one result of the work, showing its progress.
pub(crate) fn wait<T: Send + 'static>(py: Python<'_>, mut work: Work<T>, mut bar: Bar) -> PyResult<T> {
    let result = work.next(py, |progress| bar.tick(py, progress)).and_then(|result| {
        bar.finish(py, work.progress())?;
        result.ok_or_else(|| EdgesentryError::new_err("the worker ended without a result"))
    });
    result.map_err(|error| {
        // The first exception counts.
        let _ = bar.close(py);
        work.stop(py, error)
    })
}

/// What the records are checked against.
struct Given {
    keys: Option<Arc<KeyRing>>,
    payloads: Option<PayloadFolder>,
    heads: Option<Heads>,
    start_heads: Option<Heads>,
}

impl Given {
    fn checks(&self) -> Checks<'_> {
        Checks {
            keys: self.keys.as_deref(),
            payloads: self.payloads.as_ref().map(|payloads| payloads as &dyn Payloads),
            heads: self.heads.as_ref(),
            start_heads: self.start_heads.as_ref(),
        }
    }

    /// Refuses a level that is required but whose input is not given.
    fn require(&self, levels: &Bound<'_, PyAny>) -> PyResult<()> {
        let levels = match levels.extract::<String>() {
            Ok(level) => vec![level],
            Err(_) => levels.try_iter()?.map(|level| level?.extract()).collect::<PyResult<Vec<String>>>()?,
        };
        for level in levels {
            let (is_given, argument) = match level.as_str() {
                "signatures" => (self.keys.is_some(), "keys"),
                "payloads" => (self.payloads.is_some(), "payloads"),
                "heads" => (self.heads.is_some(), "heads"),
                _ => {
                    let message = format!("require names signatures, payloads or heads, not {level:?}");
                    return Err(PyValueError::new_err(message));
                }
            };
            if !is_given {
                return Err(PyValueError::new_err(format!("{level} are required; give {argument}=")));
            }
        }
        Ok(())
    }
}
