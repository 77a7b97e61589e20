//! Signed updates of devices, for `edgesentry.update`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use edgesentry_chain::{AuditRecord as ChainRecord, Hash, SEED_BYTES};
use edgesentry_formats::{
    Destination, Readers, UpdateStateError, UpdateStateFile, create_seed_file, read_seed_file,
    read_update_trust, times,
};
use edgesentry_update as update;
use edgesentry_update::{Image, ManifestError, Refusal, SignedManifest, State, Verified};
use pyo3::exceptions::{PyFileExistsError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};
use zeroize::Zeroizing;

use crate::device::now_ms;
use crate::errors::{
    UpdateError, UpdateRefusedError, bad_destination, bad_key, bad_seed_file, os_error, sentence, shown,
};
use crate::outbox::{OpenOutbox, Outbox};
use crate::pickle::refuse;
use crate::record::{AuditRecord, bytes, payload_bytes};
use crate::service::service_failure;
use crate::signer::fill_random;

/// The private key of a publisher, which signs manifests of updates.
///
/// Created by `generate`, `from_seed` or `from_seed_file`. Keep it apart from the keys of devices, logs and
/// archives. The seed is kept in memory that is zeroized, and is never shown.
#[pyclass(frozen, module = "edgesentry.update")]
pub(crate) struct PublisherKey {
    key: update::PublisherKey,
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

impl PublisherKey {
    fn of(seed: Zeroizing<[u8; SEED_BYTES]>) -> PyResult<PublisherKey> {
        let key = update::PublisherKey::from_seed(*seed);
        key.public_key().map_err(bad_key)?;
        Ok(PublisherKey { key, seed })
    }
}

#[pymethods]
impl PublisherKey {
    /// Creates a new key.
    #[classmethod]
    fn generate(_cls: &Bound<'_, PyType>) -> PyResult<PublisherKey> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        fill_random(seed.as_mut_slice())?;
        PublisherKey::of(seed)
    }

    /// Creates a key from its 32-byte secret seed.
    ///
    /// Raises:
    ///     ValueError: The seed is not 32 bytes.
    #[classmethod]
    fn from_seed(_cls: &Bound<'_, PyType>, seed: &Bound<'_, PyAny>) -> PyResult<PublisherKey> {
        PublisherKey::of(Zeroizing::new(bytes("seed", seed)?))
    }

    /// Creates a key from a seed file, as `save_seed` and `eds keygen` write it.
    ///
    /// Raises:
    ///     FileNotFoundError: The file does not exist.
    ///     ConfigError: Users other than the owner may read the file, or it is not a seed file.
    #[classmethod]
    fn from_seed_file(cls: &Bound<'_, PyType>, path: PathBuf) -> PyResult<PublisherKey> {
        PublisherKey::of(read_seed_file(&path).map_err(|error| bad_seed_file(cls.py(), error))?)
    }

    /// Writes the seed to a new file that only its owner can read (mode 0600).
    ///
    /// Raises:
    ///     FileExistsError: The file exists; a seed is never overwritten.
    fn save_seed(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        create_seed_file(&path, &self.seed).map_err(|error| bad_seed_file(py, error))
    }

    /// The public key for the trust of the devices, 64 hex digits.
    #[getter]
    fn public_key(&self) -> PyResult<String> {
        self.key.public_key().map(|key| key.to_string()).map_err(bad_key)
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<PublisherKey {}>", self.public_key()?))
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse(
            "PublisherKey",
            "it holds its secret key; open it where it signs, by PublisherKey.from_seed_file",
        )
    }
}

/// Returns the fields and signers of a manifest.
#[pyfunction]
pub(crate) fn manifest_fields<'py>(
    py: Python<'py>,
    manifest: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let signed =
        SignedManifest::parse(&payload_bytes(manifest)?).map_err(|refusal| refused(&refusal, None))?;
    fields_of(py, &signed)
}

fn fields_of<'py>(py: Python<'py>, signed: &SignedManifest) -> PyResult<Bound<'py, PyDict>> {
    let manifest = signed.manifest();
    let fields = PyDict::new(py);
    fields.set_item("name", &manifest.name)?;
    fields.set_item("version", manifest.version)?;
    fields.set_item("image_hash", PyBytes::new(py, manifest.image_hash.as_bytes()))?;
    fields.set_item("image_size_bytes", manifest.image_size_bytes)?;
    fields.set_item("minimum_version", manifest.minimum_version)?;
    fields.set_item("expires_ms", manifest.expires_ms)?;
    fields.set_item("signers", signed.signers().map(hex::encode).collect::<Vec<_>>())?;
    Ok(fields)
}

/// Writes a manifest without signatures.
#[pyfunction]
pub(crate) fn write_manifest<'py>(
    py: Python<'py>,
    name: String,
    version: u64,
    image_hash: &Bound<'py, PyAny>,
    image_size_bytes: u64,
    minimum_version: u64,
    expires_ms: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let manifest = update::Manifest {
        name,
        version,
        image_hash: Hash(bytes("image_hash", image_hash)?),
        image_size_bytes,
        minimum_version,
        expires_ms,
    };
    let signed = SignedManifest::new(manifest).map_err(unusable)?;
    Ok(PyBytes::new(py, &signed.to_bytes()))
}

/// Adds the signatures of publishers to a manifest.
#[pyfunction]
pub(crate) fn sign_manifest<'py>(
    py: Python<'py>,
    manifest: &Bound<'py, PyAny>,
    keys: Vec<Bound<'py, PublisherKey>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut signed =
        SignedManifest::parse(&payload_bytes(manifest)?).map_err(|refusal| refused(&refusal, None))?;
    for key in keys {
        signed.sign(&key.get().key).map_err(unusable)?;
    }
    Ok(PyBytes::new(py, &signed.to_bytes()))
}

/// Writes a manifest to a file, completely or not at all.
#[pyfunction]
pub(crate) fn save_manifest(py: Python<'_>, path: PathBuf, manifest: &Bound<'_, PyAny>) -> PyResult<()> {
    let destination = Destination::of("path", &path).map_err(|error| bad_destination(py, error))?;
    let name = path.display().to_string();
    let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot write: {error}"));
    destination.write(Readers::Umask, &payload_bytes(manifest)?).map_err(failed)
}

/// Returns name, threshold and keys of a trust.
#[pyfunction]
pub(crate) fn trust_fields(json: &Bound<'_, PyAny>) -> PyResult<(String, usize, Vec<String>)> {
    let trust = trust_of(json)?;
    let keys = trust.keys().iter().map(ToString::to_string).collect();
    Ok((trust.name().to_owned(), trust.threshold(), keys))
}

fn trust_of(json: &Bound<'_, PyAny>) -> PyResult<update::Trust> {
    read_update_trust(&payload_bytes(json)?)
        .map_err(|error| UpdateError::new_err((format!("trust: {}", sentence(&error)), "update_trust")))
}

/// Hashes an image in pieces.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct ImageHasher(Mutex<blake3::Hasher>);

impl ImageHasher {
    fn hasher(&self) -> MutexGuard<'_, blake3::Hasher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ImageHasher {
    #[new]
    fn new() -> ImageHasher {
        ImageHasher(Mutex::new(blake3::Hasher::new()))
    }

    /// Takes the next bytes.
    fn write(&self, py: Python<'_>, piece: &Bound<'_, PyAny>) -> PyResult<()> {
        let piece = payload_bytes(piece)?;
        py.detach(|| {
            self.hasher().update(&piece);
        });
        Ok(())
    }

    /// Returns BLAKE3 of all bytes, and their number.
    fn finish<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, u64) {
        let hasher = self.hasher();
        (PyBytes::new(py, hasher.finalize().as_bytes()), hasher.count())
    }
}

/// Creates the update state of a new device.
#[pyfunction]
pub(crate) fn create_update_state(py: Python<'_>, path: PathBuf, name: &str) -> PyResult<()> {
    UpdateStateFile::create(&path, name).map_err(|error| bad_state(py, error))
}

/// Returns version, minimum version and staleness of an update state.
#[pyfunction]
pub(crate) fn read_update_state(
    py: Python<'_>,
    path: PathBuf,
    now_ms: Option<u64>,
) -> PyResult<(u64, u64, bool)> {
    let state = UpdateStateFile::read(&path).map_err(|error| bad_state(py, error))?;
    Ok((state.version(), state.minimum_version(), state.is_stale(time(now_ms))))
}

/// Completes an acceptance that was interrupted; True if the state has changed.
#[pyfunction]
pub(crate) fn complete_update(py: Python<'_>, path: PathBuf, outbox: &Bound<'_, Outbox>) -> PyResult<bool> {
    let outbox = outbox.get().open()?;
    let mut file = UpdateStateFile::open(&path).map_err(|error| bad_state(py, error))?;
    outbox
        .run(py, move |agent| async move { agent.complete_update(&mut file).await })?
        .map_err(|error| service_failure(py, error))
}

/// The verification of one update; see `edgesentry.update`.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct UpdateCheck {
    signed: Option<SignedManifest>,
    /// Taken by the conclusion.
    work: Mutex<Option<Work>>,
    outbox: Option<OpenOutbox>,
}

struct Work {
    image: Result<Image, Refusal>,
    /// Open to accept.
    file: Option<UpdateStateFile>,
}

#[pymethods]
impl UpdateCheck {
    #[new]
    #[pyo3(signature = (manifest, trust, state, accept, outbox, now_ms))]
    fn new(
        py: Python<'_>,
        manifest: &Bound<'_, PyAny>,
        trust: &Bound<'_, PyAny>,
        state: Option<PathBuf>,
        accept: bool,
        outbox: Option<&Bound<'_, Outbox>>,
        now_ms: Option<u64>,
    ) -> PyResult<UpdateCheck> {
        let trust = trust_of(trust)?;
        let outbox = outbox.map(|outbox| outbox.get().open()).transpose()?;
        let mut file = None;
        let known = match &state {
            Some(path) if accept => {
                let mut opened = UpdateStateFile::open(path).map_err(|error| bad_state(py, error))?;
                if let Some(outbox) = &outbox {
                    // `complete_update` would end an acceptance that is repeated now.
                    let state = opened.state().clone();
                    let unfinished =
                        outbox.run(py, move |agent| async move { agent.unfinished_update(&state).await })?;
                    if let Some(state) = unfinished.map_err(|error| service_failure(py, error))? {
                        opened.replace(state).map_err(|error| bad_state(py, error))?;
                    }
                }
                let known = opened.state().clone();
                file = Some(opened);
                known
            }
            Some(path) => UpdateStateFile::read(path).map_err(|error| bad_state(py, error))?,
            None => State::new(trust.name()).map_err(unusable)?,
        };
        let parsed = SignedManifest::parse(&payload_bytes(manifest)?);
        let image = parsed
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|signed| Ok(known.admit(trust.check(signed)?, time(now_ms))?.image()));
        Ok(UpdateCheck { signed: parsed.ok(), work: Mutex::new(Some(Work { image, file })), outbox })
    }

    /// Takes the next bytes of the image; False if the update is refused.
    fn write(&self, py: Python<'_>, piece: &Bound<'_, PyAny>) -> PyResult<bool> {
        let piece = payload_bytes(piece)?;
        py.detach(|| {
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            let work = work.as_mut().ok_or_else(concluded)?;
            if let Ok(image) = &mut work.image
                && let Err(refusal) = image.write(&piece)
            {
                work.image = Err(refusal);
            }
            Ok(work.image.is_ok())
        })
    }

    /// Ends the image, and accepts the update if that was asked for.
    fn conclude<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Work { image, file } = work.ok_or_else(concluded)?;
        match image.and_then(Image::finish) {
            Ok(verified) => {
                let (signatures, record) = (verified.signatures(), self.accept(py, file, verified)?);
                let fields = match &self.signed {
                    Some(signed) => fields_of(py, signed)?,
                    None => PyDict::new(py),
                };
                fields.set_item("signatures", signatures)?;
                fields.set_item("record", record.map(AuditRecord))?;
                Ok(fields)
            }
            Err(refusal) => {
                let record = self.record_refusal(py, refusal.clone())?;
                Err(refused(&refusal, record.map(AuditRecord)))
            }
        }
    }

    /// True unless the update is refused.
    #[getter]
    fn admitted(&self) -> bool {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.as_ref().is_some_and(|work| work.image.is_ok())
    }
}

impl UpdateCheck {
    fn accept(
        &self,
        py: Python<'_>,
        file: Option<UpdateStateFile>,
        verified: Verified,
    ) -> PyResult<Option<ChainRecord>> {
        let Some(mut file) = file else { return Ok(None) };
        let Some(outbox) = &self.outbox else {
            py.detach(|| file.accept(&verified)).map_err(|error| bad_state(py, error))?;
            return Ok(None);
        };
        let at_ms = now_ms()?;
        outbox
            .run_signing(
                py,
                move |agent| async move { agent.accept_update(&mut file, &verified, at_ms).await },
            )
            .map(Some)
    }

    fn record_refusal(&self, py: Python<'_>, refusal: Refusal) -> PyResult<Option<ChainRecord>> {
        let Some(outbox) = &self.outbox else { return Ok(None) };
        let (manifest, at_ms) = (self.signed.as_ref().map(|signed| signed.manifest().clone()), now_ms()?);
        outbox.run_signing(py, move |agent| async move {
            agent.refuse_update(manifest.as_ref(), &refusal, at_ms).await
        })
    }
}

/// The time to compare expiries with.
fn time(now_ms: Option<u64>) -> u64 {
    now_ms.or_else(times::clock_ms).unwrap_or(0)
}

fn concluded() -> PyErr {
    PyValueError::new_err("the verification of this update has ended; begin another one")
}

fn refused(refusal: &Refusal, record: Option<AuditRecord>) -> PyErr {
    UpdateRefusedError::new_err((shown(&refusal.to_string()), refusal.code(), record))
}

fn unusable(error: ManifestError) -> PyErr {
    UpdateError::new_err((sentence(&error), "update_unusable"))
}

fn bad_state(py: Python<'_>, error: UpdateStateError) -> PyErr {
    let message = sentence(&error);
    match error {
        UpdateStateError::Exists { .. } => PyFileExistsError::new_err(message),
        UpdateStateError::Io { path, source, .. } => {
            os_error(py, &source, &path.display().to_string(), &message)
        }
        UpdateStateError::Name(_) => UpdateError::new_err((message, "update_unusable")),
        _ => UpdateError::new_err((message, "update_state")),
    }
}
