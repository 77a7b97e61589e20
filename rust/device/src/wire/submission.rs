//! A record and its payload on the wire: `{"record": {...}, "raw_payload_hex": "..."}`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::submission::Submission;

/// A record with its payload, as devices send them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with record and raw_payload_hex")]
struct Wire<'a> {
    #[serde(borrow)]
    record: &'a RawValue,
    #[serde(borrow)]
    raw_payload_hex: Cow<'a, str>,
}

/// The error for text that is not a record with its payload.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// Reads a record with its payload.
///
/// # Errors
/// The text is not a record with its payload.
pub fn parse_submission(text: &[u8]) -> Result<Submission, Malformed> {
    let wire: Wire<'_> = serde_json::from_slice(text).map_err(|error| {
        // Names that a sender chose are shown, but cut to a limited length.
        let problem: String = error.to_string().chars().take(300).collect();
        Malformed(format!("expected a record with its payload: {problem}"))
    })?;
    let record = edgesentry_formats::record_from_json(wire.record.get().as_bytes())
        .map_err(|fault| Malformed(format!("record: expected {}, found {}", fault.expected, fault.actual)))?;
    let payload = hex::decode(wire.raw_payload_hex.as_bytes()).map_err(|error| {
        Malformed(format!("raw_payload_hex: expected the payload in hex digits: {error}"))
    })?;
    Ok(Submission { record: Arc::new(record), payload: Bytes::from(payload) })
}

/// Writes a record with its payload as one line without a line end, as `POST /api/v1/ingest` expects it.
pub fn write_submission(submission: &Submission, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"record\":");
    edgesentry_formats::record_to_json(&submission.record, out);
    out.extend_from_slice(b",\"raw_payload_hex\":\"");
    let start = out.len();
    out.resize(start + 2 * submission.payload.len(), 0);
    // The buffer is twice as long as the payload, as hex requires.
    let _ = hex::encode_to_slice(&submission.payload, &mut out[start..]);
    out.extend_from_slice(b"\"}");
}
