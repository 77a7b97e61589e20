//! `LedgerCore`: the core of `edgesentry.Ledger`. It returns lists and dicts; `python/edgesentry/_ledger.py` converts
//! them to the public classes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, InputKind, ProvidedBy};
use edgesentry_formats::{Destination, Destinations, Error as FormatError};
use edgesentry_log::BundleScope;
use edgesentry_ops::OpsSettings;
use edgesentry_rs::export::{LogBeside, Manifest, Target, export, export_logged};
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ledger::{
    Filter, LogQuery, LogTablesError, RegisteredDevice, Registration, Revocation, RevocationReason, key_ring,
    revocation_reason,
};
use edgesentry_rs::log::{
    BundleContent, EraseError, Eraser, Erasure, ErasureState, LogError, LogReader, Logged,
};
use edgesentry_rs::settings::{Access, Overrides, Settings, Stores};
use edgesentry_rs::verify::{Registered, Verification, source};
use edgesentry_rs::{Error, Outcome, PayloadStore, Submission};
use edgesentry_serve::ServeSettings;
use futures::TryStreamExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bundle::bundle_failure;
use crate::errors::{ConfigError, EdgesentryError, bad_destination, bad_key, shown};
use crate::heads::{Head, heads_from_any, heads_to_dict};
use crate::html;
use crate::keys::{GivenKeys, KeyRing, given_keys, public_key, scheme_of};
use crate::log::{Checkpoint, Policy, ToProve, prove_failure, published};
use crate::manifest::manifest_from_any;
use crate::progress::Bar;
use crate::read::{RecordReader, reader};
use crate::record::{payload_bytes, record_from_any};
use crate::report::{Call, Report};
use crate::require::Required;
use crate::segments::options_of;
use crate::service::{runtime, service_failure, wait_on};
use crate::source::Input;
use crate::telemetry::{self, trace_context};
use crate::verify::{GivenLog, LogArguments, MaxAgeSeconds, OneOrMore};
use crate::work::{Work, pool, wait};

/// Implements `edgesentry.Ledger`.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct LedgerCore(Mutex<Option<Open>>);

/// The resources of an open ledger.
#[derive(Clone)]
pub(crate) struct Open {
    ledger: Arc<dyn edgesentry_rs::Ledger>,
    payloads: Option<Arc<dyn PayloadStore>>,
    service: Option<IngestService>,
    read_only: bool,
    settings: Arc<Settings>,
}

impl Open {
    /// Opens the transparency log for writing, with the payload store.
    async fn eraser(&self) -> Result<Eraser, EraseError> {
        if self.read_only {
            let problem = "the ledger is open for reading only; open it without read_only=True";
            return Err(Error::Config(problem.to_owned()).into());
        }
        let stores = Stores { ledger: Arc::clone(&self.ledger), payloads: self.payloads.clone() };
        stores.eraser(&self.settings).await
    }

    /// Opens the files of the transparency log.
    async fn log(&self) -> Result<LogReader, Error> {
        let file = self.settings.ledger_file();
        self.settings.log.open_reader(&*self.ledger, file.as_deref(), &self.settings.s3).await
    }
}

fn erase_failure(py: Python<'_>, error: EraseError) -> PyErr {
    match error {
        EraseError::Off | EraseError::Log(LogError::Tables(LogTablesError::NotOpened)) => {
            ConfigError::new_err(shown(&error.to_string()))
        }
        EraseError::Open(error) => service_failure(py, error),
        EraseError::Log(error) => prove_failure(py, error.into()),
        EraseError::Unsigned { .. } => EdgesentryError::new_err(shown(&error.to_string())),
        error => PyValueError::new_err(shown(&error.to_string())),
    }
}

fn erasure_dict<'py>(py: Python<'py>, erasure: &Erasure) -> PyResult<Bound<'py, PyDict>> {
    let (problem, erased_at_ms) = match &erasure.state {
        ErasureState::Waiting => (None, None),
        ErasureState::Kept { problem, .. } => (Some(problem.as_str()), None),
        ErasureState::Erased { at_ms } => (None, Some(*at_ms)),
    };
    let fields = PyDict::new(py);
    fields.set_item("device_id", &erasure.device_id)?;
    fields.set_item("sequence", erasure.sequence)?;
    fields.set_item("payload_hash", PyBytes::new(py, erasure.payload_hash.as_bytes()))?;
    fields.set_item("reason", &erasure.reason)?;
    fields.set_item("requested_at_ms", erasure.requested_at_ms)?;
    fields.set_item("leaf", erasure.leaf)?;
    fields.set_item("versions", erasure.versions)?;
    fields.set_item("state", erasure.state.name())?;
    fields.set_item("problem", problem)?;
    fields.set_item("erased_at_ms", erased_at_ms)?;
    Ok(fields)
}

/// The outcome of a record: `edgesentry.Outcome` without the place of the record.
#[pyclass(frozen, get_all, module = "edgesentry._core")]
#[derive(Default)]
pub(crate) struct IngestAnswer {
    outcome: &'static str,
    reason: Option<&'static str>,
    expected: Option<String>,
    actual: Option<String>,
    error: Option<String>,
    retryable: bool,
}

#[pymethods]
impl LedgerCore {
    #[new]
    #[pyo3(signature = (url, payloads, config, create, read_only))]
    fn new(
        py: Python<'_>,
        url: Option<String>,
        payloads: Option<String>,
        config: Option<PathBuf>,
        create: bool,
        read_only: bool,
    ) -> PyResult<LedgerCore> {
        let access = match (read_only, create) {
            (true, _) => Access::Read,
            (false, true) => Access::Create,
            (false, false) => Access::Existing,
        };
        let opened = wait_on(py, async move {
            let overrides = Overrides { ledger: url, payloads };
            let settings = Settings::load(config.as_deref(), &overrides)?;
            ServeSettings::of(&settings)?;
            OpsSettings::of(&settings)?;
            let stores = settings.open(access).await?;
            let payloads = stores.payloads.clone().filter(|_| !read_only);
            let service = payloads.map(|payloads| {
                IngestService::start(Arc::clone(&stores.ledger), payloads, settings.ingest.clone())
            });
            Ok(Open {
                ledger: stores.ledger,
                payloads: stores.payloads,
                service,
                read_only,
                settings: Arc::new(settings),
            })
        })?;
        let open = opened.map_err(|error| service_failure(py, error))?;
        Ok(LedgerCore(Mutex::new(Some(open))))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match open {
            Some(open) => wait_on(py, async move { open.ledger.close().await }),
            None => Ok(()),
        }
    }

    #[getter]
    fn place(&self) -> PyResult<String> {
        Ok(self.open()?.ledger.place().to_owned())
    }

    #[pyo3(signature = (device_id, key, scheme, valid_from, start))]
    fn register(
        &self,
        py: Python<'_>,
        device_id: String,
        key: &Bound<'_, PyAny>,
        scheme: &str,
        valid_from: Option<u64>,
        start: Option<&Bound<'_, Head>>,
    ) -> PyResult<Vec<String>> {
        let open = self.open()?;
        let start = start.map(|head| head.get().0);
        let registration =
            Registration { device_id, key: public_key(key)?, scheme: scheme_of(scheme)?, valid_from, start };
        let done = wait_on(py, async move {
            match &open.service {
                Some(service) => service.register(&registration).await,
                None => open.ledger.register(&registration).await,
            }?;
            let mut others = open.ledger.devices_with_key(&registration.key).await?;
            others.retain(|other| *other != registration.device_id);
            Ok(others)
        })?;
        done.map_err(|error| service_failure(py, error))
    }

    fn revoke(&self, py: Python<'_>, device_id: String, reason: &str) -> PyResult<u64> {
        let open = self.open()?;
        let reason = reason.parse::<RevocationReason>();
        let reason = reason.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let done = wait_on(py, async move {
            match &open.service {
                Some(service) => service.revoke_for(&device_id, reason).await,
                None => open.ledger.revoke_for(&device_id, reason).await,
            }
        })?;
        done.map_err(|error| service_failure(py, error))
    }

    fn key_ring(&self, py: Python<'_>) -> PyResult<KeyRing> {
        key_ring(&self.registered(py)?).map(KeyRing::of_ledger).map_err(bad_key)
    }

    fn devices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let open = self.open()?;
        // Read first: each revocation that the devices show has its reason.
        let devices = self.registered(py)?;
        let revocations = wait_on(py, async move { open.ledger.revocations().await })?;
        let revocations = revocations.map_err(|error| service_failure(py, error.into()))?;
        for device in devices {
            list.append(device_dict(py, &device, &revocations)?)?;
        }
        Ok(list)
    }

    fn html(&self, py: Python<'_>) -> PyResult<String> {
        let place = self.place()?;
        Ok(html::ledger(&place, &self.registered(py)?))
    }

    /// Ingests records in order. Returns one result for each.
    fn ingest(
        &self,
        py: Python<'_>,
        items: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> PyResult<Vec<IngestAnswer>> {
        let open = self.open()?;
        let Some(service) = open.service else {
            let problem = match open.read_only {
                true => "the ledger is open for reading only; open it without read_only=True",
                false => {
                    "payloads: no store is configured; give payloads=\"folder:PATH\", \"packs:PATH\" or \"s3://BUCKET\""
                }
            };
            return Err(service_failure(py, Error::Config(problem.to_owned())));
        };
        let submissions = submissions(items)?;
        let trace = trace_context(py)?;
        let answers = wait_on(py, async move { trace.scope(service.ingest_many(submissions)).await })?;
        Ok(answers.into_iter().map(IngestAnswer::from).collect())
    }

    /// Writes an export and returns its manifest as JSON. Ctrl-C leaves no file.
    #[pyo3(signature = (path, devices, from_sequence, to_sequence, from_ms, before_ms, log, stamped, int64, progress))]
    #[allow(clippy::too_many_arguments)]
    fn export(
        &self,
        py: Python<'_>,
        path: PathBuf,
        devices: Vec<String>,
        from_sequence: Option<u64>,
        to_sequence: Option<u64>,
        from_ms: Option<u64>,
        before_ms: Option<u64>,
        log: bool,
        stamped: bool,
        int64: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let open = self.open()?;
        let filter = Filter { devices, from_sequence, to_sequence, from_ms, before_ms };
        if log && filter != Filter::default() {
            let message = "log=True exports the whole log; pass no devices and no range";
            return Err(PyValueError::new_err(message));
        }
        if stamped && !log {
            return Err(PyValueError::new_err("stamped=True is for log=True; pass both"));
        }
        let log = log.then(|| log_beside(py, &open, &path, stamped)).transpose()?;
        if log.is_none()
            && let Some(older) = LogBeside::earlier(&path)
        {
            let older = older.display();
            let problem = format!("{older} is of an earlier export; pass log=True, or remove it first");
            return Err(service_failure(py, Error::Config(problem)));
        }
        telemetry::ask_loggers(py)?;
        let (bar, handle) = (Bar::named("export", progress)?, runtime()?.handle().clone());
        let typed = move |target| if int64 { Target::Int64(Box::new(target)) } else { target };
        let work = Work::start(Vec::new(), move |_, progress, results| {
            let mut before = 0;
            let exported = |records| {
                progress.add_records(records - before);
                before = records;
                !progress.is_cancelled()
            };
            let exported = match log {
                None => handle.block_on(export(&*open.ledger, &filter, typed(Target::File(path)), exported)),
                Some((log, target)) => handle
                    .block_on(export_logged(&*open.ledger, log.logged(), typed(target), exported))
                    .and_then(|manifest| log.write().map(|()| manifest).map_err(Error::from)),
            };
            let manifest = exported.and_then(|manifest| {
                serde_json::to_string(&manifest)
                    .map_err(|error| Error::internal("the manifest cannot be written as JSON", error))
            });
            results.put(manifest)
        })?;
        // Events of the ledger are queued until here.
        let done = wait(py, work, bar);
        telemetry::hand_over(py)?;
        let manifest = done?;
        manifest.map_err(|error| service_failure(py, error))
    }

    #[pyo3(signature = (devices, from_sequence, to_sequence, from_ms, before_ms))]
    fn records(
        &self,
        devices: Vec<String>,
        from_sequence: Option<u64>,
        to_sequence: Option<u64>,
        from_ms: Option<u64>,
        before_ms: Option<u64>,
    ) -> PyResult<RecordReader> {
        let open = self.open()?;
        let filter = Filter { devices, from_sequence, to_sequence, from_ms, before_ms };
        let records = open.ledger.records(&filter);
        reader(vec![Input::Ready(source(open.ledger.place(), records, runtime()?.handle()))], false)
    }

    fn heads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open()?;
        let heads = wait_on(py, async move { open.ledger.heads().await })?;
        heads_to_dict(py, &heads.map_err(|error| service_failure(py, error.into()))?)
    }

    /// Verifies in place. `keys`, `heads` and `start_heads` are None, "registered", or a value that `verify_chain`
    /// accepts.
    #[pyo3(signature = (
        keys, heads, start_heads, manifest, checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots,
        payloads, devices, require,
        max_findings, progress, threads
    ))]
    #[allow(clippy::too_many_arguments)]
    fn verify(
        &self,
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
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
        payloads: bool,
        devices: Vec<String>,
        require: Option<&Bound<'_, PyAny>>,
        max_findings: i64,
        progress: Option<&Bound<'_, PyAny>>,
        threads: Option<i64>,
    ) -> PyResult<Report> {
        let open = self.open()?;
        let options = options_of("position", max_findings)?;
        let registered = Registered {
            keys: is_registered(keys),
            heads: is_registered(heads),
            start_heads: is_registered(start_heads),
        };
        let keys = keys.filter(|_| !registered.keys);
        let keys = keys.map(|keys| given_keys(keys, None)).transpose()?;
        let heads = heads.filter(|_| !registered.heads).map(heads_from_any).transpose()?;
        let start_heads = start_heads.filter(|_| !registered.start_heads).map(heads_from_any).transpose()?;
        if payloads && open.payloads.is_none() {
            return Err(PyValueError::new_err(
                "payloads=True needs a payload store; open the ledger with payloads=",
            ));
        }
        let timestamps = timestamps.map(OneOrMore::paths);
        let log = LogArguments { checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots };
        let log = log.read(py, || None)?;
        if log.is_some() && !devices.is_empty() {
            let message = "a checkpoint commits to all devices; pass devices or checkpoint, not both";
            return Err(PyValueError::new_err(message));
        }
        let verified = devices.clone();
        let verification = Verification {
            ledger: open.ledger,
            payloads: open.payloads.filter(|_| payloads),
            filter: Filter { devices, ..Filter::default() },
            keys: keys.as_ref().and_then(GivenKeys::brought).cloned(),
            claimed_keys: keys.as_ref().and_then(GivenKeys::claimed).map(|claim| claim.what.clone()),
            heads,
            start_heads,
            registered,
            manifest: manifest.map(manifest_from_any).transpose()?,
            options,
        };
        let required = Required::from_any(require)?;
        let mut providers = verification.providers();
        if log.is_some() {
            providers.entry(InputKind::Policy).or_default().insert(ProvidedBy::Auditor);
        }
        required.refuse_missing(&providers, "checkpoint= and policy")?;
        let (pool, bar, handle) = (pool(threads)?, Bar::new(progress)?, runtime()?.handle().clone());
        let work = Work::start(Vec::new(), move |_, progress, results| {
            let log = log.as_ref().map(GivenLog::check);
            results.put(pool.install(|| verification.run_with_log(log.as_ref(), &handle, progress)))
        })?;
        let report = wait(py, work, bar)?.map_err(|error| service_failure(py, error))?;
        let call = Call { scheme: None, ledger: Some(verified) };
        required.refuse_uncovered(py, Report::new(report, call), None)
    }

    /// Returns the published checkpoint of the transparency log.
    fn checkpoint(&self, py: Python<'_>) -> PyResult<Checkpoint> {
        let open = self.open()?;
        let found = wait_on(py, async move { Ok(published(&open.log().await?).await) })?;
        found.map_err(|error| service_failure(py, error))?.map_err(|error| prove_failure(py, error))
    }

    #[pyo3(signature = (device_id, sequence, to_sequence, size, previous))]
    fn prove(
        &self,
        py: Python<'_>,
        device_id: Option<String>,
        sequence: Option<u64>,
        to_sequence: Option<u64>,
        size: Option<u64>,
        previous: Option<&Bound<'_, Checkpoint>>,
    ) -> PyResult<String> {
        let open = self.open()?;
        let statement = ToProve::of(device_id, sequence, to_sequence, previous)?;
        let proof = wait_on(py, async move { Ok(statement.prove(&open.log().await?, size).await) })?;
        proof.map_err(|error| service_failure(py, error))?.map_err(|error| prove_failure(py, error))
    }

    /// Erases a payload. Returns the fields of `edgesentry.Erasure`.
    fn erase<'py>(
        &self,
        py: Python<'py>,
        device_id: String,
        sequence: u64,
        reason: String,
        wait_seconds: f64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open()?;
        let wait = Duration::try_from_secs_f64(wait_seconds)
            .map_err(|_| PyValueError::new_err("wait must be a number of seconds from 0"))?;
        let erased = wait_on(py, async move {
            let eraser = open.eraser().await?;
            eraser.erase(&device_id, sequence, &reason, wait).await
        })?;
        erasure_dict(py, &erased.map_err(|error| erase_failure(py, error))?)
    }

    #[pyo3(signature = (path, devices, records, since, payloads, keys, policy, stamped, progress))]
    // The arguments of the Python method.
    #[allow(clippy::too_many_arguments)]
    fn bundle(
        &self,
        py: Python<'_>,
        path: PathBuf,
        devices: Vec<String>,
        records: Vec<(String, u64)>,
        since: Option<&Bound<'_, Checkpoint>>,
        payloads: bool,
        keys: Option<&Bound<'_, PyAny>>,
        policy: Option<&Bound<'_, Policy>>,
        stamped: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let open = self.open()?;
        let scope = BundleScope::of(devices, records).ok_or_else(|| {
            PyValueError::new_err("a bundle has devices or records, at most 10,000 of them")
        })?;
        let keys = keys.map(|keys| given_keys(keys, None)).transpose()?;
        let since = since.map(|since| since.get().checkpoint.clone());
        let policy = policy.map(|policy| policy.get().0.to_string());
        let store = match (payloads, &open.payloads) {
            (false, _) => None,
            (true, Some(store)) => Some(Arc::clone(store)),
            (true, None) => return Err(PyValueError::new_err("the ledger has no payload store")),
        };
        let destination = Destination::of("path", &path).map_err(|error| bad_destination(py, error))?;
        let created_ms = edgesentry_formats::times::clock_ms().unwrap_or(0);
        telemetry::ask_loggers(py)?;
        let (bar, handle) = (Bar::named("bundle", progress)?, runtime()?.handle().clone());
        let work = Work::start(Vec::new(), move |_, progress, results| {
            let written = |records: u64| progress.add_records(records.saturating_sub(progress.records()));
            let bundle = async {
                let keys = match &keys {
                    Some(keys) => (*keys.ring).clone(),
                    None => key_ring(&open.ledger.devices().await?)
                        .map_err(|error| Error::internal("the registered keys are in conflict", error))?,
                };
                let content = BundleContent {
                    scope: &scope,
                    since: since.as_ref(),
                    payloads: store.as_deref(),
                    keys: Some(&keys),
                    policy: policy.as_deref().map(str::as_bytes),
                    stamped,
                    tsa_certificates: None,
                };
                let log = open.log().await?;
                Ok::<_, Error>(log.write_bundle(&content, &destination, created_ms, &written).await)
            };
            let cancelled = async {
                while !progress.is_cancelled() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            // Dropped before its end, it leaves no file.
            let bundle = handle.block_on(async {
                tokio::select! {
                    bundle = bundle => Some(bundle),
                    () = cancelled => None,
                }
            });
            results.put(bundle.ok_or(FormatError::Cancelled)?)
        })?;
        // Events of the ledger are queued until here.
        let done = wait(py, work, bar);
        telemetry::hand_over(py)?;
        let bundle = done?.map_err(|error| service_failure(py, error))?;
        let bundle = bundle.map_err(|error| bundle_failure(py, &path.display().to_string(), error))?;
        Ok(bundle.records)
    }

    #[pyo3(signature = (device_id, outcome, reason, after_id, limit))]
    fn operation_log<'py>(
        &self,
        py: Python<'py>,
        device_id: Option<String>,
        outcome: Option<String>,
        reason: Option<String>,
        after_id: u64,
        limit: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        let open = self.open()?;
        let list = PyList::empty(py);
        let Ok(outcome) = outcome.map(|outcome| outcome.parse()).transpose() else {
            // No entry has another outcome.
            return Ok(list);
        };
        let query = LogQuery { device_id, outcome, reason, after_id, limit, ..LogQuery::default() };
        let entries = wait_on(py, async move { open.ledger.operation_log(&query).await })?;
        for entry in entries.map_err(|error| service_failure(py, error.into()))? {
            let fields = PyDict::new(py);
            fields.set_item("id", entry.id)?;
            fields.set_item("at_ms", entry.at_ms)?;
            fields.set_item("device_id", entry.device_id)?;
            fields.set_item("sequence", entry.sequence)?;
            fields.set_item("outcome", entry.outcome.as_str())?;
            fields.set_item("reason", entry.reason)?;
            fields.set_item("record_hash", PyBytes::new(py, entry.record_hash.as_bytes()))?;
            fields.set_item("expected", entry.expected)?;
            fields.set_item("actual", entry.actual)?;
            fields.set_item("evidence", entry.evidence.map(|bytes| PyBytes::new(py, &bytes)))?;
            list.append(fields)?;
        }
        Ok(list)
    }

    fn payload<'py>(
        &self,
        py: Python<'py>,
        record: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let open = self.open()?;
        let Some(store) = open.payloads else {
            return Err(PyValueError::new_err("no payload store; open the ledger with payloads="));
        };
        let record = match record.extract::<String>() {
            Ok(object_ref) => {
                let found = wait_on(py, async move { with_object_ref(&*open.ledger, &object_ref).await })?;
                let found = found.map_err(|error| service_failure(py, error.into()))?;
                match found {
                    None => return Ok(None),
                    Some((record, true)) => record,
                    Some((_, false)) => {
                        let problem =
                            "several records with other payloads have this object reference; give the record";
                        return Err(PyValueError::new_err(problem));
                    }
                }
            }
            Err(_) => record_from_any(record)?,
        };
        let payload = wait_on(py, async move { store.get(&record).await })?;
        let payload = payload.map_err(|error| service_failure(py, error.into()))?;
        Ok(payload.map(|payload| PyBytes::new(py, &payload)))
    }
}

/// Reads the log of the ledger, and chooses the destinations of an export and of the files beside it.
fn log_beside(py: Python<'_>, open: &Open, path: &Path, stamped: bool) -> PyResult<(LogBeside, Target)> {
    let ledger = Arc::clone(&open.ledger);
    let logged = wait_on(py, async move {
        match stamped {
            true => Logged::read_stamped(&*ledger).await,
            false => Logged::read(&*ledger).await.map_err(Into::into),
        }
    })?;
    let logged = logged.map_err(|error| prove_failure(py, error))?;
    let mut destinations = Destinations::default();
    let mut place =
        |what: &str, path: &Path| destinations.place(what, path).map_err(|error| bad_destination(py, error));
    let destination = place("path", path)?;
    if destination.file().is_none() {
        return Err(PyValueError::new_err("log=True writes files beside the export, so path must be a file"));
    }
    let manifest = place("manifest", &Manifest::path_for(path))?;
    let log =
        LogBeside::place(logged, path, &mut destinations).map_err(|error| bad_destination(py, error))?;
    Ok((log, Target::Placed { path: path.to_owned(), destination, manifest }))
}

/// Returns a record with an object reference, and true if all other records with it share its payload. The ledger has
/// no index of object references, so all records are read.
async fn with_object_ref(
    ledger: &dyn edgesentry_rs::Ledger,
    object_ref: &str,
) -> Result<Option<(AuditRecord, bool)>, edgesentry_rs::StoreError> {
    let mut records = ledger.records(&Filter::default());
    let mut found: Option<(AuditRecord, bool)> = None;
    while let Some(chunk) = records.try_next().await? {
        for record in chunk.into_iter().filter(|record| record.object_ref == object_ref) {
            match &mut found {
                None => found = Some((record, true)),
                Some((first, same)) => {
                    *same &=
                        (first.payload_hash, &first.device_id) == (record.payload_hash, &record.device_id);
                }
            }
        }
    }
    Ok(found)
}

impl LedgerCore {
    fn open(&self) -> PyResult<Open> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        open.ok_or_else(|| PyValueError::new_err("the ledger is closed"))
    }

    /// Returns the ledger.
    pub(crate) fn ledger(&self) -> PyResult<Arc<dyn edgesentry_rs::Ledger>> {
        Ok(self.open()?.ledger)
    }

    /// Returns the ingest service.
    pub(crate) fn service(&self) -> PyResult<IngestService> {
        let service = self.open()?.service;
        service.ok_or_else(|| PyValueError::new_err("no payload store; open the ledger with payloads="))
    }

    fn registered(&self, py: Python<'_>) -> PyResult<Vec<RegisteredDevice>> {
        let open = self.open()?;
        let devices = wait_on(py, async move { open.ledger.devices().await })?;
        devices.map_err(|error| service_failure(py, error.into()))
    }
}

/// Returns true if the input is that of the ledger.
fn is_registered(value: Option<&Bound<'_, PyAny>>) -> bool {
    value.is_some_and(|value| value.extract::<&str>().is_ok_and(|value| value == "registered"))
}

/// Converts pairs of a record and its payload.
pub(crate) fn submissions(items: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>) -> PyResult<Vec<Submission>> {
    let submission = |(record, payload): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let record = Arc::new(record_from_any(&record)?);
        Ok(Submission { record, payload: Bytes::from_owner(payload_bytes(&payload)?) })
    };
    items.into_iter().map(submission).collect()
}

impl From<Result<Outcome, Error>> for IngestAnswer {
    fn from(answer: Result<Outcome, Error>) -> IngestAnswer {
        match answer {
            Ok(outcome) => {
                let rejection = outcome.rejection();
                IngestAnswer {
                    outcome: outcome.kind().as_str(),
                    reason: rejection.map(|rejection| rejection.code.name()),
                    expected: rejection.map(|rejection| rejection.expected.to_string()),
                    actual: rejection.map(|rejection| rejection.actual.to_string()),
                    ..IngestAnswer::default()
                }
            }
            Err(error) => IngestAnswer {
                outcome: "error",
                error: Some(crate::errors::sentence(&error)),
                retryable: error.is_retryable(),
                ..IngestAnswer::default()
            },
        }
    }
}

fn device_dict<'py>(
    py: Python<'py>,
    device: &RegisteredDevice,
    revocations: &[Revocation],
) -> PyResult<Bound<'py, PyDict>> {
    let keys = PyList::empty(py);
    for key in &device.keys {
        let fields = PyDict::new(py);
        fields.set_item("key", key.key.key.to_string())?;
        fields.set_item("scheme", key.key.scheme.name())?;
        fields.set_item("valid_from", key.key.valid_from)?;
        fields.set_item("revoked_from", key.revoked_from)?;
        let reason = revocation_reason(revocations, &device.device_id, key.revoked_from);
        fields.set_item("revoked_reason", reason.map(|reason| reason.name()))?;
        keys.append(fields)?;
    }
    let fields = PyDict::new(py);
    fields.set_item("device_id", &device.device_id)?;
    fields.set_item("keys", keys)?;
    fields.set_item("head", device.head.map(Head))?;
    fields.set_item("start", device.start.map(Head))?;
    Ok(fields)
}
