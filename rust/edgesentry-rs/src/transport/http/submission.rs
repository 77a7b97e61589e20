//! A record and its payload as they come over the wire: `{"record": {...}, "raw_payload_hex": "..."}`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::ingest::verify::Submission;

/// A record with its payload, as devices send them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire<'a> {
    /// The record.
    #[serde(borrow)]
    #[schema(value_type = WireRecord)]
    record: &'a RawValue,
    /// The payload in hex digits.
    #[serde(borrow)]
    #[schema(value_type = String, example = "646f6f7220636c6f736564", pattern = "^([0-9a-fA-F]{2})*$")]
    raw_payload_hex: Cow<'a, str>,
}

/// The seven fields of an audit record. Byte fields are arrays of integers, or hex digits.
#[derive(ToSchema)]
#[schema(as = AuditRecord)]
#[allow(dead_code)]
pub(super) struct WireRecord {
    /// The device that wrote the record.
    #[schema(min_length = 1, max_length = 1024)]
    device_id: String,
    /// 1, 2, 3, ... per device.
    #[schema(minimum = 0)]
    sequence: u64,
    /// Unix milliseconds, by the device's clock.
    #[schema(minimum = 0)]
    timestamp_ms: u64,
    /// BLAKE3 of the payload: 32 bytes.
    payload_hash: WireBytes,
    /// Ed25519, 64 bytes: R then S.
    signature: WireBytes,
    /// Record hash of the previous record of this device; zero for the first.
    prev_record_hash: WireBytes,
    /// Where the payload is kept.
    #[schema(min_length = 1, max_length = 1024)]
    object_ref: String,
}

/// Bytes, as integers or hex digits.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = Bytes)]
#[allow(dead_code)]
pub(super) enum WireBytes {
    Integers(Vec<u8>),
    Hex(String),
}

/// Reads a record with its payload.
pub(in crate::transport) fn submission(text: &[u8]) -> Result<Submission, Problem> {
    let wire: Wire<'_> = serde_json::from_slice(text).map_err(|error| {
        // Names that a sender chose are shown, but not at any length.
        let problem: String = error.to_string().chars().take(300).collect();
        Problem::malformed(format!("a record with its payload is wanted: {problem}"))
    })?;
    let record = edgesentry_formats::record_from_json(wire.record.get().as_bytes()).map_err(|fault| {
        Problem::malformed(format!("record: expected {}, found {}", fault.expected, fault.actual))
    })?;
    let payload = hex::decode(wire.raw_payload_hex.as_bytes())
        .map_err(|error| Problem::malformed(format!("raw_payload_hex: {error}")))?;
    Ok(Submission { record: Arc::new(record), payload: Bytes::from(payload) })
}

/// Writes a record with its payload as one line, without its end: what `POST /api/v1/ingest` takes.
pub fn write_submission(submission: &Submission, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"record\":");
    edgesentry_formats::record_to_json(&submission.record, out);
    out.extend_from_slice(b",\"raw_payload_hex\":\"");
    let start = out.len();
    out.resize(start + 2 * submission.payload.len(), 0);
    // Twice as long as the payload, as asked for.
    let _ = hex::encode_to_slice(&submission.payload, &mut out[start..]);
    out.extend_from_slice(b"\"}");
}
