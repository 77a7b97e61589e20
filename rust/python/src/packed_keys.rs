//! Keys on their way to workers.

use edgesentry_chain as chain;
use edgesentry_chain::{PublicKey, RingKey};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::device_ids::SomeDevices;
use crate::errors::UnreadableError;
use crate::keys::{KeyRing, KeyState};
use crate::pickle::{Reduced, reduced, sealed, unsealed};

const KIND: &str = "PackedKeys";

/// The keys of a ring as bytes, of which a task decodes those of its devices alone.
///
/// Args:
///     ring: The ring.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct PackedKeys {
    /// Sealed: one byte that is 1 if the ring is that of a ledger, then each device with its keys.
    state: PyBackedBytes,
}

impl PackedKeys {
    /// Restores the keys of a pickle, whose checksum is checked.
    pub(crate) fn from_state(state: PyBackedBytes) -> PackedKeys {
        PackedKeys { state }
    }

    fn ring(&self, is_wanted: impl Fn(&str) -> bool) -> PyResult<KeyRing> {
        let damaged = |problem: String| {
            UnreadableError::new_err(format!("the packed keys are inconsistent: {problem}"))
        };
        let mut ring = chain::KeyRing::new();
        let Some((of_ledger, mut rest)) = unsealed(&self.state).split_first() else {
            return Err(damaged("they are empty".to_owned()));
        };
        while !rest.is_empty() {
            let entry: (&str, Vec<KeyState>);
            (entry, rest) = postcard::take_from_bytes(rest).map_err(|error| damaged(error.to_string()))?;
            let (device_id, keys) = entry;
            for (key, scheme, valid_from) in keys.into_iter().filter(|_| is_wanted(device_id)) {
                let key = PublicKey::from_checked_bytes(key);
                let added = key.and_then(|key| ring.insert(device_id, RingKey { key, scheme, valid_from }));
                added.map_err(|error| damaged(error.to_string()))?;
            }
        }
        Ok(KeyRing::of(ring.into(), *of_ledger != 0))
    }
}

#[pymethods]
impl PackedKeys {
    #[new]
    fn new(py: Python<'_>, ring: &Bound<'_, KeyRing>) -> PyResult<PackedKeys> {
        let (ring, of_ledger) = (ring.get().snapshot(), ring.get().is_of_ledger());
        let state = py.detach(|| {
            let mut content = vec![u8::from(of_ledger)];
            for (device_id, keys) in ring.iter() {
                let keys: Vec<KeyState> = keys.iter().map(KeyRing::key_state).collect();
                content.extend(postcard::to_stdvec(&(device_id, keys))?);
            }
            Ok::<_, postcard::Error>(sealed(KIND, &content))
        });
        let state =
            state.map_err(|error| PyRuntimeError::new_err(format!("cannot pack the keys: {error}")))?;
        Ok(PackedKeys { state: PyBackedBytes::from(PyBytes::new(py, &state)) })
    }

    /// Returns the ring of some devices.
    fn of_devices(&self, py: Python<'_>, devices: SomeDevices<'_>) -> PyResult<KeyRing> {
        let wanted = devices.ids();
        py.detach(|| self.ring(|device_id| wanted.contains(device_id)))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduced(py, KIND, &self.state)
    }

    fn __repr__(&self) -> String {
        format!("<PackedKeys of {} bytes>", self.state.len())
    }
}
