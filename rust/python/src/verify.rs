//! `verify_chain`: verifies any readable source.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgesentry_chain::{Checks, Claim, Claims, Heads, InputKind, Payloads, ProvidedBy, Scheme};
use edgesentry_formats::{
    LogBytes, LogCheck, LogFiles, LogPaths, MaxAge, PayloadFolder, hint_erasures, layout_path,
};
use edgesentry_rs::export::Manifest;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::columns::{Ignored, column_names};
use crate::errors::{bad_log_file, failure};
use crate::heads::heads_from_any;
use crate::keys::{GivenKeys, given_keys, scheme_of};
use crate::manifest::{described, manifest_from_any};
use crate::progress::Bar;
use crate::report::{Call, Report};
use crate::require::Required;
use crate::segments::options_of;
use crate::service::service_failure;
use crate::source::{name_of_type, named_inputs, path_of};
use crate::work::{Work, pool, wait};

/// Verifies records. Links are always checked, other levels if their input is given.
///
/// Runs on its own threads without the GIL. Memory is bounded and does not depend on the size of the source.
/// Ctrl-C raises KeyboardInterrupt within 200 ms.
///
/// Args:
///     source: A path or a list of paths: files (JSON, NDJSON, Arrow IPC or Parquet, recognised by content,
///         also in gzip or zstd), directories with all files in them, patterns such as `day=*/*.parquet`,
///         `file:` and `s3://BUCKET/KEY` URLs. Or the bytes of such a file, a binary file object, an iterable
///         of records or of mappings with the seven fields, an object with `__arrow_c_stream__`, or a lazy
///         frame of polars, a frame of Dask, or a table of deltalake or pyiceberg. Python objects are read by
///         the calling thread.
///     columns: The name of the column that holds a field, if it is another one, for example
///         `{"timestamp_ms": "event_time"}`.
///     ignore: Names of columns that are not fields of a record, which are left out. No hash covers them, so
///         any other column is an error.
///     keys: Public keys, to check signatures: see `KeyRing`.
///     payloads: A directory of payloads, to hash them again.
///     heads: Trusted heads that the chains must contain, to find truncated chains and missing devices: a
///         path, an earlier report without findings, or a mapping from device id to `Head`.
///     start_heads: Heads after which the chains must begin, for an export that starts mid-chain.
///     manifest: The manifest of the export, which is one file: a path, or the result of `Ledger.export`. Its
///         heads, and its start heads if `start_heads` is None, are claims of the exporter: they are checked,
///         and the report marks them as claims.
///     checkpoint: A checkpoint of the transparency log: the records must be exactly those of the log up to
///         it.
///     policy: Your policy, with the logs, witnesses and quorum that you trust; required with `checkpoint`.
///     log_layout: The layout of the log, as `eds export --log` writes it; by default the file with `.log`
///         after the name of the export, if `source` is one path and that file exists.
///     previous: An earlier checkpoint of the same log that you kept: the log must continue it.
///     max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.
///     timestamps: Time stamps of the checkpoint (RFC 3161); required with `tsa_roots`.
///     tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust.
///     scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
///     order: The order of the records of a chain. `position` is that in the source, as in an export.
///         `sequence` is that of the sequence numbers, for a table, whose rows have no order: the report is
///         that of the table sorted by all seven columns.
///     require: Levels that trusted inputs must cover in full. `heads` requires both ends of each chain: a
///         trusted head, and a beginning at sequence 1 or after a trusted start head. `log` requires all
///         records of a log up to the checkpoint, and no others.
///     progress: True for a `tqdm.auto` bar, or a callable that creates such a bar.
///     threads: Number of threads; by default the value of RAYON_NUM_THREADS, else of OMP_NUM_THREADS, else
///         one per core, within the CPU limit of a container.
///     max_findings: Findings to keep in the report; all are counted.
///
/// Returns:
///     The report. Faults of the evidence are findings in it, never exceptions.
///
/// Raises:
///     FileNotFoundError: A file is missing.
///     OSError: A file cannot be read.
///     ConfigError: Keys, heads, checkpoint, policy or layout are unreadable, or a key is weak.
///     UnreadableError: An input is not in a format that holds records.
///     StoreError: A payload exists but cannot be read.
///     TypeError: An argument has the wrong type.
///     ValueError: An argument has a wrong value, or a required level lacks its input.
///     RequirementError: The report is valid, but a required level was not covered in full, or the file is
///         not the one that the manifest describes. It has the report.
///     KeyboardInterrupt: Ctrl-C. The threads end by themselves soon after.
#[pyfunction]
#[pyo3(signature = (
    source, *, columns = None, ignore = None, keys = None, payloads = None, heads = None, start_heads = None, manifest = None,
    checkpoint = None, policy = None, log_layout = None, previous = None, max_age = None,
    timestamps = None, tsa_roots = None, scheme = None, order = "position", require = None, progress = None, threads = None, max_findings = 100_000
))]
// The arguments of the Python function.
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify_chain(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
    keys: Option<&Bound<'_, PyAny>>,
    payloads: Option<&Bound<'_, PyAny>>,
    heads: Option<&Bound<'_, PyAny>>,
    start_heads: Option<&Bound<'_, PyAny>>,
    manifest: Option<&Bound<'_, PyAny>>,
    checkpoint: Option<PathBuf>,
    policy: Option<PathBuf>,
    log_layout: Option<PathBuf>,
    previous: Option<PathBuf>,
    max_age: Option<MaxAgeSeconds>,
    timestamps: Option<OneOrMore>,
    tsa_roots: Option<PathBuf>,
    scheme: Option<&str>,
    order: &str,
    require: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<i64>,
    max_findings: i64,
) -> PyResult<Report> {
    let scheme = scheme.map(scheme_of).transpose()?;
    let timestamps = timestamps.map(OneOrMore::paths);
    let log = LogArguments { checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots };
    let given = Given {
        log: log.read(py, || layout_beside(source))?,
        keys: keys.map(|keys| given_keys(keys, scheme)).transpose()?,
        payloads: match payloads {
            Some(payloads) => {
                let folder = payload_directory(payloads)?;
                Some(PayloadFolder::open(&folder).map_err(|error| failure(py, error))?)
            }
            None => None,
        },
        heads: heads.map(heads_from_any).transpose()?,
        start_heads: start_heads.map(heads_from_any).transpose()?,
        manifest: manifest.map(manifest_from_any).transpose()?,
    };
    let required = Required::from_any(require)?;
    let mut providers = given.checks().providers();
    if given.log.is_some() {
        providers.entry(InputKind::Policy).or_default().insert(ProvidedBy::Auditor);
    }
    required.refuse_missing(&providers, "checkpoint= and policy")?;
    let options = options_of(order, max_findings)?;
    let pool = pool(threads)?;
    let bar = Bar::new(progress)?;
    let file = given.manifest.as_ref().map(|manifest| described(manifest, source)).transpose()?.flatten();
    let inputs = named_inputs(source, &column_names(columns, ignore)?)?;
    let layout = given.log.is_none().then(|| layout_beside(source)).flatten();
    let work = Work::start(inputs, move |sources, progress, results| {
        let difference = match (&given.manifest, &file) {
            (Some(manifest), Some(file)) => manifest.difference(file),
            _ => Ok(None),
        };
        let log = given.log.as_ref().map(GivenLog::check);
        let (checks, log) = (given.checks(), log.as_ref());
        let verify = || edgesentry_formats::verify_with_log(sources, &checks, log, &options, progress);
        let mut report = pool.install(verify)?;
        if let Some(layout) = &layout {
            hint_erasures(&mut report, layout);
        }
        results.put((report, difference))
    })?;
    let (report, difference) = wait(py, work, bar)?;
    let difference = difference.map_err(|error| service_failure(py, error))?;
    let call = Call { scheme: scheme.or(Some(Scheme::OF_FILES)), ledger: None };
    required.refuse_uncovered(py, Report::new(report, call), difference)
}

pub(crate) fn payload_directory(payloads: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    path_of(payloads)?.ok_or_else(|| {
        let kind = name_of_type(payloads);
        let message = format!(
            "payloads is the path of a directory, not {kind}: write each payload to the file that its object_ref names, \
             and pass payloads=\"DIRECTORY\""
        );
        PyTypeError::new_err(message)
    })
}

/// The inputs of the verification.
struct Given {
    keys: Option<GivenKeys>,
    payloads: Option<PayloadFolder>,
    heads: Option<Heads>,
    start_heads: Option<Heads>,
    manifest: Option<Manifest>,
    log: Option<GivenLog>,
}

/// The arguments of the level `log`.
pub(crate) struct LogArguments {
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) log_layout: Option<PathBuf>,
    pub(crate) previous: Option<PathBuf>,
    pub(crate) max_age: Option<MaxAgeSeconds>,
    pub(crate) timestamps: Option<Vec<PathBuf>>,
    pub(crate) tsa_roots: Option<PathBuf>,
}

/// One path, or several.
#[derive(FromPyObject)]
pub(crate) enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

impl OneOrMore {
    pub(crate) fn paths(self) -> Vec<PathBuf> {
        match self {
            OneOrMore::One(path) => vec![path],
            OneOrMore::More(paths) => paths,
        }
    }
}

/// The inputs of the level `log`.
pub(crate) struct GivenLog {
    files: LogFiles,
    max_age: Option<MaxAge>,
}

impl GivenLog {
    pub(crate) fn check(&self) -> LogCheck<'_> {
        self.files.check(self.max_age)
    }
}

impl LogArguments {
    /// Reads and parses the files. `beside` returns the layout that is used if the caller names none.
    pub(crate) fn read(
        self,
        py: Python<'_>,
        beside: impl FnOnce() -> Option<PathBuf>,
    ) -> PyResult<Option<GivenLog>> {
        let Some((bytes, max_age)) = self.bytes(py, beside)? else { return Ok(None) };
        let files = LogFiles::parse(&bytes).map_err(|error| bad_log_file(py, error))?;
        Ok(Some(GivenLog { files, max_age: max_age.map(MaxAgeSeconds::until_now).transpose()? }))
    }

    /// Reads the files.
    pub(crate) fn bytes(
        self,
        py: Python<'_>,
        beside: impl FnOnce() -> Option<PathBuf>,
    ) -> PyResult<Option<(LogBytes, Option<MaxAgeSeconds>)>> {
        let LogArguments { checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots } = self;
        if timestamps.is_some() != tsa_roots.is_some() {
            return Err(PyValueError::new_err("timestamps and tsa_roots belong together"));
        }
        let (Some(checkpoint), Some(policy)) = (&checkpoint, &policy) else {
            let needs_none =
                log_layout.is_none() && previous.is_none() && max_age.is_none() && timestamps.is_none();
            if needs_none && checkpoint.is_none() && policy.is_none() {
                return Ok(None);
            }
            let message = "checkpoint and policy belong together; log_layout, previous, max_age and timestamps need \
                           both";
            return Err(PyValueError::new_err(message));
        };
        let is_found = log_layout.is_none();
        let layout = log_layout.or_else(beside);
        let (layout, previous) = (layout.as_deref(), previous.as_deref());
        let timestamps = timestamps.as_deref().unwrap_or_default();
        let tsa_roots = tsa_roots.as_deref();
        let paths = LogPaths { checkpoint, policy, layout, is_found, previous, timestamps, tsa_roots };
        let bytes = LogBytes::read(&paths).map_err(|error| bad_log_file(py, error))?;
        Ok(Some((bytes, max_age)))
    }
}

/// The highest age of a checkpoint: seconds, or a `datetime.timedelta`.
#[derive(FromPyObject)]
pub(crate) enum MaxAgeSeconds {
    Seconds(u64),
    Delta(Duration),
}

impl MaxAgeSeconds {
    pub(crate) fn seconds(self) -> u64 {
        match self {
            MaxAgeSeconds::Seconds(seconds) => seconds,
            MaxAgeSeconds::Delta(delta) => delta.as_secs(),
        }
    }

    pub(crate) fn until_now(self) -> PyResult<MaxAge> {
        let seconds = self.seconds();
        let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else {
            return Err(PyValueError::new_err("max_age needs the time, and the system clock is before 1970"));
        };
        Ok(MaxAge { seconds, now: now.as_secs() })
    }
}

/// Returns the layout beside the only export, if there is one.
pub(crate) fn layout_beside(source: &Bound<'_, PyAny>) -> Option<PathBuf> {
    let path = source.extract::<PathBuf>().ok().or_else(|| {
        let [path] = <[PathBuf; 1]>::try_from(source.extract::<Vec<PathBuf>>().ok()?).ok()?;
        Some(path)
    })?;
    Some(layout_path(&path)).filter(|path| path.is_file())
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
