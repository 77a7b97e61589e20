//! Identifies an input by its first bytes, and gives advice for inputs without readable records.

use std::sync::Arc;

use edgesentry_chain::Scheme;

use crate::error::Error;
use crate::format::Format;
use crate::keys::read_key_ring;
use crate::kind::FileKind;

/// First bytes of formats that cannot be read, with a description of each.
const OTHERS: [(&[u8], &str); 24] = [
    (b"PK\x03\x04", "a ZIP archive; unpack it and pass the files in it"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and pass the files in it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it and pass the files in it"),
    (b"\xfd7zXZ\0", "xz data; decompress it first: xz -dc FILE | eds verify-chain -"),
    (b"BZh", "bzip2 data; decompress it first: bzip2 -dc FILE | eds verify-chain -"),
    (b"\x04\x22\x4d\x18", "lz4 data; decompress it first: lz4 -dc FILE | eds verify-chain -"),
    (b"LZIP", "lzip data; decompress it first: lzip -dc FILE | eds verify-chain -"),
    (b"\x89LZO\0", "lzop data; decompress it first: lzop -dc FILE | eds verify-chain -"),
    (b"\x1f\x9d", "compress (.Z) data; decompress it first: uncompress -c FILE | eds verify-chain -"),
    (b"\xff\x06\0\0sNaPpY", "Snappy data; decompress it first: snzip -dc FILE | eds verify-chain -"),
    (b"PARE", "Parquet with an encrypted footer; decrypt the file first"),
    (
        b"FEA1",
        "Feather version 1, which Arrow no longer writes; read it with pyarrow.feather and write version 2",
    ),
    (b"Obj\x01", "Avro; convert it to Parquet, Arrow or NDJSON first"),
    (b"ORC", "ORC; convert it to Parquet, Arrow or NDJSON first"),
    (b"\x89HDF\r\n\x1a\n", "HDF5; convert it to Parquet, Arrow or NDJSON first"),
    (
        b"SQLite format 3\0",
        "an SQLite database; if it is a ledger, verify it in place: eds verify-chain --ledger FILE",
    ),
    (
        b"PGDMP",
        "a PostgreSQL dump; restore it and verify the ledger in place: eds verify-chain --ledger postgres://...",
    ),
    (b"\x1e", "a sequence of JSON texts (RFC 7464); write it without the separators, as NDJSON"),
    (b"-----BEGIN ", "PEM, a key or a certificate, not records"),
    (b"<!DOCTYPE", HTML),
    (b"<!doctype", HTML),
    (b"<html", HTML),
    (b"device_id,", "CSV, which cannot hold bytes; write the records as NDJSON, Arrow or Parquet"),
];
const HTML: &str = "an HTML page, not records; check the request or the command that wrote it";
/// The position of the magic bytes of a tar archive.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// Returns the message for an input that is recognized but not readable.
pub(crate) fn unreadable_head(head: &[u8]) -> Option<String> {
    let (at, mark) = TAR;
    if head.get(at..).is_some_and(|rest| rest.starts_with(mark)) {
        if head.starts_with(b"manifest\0") {
            return Some(
                "it is an evidence bundle, not records; verify it: eds verify-bundle FILE".to_owned(),
            );
        }
        return Some("it is a tar archive; unpack it and pass the files in it".to_owned());
    }
    let known = |head: &[u8]| {
        OTHERS.iter().find(|(beginning, _)| head.starts_with(beginning)).map(|(_, words)| *words)
    };
    let words = known(head).or_else(|| known(head.trim_ascii_start())).or_else(|| text_file(head))?;
    Some(format!("it is {words}"))
}

/// Describes a text file of ours that is not JSON.
fn text_file(head: &[u8]) -> Option<&'static str> {
    let has = |words: &str| memchr::memmem::find(head, words.as_bytes()).is_some();
    // No text of ours has zeros; an archive does, and may have these texts in it.
    if memchr::memchr(0, head).is_some() {
        None
    } else if has("\n\n\u{2014} ") {
        Some("a signed note, not records; pass a checkpoint with --checkpoint (checkpoint= in Python)")
    } else if head.starts_with(b"log ") && has("\nquorum ") {
        Some("a policy, not records; pass it with --policy (policy= in Python)")
    } else if head.trim_ascii().len() == 64 && head.trim_ascii().iter().all(u8::is_ascii_hexdigit) {
        Some("a seed file or a public key, not records")
    } else {
        None
    }
}

/// Returns the description of a file that was passed in place of `wanted`, such as `a heads snapshot`, and how to pass it;
/// `None` if its kind is unknown.
pub fn other_file(text: &[u8], wanted: &str) -> Option<String> {
    match kind_of(text) {
        Some(kind) => (kind.name() != wanted).then(|| kind.instead_of(wanted)),
        None => other_bytes(text, wanted),
    }
}

/// Returns the description of a file that has no JSON of ours.
pub(crate) fn other_bytes(text: &[u8], wanted: &str) -> Option<String> {
    if text.starts_with(&[0x1f, 0x8b]) || text.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let advice = "decompress it first: gzip -dc or zstd -dc";
        return Some(format!("it is compressed data, not {wanted}; {advice}"));
    }
    match text.trim_ascii().is_empty() {
        true => Some(format!("it is empty, not {wanted}")),
        false => {
            unreadable_head(text).map(|problem| problem.replace("not records", &format!("not {wanted}")))
        }
    }
}

/// Returns the message for the only entry of an input if it is another kind of file. Any other entry that is not a record
/// is a finding.
pub(crate) fn not_records(entry: &[u8]) -> Option<String> {
    let kind = kind_of(entry).filter(|kind| *kind != FileKind::Records)?;
    Some(kind.instead_of("records"))
}

fn kind_of(text: &[u8]) -> Option<FileKind> {
    let is_ring = || read_key_ring(text, Scheme::DEFAULT).is_ok_and(|ring| !ring.is_empty());
    FileKind::of(text).or_else(|| is_ring().then_some(FileKind::KeyRing))
}

/// Returns the message for the name of a missing file that is a URL, and the start of the name.
pub(crate) fn url(name: &str) -> Option<(&str, &'static str)> {
    let (scheme, start) = match name.split_once("://") {
        Some((scheme, _)) => (scheme, &name[..scheme.len() + "://".len()]),
        // A ledger in a file, with its path.
        None => ("sqlite", name.get(.."sqlite:".len()).filter(|start| *start == "sqlite:")?),
    };
    let advice = match scheme {
        "postgres" | "postgresql" | "sqlite" => {
            "it is the URL of a ledger; verify it in place: eds verify-chain --ledger URL, or edgesentry.open(URL).verify() \
             in Python"
        }
        "http" | "https" => "it is a URL; download it first: curl -f URL | eds verify-chain -",
        "s3" | "gs" | "az" => "it is the URL of an object; copy it to a file first",
        "file" => "it is a URL; pass the path alone",
        _ => return None,
    };
    Some((start, advice))
}

/// Returns JSON or NDJSON, by the first bytes of a text.
pub(crate) fn text_format(name: &Arc<str>, head: &[u8]) -> Result<Format, Error> {
    let unreadable =
        |problem: &str| Err(Error::Unreadable { name: Arc::clone(name), problem: problem.into() });
    if head.starts_with(&[0xef, 0xbb, 0xbf]) {
        return unreadable("line 1, byte 0: a byte order mark; save the file as UTF-8 without it");
    }
    // UTF-16 and UTF-32, with or without a byte order mark: a brace or a bracket and zeros.
    let is_wide =
        matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..])
            || head.starts_with(&[0, 0, 0xfe, 0xff])
            || matches!(head, [0, 0, 0, b'[' | b'{', ..]);
    if is_wide {
        return unreadable(
            "line 1, byte 0: UTF-16 or UTF-32, perhaps with a byte order mark; save the file as UTF-8",
        );
    }
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Ok(Format::Json),
        // An empty input has no records in any format.
        Some(b'{') | None => Ok(Format::Ndjson),
        Some(_) if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
            unreadable("it is compressed twice; decompress it once: with gzip -dc or zstd -dc")
        }
        Some(_) => unreadable(
            "line 1, byte 0: neither a JSON array, NDJSON, Arrow IPC nor Parquet, nor one of them in gzip or zstd",
        ),
    }
}
