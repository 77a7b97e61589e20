//! The path of the payload of a record below a directory or bucket: one rule for all writers and readers of payloads.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use edgesentry_chain::{AuditRecord, Hash};

use crate::packs::is_packs;

/// The directory of payloads stored by device and content.
pub const DEVICES: &str = "devices";

/// Maximum length of an encoded device id, in bytes; a longer one is replaced by its hash.
const MAX_DEVICE_NAME_BYTES: usize = 128;

/// Number of records whose payloads share a directory: file systems are slow with many millions of names in one.
const RECORDS_OF_A_FOLDER: u64 = 10_000;

/// Returns `devices/<device>/<sequence / 10000>/<sequence>-<payload hash in hex>`: the name under which a store keeps
/// the payload of a record. [`device_name`] encodes the device, so no device can take a name of another; the hash is
/// that of the bytes, so no record can take the name of other bytes.
///
/// The sequence is included although the hash would suffice: each record has its own copy of its payload, with a
/// retention that starts when the record is stored.
///
/// ```
/// # use edgesentry_chain::{AuditRecord, Hash};
/// # let mut device = edgesentry_chain::Device::from_seed("site 7/lift-01", [7; 32], edgesentry_chain::Scheme::Record);
/// # let mut record = device.sign(0, b"", "x").unwrap();
/// (record.sequence, record.payload_hash) = (12_345, Hash([7; 32]));
/// let path = edgesentry_formats::content_path(&record);
/// assert_eq!(path, format!("devices/site!207!2flift-01/1/12345-{}", "07".repeat(32)));
/// ```
pub fn content_path(record: &AuditRecord) -> String {
    let AuditRecord { device_id, sequence, payload_hash, .. } = record;
    let folder = sequence / RECORDS_OF_A_FOLDER;
    format!("{DEVICES}/{}/{folder}/{sequence}-{payload_hash}", device_name(device_id))
}

/// Encodes a device id as a file name or part of a key: letters, digits, `_`, `-` and a non-leading `.` stay unchanged,
/// any other byte becomes `!` and two hex digits. If the result exceeds 128 bytes, it is `!h` and the hash of the id.
/// Two device ids never have the same name.
pub fn device_name(device_id: &str) -> String {
    let mut name = String::with_capacity(device_id.len());
    for (at, byte) in device_id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            // Writing to a string cannot fail.
            _ => _ = write!(name, "!{byte:02x}"),
        }
        if name.len() > MAX_DEVICE_NAME_BYTES {
            return format!("!h{}", Hash::of(device_id.as_bytes()));
        }
    }
    // An empty id needs a name too.
    if name.is_empty() { "!".to_owned() } else { name }
}

/// Returns the possible paths of an object reference, in this order, relative to the directory: its key, then bucket
/// and key. Empty if the reference could lead outside.
pub(crate) fn object_paths(object_ref: &str) -> Vec<PathBuf> {
    let candidates = match object_ref.split_once("://") {
        None => vec![relative_path(object_ref)],
        Some((_, rest)) => match rest.split_once('/') {
            Some(("", key)) => vec![relative_path(key)],
            Some((_, key)) => vec![relative_path(key), relative_path(rest)],
            None => Vec::new(),
        },
    };
    // If the key is not a path, neither is bucket and key; a bad bucket leaves the key.
    candidates.into_iter().flatten().collect()
}

/// Returns a path of ordinary names only, which does not lead into packs of payloads.
fn relative_path(key: &str) -> Option<PathBuf> {
    let ordinary = |name: &str| {
        let mut components = Path::new(name).components();
        // Rejects `.`, `..`, a drive and, if a backslash is a separator, names with one.
        let one = matches!(components.next(), Some(Component::Normal(normal)) if normal == name);
        one && components.next().is_none() && !name.contains('\0')
    };
    let leads_to_packs = key.split('/').next().is_some_and(is_packs);
    (!leads_to_packs && key.split('/').all(ordinary)).then(|| key.split('/').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_name_of_its_own() {
        let long = "x".repeat(129);
        let ids = [
            "", "!", "!21", "a", "A", "a/b", "a!2fb", "..", ".", "!2e", "a.b", "é", "\0", " ", "a\\b", &long,
        ];
        let mut names: Vec<String> = ids.iter().map(|id| device_name(id)).collect();
        for name in &names {
            let path = relative_path(name).unwrap();
            assert_eq!(path.components().count(), 1, "{name}");
            assert!(name.len() <= MAX_DEVICE_NAME_BYTES && !name.starts_with('.'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ids.len());
        assert_eq!(device_name("lift-01"), "lift-01");
        assert_eq!(device_name(&"x".repeat(128)), "x".repeat(128));
    }

    #[test]
    fn references_become_paths_within_the_folder() {
        let paths = |object_ref| {
            object_paths(object_ref).iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(paths("s3://bucket/lift/1.bin"), ["lift/1.bin", "bucket/lift/1.bin"]);
        assert_eq!(paths("file:///lift/1.bin"), ["lift/1.bin"]);
        assert_eq!(paths("lift/1.bin"), ["lift/1.bin"]);
        assert_eq!(paths("s3://../1.bin"), ["1.bin"]);
        assert_eq!(paths("s3://.packs/1.bin"), ["1.bin"]);
        assert_eq!(paths("lift/.packs/1.bin"), ["lift/.packs/1.bin"]);
        for traps in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            ".",
            "a//b",
            "a/",
            "a\0b",
            "s3://",
            "s3://b",
            "s3://b/",
            "s3://b//etc/passwd",
            "s3://b/../x",
            "s3://b/a/../../x",
            "file:////etc/passwd",
            "file:///../x",
            ".packs/1-a.pack",
            "file:///.Packs/1-a.pack",
            ".PAC\u{212a}\u{17f}/1-a.pack",
        ] {
            assert!(paths(traps).is_empty(), "{traps:?} gives {:?}", paths(traps));
        }
    }
}
