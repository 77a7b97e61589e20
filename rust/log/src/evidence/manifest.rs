//! The manifest of a bundle.

use std::fmt;

use edgesentry_chain::Hash;
use sha2::{Digest, Sha256};

use super::tar::MANIFEST_NAME;
use crate::note::MAX_NOTE_BYTES;
use crate::policy::MAX_POLICY_BYTES;
use crate::text::{decode_base64, encode_base64, parse_decimal, take_line};

/// The maximum size of a manifest.
pub const MAX_MANIFEST_BYTES: usize = 32 << 20;
/// The maximum size of one part of the leaves, and of a payload.
pub const MAX_LEAVES_BYTES: u64 = 1 << 30;
/// The maximum number of devices or records that a manifest names.
pub const MAX_BUNDLE_SUBJECTS: usize = 10_000;
const MAX_FILES: usize = 100_000;
const MAX_TEXT_BYTES: u64 = 16 << 20;
const MAX_PARTIAL_BYTES: u64 = 64 << 20;
const MAX_TIMESTAMP_BYTES: u64 = 1 << 20;
const MAX_TIMESTAMPS: u64 = 64;
const HEADER: &str = "edgesentry-bundle@v1";

/// The reason why a manifest cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleManifestError {
    /// Larger than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {0} bytes, the limit is {MAX_MANIFEST_BYTES}")]
    TooLarge(usize),
    /// Not text.
    #[error("the manifest must be UTF-8")]
    Characters,
    /// A line is malformed, out of order or out of place.
    #[error(
        "line {0} of the manifest is malformed or out of place; a manifest has {HEADER}, `scope`, `created`, then if needed \
         `since`, `payloads`, `device` or `record` lines, and `file SHA256 BYTES NAME` lines in the order of their names"
    )]
    Line(usize),
    /// The files are not those of the scope.
    #[error("the manifest lists the wrong files: {0}")]
    Files(&'static str),
}

/// The part of a log that a bundle holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BundleScope {
    /// Every leaf.
    Full,
    /// The chains of these devices, in the order of their bytes.
    Devices(Vec<String>),
    /// These records, by device and sequence.
    Records(Vec<(String, u64)>),
}

impl BundleScope {
    /// Returns the scope of devices or of records, or of the whole log; `None` if both are given, or more of them than
    /// [`MAX_BUNDLE_SUBJECTS`].
    pub fn of(mut devices: Vec<String>, mut records: Vec<(String, u64)>) -> Option<BundleScope> {
        devices.sort();
        devices.dedup();
        records.sort();
        records.dedup();
        let fits = devices.len().max(records.len()) <= MAX_BUNDLE_SUBJECTS;
        match (devices.is_empty(), records.is_empty()) {
            (true, true) => Some(BundleScope::Full),
            (false, true) if fits => Some(BundleScope::Devices(devices)),
            (true, false) if fits => Some(BundleScope::Records(records)),
            _ => None,
        }
    }
}

/// A member of a bundle, as its manifest describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleFile {
    /// The name.
    pub name: String,
    /// The size of the content.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

/// The meaning of a member, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BundleMember {
    /// The signed checkpoint.
    Checkpoint,
    /// Entries of the heads tree.
    Heads,
    /// Keys that the writer of the bundle claims.
    Keys,
    /// A part of the leaves.
    Leaves(u16),
    /// The payload with this hash.
    Payload(Hash),
    /// A policy that the writer of the bundle claims.
    Policy,
    /// A file for people.
    Text,
    /// A time stamp, by its number.
    Timestamp(u64),
    /// Certificates for the time stamp of the same number, claimed.
    StampCertificates(u64),
}

/// The list of members of a bundle, and what it is about.
///
/// ```
/// use edgesentry_log::{BundleFile, BundleManifest, BundleScope};
/// let file = |name: &str| BundleFile { name: name.into(), bytes: 1, sha256: [0; 32] };
/// let manifest = BundleManifest {
///     scope: BundleScope::Full,
///     created_ms: 1_800_000_000_000,
///     since: None,
///     payloads: false,
///     files: vec![file("checkpoint"), file("leaves-000")],
/// };
/// let text = manifest.to_string();
/// assert!(text.starts_with("edgesentry-bundle@v1\nscope full\ncreated 1800000000000\nfile 0000"));
/// assert_eq!(BundleManifest::parse(text.as_bytes())?, manifest);
/// # Ok::<(), edgesentry_log::BundleManifestError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleManifest {
    /// The part of the log.
    pub scope: BundleScope,
    /// The time of writing, Unix milliseconds by the clock of the writer. A claim.
    pub created_ms: u64,
    /// The size of an older checkpoint, whose root follows from the leaves too.
    pub since: Option<u64>,
    /// True if the bundle has the payload of each record.
    pub payloads: bool,
    /// The members after the manifest, in the order of their names.
    pub files: Vec<BundleFile>,
}

impl BundleManifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// The bytes are not the output of its `Display` for any manifest of a bundle.
    pub fn parse(bytes: &[u8]) -> Result<BundleManifest, BundleManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(BundleManifestError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BundleManifestError::Characters)?;
        let mut lines = ManifestLines { text, number: 0 };
        lines.expect("", |rest| (rest == HEADER).then_some(()))?;
        let scopes = ["full", "devices", "records"];
        let scope = lines.expect("scope ", |rest| scopes.contains(&rest).then_some(rest))?;
        let created_ms = lines.expect("created ", parse_decimal)?;
        let since = match lines.text.starts_with("since ") {
            true => Some(lines.expect("since ", |rest| parse_decimal(rest).filter(|since| *since > 0))?),
            false => None,
        };
        let payloads = lines.text.starts_with("payloads\n");
        if payloads {
            lines.expect("payloads", |rest| rest.is_empty().then_some(()))?;
        }
        let scope = match scope {
            "devices" => {
                let devices = lines.list("device ", MAX_BUNDLE_SUBJECTS, device_id, String::clone)?;
                BundleScope::Devices(devices)
            }
            "records" => {
                BundleScope::Records(lines.list("record ", MAX_BUNDLE_SUBJECTS, record, Clone::clone)?)
            }
            _ => BundleScope::Full,
        };
        let name = |file: &BundleFile| file.name.clone();
        let files = lines.list("file ", MAX_FILES, BundleFile::parse, name)?;
        if !lines.text.is_empty() {
            return Err(BundleManifestError::Line(lines.number + 1));
        }
        let manifest = BundleManifest { scope, created_ms, since, payloads, files };
        manifest.check_files()?;
        Ok(manifest)
    }

    /// Checks that the scope has its files, and no file of another scope.
    fn check_files(&self) -> Result<(), BundleManifestError> {
        let (mut checkpoints, mut heads, mut leaves) = (0, 0, 0);
        for file in &self.files {
            match file.member() {
                Some(BundleMember::Checkpoint) => checkpoints += 1,
                Some(BundleMember::Heads) => heads += 1,
                Some(BundleMember::Leaves(part)) if part == leaves => leaves += 1,
                Some(BundleMember::Leaves(_)) => {
                    return Err(BundleManifestError::Files("leaves-NNN have a gap"));
                }
                Some(BundleMember::Payload(_)) if !self.payloads => {
                    return Err(BundleManifestError::Files("a payload without the line `payloads`"));
                }
                _ => {}
            }
        }
        let has_heads = matches!(self.scope, BundleScope::Devices(_));
        match (checkpoints, leaves, heads == usize::from(has_heads)) {
            (1, 1.., true) => Ok(()),
            _ => Err(BundleManifestError::Files(
                "checkpoint, leaves-000, and in scope devices also heads, are required",
            )),
        }
    }
}

impl BundleFile {
    /// Returns the meaning of the file; `None` if a bundle has no such file.
    pub fn member(&self) -> Option<BundleMember> {
        member_of(&self.name)
    }

    fn parse(text: &str) -> Option<BundleFile> {
        let mut words = text.split(' ');
        let (sha256, bytes, name) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let bytes = parse_decimal(bytes)?;
        let (least, most) = member_of(name)?.limits();
        let fits = (least..=most).contains(&bytes);
        fits.then_some(())?;
        Some(BundleFile { name: name.to_owned(), bytes, sha256: lower_hex(sha256)? })
    }
}

impl BundleMember {
    /// Returns the smallest and the largest size of the content.
    fn limits(self) -> (u64, u64) {
        match self {
            BundleMember::Checkpoint => (1, MAX_NOTE_BYTES as u64),
            BundleMember::Heads => (0, MAX_PARTIAL_BYTES),
            BundleMember::Keys => (1, MAX_PARTIAL_BYTES),
            BundleMember::Leaves(_) => (1, MAX_LEAVES_BYTES),
            BundleMember::Payload(_) => (0, MAX_LEAVES_BYTES),
            BundleMember::Policy => (1, MAX_POLICY_BYTES as u64),
            BundleMember::Text => (1, MAX_TEXT_BYTES),
            BundleMember::Timestamp(_) | BundleMember::StampCertificates(_) => (1, MAX_TIMESTAMP_BYTES),
        }
    }
}

impl fmt::Display for BundleManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            BundleScope::Full => "full",
            BundleScope::Devices(_) => "devices",
            BundleScope::Records(_) => "records",
        };
        writeln!(f, "{HEADER}\nscope {scope}\ncreated {}", self.created_ms)?;
        if let Some(since) = self.since {
            writeln!(f, "since {since}")?;
        }
        if self.payloads {
            writeln!(f, "payloads")?;
        }
        match &self.scope {
            BundleScope::Full => {}
            BundleScope::Devices(devices) => {
                for device_id in devices {
                    writeln!(f, "device {}", encode_base64(device_id.as_bytes()))?;
                }
            }
            BundleScope::Records(records) => {
                for (device_id, sequence) in records {
                    writeln!(f, "record {sequence} {}", encode_base64(device_id.as_bytes()))?;
                }
            }
        }
        for BundleFile { name, bytes, sha256 } in &self.files {
            writeln!(f, "file {} {bytes} {name}", hex::encode(sha256))?;
        }
        Ok(())
    }
}

/// The SHA-256 of a member, computed as it is read or written.
#[derive(Clone, Debug, Default)]
pub struct FileDigest(Sha256);

impl FileDigest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// A cursor over the lines of a manifest.
struct ManifestLines<'a> {
    text: &'a str,
    number: usize,
}

impl<'a> ManifestLines<'a> {
    fn expect<T>(
        &mut self,
        prefix: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, BundleManifestError> {
        self.number += 1;
        let line = take_line(&mut self.text).and_then(|line| line.strip_prefix(prefix));
        line.and_then(read).ok_or(BundleManifestError::Line(self.number))
    }

    /// Reads one or more lines whose keys ascend, none twice.
    fn list<T, K: PartialOrd>(
        &mut self,
        prefix: &str,
        most: usize,
        read: impl Fn(&'a str) -> Option<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, BundleManifestError> {
        let mut items: Vec<T> = Vec::new();
        while items.is_empty() || self.text.starts_with(prefix) {
            let item = self.expect(prefix, &read)?;
            if items.len() == most || items.last().is_some_and(|last| key(last) >= key(&item)) {
                return Err(BundleManifestError::Line(self.number));
            }
            items.push(item);
        }
        Ok(items)
    }
}

fn device_id(base64: &str) -> Option<String> {
    String::from_utf8(decode_base64(base64)?).ok()
}

fn record(text: &str) -> Option<(String, u64)> {
    let (sequence, device) = text.split_once(' ')?;
    Some((device_id(device)?, parse_decimal(sequence)?))
}

fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

fn member_of(name: &str) -> Option<BundleMember> {
    Some(match name {
        "checkpoint" => BundleMember::Checkpoint,
        "heads" => BundleMember::Heads,
        "keys" => BundleMember::Keys,
        "policy" => BundleMember::Policy,
        "readme.txt" | "verify.html" | "verify.py" => BundleMember::Text,
        MANIFEST_NAME => return None,
        _ => {
            if let Some(part) = name.strip_prefix("leaves-") {
                let is_part = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
                BundleMember::Leaves(part.parse().ok().filter(|_| is_part)?)
            } else if let Some(hash) = name.strip_prefix("payload-") {
                BundleMember::Payload(Hash(lower_hex(hash)?))
            } else {
                let stamp = name.strip_prefix("tsa-")?;
                let (number, is_stamp) = match stamp.strip_suffix(".tsr") {
                    Some(number) => (number, true),
                    None => (stamp.strip_suffix(".pem")?, false),
                };
                let number = parse_decimal(number).filter(|number| *number < MAX_TIMESTAMPS)?;
                if is_stamp {
                    BundleMember::Timestamp(number)
                } else {
                    BundleMember::StampCertificates(number)
                }
            }
        }
    })
}
