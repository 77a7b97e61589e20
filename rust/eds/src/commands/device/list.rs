//! Devices as a table and as JSON.

use anstyle::Style;
use edgesentry_rs::ledger::{RegisteredDevice, Revocation, revocation_reason};
use serde_json::{Value, json};

use crate::text::{count, name};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

pub(super) fn content(devices: &[RegisteredDevice], revocations: &[Revocation]) -> Value {
    let devices = devices.iter().map(|device| {
        let keys = device.keys.iter().map(|key| {
            let reason = revocation_reason(revocations, &device.device_id, key.revoked_from);
            json!({
                "key": key.key.key.to_string(),
                "scheme": key.key.scheme,
                "valid_from": key.key.valid_from,
                "revoked_from": key.revoked_from,
                "revoked_reason": reason.map(|reason| reason.name()),
            })
        });
        json!({
            "device_id": device.device_id,
            "head": device.head,
            "start": device.start,
            "keys": keys.collect::<Vec<_>>(),
        })
    });
    devices.collect()
}

/// Returns a line for each device, and one for each of its keys.
pub(super) fn table(devices: &[RegisteredDevice], revocations: &[Revocation]) -> String {
    let mut text = format!("{}\n", count(devices.len() as u64, "device"));
    for device in devices {
        text.push_str(&format!("\n{BOLD}{}{BOLD:#}", name(&device.device_id)));
        match (device.head, device.start) {
            (Some(head), _) => text.push_str(&format!("  sequence {} hash {}\n", head.sequence, head.hash)),
            (None, Some(start)) => {
                text.push_str(&format!("  no record yet after sequence {}\n", start.sequence))
            }
            (None, None) => text.push_str("  no record yet\n"),
        }
        for key in &device.keys {
            let scheme = key.key.scheme.name();
            text.push_str(&format!("  key {}  {scheme:<12}  from {}", key.key.key, key.key.valid_from));
            match key.revoked_from {
                Some(from) => {
                    let reason = revocation_reason(revocations, &device.device_id, Some(from));
                    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                    text.push_str(&format!("  {DIM}revoked from {from}{reason}{DIM:#}\n"));
                }
                None => text.push('\n'),
            }
        }
    }
    text
}
