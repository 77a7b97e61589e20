//! What a ledger and a payload store can hold.

/// The largest `sequence` and `timestamp_ms` that a ledger holds: they are signed 64-bit there.
pub const LARGEST_NUMBER: u64 = i64::MAX as u64;
/// The longest `device_id` and `object_ref`, in bytes.
pub const LONGEST_TEXT: usize = 1024;
/// The largest payload, in bytes.
pub const LARGEST_PAYLOAD: usize = 64 << 20;

/// Whether a device id or an object reference can be this.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TEXT && !text.contains('\0')
}
