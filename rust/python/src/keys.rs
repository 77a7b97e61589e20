//! `KeyRing`, and the verification of a single signature.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgesentry_chain as chain;
use edgesentry_chain::count;
use edgesentry_chain::{
    Claim, ProvidedBy, PublicKey, RingKey, Scheme, Signed, signed_message, verify_signature,
};
use edgesentry_formats::{MAX_FILE_BYTES, read_file};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyIterator, PyList, PyMapping, PyString, PyTuple, PyType};
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::errors::{ConfigError, bad_key, bad_keys, os_error, write_text};
use crate::html;
use crate::pickle::{Reduced, reduce};
use crate::progress::Bar;
use crate::record::{AuditRecord, bytes};
use crate::source::{inputs, path_of};
use crate::tables;
use crate::work::{Work, pool, wait};

/// The public keys of the devices, each key with its scheme and its first valid sequence.
///
/// Args:
///     keys: A path to a key ring in JSON, another ring, or a mapping from device id to a key: 64 hex digits,
///         a `PublicKey` or a `Device`, which bring their scheme, a dict with `key` and optionally `scheme`
///         and `valid_from`, or a list of such; or a `Device`, or a list of them.
///     scheme: The scheme of keys that have none of their own; by default `record`, and in a file
///         `payload-hash`, as in the files of devices in the field.
///
/// `verify_chain` trusts a ring that you create. The ring of `Ledger.key_ring` is a claim of the ledger; a
/// ring created from it is trusted.
///
/// Raises:
///     FileNotFoundError: The file does not exist.
///     ConfigError: The keys are malformed, a key is weak, or a key has both schemes.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct KeyRing {
    ring: Mutex<Arc<chain::KeyRing>>,
    /// True if the keys come from a ledger, so that they are its claim.
    of_ledger: bool,
}

/// Keys and their provider.
#[derive(Clone)]
pub(crate) struct GivenKeys {
    pub(crate) ring: Arc<chain::KeyRing>,
    pub(crate) by: ProvidedBy,
}

impl GivenKeys {
    /// Returns the keys if the auditor provides them.
    pub(crate) fn brought(&self) -> Option<&chain::KeyRing> {
        self.by.is_trusted().then_some(&*self.ring)
    }

    /// Returns the keys if they are a claim.
    pub(crate) fn claimed(&self) -> Option<Claim<'_, chain::KeyRing>> {
        (!self.by.is_trusted()).then_some(Claim { by: self.by, what: &*self.ring })
    }
}

#[pymethods]
impl KeyRing {
    #[new]
    #[pyo3(signature = (keys = None, *, scheme = None))]
    fn new(py: Python<'_>, keys: Option<&Bound<'_, PyAny>>, scheme: Option<&str>) -> PyResult<KeyRing> {
        let scheme = scheme.map(scheme_of).transpose()?;
        let ring = match keys {
            Some(keys) => keys_from_any(keys, scheme)?,
            None => Arc::default(),
        };
        if let Some((one, other)) = ring.shared_key() {
            warn_of_shared_key(py, other, one)?;
        }
        Ok(KeyRing::of(ring, false))
    }

    /// Adds a key, and warns if another device has it: each could sign in the name of the other.
    ///
    /// Args:
    ///     device_id: The device.
    ///     key: Its public key, 32 bytes or 64 hex digits.
    ///     scheme: The scheme of its signatures; by default the scheme of the key if it is a `PublicKey`,
    ///         else `record`.
    ///     valid_from: The first sequence that it signs; it is valid until the next key of the device begins.
    ///
    /// Raises:
    ///     ConfigError: The key is weak, the ring has it with the other scheme, or another key of the device
    ///         begins at this sequence.
    #[pyo3(signature = (device_id, key, *, scheme = None, valid_from = 1))]
    fn add(
        &self,
        py: Python<'_>,
        device_id: &str,
        key: &Bound<'_, PyAny>,
        scheme: Option<&str>,
        valid_from: i128,
    ) -> PyResult<()> {
        let Ok(valid_from) = u64::try_from(valid_from) else {
            return Err(PyValueError::new_err(format!("valid_from must be from 0 to {}", u64::MAX)));
        };
        let key = RingKey { key: public_key(key)?, scheme: scheme_for(key, scheme)?, valid_from };
        let mut ring = self.ring();
        Arc::make_mut(&mut ring).insert(device_id, key).map_err(bad_key)?;
        let other = ring.other_owner(device_id, &key.key).map(str::to_owned);
        drop(ring);
        other.map_or(Ok(()), |other| warn_of_shared_key(py, device_id, &other))
    }

    /// Returns this ring with the successor keys that its devices have announced in their records.
    ///
    /// Reads the records once, in order, and checks successions only: verify the same records with the ring
    /// that it returns, and with heads or a checkpoint. An attacker who has stolen a key can also announce a
    /// successor.
    ///
    /// Args:
    ///     source: As for `verify_chain`.
    ///     progress: As for `verify_chain`.
    ///     threads: As for `verify_chain`.
    ///
    /// Raises:
    ///     ConfigError: A succession does not hold, or contradicts the ring.
    ///     FileNotFoundError: A file is missing.
    ///     UnreadableError: An input is not in a format that holds records.
    #[pyo3(signature = (source, *, progress = None, threads = None))]
    fn follow(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        progress: Option<&Bound<'_, PyAny>>,
        threads: Option<i64>,
    ) -> PyResult<KeyRing> {
        let (pool, bar) = (pool(threads)?, Bar::named("read", progress)?);
        let ring = (*self.snapshot()).clone();
        let work = Work::start(inputs(source)?, move |sources, progress, results| {
            results.put(pool.install(|| edgesentry_formats::follow_keys(sources, ring, progress))?)
        })?;
        let followed = wait(py, work, bar)?;
        match followed.refused.first() {
            None => Ok(KeyRing::of(Arc::new(followed.ring), self.of_ledger)),
            Some(refused) => Err(ConfigError::new_err(format!(
                "keys: device {}, sequence {}: {}",
                chain::escape::quoted(&refused.device_id),
                refused.sequence,
                refused.error
            ))),
        }
    }

    /// The ids of the devices that have a key, sorted.
    #[getter]
    fn devices(&self) -> Vec<String> {
        self.snapshot().iter().map(|(device_id, _)| device_id.to_owned()).collect()
    }

    /// Returns the keys of a device in the order in which they become valid; empty if it is unknown.
    fn keys<'py>(&self, py: Python<'py>, device_id: &str) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for key in self.snapshot().keys(device_id).unwrap_or_default() {
            let fields = PyDict::new(py);
            fields.set_item("key", key.key.to_string())?;
            fields.set_item("scheme", key.scheme.name())?;
            fields.set_item("valid_from", key.valid_from)?;
            list.append(fields)?;
        }
        Ok(list)
    }

    fn __getitem__<'py>(&self, py: Python<'py>, device_id: &str) -> PyResult<Bound<'py, PyList>> {
        if self.snapshot().keys(device_id).is_none() {
            let known = count(self.snapshot().len() as u64, "device");
            let device_id = chain::escape::quoted(device_id);
            return Err(PyKeyError::new_err(format!("no key of device {device_id} among those of {known}")));
        }
        self.keys(py, device_id)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.devices())?.try_iter()
    }

    /// Reads keys from a table: `device_id`, `key`, and optionally `scheme` and `valid_from`.
    ///
    /// Each key is checked once, here. A pickle of the ring, as engines send it to workers, is not checked
    /// again.
    ///
    /// Args:
    ///     table: An object with `__arrow_c_stream__`. `key` has 32 bytes, or 64 hex digits.
    ///     scheme: The scheme of keys that have none of their own; by default `record`.
    ///
    /// Raises:
    ///     TypeError: The object exports no Arrow.
    ///     UnreadableError: A column is missing or has another type.
    ///     ConfigError: A key is weak or malformed, or has both schemes.
    #[classmethod]
    #[pyo3(signature = (table, *, scheme = None))]
    fn from_arrow(
        _class: &Bound<'_, PyType>,
        table: &Bound<'_, PyAny>,
        scheme: Option<&str>,
    ) -> PyResult<KeyRing> {
        let scheme = scheme.map(scheme_of).transpose()?.unwrap_or(Scheme::DEFAULT);
        Ok(KeyRing::of(Arc::new(tables::keys(table, scheme)?), false))
    }

    /// Returns a ring with the keys of these devices alone, for a worker that has no others.
    ///
    /// A device that the ring lacks is left out: its records are an `unknown_device`.
    fn subset(&self, devices: &Bound<'_, PyAny>) -> PyResult<KeyRing> {
        let ring = self.snapshot();
        let mut subset = chain::KeyRing::new();
        for device_id in devices.try_iter()? {
            let device_id: String = device_id?.extract()?;
            for key in ring.keys(&device_id).unwrap_or_default() {
                subset.insert(&device_id, *key).map_err(bad_key)?;
            }
        }
        Ok(KeyRing::of(Arc::new(subset), self.of_ledger))
    }

    /// Returns the ring as JSON, which `KeyRing` and `--keys` read.
    fn to_json(&self) -> String {
        edgesentry_formats::write_key_ring(&self.snapshot())
    }

    /// Writes the ring as JSON, replacing an existing file.
    ///
    /// Raises:
    ///     OSError: The file cannot be written.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        write_text(py, &path, &self.to_json())
    }

    fn __len__(&self) -> usize {
        self.snapshot().len()
    }

    fn __contains__(&self, device_id: &Bound<'_, PyAny>) -> bool {
        device_id.extract::<String>().is_ok_and(|device_id| self.snapshot().keys(&device_id).is_some())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<KeyRing>().is_ok_and(|other| other.get().snapshot() == self.snapshot())
    }

    fn _repr_html_(&self) -> String {
        html::key_ring(&self.snapshot())
    }

    fn __repr__(&self) -> String {
        let devices = count(self.snapshot().len() as u64, "device");
        let whose = if self.of_ledger { ", as a ledger claims" } else { "" };
        format!("<KeyRing with the keys of {devices}{whose}>")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let ring = self.snapshot();
        let keys = ring
            .iter()
            .map(|(device_id, keys)| (device_id.to_owned(), keys.iter().map(KeyRing::key_state).collect()))
            .collect();
        reduce(py, "KeyRing", &RingState { keys, of_ledger: self.of_ledger })
    }
}

/// A key ring in a pickle.
#[derive(Serialize, Deserialize)]
pub(crate) struct RingState {
    keys: Vec<(String, Vec<KeyState>)>,
    of_ledger: bool,
}

/// A key in a pickle.
pub(crate) type KeyState = ([u8; 32], Scheme, u64);

impl KeyRing {
    /// Restores the ring of a pickle. Its keys were checked when the ring was made.
    pub(crate) fn from_state(state: RingState) -> Result<KeyRing, String> {
        let mut ring = chain::KeyRing::new();
        for (device_id, keys) in state.keys {
            for (key, scheme, valid_from) in keys {
                let key = PublicKey::from_checked_bytes(key).map_err(|error| error.to_string())?;
                ring.insert(&device_id, RingKey { key, scheme, valid_from })
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(KeyRing::of(Arc::new(ring), state.of_ledger))
    }

    /// Returns the registered keys of a ledger.
    pub(crate) fn of_ledger(ring: chain::KeyRing) -> KeyRing {
        KeyRing::of(Arc::new(ring), true)
    }

    pub(crate) fn key_state(key: &RingKey) -> KeyState {
        (*key.key.as_bytes(), key.scheme, key.valid_from)
    }

    pub(crate) fn is_of_ledger(&self) -> bool {
        self.of_ledger
    }

    pub(crate) fn of(ring: Arc<chain::KeyRing>, of_ledger: bool) -> KeyRing {
        KeyRing { ring: Mutex::new(ring), of_ledger }
    }

    fn ring(&self) -> MutexGuard<'_, Arc<chain::KeyRing>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> Arc<chain::KeyRing> {
        Arc::clone(&self.ring())
    }
}

impl GivenKeys {
    /// Adds the keys of other devices.
    pub(crate) fn extend(&mut self, more: &GivenKeys) -> PyResult<()> {
        if more.by != self.by {
            return Err(PyValueError::new_err("the keys of a batch are those of another provider"));
        }
        for (device_id, keys) in more.ring.iter() {
            match self.ring.keys(device_id) {
                Some(known) if known == keys => {}
                Some(_) => {
                    let device_id = chain::escape::quoted(device_id);
                    return Err(PyValueError::new_err(format!(
                        "device {device_id}: its keys differ from those of an earlier batch; use the same for all"
                    )));
                }
                None => {
                    let ring = Arc::make_mut(&mut self.ring);
                    keys.iter().try_for_each(|key| ring.insert(device_id, *key)).map_err(bad_key)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns True if the signature of the record is valid under a public key.
///
/// Args:
///     record: The record.
///     key: The public key, 32 bytes or 64 hex digits.
///     scheme: The scheme of the signature; by default the scheme of the key if it is a `PublicKey`, else
///         `record`. Warns if the signature holds under the other one instead.
///
/// Raises:
///     ConfigError: The key is weak or malformed.
#[pyfunction]
#[pyo3(signature = (record, key, scheme = None))]
pub(crate) fn verify_record(
    record: &Bound<'_, AuditRecord>,
    key: &Bound<'_, PyAny>,
    scheme: Option<&str>,
) -> PyResult<bool> {
    let (py, record) = (record.py(), &record.get().0);
    let used = scheme_for(key, scheme)?;
    let key = public_key(key)?;
    let holds_under = |scheme| {
        let message = signed_message(record, scheme);
        verify_signature(&Signed { key: &key, message: &message, signature: &record.signature })
    };
    let holds = holds_under(used);
    let other = used.other();
    if !holds && scheme.is_none() && holds_under(other) {
        let message =
            format!("the signature holds under scheme {other}, not {used}: pass scheme=\"{other}\"");
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(message)?, 1)?;
    }
    Ok(holds)
}

/// Warns that two devices have the same key.
fn warn_of_shared_key(py: Python<'_>, device_id: &str, other: &str) -> PyResult<()> {
    let [device_id, other] = [device_id, other].map(chain::escape::quoted);
    let message = format!(
        "the key of device {device_id} is also that of device {other}, so each can sign in the name of the other: give each \
         device a key of its own"
    );
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(message)?, 1)
}

/// Returns the scheme of a key: the given one, or else that of the key object, or else the default.
fn scheme_for(key: &Bound<'_, PyAny>, scheme: Option<&str>) -> PyResult<Scheme> {
    match (scheme, scheme_carried(key)?) {
        (Some(scheme), _) => scheme_of(scheme),
        (None, Some(scheme)) => scheme_of(&scheme),
        (None, None) => Ok(Scheme::DEFAULT),
    }
}

/// Returns the scheme of a `PublicKey`.
fn scheme_carried(key: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let is_public_key = key.is_instance(&public_key_type(key.py())?)?;
    is_public_key.then(|| key.getattr("scheme")?.extract()).transpose()
}

/// Returns the type `edgesentry.PublicKey`: hex digits with their scheme.
pub(crate) fn public_key_type(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("edgesentry._keys")?.getattr("PublicKey")
}

/// Parses the name of a scheme.
pub(crate) fn scheme_of(name: &str) -> PyResult<Scheme> {
    name.parse().map_err(|error: chain::KeyError| PyValueError::new_err(error.to_string()))
}

pub(crate) fn public_key(value: &Bound<'_, PyAny>) -> PyResult<PublicKey> {
    match value.cast::<PyString>() {
        Ok(text) => edgesentry_formats::public_key(&text.to_cow()?),
        Err(_) => match value.extract::<PyBackedBytes>() {
            Ok(raw) => edgesentry_formats::public_key_from_bytes(&raw),
            // A key object of the package cryptography.
            Err(_) => match value.getattr_opt("public_bytes_raw")? {
                Some(method) => PublicKey::from_bytes(bytes("key", &method.call0()?)?),
                None => PublicKey::from_bytes(bytes("key", value)?),
            },
        },
    }
    .map_err(bad_key)
}

/// Returns keys as [`keys_from_any`] accepts them: those of a ledger are a claim, all others belong to the auditor.
pub(crate) fn given_keys(value: &Bound<'_, PyAny>, scheme: Option<Scheme>) -> PyResult<GivenKeys> {
    let of_ledger = value.cast::<KeyRing>().is_ok_and(|ring| ring.get().of_ledger);
    let by = if of_ledger { ProvidedBy::Ledger } else { ProvidedBy::Auditor };
    Ok(GivenKeys { ring: keys_from_any(value, scheme)?, by })
}

/// The hash of a file with the scheme of its bare keys, and its key ring.
type KeptFile = ((chain::Hash, Scheme), Arc<chain::KeyRing>);

/// The keys of the file that this process read last: a worker verifies many parts with the same keys, and to check each key
/// takes longer than to verify its records.
static LATEST_FILE: Mutex<Option<KeptFile>> = Mutex::new(None);

/// Returns keys from a file, a key ring, devices, or a mapping in the form of a key file. `scheme` is that of keys without
/// one; by default that of files in a file, and otherwise the usual default.
pub(crate) fn keys_from_any(
    value: &Bound<'_, PyAny>,
    scheme: Option<Scheme>,
) -> PyResult<Arc<chain::KeyRing>> {
    let py = value.py();
    if let Ok(ring) = value.cast::<KeyRing>() {
        return Ok(ring.get().snapshot());
    }
    if let Some(ring) = keys_of_devices(value)? {
        return Ok(Arc::new(ring));
    }
    let (name, json, usual) = if let Some(path) = path_of(value)? {
        let is_key = |text: &str| {
            let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex || edgesentry_formats::public_key(text).is_ok()
        };
        if path.to_str().is_some_and(is_key) && !path.exists() {
            return Err(ConfigError::new_err(
                "keys: a public key without its device; pass keys={\"lift-01\": key}",
            ));
        }
        let name = path.display().to_string();
        let failed = |error| os_error(py, &error, &name, &format!("{name}: cannot read: {error}"));
        let json = read_file(&path, MAX_FILE_BYTES).map_err(failed)?;
        (name, json, Scheme::OF_FILES)
    } else {
        ("keys".to_owned(), mapping_as_json(value)?.into_bytes(), Scheme::DEFAULT)
    };
    let scheme = scheme.unwrap_or(usual);
    let content = chain::Hash::of(&json);
    let latest = || LATEST_FILE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, ring)) = latest().as_ref().filter(|(known, _)| *known == (content, scheme)) {
        return Ok(Arc::clone(ring));
    }
    let ring = edgesentry_formats::read_key_ring(&json, scheme).map_err(|error| bad_keys(&name, &error))?;
    let ring = Arc::new(ring);
    *latest() = Some(((content, scheme), Arc::clone(&ring)));
    Ok(ring)
}

fn mapping_as_json(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let Ok(mapping) = value.cast::<PyMapping>() else {
        let message = "keys are a path, a KeyRing, a Device or a list of them, or a mapping from device id to key, not ";
        let example = "; one key is keys={\"lift-01\": key}";
        return Err(PyTypeError::new_err(format!("{message}{}{example}", value.get_type().name()?)));
    };
    let keys = PyDict::new(value.py());
    for item in mapping.items()?.iter() {
        let (device_id, key): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        if !device_id.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(format!("a device id is a str, not {}", device_id.repr()?)));
        }
        keys.set_item(device_id, key_entry(&key)?)?;
    }
    value.py().import("json")?.call_method1("dumps", (keys,))?.extract()
}

/// Converts a key of a mapping to the form of a key file; a device and a `PublicKey` include their scheme.
fn key_entry<'py>(key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    if let Ok(tuple) = key.cast::<PyTuple>() {
        return key_entry(&tuple.to_list());
    }
    if let Ok(list) = key.cast::<PyList>() {
        let entries = list.iter().map(|key| key_entry(&key)).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(py, entries)?.into_any());
    }
    let entry = match (key.cast::<Device>(), key.cast::<PyDict>()) {
        (Ok(device), _) => return key_entry(&device.getattr("public_key")?),
        (_, Ok(entry)) if !entry.contains("scheme")? => entry.copy()?,
        (_, Ok(_)) => return Ok(key.clone()),
        _ => {
            let entry = PyDict::new(py);
            entry.set_item("key", key)?;
            entry
        }
    };
    let carried = entry.get_item("key")?.map(|key| scheme_carried(&key)).transpose()?.flatten();
    let Some(scheme) = carried else { return Ok(key.clone()) };
    entry.set_item("scheme", scheme)?;
    Ok(entry.into_any())
}

/// Returns the key ring of one device or of a list of devices.
fn keys_of_devices(value: &Bound<'_, PyAny>) -> PyResult<Option<chain::KeyRing>> {
    let devices: Vec<Bound<'_, Device>> = match value.cast::<Device>() {
        Ok(device) => vec![device.clone()],
        Err(_) if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() => {
            let Ok(devices) = value.extract() else { return Ok(None) };
            devices
        }
        Err(_) => return Ok(None),
    };
    let mut ring = chain::KeyRing::new();
    for device in devices {
        let device = device.get().device();
        let key =
            RingKey { key: device.public_key().map_err(bad_key)?, scheme: device.scheme(), valid_from: 1 };
        ring.insert(device.device_id(), key).map_err(bad_key)?;
    }
    Ok(Some(ring))
}
