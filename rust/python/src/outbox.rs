//! `Outbox`: the device side, which signs into a durable buffer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain as chain;
use edgesentry_rs::Error;
use edgesentry_rs::agent::{self, CheckpointConflict, KeptRejection, PendingReceipts, ReceiptRules, Sink};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::Mutex as Turn;

use crate::client::ClientCore;
use crate::device::{Device, time_or_now};
use crate::heads::Head;
use crate::ledger::LedgerCore;
use crate::log::Policy;
use crate::pickle::refuse;
use crate::record::{AuditRecord, payload_bytes};
use crate::service::{service_failure, wait_on};
use crate::signer::{Raised, caused, refuse_in_signer};
use crate::telemetry::trace_context;

/// A device that signs into a durable buffer, one SQLite file, and sends from it in order.
///
/// `sign` stores a record in the outbox before it returns. The outbox deletes the record only after the
/// service has confirmed that it holds the same record. A crash between any two steps costs only a resend.
///
/// With `receipts="required"` the outbox deletes a record only after it has verified a proof that the record
/// is in the transparency log. The file remembers this: a process that opens it without these arguments can
/// sign, and cannot flush.
///
/// Args:
///     path: The file; created if it does not exist.
///     device: The signer. A new outbox begins after its head; an existing one has its own head.
///     receipts: `required`, or `off` to end it; by default as the file has it.
///     policy: The trusted keys of the log and its witnesses, for the receipts. It comes from the owner of
///         the device, not from the service.
///     max_receipt_age: Seconds after which an acknowledged record without a receipt is overdue; 120 by
///         default, which is twice the default interval between checkpoints.
///     max_records: The maximum number of records in the outbox; `sign` raises an exception beyond it.
///
/// Raises:
///     ConfigError: The file was written by a newer release.
///     EdgesentryError: The outbox belongs to another device, or continues another chain.
///     StoreError: The file cannot be opened.
///     ValueError: `policy` is missing or not needed.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Outbox {
    open: Mutex<Option<OpenOutbox>>,
    described: String,
}

/// An outbox that was not closed.
#[derive(Clone)]
pub(crate) struct OpenOutbox {
    agent: Arc<agent::Outbox>,
    /// One call that may sign at a time, so that `raised` belongs to it.
    turn: Arc<Turn<()>>,
    raised: Raised,
}

impl OpenOutbox {
    /// Waits for work on the outbox.
    pub(crate) fn run<T, F>(&self, py: Python<'_>, work: impl FnOnce(Arc<agent::Outbox>) -> F) -> PyResult<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        refuse_in_signer()?;
        wait_on(py, work(Arc::clone(&self.agent)))
    }

    /// Waits for work that calls the signer of the device.
    pub(crate) fn run_signing<T, F>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(Arc<agent::Outbox>) -> F,
    ) -> PyResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (turn, raised) = (Arc::clone(&self.turn), self.raised.clone());
        let made = self.run(py, |agent| {
            let work = work(agent);
            async move {
                let _turn = turn.lock().await;
                let made = work.await;
                let raised = raised.take();
                made.map_err(|error| (error, raised))
            }
        })?;
        made.map_err(|(error, raised)| caused(py, service_failure(py, error), raised))
    }
}

#[pymethods]
impl Outbox {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (
        path, device, *, receipts = None, policy = None, max_receipt_age = None, max_records = None
    ))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        device: &Bound<'_, Device>,
        receipts: Option<&str>,
        policy: Option<&Bound<'_, Policy>>,
        max_receipt_age: Option<f64>,
        max_records: Option<u64>,
    ) -> PyResult<Outbox> {
        refuse_in_signer()?;
        let raised = Raised::default();
        let device = device.get().raising_in(&raised);
        let policy = policy.map(|policy| policy.get().0.clone());
        let required = required(receipts, policy, max_receipt_age)?;
        let place = chain::escape::sentence(&path.display().to_string()).into_owned();
        let described = format!("Outbox of device {} in {place}", chain::escape::quoted(device.device_id()));
        let agent = wait_on(py, async move {
            let mut agent = agent::Outbox::open(&path, device).await?;
            agent = match required {
                Required::Yes(rules) => agent.require_receipts(rules).await?,
                Required::No => agent.stop_receipts().await?,
                Required::AsBefore => agent,
            };
            Ok(match max_records {
                Some(max_records) => agent.limited(max_records),
                None => agent,
            })
        })?;
        let agent = agent.map_err(|error| service_failure(py, error))?;
        let open = OpenOutbox { agent: Arc::new(agent), turn: Arc::default(), raised };
        Ok(Outbox { open: Mutex::new(Some(open)), described })
    }

    /// Signs the next record of the chain and stores it, durably, with its payload.
    ///
    /// Args:
    ///     payload: The payload that the record commits to.
    ///     object_ref: The location at which the service is to store the payload.
    ///     timestamp_ms: Unix milliseconds; the current time by default.
    ///
    /// Raises:
    ///     EdgesentryError: No ledger could accept the record, or the chain or the outbox is full.
    ///     SignerError: The signer failed; nothing was signed, and the records in the outbox stay.
    ///     StoreError: The outbox cannot be written.
    #[pyo3(signature = (payload, object_ref, timestamp_ms = None))]
    fn sign(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        object_ref: String,
        timestamp_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AuditRecord> {
        let payload = payload_bytes(payload)?;
        let timestamp_ms = time_or_now(timestamp_ms)?;
        let payload = Bytes::from_owner(payload);
        let record = self.open()?.run_signing(py, move |agent| async move {
            agent.sign(timestamp_ms, payload, &object_ref).await
        })?;
        Ok(AuditRecord(record))
    }

    /// Signs a record of the times that the device has, and stores it, durably.
    ///
    /// It has the clock of the device, the arguments, and the last time that a service gave with a response
    /// to a `flush` over HTTP. All of it is a claim of the device.
    ///
    /// Args:
    ///     boot_counter: The number of starts of the device.
    ///     uptime_ms: Milliseconds since the start.
    ///     timestamp_ms: Unix milliseconds; the current time by default.
    ///
    /// Raises:
    ///     EdgesentryError: No ledger could accept the record, or the chain or the outbox is full.
    ///     SignerError: The signer failed; nothing was signed, and the records in the outbox stay.
    ///     StoreError: The outbox cannot be written.
    #[pyo3(signature = (*, boot_counter = None, uptime_ms = None, timestamp_ms = None))]
    fn sign_clock(
        &self,
        py: Python<'_>,
        boot_counter: Option<u64>,
        uptime_ms: Option<u64>,
        timestamp_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AuditRecord> {
        let timestamp_ms = time_or_now(timestamp_ms)?;
        let record = self.open()?.run_signing(py, move |agent| async move {
            agent.sign_clock(timestamp_ms, boot_counter, uptime_ms).await
        })?;
        Ok(AuditRecord(record))
    }

    /// Signs the succession of the device's key as the next record, and stores it, durably.
    ///
    /// The outbox then signs with the new key, and with the old one in no process any more. After an
    /// exception or a crash, open the outbox with the successor, or call this again with the old key: one of
    /// the two works.
    ///
    /// Args:
    ///     successor: The device of the same id with the new key. Keep its seed first, and delete the old
    ///         seed after.
    ///     timestamp_ms: Unix milliseconds; the current time by default.
    ///
    /// Raises:
    ///     EdgesentryError: The successor has another id, the same key, or a weaker scheme, the key of the
    ///         outbox was succeeded already, or the chain or the outbox is full.
    ///     SignerError: A signer failed; nothing was signed, and the outbox signs with the old key.
    ///     StoreError: The outbox cannot be written.
    #[pyo3(signature = (successor, *, timestamp_ms = None))]
    fn rotate(
        &self,
        py: Python<'_>,
        successor: &Bound<'_, Device>,
        timestamp_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AuditRecord> {
        let timestamp_ms = time_or_now(timestamp_ms)?;
        let open = self.open()?;
        let successor = successor.get().raising_in(&open.raised);
        let record =
            open.run_signing(py, move |agent| async move { agent.succeed(timestamp_ms, successor).await })?;
        Ok(AuditRecord(record))
    }

    /// Sends the waiting records, in order, until none waits or the service rejects one.
    ///
    /// If the outbox requires receipts, it then fetches those of acknowledged records, and deletes each
    /// record whose receipt holds. It sends records again that the service has lost.
    ///
    /// Args:
    ///     service: A `Client` of a service on the network, or an open `Ledger` with a payload store.
    ///         Receipts need a `Client` with a certificate or token of the device.
    ///
    /// Raises:
    ///     ConfigError: The outbox requires receipts, and was opened without a policy.
    ///     ProofError: A receipt or a checkpoint of the log does not hold; the records stay in the outbox.
    ///     StoreError: A store failed; records that were not acknowledged still wait.
    ///     ServiceError: The service refused or could not be reached; unacknowledged records still wait.
    fn flush<'py>(&self, py: Python<'py>, service: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let core = service.getattr(pyo3::intern!(py, "_core"))?;
        let sink: Box<dyn Sink> = match core.cast::<ClientCore>() {
            Ok(client) => Box::new(client.get().client()?),
            Err(_) => Box::new(core.cast::<LedgerCore>()?.get().service()?),
        };
        let open = self.open()?;
        let trace = trace_context(py)?;
        let flushed = open.run(py, move |agent| async move { trace.scope(agent.flush(&*sink)).await })?;
        let flushed = flushed.map_err(|error| service_failure(py, error))?;
        let fields = PyDict::new(py);
        fields.set_item("accepted", flushed.accepted)?;
        fields.set_item("duplicates", flushed.duplicates)?;
        fields.set_item("waiting", flushed.waiting)?;
        fields.set_item("rejection", flushed.rejection.map(|kept| rejection_dict(py, kept)).transpose()?)?;
        let receipts = flushed.receipts.map(|receipts| {
            let fields = pending_dict(py, receipts.pending)?;
            fields.set_item("verified", receipts.verified)?;
            fields.set_item("sent_again", receipts.sent_again)?;
            Ok::<_, PyErr>(fields)
        });
        fields.set_item("receipts", receipts.transpose()?)?;
        Ok(fields)
    }

    /// The number of records that wait to be sent.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<u64> {
        self.open()?
            .run(py, |agent| async move { agent.waiting().await })?
            .map_err(|error| service_failure(py, error))
    }

    /// The acknowledged records that lack their receipts.
    #[getter]
    fn pending<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let pending = self.open()?.run(py, |agent| async move { agent.pending().await })?;
        pending_dict(py, pending.map_err(|error| service_failure(py, error))?)
    }

    /// The checkpoints of the log of another history than the one kept before, as evidence.
    #[getter]
    fn conflicts<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let conflicts = self.open()?.run(py, |agent| async move { agent.conflicts().await })?;
        let conflicts = conflicts.map_err(|error| service_failure(py, error))?;
        conflicts.into_iter().map(|conflict| conflict_dict(py, conflict)).collect()
    }

    /// The last record signed.
    #[getter]
    fn head(&self, py: Python<'_>) -> PyResult<Option<Head>> {
        let head = self.open()?.run(py, |agent| async move { agent.head().await })?;
        Ok(head.map_err(|error| service_failure(py, error))?.map(Head))
    }

    /// The rejection of the first waiting record by the service, at the last attempt.
    #[getter]
    fn rejection<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let kept = self.open()?.run(py, |agent| async move { agent.rejection().await })?;
        kept.map_err(|error| service_failure(py, error))?.map(|kept| rejection_dict(py, kept)).transpose()
    }

    /// Closes the file.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        refuse_in_signer()?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        match open {
            Some(open) => open.run(py, |agent| async move { agent.close().await }),
            None => Ok(()),
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let is_open = self.open.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        format!("<{}{}>", self.described, if is_open { "" } else { ", closed" })
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Outbox", "it holds a secret key and an open file; open it in the process that signs")
    }
}

impl Outbox {
    pub(crate) fn open(&self) -> PyResult<OpenOutbox> {
        refuse_in_signer()?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        open.ok_or_else(|| PyValueError::new_err("the outbox is closed"))
    }
}

/// The argument `receipts`, with its rules.
enum Required {
    Yes(ReceiptRules),
    No,
    AsBefore,
}

fn required(
    receipts: Option<&str>,
    policy: Option<edgesentry_log::Policy>,
    max_age: Option<f64>,
) -> PyResult<Required> {
    match (receipts, policy) {
        (Some("required"), Some(policy)) => {
            let mut rules = ReceiptRules::new(policy);
            if let Some(seconds) = max_age {
                rules.max_age = Duration::try_from_secs_f64(seconds).map_err(|_| {
                    PyValueError::new_err("max_receipt_age must be a number of seconds from 0")
                })?;
            }
            Ok(Required::Yes(rules))
        }
        (Some("required"), None) => {
            Err(PyValueError::new_err("receipts=\"required\" needs the policy of the log as policy="))
        }
        (_, Some(_)) => Err(PyValueError::new_err("policy= is for receipts=\"required\"")),
        (Some("off"), None) => Ok(Required::No),
        (None, None) => Ok(Required::AsBefore),
        (Some(other), None) => {
            Err(PyValueError::new_err(format!("receipts must be \"required\" or \"off\", got {other:?}")))
        }
    }
}

fn pending_dict(py: Python<'_>, pending: PendingReceipts) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("pending", pending.records)?;
    fields.set_item("age_seconds", pending.age.as_secs_f64())?;
    fields.set_item("overdue", pending.is_overdue)?;
    Ok(fields)
}

fn conflict_dict(py: Python<'_>, conflict: CheckpointConflict) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("at_ms", conflict.at_ms)?;
    fields.set_item("kept", conflict.kept)?;
    fields.set_item("shown", conflict.shown)?;
    fields.set_item("reason", conflict.reason)?;
    Ok(fields)
}

fn rejection_dict(py: Python<'_>, kept: KeptRejection) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("sequence", kept.sequence)?;
    fields.set_item("reason", kept.code)?;
    fields.set_item("expected", kept.expected)?;
    fields.set_item("actual", kept.actual)?;
    Ok(fields)
}
