//! A record as a JSON object, in the field order and form of every export.

use edgesentry_chain::AuditRecord;
use serde::Serialize;

/// Byte fields are arrays of integers.
#[derive(Serialize)]
pub(crate) struct RecordJson<'a> {
    device_id: &'a str,
    sequence: u64,
    timestamp_ms: u64,
    payload_hash: &'a [u8],
    signature: &'a [u8],
    prev_record_hash: &'a [u8],
    object_ref: &'a str,
}

impl<'a> From<&'a AuditRecord> for RecordJson<'a> {
    fn from(record: &'a AuditRecord) -> RecordJson<'a> {
        RecordJson {
            device_id: &record.device_id,
            sequence: record.sequence,
            timestamp_ms: record.timestamp_ms,
            payload_hash: record.payload_hash.as_bytes(),
            signature: &record.signature,
            prev_record_hash: record.prev_record_hash.as_bytes(),
            object_ref: &record.object_ref,
        }
    }
}
