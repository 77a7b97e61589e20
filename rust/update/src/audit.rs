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
