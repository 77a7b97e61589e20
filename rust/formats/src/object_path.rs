//! Where the payload of a record is kept below a folder or a bucket: the one rule of all that write and read payloads.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use edgesentry_chain::{AuditRecord, Hash};

/// The folder of payloads that are stored by device and content.
pub const DEVICES: &str = "devices";

/// Bytes of an encoded device id, at most; a longer one is replaced by its hash.
const MAX_DEVICE_NAME_BYTES: usize = 128;

/// Records whose payloads share a folder: file systems do not like folders of many millions of names.
const RECORDS_OF_A_FOLDER: u64 = 10_000;

/// `devices/<device>/<sequence / 10000>/<sequence>-<payload hash in hex>`: the name under which a store keeps the
/// payload of a record. The device is written by [`device_name`], so no device can take a name of another's; the hash
/// is that of the bytes, so no record can take the name of other bytes.
///
/// The sequence is part of it although the hash would do: each record keeps a payload of its own, with a retention that
/// begins when the record was stored.
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

/// A device id as one name of a file or of a part of a key: letters, digits, `_`, `-` and `.` but at the beginning
/// stay as they are, any other byte becomes `!` and two hex digits, and what would be longer than 128 bytes `!h` and
/// the hash of the id. Two device ids never have the same name.
pub fn device_name(device_id: &str) -> String {
    let mut name = String::with_capacity(device_id.len());
    for (at, byte) in device_id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            // Writing to a string does not fail.
            _ => _ = write!(name, "!{byte:02x}"),
        }
        if name.len() > MAX_DEVICE_NAME_BYTES {
            return format!("!h{}", Hash::of(device_id.as_bytes()));
        }
    }
    // An empty id has a name too.
    if name.is_empty() { "!".to_owned() } else { name }
}

/// Where the payload of a record may be, relative to the folder: under its device and content, or where its object
/// reference points to. A payload may be in several of them; the one whose hash is the record's is the record's.
pub(crate) fn payload_paths(record: &AuditRecord) -> Vec<PathBuf> {
    let by_content = PathBuf::from(content_path(record));
    std::iter::once(by_content).chain(object_paths(&record.object_ref)).collect()
}

/// Where an object reference may lead, in this order, relative to the folder: its key, then bucket and key. Empty if
/// the reference could lead elsewhere.
pub(crate) fn object_paths(object_ref: &str) -> Vec<PathBuf> {
    let candidates = match object_ref.split_once("://") {
        None => vec![relative_path(object_ref)],
        Some((_, rest)) => match rest.split_once('/') {
            Some(("", key)) => vec![relative_path(key)],
            Some((_, key)) => vec![relative_path(key), relative_path(rest)],
            None => Vec::new(),
        },
    };
    // A key that is no path makes no path with its bucket either; a bad bucket leaves the key.
    candidates.into_iter().flatten().collect()
}

/// A path of ordinary names only.
fn relative_path(key: &str) -> Option<PathBuf> {
    let ordinary = |name: &str| {
        let mut components = Path::new(name).components();
        // Not `.`, `..`, a drive or, where they separate, something with a backslash.
        let one = matches!(components.next(), Some(Component::Normal(normal)) if normal == name);
        one && components.next().is_none() && !name.contains('\0')
    };
    key.split('/').all(ordinary).then(|| key.split('/').collect())
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
        ] {
            assert!(paths(traps).is_empty(), "{traps:?} gives {:?}", paths(traps));
        }
    }
}
