//! `AuditRecord`: one entry of the chain of a device.

use std::ffi::CString;
use std::fmt::Write as _;

use edgesentry_chain as chain;
use edgesentry_chain::{FIELDS, Hash, signed_message};
use pyo3::exceptions::{PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyInt, PyMemoryView, PyString, PyType};

use crate::html;
use crate::keys::scheme_of;

/// An entry of a device's chain, with seven fields. Immutable, comparable, hashable, picklable.
///
/// Args:
///     device_id: The device that wrote the record.
///     sequence: 1, 2, 3, ... per device; at most 2**64 - 1.
///     timestamp_ms: The time of the observation, Unix milliseconds by the device's clock.
///     payload_hash: BLAKE3 of the payload, 32 bytes.
///     signature: Ed25519 signature, 64 bytes: R then S.
///     prev_record_hash: Record hash of the previous record of this device, 32 bytes; zero for the first.
///     object_ref: The location of the payload, such as `s3://bucket/lift-01/1.bin`.
///
/// Byte fields may be given as bytes, as hex digits, or as integers from 0 to 255.
///
/// Raises:
///     TypeError: A field has the wrong type.
///     ValueError: A number is out of range or a byte field has the wrong length.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct AuditRecord(pub(crate) chain::AuditRecord);

#[pymethods]
impl AuditRecord {
    #[new]
    #[pyo3(signature = (*, device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref))]
    fn new(
        device_id: String,
        sequence: &Bound<'_, PyAny>,
        timestamp_ms: &Bound<'_, PyAny>,
        payload_hash: &Bound<'_, PyAny>,
        signature: &Bound<'_, PyAny>,
        prev_record_hash: &Bound<'_, PyAny>,
        object_ref: String,
    ) -> PyResult<AuditRecord> {
        Ok(AuditRecord(chain::AuditRecord {
            device_id,
            sequence: unsigned("sequence", sequence)?,
            timestamp_ms: unsigned("timestamp_ms", timestamp_ms)?,
            payload_hash: Hash(bytes("payload_hash", payload_hash)?),
            signature: bytes("signature", signature)?,
            prev_record_hash: Hash(bytes("prev_record_hash", prev_record_hash)?),
            object_ref,
        }))
    }

    /// Creates a record from a mapping with exactly the seven fields, such as an object of a JSON export.
    ///
    /// Raises:
    ///     TypeError: A field has the wrong type.
    ///     ValueError: A field is missing, unknown, out of range or of the wrong length.
    #[classmethod]
    fn from_dict(_cls: &Bound<'_, PyType>, fields: &Bound<'_, PyAny>) -> PyResult<AuditRecord> {
        Ok(AuditRecord(record_from_mapping(fields)?))
    }

    /// The device that wrote the record.
    #[getter]
    fn device_id(&self) -> &str {
        &self.0.device_id
    }

    /// 1, 2, 3, ... per device.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// The time of the observation, Unix milliseconds by the device's clock.
    #[getter]
    fn timestamp_ms(&self) -> u64 {
        self.0.timestamp_ms
    }

    /// BLAKE3 of the payload, 32 bytes.
    #[getter]
    fn payload_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.payload_hash.0)
    }

    /// Ed25519 signature, 64 bytes: R then S.
    #[getter]
    fn signature<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.signature)
    }

    /// Record hash of the previous record of this device, 32 bytes; zero for the first.
    #[getter]
    fn prev_record_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.prev_record_hash.0)
    }

    /// The location of the payload.
    #[getter]
    fn object_ref(&self) -> &str {
        &self.0.object_ref
    }

    /// Returns the record hash: BLAKE3 of the canonical bytes, 32 bytes.
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.hash().0)
    }

    /// Returns the bytes that the record hash covers: the seven fields in postcard encoding.
    fn canonical_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.canonical_bytes())
    }

    /// Returns the 32 bytes that a signature under this scheme covers.
    ///
    /// `payload-hash` covers the payload hash, `record` the derived digest of the record without its
    /// signature.
    fn signed_message<'py>(&self, py: Python<'py>, scheme: &str) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &signed_message(&self.0, scheme_of(scheme)?)))
    }

    /// Returns the seven fields, with byte fields as hex digits; the dict can be written as JSON.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("device_id", &self.0.device_id)?;
        fields.set_item("sequence", self.0.sequence)?;
        fields.set_item("timestamp_ms", self.0.timestamp_ms)?;
        fields.set_item("payload_hash", self.0.payload_hash.to_string())?;
        fields.set_item("signature", hex::encode(self.0.signature))?;
        fields.set_item("prev_record_hash", self.0.prev_record_hash.to_string())?;
        fields.set_item("object_ref", &self.0.object_ref)?;
        Ok(fields)
    }

    /// Returns a copy with some fields changed. It keeps the old signature; see `Device.sign_record`.
    ///
    /// Raises:
    ///     TypeError: A field has the wrong type.
    ///     ValueError: A field is unknown, out of range or of the wrong length.
    #[pyo3(signature = (**changes))]
    fn replace(&self, py: Python<'_>, changes: Option<&Bound<'_, PyDict>>) -> PyResult<AuditRecord> {
        let fields = self.to_dict(py)?;
        if let Some(changes) = changes {
            fields.update(changes.as_mapping())?;
        }
        Ok(AuditRecord(record_from_mapping(&fields)?))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<AuditRecord>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.hash().0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = String::from("AuditRecord(");
        for (at, (name, value)) in self.to_dict(py)?.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{}={}", name.str()?, value.repr()?);
        }
        text.push(')');
        Ok(chain::escape::python_literal(&text).into_owned())
    }

    fn _repr_html_(&self) -> String {
        html::record(&self.0)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyDict>,))> {
        Ok((slf.get_type().getattr("from_dict")?, (slf.get().to_dict(slf.py())?,)))
    }
}

/// Returns the hash by which a record commits to a payload: BLAKE3, 32 bytes.
#[pyfunction]
pub(crate) fn payload_hash<'py>(payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let (py, payload) = (payload.py(), payload_bytes(payload)?);
    let hash = py.detach(|| Hash::of(&payload));
    Ok(PyBytes::new(py, &hash.0))
}

/// Returns a record from an `AuditRecord` or from a mapping with the seven fields.
pub(crate) fn record_from_any(value: &Bound<'_, PyAny>) -> PyResult<chain::AuditRecord> {
    match value.cast::<AuditRecord>() {
        Ok(record) => Ok(record.get().0.clone()),
        Err(_) => record_from_mapping(value),
    }
}

fn record_from_mapping(value: &Bound<'_, PyAny>) -> PyResult<chain::AuditRecord> {
    // A mapping, or an object with the same access, such as sqlite3.Row.
    let keys = match value.hasattr("__getitem__")? {
        true => value.getattr_opt("keys")?,
        false => None,
    };
    let Some(keys) = keys else {
        let kind = value.get_type().name()?;
        let message = match value.hasattr("__fspath__")? || value.is_instance_of::<PyString>() {
            true => format!(
                "a record is an AuditRecord or a mapping with its seven fields, not {kind}; pass paths as a list, in \
                 the order of the records: sorted(folder.glob(\"*.parquet\"))"
            ),
            false => format!("a record is an AuditRecord or a mapping with its seven fields, not {kind}"),
        };
        return Err(PyTypeError::new_err(message));
    };
    let known = |name: &Bound<'_, PyAny>| {
        name.cast::<PyString>().is_ok_and(|name| FIELDS.iter().any(|field| *name == *field))
    };
    for name in keys.call0()?.try_iter()? {
        let name = name?;
        if !known(&name) {
            let message = format!("a record has no field {}; it has {}", name.repr()?, FIELDS.join(", "));
            return Err(PyValueError::new_err(message));
        }
    }
    let field = |name: &'static str| match value.get_item(name) {
        Ok(value) => Ok(value),
        Err(_) => Err(PyValueError::new_err(format!("the record lacks the field {name}"))),
    };
    Ok(chain::AuditRecord {
        device_id: text("device_id", &field("device_id")?)?,
        sequence: unsigned("sequence", &field("sequence")?)?,
        timestamp_ms: unsigned("timestamp_ms", &field("timestamp_ms")?)?,
        payload_hash: Hash(bytes("payload_hash", &field("payload_hash")?)?),
        signature: bytes("signature", &field("signature")?)?,
        prev_record_hash: Hash(bytes("prev_record_hash", &field("prev_record_hash")?)?),
        object_ref: text("object_ref", &field("object_ref")?)?,
    })
}

fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let wrong = |_| PyTypeError::new_err(format!("{name} must be a str of valid Unicode"));
    value.extract::<String>().map_err(wrong)
}

/// Returns a u64 from an int.
pub(crate) fn unsigned(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let wrong = |error: PyErr| {
        if error.is_instance_of::<PyTypeError>(value.py()) {
            PyTypeError::new_err(format!("{name} must be an int"))
        } else {
            PyValueError::new_err(format!("{name} must be an int from 0 to {}", u64::MAX))
        }
    };
    value.extract::<u64>().map_err(wrong)
}

/// Returns the time to sign. Warns of seconds and microseconds, which a device without a clock may mean as milliseconds.
pub(crate) fn timestamp_ms(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let py = value.py();
    if !value.is_instance_of::<PyInt>() && !value.hasattr("__index__")? {
        let kind = value.get_type().name()?;
        let advice = match value.hasattr("timestamp")? {
            true => "int(time.timestamp() * 1000)",
            false => "int(time.time() * 1000)",
        };
        let message = format!("timestamp_ms must be an int of Unix milliseconds, not {kind}: {advice}");
        return Err(PyTypeError::new_err(message));
    }
    let number = unsigned("timestamp_ms", value)?;
    if let Some((problem, milliseconds)) = edgesentry_formats::times::other_unit(number) {
        let message =
            format!("timestamp_ms={number} {problem}, pass milliseconds: timestamp_ms={milliseconds}");
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(message)?, 1)?;
    }
    Ok(number)
}

/// Returns a payload. Text has no bytes before it is encoded.
pub(crate) fn payload_bytes(value: &Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    if let Ok(payload) = value.extract::<PyBackedBytes>() {
        return Ok(payload);
    }
    if value.is_instance_of::<PyMemoryView>() {
        return Ok(value.call_method0("tobytes")?.extract::<PyBackedBytes>()?);
    }
    let kind = value.get_type().name()?;
    let advice = match value.is_instance_of::<PyString>() {
        true => "payload.encode()",
        false => "serialize it first, such as json.dumps(payload).encode()",
    };
    Err(PyTypeError::new_err(format!("payload must be bytes, not {kind}: {advice}")))
}

/// Returns N bytes from `bytes`, hex digits, or a sequence of integers as in a JSON export.
pub(crate) fn bytes<const N: usize>(name: &str, value: &Bound<'_, PyAny>) -> PyResult<[u8; N]> {
    let wrong_length = |length| PyValueError::new_err(format!("{name} must be {N} bytes, got {length}"));
    if let Ok(raw) = value.extract::<PyBackedBytes>() {
        return raw[..].try_into().map_err(|_| wrong_length(raw.len()));
    }
    if let Ok(digits) = value.cast::<PyString>() {
        let digits = digits.to_cow()?;
        let wrong =
            || PyValueError::new_err(format!("{name} must be {N} bytes: {} hex digits or base64", 2 * N));
        return edgesentry_formats::bytes_from_text(&digits).ok_or_else(wrong);
    }
    let kind = value.get_type().name()?;
    let wrong = |_| {
        let expected = "bytes, hex or integers from 0 to 255";
        PyTypeError::new_err(format!("{name} must be {N} bytes: {expected}, not {kind}"))
    };
    let raw = value.extract::<Vec<u8>>().map_err(wrong)?;
    let length = raw.len();
    raw.try_into().map_err(|_| wrong_length(length))
}
