//! `Device`: the signing side, which extends its own chain.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use edgesentry_chain as chain;
use edgesentry_chain::{SEED_BYTES, SignError};
use edgesentry_formats::{create_seed_file, read_seed_file, times};
use edgesentry_rs::agent::sign;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use zeroize::Zeroizing;

use crate::errors::{bad_key, bad_seed_file};
use crate::heads::Head;
use crate::keys::{public_key_type, scheme_of};
use crate::pickle::refuse;
use crate::record::{self, AuditRecord, bytes, payload_bytes};
use crate::signer::{PythonSigner, sign_failure, signer_of};
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
///         payload. The signature is verified. An outbox calls it on a thread of its own.
///     public_key: The public key of a function, 64 hex digits or 32 bytes.
///     scheme: The scheme of its signatures.
///
/// Raises:
///     ConfigError: The public key is weak.
///     ValueError: The id is empty, or a public key is missing.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Device {
    device: Mutex<chain::Device>,
    /// The Python object that has the key.
    python: Option<Arc<PythonSigner>>,
    /// One record at a time is signed by a signer that may block, without a lock on the device.
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
        let failed = |error| PyOSError::new_err(format!("cannot get random bytes from the system: {error}"));
        getrandom::fill(seed.as_mut_slice()).map_err(failed)?;
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
        let timestamp_ms = match timestamp_ms {
            Some(timestamp_ms) => record::timestamp_ms(timestamp_ms)?,
            None => now_ms()?,
        };
        telemetry::ask_loggers(py)?;
        // Log handlers may call this device again, so it must not be locked then.
        let signed = if self.device().may_block() {
            self.sign_elsewhere(py, timestamp_ms, &payload, object_ref)?
        } else {
            sign(&mut self.device(), timestamp_ms, &payload, object_ref)
        };
        telemetry::hand_over(py)?;
        signed.map(AuditRecord).map_err(|error| sign_failure(py, error, self.python.as_deref()))
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
    ///     ValueError: The successor has another id, the same key, or a weaker scheme.
    #[pyo3(signature = (successor, *, timestamp_ms = None))]
    fn rotate(
        &self,
        successor: &Bound<'_, Device>,
        timestamp_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(AuditRecord, Vec<u8>)> {
        let timestamp_ms = match timestamp_ms {
            Some(timestamp_ms) => record::timestamp_ms(timestamp_ms)?,
            None => now_ms()?,
        };
        // It may be this very device, which is locked below.
        let successor = successor.get().device().clone();
        let succeeded = self.device().succeed(timestamp_ms, successor);
        let (record, payload) = succeeded.map_err(|error| PyValueError::new_err(error.to_string()))?;
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
        // A signer that calls Python may use this device.
        let device = self.device().clone();
        let signed = py.detach(|| device.sign_record(&mut record));
        signed.map_err(|error| sign_failure(py, error.into(), self.python.as_deref()))?;
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
        Ok(Device::of(self.device().clone().resume(head), self.python.clone()))
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

    fn of(device: chain::Device, python: Option<Arc<PythonSigner>>) -> Device {
        let (signing, signed_on) = (Mutex::new(()), Mutex::new(None));
        Device { device: Mutex::new(device), python, signing, signed_on }
    }

    /// Signs the next record with a signer that may block, and may call Python.
    fn sign_elsewhere(
        &self,
        py: Python<'_>,
        timestamp_ms: u64,
        payload: &[u8],
        object_ref: String,
    ) -> PyResult<Result<chain::AuditRecord, SignError>> {
        let own = thread::current().id();
        if *self.signed_on.lock().unwrap_or_else(PoisonError::into_inner) == Some(own) {
            let message = "the signer of the device has called its sign(); return the signature instead";
            return Err(PyRuntimeError::new_err(message));
        }
        Ok(py.detach(|| {
            let _turn = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
            *self.signed_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
            let mut device = self.device().clone();
            let signed = sign(&mut device, timestamp_ms, payload, object_ref);
            if signed.is_ok() {
                *self.device() = device;
            }
            *self.signed_on.lock().unwrap_or_else(PoisonError::into_inner) = None;
            signed
        }))
    }

    /// Returns the Python object that has the key.
    pub(crate) fn python_signer(&self) -> Option<Arc<PythonSigner>> {
        self.python.clone()
    }

    fn hex_key(&self) -> PyResult<String> {
        self.device().public_key().map(|key| key.to_string()).map_err(bad_key)
    }

    /// Returns the device, locked.
    pub(crate) fn device(&self) -> MutexGuard<'_, chain::Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
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

fn check_id(device_id: &str) -> PyResult<()> {
    if device_id.is_empty() {
        return Err(PyValueError::new_err("a device id must have at least one character"));
    }
    Ok(())
}

/// The time to sign.
pub(crate) fn now_ms() -> PyResult<u64> {
    let before_1970 = || PyValueError::new_err("the system clock is before 1970; give timestamp_ms");
    times::clock_ms().ok_or_else(before_1970)
}
