//! Trusted heads on their way to workers.

use std::sync::Arc;

use edgesentry_chain::{Hash, Head, Heads};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::device_ids::SomeDevices;
use crate::errors::UnreadableError;
use crate::heads::heads_from_any;
use crate::pickle::{Reduced, reduced, sealed, unsealed};

const KIND: &str = "PackedHeads";

/// Trusted heads as bytes, of which a task decodes those of its devices alone.
///
/// Args:
///     heads: Heads, as `verify_chain` takes them.
#[pyclass(frozen, module = "edgesentry._core")]
pub(crate) struct PackedHeads {
    /// Sealed: each device with its head.
    state: PyBackedBytes,
}

impl PackedHeads {
    /// Restores the heads of a pickle, whose checksum is checked.
    pub(crate) fn from_state(state: PyBackedBytes) -> PackedHeads {
        PackedHeads { state }
    }

    /// Decodes all heads.
    pub(crate) fn heads(&self) -> PyResult<Heads> {
        let mut heads = Heads::new();
        self.each(|device_id, head| {
            heads.insert(Arc::from(device_id), head);
        })?;
        Ok(heads)
    }

    fn each<'s>(&'s self, mut of_head: impl FnMut(&'s str, Head)) -> PyResult<()> {
        let mut rest = unsealed(&self.state);
        while !rest.is_empty() {
            let entry: (&str, u64, [u8; 32]);
            (entry, rest) = postcard::take_from_bytes(rest).map_err(|error| {
                UnreadableError::new_err(format!("the packed heads are inconsistent: {error}"))
            })?;
            let (device_id, sequence, hash) = entry;
            of_head(device_id, Head { sequence, hash: Hash(hash) });
        }
        Ok(())
    }
}

fn packed<'h>(heads: impl Iterator<Item = (&'h str, Head)>) -> PyResult<Vec<u8>> {
    let mut content = Vec::new();
    for (device_id, head) in heads {
        content = postcard::to_extend(&(device_id, head.sequence, head.hash.0), content)
            .map_err(|error| PyRuntimeError::new_err(format!("cannot pack the heads: {error}")))?;
    }
    Ok(sealed(KIND, &content))
}

#[pymethods]
impl PackedHeads {
    #[new]
    fn new(py: Python<'_>, heads: &Bound<'_, PyAny>) -> PyResult<PackedHeads> {
        let heads = heads_from_any(heads)?;
        let state = py.detach(|| packed(heads.iter().map(|(device_id, head)| (&**device_id, *head))))?;
        Ok(PackedHeads { state: PyBackedBytes::from(PyBytes::new(py, &state)) })
    }

    /// Returns the heads of some devices.
    fn of_devices(&self, py: Python<'_>, devices: SomeDevices<'_>) -> PyResult<PackedHeads> {
        let wanted = devices.ids();
        let state = py.detach(|| {
            let mut some = Vec::new();
            self.each(|device_id, head| {
                some.extend(wanted.contains(device_id).then_some((device_id, head)))
            })?;
            packed(some.into_iter())
        })?;
        Ok(PackedHeads { state: PyBackedBytes::from(PyBytes::new(py, &state)) })
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduced(py, KIND, &self.state)
    }

    fn __repr__(&self) -> String {
        format!("<PackedHeads of {} bytes>", self.state.len())
    }
}
