//! `Device`: the signing side, which extends its own chain.

use std::mem;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use edgesentry_chain as chain;
use edgesentry_chain::{ChainFull, SEED_BYTES, SuccessionError};
use edgesentry_formats::{create_seed_file, read_seed_file, times};
use edgesentry_rs::agent::sign;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use zeroize::Zeroizing;

use crate::errors::{bad_key, bad_seed_file};
use crate::heads::Head;
use crate::keys::{public_key_type, scheme_of};
use crate::pickle::refuse;
use crate::record::{self, AuditRecord, bytes, payload_bytes};
use crate::signer::{PythonSigner, Raised, SigningDevice, fill_random, sign_failure, signer_of};
use crate::telemetry;

/// A device that signs its records and continues its own chain. Safe to use from several threads.
///
/// Created by `generate`, `from_seed` or `from_seed_file`, or with a signer that has the key. A seed is kept
/// in memory that is zeroized when the device is dropped, and is never shown.
///
/// Args:
///     device_id: Its id, not empty.
///     signer: A `Pkcs11Signer`, a `ProgramSigner`, an object with `public_key` and `sign(message)`, or a
///         function that gets a message and returns its Ed25519 signature. The message has 32 bytes, never a
///         payload; that of the successor in a rotation is the statement of the succession. The signature is
///         verified. An outbox calls the signer on a thread of its own. While it signs, it gets a
///         `RuntimeError` from each use of an outbox, and from `sign` and `rotate` of its device.
///     public_key: The public key of a function, 64 hex digits or 32 bytes.
///     scheme: The scheme of its signatures.
///
/// Raises:
///     ConfigError: The public key is weak.
///     ValueError: The id is empty, or a public key is missing.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Device {
    /// Locked only for a moment, and never while a signer works: the signer may look at the device.
    state: Mutex<SigningDevice>,
    /// Locked while the chain grows by one record, so that it does not fork.
    signing: Mutex<()>,
    /// The thread that signs, on which the signer may call Python.
    signed_on: Mutex<Option<ThreadId>>,
}

#[pymethods]
impl Device {
    #[new]
    #[pyo3(signature = (device_id, *, signer, public_key = None, scheme = "record"))]
    fn new(
        device_id: String,
        signer: &Bound<'_, PyAny>,
        public_key: Option<&Bound<'_, PyAny>>,
        scheme: &str,
    ) -> PyResult<Device> {
        check_id(&device_id)?;
        let scheme = scheme_of(scheme)?;
        let (signer, python) = signer_of(signer, public_key)?;
        Ok(Device::of(chain::Device::from_signer(device_id, signer, scheme), python))
    }

    /// Creates a device with a new key, at the beginning of its chain.
    ///
    /// Args:
    ///     device_id: Its id, not empty.
    ///     scheme: The scheme of its signatures. `payload-hash` is for devices that support nothing else.
    #[classmethod]
    #[pyo3(signature = (device_id, *, scheme = "record"))]
    fn generate(_cls: &Bound<'_, PyType>, device_id: String, scheme: &str) -> PyResult<Device> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        fill_random(seed.as_mut_slice())?;
        Device::at_start(device_id, &seed, scheme)
    }

    /// Creates a device from its 32-byte secret seed, at the beginning of its chain.
    ///
    /// Raises:
    ///     ValueError: The seed is not 32 bytes, or the id is empty.
    #[classmethod]
    #[pyo3(signature = (device_id, seed, *, scheme = "record"))]
    fn from_seed(
        _cls: &Bound<'_, PyType>,
        device_id: String,
        seed: &Bound<'_, PyAny>,
        scheme: &str,
    ) -> PyResult<Device> {
        Device::at_start(device_id, &Zeroizing::new(bytes("seed", seed)?), scheme)
    }

    /// Creates a device from a seed file, as `save_seed` and `eds keygen` write it.
    ///
    /// Raises:
    ///     FileNotFoundError: The file does not exist.
    ///     ConfigError: Users other than the owner may read the file, or it is not a seed file.
    #[classmethod]
    #[pyo3(signature = (device_id, path, *, scheme = "record"))]
    fn from_seed_file(
        cls: &Bound<'_, PyType>,
        device_id: String,
        path: PathBuf,
        scheme: &str,
    ) -> PyResult<Device> {
        Device::at_start(
            device_id,
            &read_seed_file(&path).map_err(|error| bad_seed_file(cls.py(), error))?,
            scheme,
        )
    }

    /// Writes the seed to a new file that only its owner can read (mode 0600).
    ///
    /// Raises:
    ///     FileExistsError: The file exists; a seed is never overwritten.
    ///     ValueError: The device has no seed: a signer has its key.
    fn save_seed(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let no_seed = || PyValueError::new_err("the device has no seed to save: a signer has its key");
        let seed = self.device().seed().ok_or_else(no_seed)?;
        create_seed_file(&path, &seed).map_err(|error| bad_seed_file(py, error))
    }

    /// Signs the next record of the chain.
    ///
    /// Args:
    ///     payload: The observation; the record commits to its BLAKE3 hash.
    ///     object_ref: The location of the payload.
    ///     timestamp_ms: Unix milliseconds; the clock of this machine if None.
    ///
    /// Raises:
    ///     EdgesentryError: The sequence has reached its largest value.
    ///     SignerError: The signer failed; the chain has not changed.
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
        telemetry::ask_loggers(py)?;
        // Log handlers may call this device again, so it must not be locked then.
        let signed =
            self.extend(py, false, |own, _| sign(&mut own.device, timestamp_ms, &payload, object_ref))?;
        telemetry::hand_over(py)?;
        signed.map(AuditRecord).map_err(|(error, raised)| sign_failure(py, error, raised))
    }

    /// Signs the succession of this device's key as the next record, and continues as `successor`.
    ///
    /// The record states the new key, which signs from the following sequence on. It is an ordinary record of
    /// the chain: store and send it with its payload.
    ///
    /// Args:
    ///     successor: The device of the same id with the new key, such as
    ///         `Device.generate(device.device_id)`. Keep its seed first.
    ///     timestamp_ms: Unix milliseconds; the clock of this machine if None.
    ///
    /// Returns:
    ///     The record and its payload.
    ///
    /// Raises:
    ///     EdgesentryError: The sequence has reached its largest value.
    ///     SignerError: A signer failed; the device has its key still, and the chain has not changed.
    ///     ValueError: The successor has another id, the same key, or a weaker scheme.
    #[pyo3(signature = (successor, *, timestamp_ms = None))]
    fn rotate(
        &self,
        py: Python<'_>,
        successor: &Bound<'_, Device>,
        timestamp_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(AuditRecord, Vec<u8>)> {
        let timestamp_ms = time_or_now(timestamp_ms)?;
        let successor = successor.get().state().clone();
        let succeeded = self.extend(py, successor.device.may_block(), move |own, raised| {
            let successor = successor.raising_in(raised);
            let made = own.device.succeed(timestamp_ms, successor.device)?;
            own.python = successor.python;
            Ok(made)
        })?;
        let (record, payload) = succeeded.map_err(|(error, raised)| match error {
            SuccessionError::Signer(error) => sign_failure(py, error.into(), raised),
            SuccessionError::ChainFull => sign_failure(py, ChainFull::default().into(), raised),
            error => PyValueError::new_err(error.to_string()),
        })?;
        Ok((AuditRecord(record), payload))
    }

    /// Returns a copy of the record with this device's signature; the device's chain does not change.
    ///
    /// For tests of an attacker who holds the key.
    ///
    /// Raises:
    ///     SignerError: The signer failed.
    fn sign_record(&self, py: Python<'_>, record: &Bound<'_, AuditRecord>) -> PyResult<AuditRecord> {
        let mut record = record.get().0.clone();
        let raised = Raised::default();
        // A signer that calls Python may use this device.
        let own = self.state().clone().raising_in(&raised);
        let signed = py.detach(|| own.device.sign_record(&mut record));
        signed.map_err(|error| sign_failure(py, error.into(), raised.take()))?;
        Ok(AuditRecord(record))
    }

    /// Returns the same device, continuing after the last record that it signed; None for the beginning.
    ///
    /// Raises:
    ///     ValueError: The record belongs to another device.
    fn resume(&self, last: &Bound<'_, PyAny>) -> PyResult<Device> {
        let head = if last.is_none() {
            None
        } else if let Ok(head) = last.cast::<Head>() {
            Some(head.get().0)
        } else if let Ok(record) = last.cast::<AuditRecord>() {
            Some(self.head_of(&record.get().0)?)
        } else {
            let message = "a device resumes after a Head, an AuditRecord of its own, or None, not after ";
            return Err(PyTypeError::new_err(format!("{message}{}", last.get_type().name()?)));
        };
        let SigningDevice { device, python } = self.state().clone();
        Ok(Device::of(device.resume(head), python))
    }

    /// The device id.
    #[getter]
    fn device_id(&self) -> String {
        self.device().device_id().to_owned()
    }

    /// The scheme of its signatures.
    #[getter]
    fn scheme(&self) -> &'static str {
        self.device().scheme().name()
    }

    /// The public key to register, 64 hex digits, with its scheme.
    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let key = self.hex_key()?;
        public_key_type(py)?.call1((key, self.scheme()))
    }

    /// The last record signed; None at the beginning.
    #[getter]
    fn head(&self) -> Option<Head> {
        self.device().head().map(Head)
    }

    fn __repr__(&self) -> PyResult<String> {
        let key = self.hex_key()?;
        let device = self.device();
        let sequence = device.head().map_or(0, |head| head.sequence);
        let (device_id, scheme) = (chain::escape::quoted(device.device_id()), device.scheme());
        Ok(format!("<Device {device_id} scheme {scheme}, public key {key}, at sequence {sequence}>"))
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Device", "it holds its secret key; open it where it signs, such as by Device.from_seed_file")
    }
}

impl Device {
    fn at_start(device_id: String, seed: &Zeroizing<[u8; SEED_BYTES]>, scheme: &str) -> PyResult<Device> {
        check_id(&device_id)?;
        Ok(Device::of(chain::Device::from_seed(device_id, **seed, scheme_of(scheme)?), None))
    }

    fn of(device: chain::Device, python: Option<PythonSigner>) -> Device {
        let state = Mutex::new(SigningDevice { device, python });
        Device { state, signing: Mutex::new(()), signed_on: Mutex::new(None) }
    }

    /// Extends the chain by the record that `work` signs, in turn with other threads. After an error the device is as
    /// before; the exception is that of a Python signer. `may_block` is true if `work` calls another signer that may.
    fn extend<T: Send, E: Send>(
        &self,
        py: Python<'_>,
        may_block: bool,
        work: impl FnOnce(&mut SigningDevice, &Raised) -> Result<T, E> + Send,
    ) -> PyResult<Result<T, (E, Option<PyErr>)>> {
        let own = thread::current().id();
        if *self.signed_on.lock().unwrap_or_else(PoisonError::into_inner) == Some(own) {
            let message =
                "the signer of the device has called its sign() or rotate(); return the signature instead";
            return Err(PyRuntimeError::new_err(message));
        }
        let grow = |_turn: MutexGuard<'_, ()>| {
            let _signing = SigningOn::begin(&self.signed_on, own);
            let raised = Raised::default();
            let mut next = self.state().clone().raising_in(&raised);
            let made = work(&mut next, &raised).map_err(|error| (error, raised.take()))?;
            // Dropped when the lock is free: the end of a session with a token takes a while.
            let _before = mem::replace(&mut *self.state(), next);
            Ok(made)
        };
        // A seed signs at once. To get the interpreter back can take far longer.
        if !may_block
            && let Ok(turn) = self.signing.try_lock()
            && !self.state().device.may_block()
        {
            return Ok(grow(turn));
        }
        Ok(py.detach(|| grow(self.signing.lock().unwrap_or_else(PoisonError::into_inner))))
    }

    /// Returns a copy of the device for an outbox, whose signer leaves its exceptions in `raised`.
    pub(crate) fn raising_in(&self, raised: &Raised) -> chain::Device {
        self.state().clone().raising_in(raised).device
    }

    fn hex_key(&self) -> PyResult<String> {
        self.device().public_key().map(|key| key.to_string()).map_err(bad_key)
    }

    /// Returns a copy of the device.
    pub(crate) fn device(&self) -> chain::Device {
        self.state().device.clone()
    }

    fn state(&self) -> MutexGuard<'_, SigningDevice> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head_of(&self, record: &chain::AuditRecord) -> PyResult<chain::Head> {
        let device = self.device();
        if record.device_id != device.device_id() {
            let (own, other) = (device.device_id(), &record.device_id);
            let message = format!("device {own:?} cannot resume after a record of device {other:?}");
            return Err(PyValueError::new_err(message));
        }
        Ok(chain::Head { sequence: record.sequence, hash: record.hash() })
    }
}

/// The thread that signs, until it is dropped.
struct SigningOn<'a>(&'a Mutex<Option<ThreadId>>);

impl SigningOn<'_> {
    fn begin(thread: &Mutex<Option<ThreadId>>, own: ThreadId) -> SigningOn<'_> {
        *thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
        SigningOn(thread)
    }
}

impl Drop for SigningOn<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn check_id(device_id: &str) -> PyResult<()> {
    if device_id.is_empty() {
        return Err(PyValueError::new_err("a device id must have at least one character"));
    }
    Ok(())
}

/// Reads the argument `timestamp_ms`.
pub(crate) fn time_or_now(timestamp_ms: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    timestamp_ms.map_or_else(now_ms, record::timestamp_ms)
}

/// The time to sign.
pub(crate) fn now_ms() -> PyResult<u64> {
    let before_1970 = || PyValueError::new_err("the system clock is before 1970; give timestamp_ms");
    times::clock_ms().ok_or_else(before_1970)
}
