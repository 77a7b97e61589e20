//! Signing with an event.

use edgesentry_chain::{AuditRecord, ChainFull, Device};
use tracing::debug;

/// The target of the event; it is part of the interface.
const TARGET: &str = "edgesentry_rs::agent";

/// Signs the next record of a device's chain and emits the event; every signer calls this function.
pub fn sign(
    device: &mut Device,
    timestamp_ms: u64,
    payload: &[u8],
    object_ref: impl Into<String>,
) -> Result<AuditRecord, ChainFull> {
    let sequence = device.head().map_or(1, |head| head.sequence.saturating_add(1));
    debug!(target: TARGET, device_id = device.device_id(), sequence, payload_bytes = payload.len(), "signing record");
    device.sign(timestamp_ms, payload, object_ref)
}
