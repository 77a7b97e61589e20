//! The limits of ledgers and payload stores.

/// The largest `sequence` and `timestamp_ms` that a ledger holds: it stores signed 64-bit integers.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64;
/// The longest `device_id` and `object_ref`, in bytes.
pub const MAX_ID_BYTES: usize = 1024;
/// The largest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Returns true if a ledger can hold the text as a device id or an object reference.
pub fn is_valid_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.contains('\0')
}

/// The former name of [`MAX_SEQUENCE`].
#[deprecated(since = "0.1.0", note = "use `MAX_SEQUENCE`")]
pub const LARGEST_NUMBER: u64 = MAX_SEQUENCE;
/// The former name of [`MAX_ID_BYTES`].
#[deprecated(since = "0.1.0", note = "use `MAX_ID_BYTES`")]
pub const LONGEST_TEXT: usize = MAX_ID_BYTES;
/// The former name of [`MAX_PAYLOAD_BYTES`].
#[deprecated(since = "0.1.0", note = "use `MAX_PAYLOAD_BYTES`")]
pub const LARGEST_PAYLOAD: usize = MAX_PAYLOAD_BYTES;
