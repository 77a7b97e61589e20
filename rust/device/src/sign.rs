//! Signing with an event.

use edgesentry_chain::{AuditRecord, Device, RecordRef, SignError};
use tracing::debug;

/// The target of the event; it is part of the interface.
const TARGET: &str = "edgesentry_rs::agent";

/// Signs the next record of a device's chain and emits the event; every signer calls this function or [`sign_ref`].
///
/// # Errors
/// The last sequence of the chain is [`u64::MAX`], or the signer failed.
pub fn sign(
    device: &mut Device,
    timestamp_ms: u64,
    payload: &[u8],
    object_ref: impl Into<String>,
) -> Result<AuditRecord, SignError> {
    announce(device, payload);
    device.sign(timestamp_ms, payload, object_ref)
}

/// Like [`sign`], without allocation: the record borrows its text.
///
/// # Errors
/// The last sequence of the chain is [`u64::MAX`], or the signer failed.
pub fn sign_ref<'a>(
    device: &'a mut Device,
    timestamp_ms: u64,
    payload: &[u8],
    object_ref: &'a str,
) -> Result<RecordRef<'a>, SignError> {
    announce(device, payload);
    device.sign_ref(timestamp_ms, payload, object_ref)
}

fn announce(device: &Device, payload: &[u8]) {
    let sequence = device.head().map_or(1, |head| head.sequence.saturating_add(1));
    debug!(target: TARGET, device_id = device.device_id(), sequence, payload_bytes = payload.len(), "signing record");
}
