//! The payload of the record that a device writes about an update.

use crate::manifest::Manifest;
use crate::refusal::Refusal;

/// Returns the payload of a record about an accepted or refused update: one line of JSON, for the device's own chain.
/// In a refusal, the manifest is a claim of its sender.
///
/// ```
/// use edgesentry_update::{Refusal, audit_payload};
/// let refusal = Refusal::Rollback { version: 3, minimum_version: 4 };
/// assert_eq!(
///     audit_payload(None, Err(&refusal)),
///     r#"{"type":"edgesentry-update/v1","outcome":"refused","reason":"update_rollback"}"#
/// );
/// ```
pub fn audit_payload(manifest: Option<&Manifest>, outcome: Result<(), &Refusal>) -> String {
    let outcome = match outcome {
        Ok(()) => r#""accepted""#.to_owned(),
        Err(refusal) => format!(r#""refused","reason":"{}""#, refusal.code()),
    };
    // A name has no character that JSON escapes: `Manifest` and its reader check it.
    let manifest = manifest.map_or_else(String::new, |manifest| {
        let Manifest { name, version, image_hash, image_size_bytes, .. } = manifest;
        let name = if crate::is_valid_name(name) { name.as_str() } else { "" };
        format!(
            r#","name":"{name}","version":{version},"image_hash":"{image_hash}","image_size_bytes":{image_size_bytes}"#
        )
    });
    format!(r#"{{"type":"edgesentry-update/v1","outcome":{outcome}{manifest}}}"#)
}

/// Returns the payload of a record about a refused update that also counts `left_out` refusals before it, which have no
/// record of their own.
///
/// ```
/// use edgesentry_update::{Refusal, refusal_payload};
/// assert_eq!(
///     refusal_payload(None, &Refusal::ImageTooLong { expected: 5 }, 2),
///     r#"{"type":"edgesentry-update/v1","outcome":"refused","reason":"update_image_too_long","left_out":2}"#
/// );
/// ```
pub fn refusal_payload(manifest: Option<&Manifest>, refusal: &Refusal, left_out: u64) -> String {
    let payload = audit_payload(manifest, Err(refusal));
    match payload.strip_suffix('}') {
        Some(fields) if left_out > 0 => format!(r#"{fields},"left_out":{left_out}}}"#),
        _ => payload,
    }
}
