//! Signers: keys in tokens, in programs, and behind Python objects.

use std::cell::Cell;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edgesentry_chain as chain;
use edgesentry_chain::{PublicKey, SignError, SignerError, sign_with};
use edgesentry_rs::signer::{Pin, Pkcs11Uri, SIGNING_TIMEOUT, generate};
use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyType};

use crate::errors::{EdgesentryError, bad_key, chain_full, sentence, signer_failure};
use crate::pickle::refuse;
use crate::record::payload_bytes;

/// Fills a buffer with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> PyResult<()> {
    let failed = |error| PyOSError::new_err(format!("cannot get random bytes from the system: {error}"));
    getrandom::fill(bytes).map_err(failed)
}

// The default of `ProgramSigner`.
const _: () = assert!(SIGNING_TIMEOUT.as_secs() == 30, "the default of ProgramSigner");

/// An Ed25519 key in a token: a smart card, a USB token, a hardware security module.
///
/// If the token was removed, the next signature finds it again. A wrong PIN is tried once.
///
/// Args:
///     uri: The PKCS#11 URI of the private key, such as `pkcs11:token=site-7;object=lift-01`.
///     module: The library of the token, if the URI has no `module-path`.
///     pin: The PIN.
///     pin_file: A file with the PIN, mode 0600. Without both, the `pin-source` of the URI or the environment
///         variable `EDS_PKCS11_PIN`.
///
/// Raises:
///     SignerError: No key or several keys match, or the token, its library or the PIN cannot be used.
///     ValueError: The URI has another form.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Pkcs11Signer {
    signer: Arc<edgesentry_rs::signer::Pkcs11Signer>,
    uri: String,
}

#[pymethods]
impl Pkcs11Signer {
    #[new]
    #[pyo3(signature = (uri, *, module = None, pin = None, pin_file = None))]
    fn new(
        py: Python<'_>,
        uri: &str,
        module: Option<PathBuf>,
        pin: Option<String>,
        pin_file: Option<PathBuf>,
    ) -> PyResult<Pkcs11Signer> {
        let (uri, pin) = named(uri, module, pin, pin_file)?;
        let name = uri.to_string();
        let opened = py.detach(|| edgesentry_rs::signer::Pkcs11Signer::open(uri, pin));
        Ok(Pkcs11Signer { signer: Arc::new(opened.map_err(signer_failure)?), uri: name })
    }

    /// Makes a key in the token, under the label `object` of the URI. The private key cannot leave it.
    ///
    /// Raises:
    ///     SignerError: The token has a key of this label, or cannot make the key.
    #[classmethod]
    #[pyo3(signature = (uri, *, module = None, pin = None, pin_file = None))]
    fn generate(
        cls: &Bound<'_, PyType>,
        uri: &str,
        module: Option<PathBuf>,
        pin: Option<String>,
        pin_file: Option<PathBuf>,
    ) -> PyResult<Pkcs11Signer> {
        let py = cls.py();
        let mut id = [0; 8];
        fill_random(&mut id)?;
        let (uri, pin) = named(uri, module, pin, pin_file)?;
        let name = uri.to_string();
        let opened = py.detach(|| {
            generate(&uri, pin.clone(), &id)?;
            edgesentry_rs::signer::Pkcs11Signer::open(uri, pin)
        });
        Ok(Pkcs11Signer { signer: Arc::new(opened.map_err(signer_failure)?), uri: name })
    }

    /// The public key, 64 hex digits.
    #[getter]
    fn public_key(&self) -> String {
        chain::Signer::public_key(&*self.signer).to_string()
    }

    /// Returns the Ed25519 signature of a message, verified.
    ///
    /// Raises:
    ///     SignerError: The token did not sign.
    fn sign<'py>(&self, py: Python<'py>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        signature(py, &*self.signer, message)
    }

    fn __repr__(&self) -> String {
        format!("<Pkcs11Signer {}, public key {}>", chain::escape::quoted(&self.uri), self.public_key())
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Pkcs11Signer", "it is a session with a token; open it in the process that signs")
    }
}

/// An Ed25519 key in another program, which answers one line for each line.
///
/// The program gets no arguments. It is started when it is needed, and ended with this object.
///
/// Args:
///     program: The program.
///     public_key: Its public key, 64 hex digits. The program is asked for it if it is None.
///     timeout: Seconds that the program has for an answer.
///
/// Raises:
///     SignerError: The program does not start, or gives no public key.
///     ConfigError: The public key is weak.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct ProgramSigner {
    signer: Arc<edgesentry_rs::signer::ProgramSigner>,
    program: String,
}

#[pymethods]
impl ProgramSigner {
    #[new]
    // The signature shows a number to Python only if it is written here.
    #[pyo3(signature = (program, *, public_key = None, timeout = 30.0))]
    fn new(
        py: Python<'_>,
        program: PathBuf,
        public_key: Option<&str>,
        timeout: f64,
    ) -> PyResult<ProgramSigner> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err("timeout must be a number of seconds from 0"))?;
        let program = std::path::absolute(&program)
            .map_err(|error| PyValueError::new_err(format!("program: {error}")))?;
        let signer = match public_key {
            Some(key) => {
                let key = key.parse().map_err(bad_key)?;
                edgesentry_rs::signer::ProgramSigner::of_key(&program, key).with_timeout(timeout)
            }
            None => {
                let started = py.detach(|| edgesentry_rs::signer::ProgramSigner::start(&program, timeout));
                started.map_err(signer_failure)?
            }
        };
        Ok(ProgramSigner { signer: Arc::new(signer), program: program.display().to_string() })
    }

    /// The public key, 64 hex digits.
    #[getter]
    fn public_key(&self) -> String {
        chain::Signer::public_key(&*self.signer).to_string()
    }

    /// Returns the Ed25519 signature of a message, verified.
    ///
    /// Raises:
    ///     SignerError: The program did not sign.
    fn sign<'py>(&self, py: Python<'py>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        signature(py, &*self.signer, message)
    }

    fn __repr__(&self) -> String {
        format!("<ProgramSigner {}, public key {}>", chain::escape::quoted(&self.program), self.public_key())
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("ProgramSigner", "it has a running program; start it in the process that signs")
    }
}

fn signature<'py>(
    py: Python<'py>,
    signer: &dyn chain::Signer,
    message: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let message = payload_bytes(message)?;
    let signed = py.detach(|| sign_with(signer, &message));
    Ok(PyBytes::new(py, &signed.map_err(signer_failure)?))
}

fn named(
    uri: &str,
    module: Option<PathBuf>,
    pin: Option<String>,
    pin_file: Option<PathBuf>,
) -> PyResult<(Pkcs11Uri, Option<Pin>)> {
    let mut uri: Pkcs11Uri = uri
        .parse()
        .map_err(|error: edgesentry_rs::signer::UriError| PyValueError::new_err(error.to_string()))?;
    if module.is_some() {
        uri.module_path = module;
    }
    match (pin, pin_file) {
        (Some(_), Some(_)) => Err(PyValueError::new_err("give pin= or pin_file=, not both")),
        (Some(pin), None) => Ok((uri, Some(Pin::Value(pin.into())))),
        (None, Some(file)) => Ok((uri, Some(Pin::File(file)))),
        (None, None) => Ok((uri, None)),
    }
}

thread_local! {
    /// The calls of Python signers on this thread, each within the one before.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// A call of a Python signer, until it is dropped.
struct Call;

impl Call {
    fn begin() -> Call {
        CALLS.set(CALLS.get() + 1);
        Call
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.set(CALLS.get() - 1);
    }
}

/// Refuses the use of an outbox by a signer while it signs: the outbox may wait for this very signature.
pub(crate) fn refuse_in_signer() -> PyResult<()> {
    if CALLS.get() == 0 {
        return Ok(());
    }
    let message = "a signer cannot use an outbox while it signs; return the signature first";
    Err(PyRuntimeError::new_err(message))
}

/// The exception that a Python signer raised during one call of a device or an outbox. Signers share it with the call.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn set(&self, raised: PyErr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(raised);
    }

    /// Returns the exception, for a call that has ended. The next one begins without it.
    pub(crate) fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns the exception for an error of signing. Its cause is the exception of the Python object.
pub(crate) fn caused(py: Python<'_>, failure: PyErr, raised: Option<PyErr>) -> PyErr {
    match raised {
        // Ctrl-C, and the exit of the interpreter.
        Some(raised) if !raised.is_instance_of::<PyException>(py) => raised,
        Some(raised) => {
            failure.set_cause(py, Some(raised));
            failure
        }
        None => failure,
    }
}

/// A key behind a Python object.
#[derive(Clone)]
pub(crate) struct PythonSigner {
    key: PublicKey,
    /// Gets the message, and returns the signature.
    sign: Arc<Py<PyAny>>,
    raised: Raised,
}

/// A device, and the Python object that has its key if there is one.
#[derive(Clone)]
pub(crate) struct SigningDevice {
    pub(crate) device: chain::Device,
    pub(crate) python: Option<PythonSigner>,
}

impl SigningDevice {
    /// Returns the same device, whose signer leaves its exceptions in `raised`.
    pub(crate) fn raising_in(self, raised: &Raised) -> SigningDevice {
        let SigningDevice { device, python } = self;
        let Some(python) = python else { return SigningDevice { device, python } };
        let python = PythonSigner { raised: raised.clone(), ..python };
        let signer = Arc::new(python.clone());
        let same = chain::Device::from_signer(device.device_id(), signer, device.scheme());
        SigningDevice { device: same.resume(device.head()), python: Some(python) }
    }
}

impl chain::Signer for PythonSigner {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let name = "the signer of the device";
        let _call = Call::begin();
        Python::attach(|py| {
            let returned = self.sign.bind(py).call1((PyBytes::new(py, message),));
            let signature =
                returned.and_then(|returned| returned.extract::<PyBackedBytes>().map_err(PyErr::from));
            let signature = signature.map_err(|error| {
                let mut problem = "it raised an exception".to_owned();
                if let Ok(kind) = error.get_type(py).name() {
                    problem.clear();
                    let _ = write!(problem, "it raised {kind}");
                }
                self.raised.set(error);
                SignerError::passing(name, problem + "; nothing was signed")
            })?;
            let size = signature.len();
            <[u8; 64]>::try_from(&*signature).map_err(|_| {
                SignerError::lasting(
                    name,
                    format!("expected a signature of 64 bytes, got {size}; nothing was signed"),
                )
            })
        })
    }
}

/// The signer of a device, and the Python object behind it if there is one.
pub(crate) type Given = (Arc<dyn chain::Signer>, Option<PythonSigner>);

/// Returns the signer of an argument: one of the classes above, an object with `public_key` and `sign`, or a function.
pub(crate) fn signer_of(signer: &Bound<'_, PyAny>, public_key: Option<&Bound<'_, PyAny>>) -> PyResult<Given> {
    let twice = || PyValueError::new_err("public_key= is for a function; this signer has its public key");
    if let Ok(token) = signer.cast::<Pkcs11Signer>() {
        return if public_key.is_some() {
            Err(twice())
        } else {
            Ok((Arc::clone(&token.get().signer) as _, None))
        };
    }
    if let Ok(program) = signer.cast::<ProgramSigner>() {
        return if public_key.is_some() {
            Err(twice())
        } else {
            Ok((Arc::clone(&program.get().signer) as _, None))
        };
    }
    let method = signer.getattr_opt("sign")?.filter(|sign| sign.is_callable());
    let (sign, key) = match (method, public_key) {
        (Some(sign), None) => {
            let key = signer.getattr("public_key")?;
            (sign, if key.is_callable() { key.call0()? } else { key })
        }
        (Some(_), Some(_)) => return Err(twice()),
        (None, Some(key)) if signer.is_callable() => (signer.clone(), key.clone()),
        (None, None) if signer.is_callable() => {
            return Err(PyValueError::new_err("a function as signer needs its public key as public_key="));
        }
        _ => {
            let message = "a signer is a Pkcs11Signer, a ProgramSigner, an object with public_key and sign, or a function, not ";
            return Err(PyTypeError::new_err(format!("{message}{}", signer.get_type().name()?)));
        }
    };
    let key = key_of(&key)?;
    let signer = PythonSigner { key, sign: Arc::new(sign.unbind()), raised: Raised::default() };
    Ok((Arc::new(signer.clone()), Some(signer)))
}

/// Returns a public key: 32 bytes, 64 hex digits, or a `PublicKey`.
fn key_of(key: &Bound<'_, PyAny>) -> PyResult<PublicKey> {
    if let Ok(bytes) = key.extract::<PyBackedBytes>() {
        let bytes = <[u8; 32]>::try_from(&*bytes);
        let bytes =
            bytes.map_err(|_| PyValueError::new_err("public_key must be 32 bytes or 64 hex digits"))?;
        return PublicKey::from_bytes(bytes).map_err(bad_key);
    }
    let text = key.str()?;
    text.to_str()?.parse().map_err(bad_key)
}

/// Returns the exception for a record that was not signed.
pub(crate) fn sign_failure(py: Python<'_>, error: SignError, raised: Option<PyErr>) -> PyErr {
    let failure = match error {
        SignError::Signer(error) => signer_failure(error),
        SignError::ChainFull(error) => chain_full(error),
        other => EdgesentryError::new_err(sentence(&other)),
    };
    caused(py, failure, raised)
}
