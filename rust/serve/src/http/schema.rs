//! Shapes of the types that are decoded by hand, for the OpenAPI document only.

use utoipa::ToSchema;

/// A record with its payload, as devices send them.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub(super) struct Wire {
    /// The record.
    record: WireRecord,
    /// The payload in hex digits.
    #[schema(example = "646f6f7220636c6f736564", pattern = "^([0-9a-fA-F]{2})*$")]
    raw_payload_hex: String,
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
