//! Archived files of the write-ahead log: compressed, with the hash of their content, signed and encrypted if the
//! settings require it. docs/reference/archive.md has the format.
//!
//! Skippable zstd frames with size, BLAKE3 and signature, then a zstd frame with a checksum: `zstd -d` reads it too.
//! If it is encrypted, the zstd frame is in a file of age.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use edgesentry_chain::Hash;

use crate::archive::{Archive, MAX_SEGMENT_BYTES as LARGEST};
use crate::data_folder;
use crate::error::Error;
use crate::signature::{Content, Form, Signature, Standing, Statement, Subject};

/// The magic number of a skippable frame, little endian.
const FRAME: u32 = 0x184D_2A5E;
/// A header from before signatures: size and hash of the content.
const FIRST: [u8; 8] = *b"EDSWAL1\0";
/// A header: size and hash of the content, then of the stored bytes after the frames.
const PLAIN: [u8; 8] = *b"EDSWAL2\0";
/// The same for encrypted stored bytes.
const ENCRYPTED: [u8; 8] = *b"EDSWAL2e";
/// A signature: public key, R, S.
const SIGNATURE: [u8; 8] = *b"EDSSIG1\0";
/// The compression level: fast, and segments of audit records shrink to a quarter.
const LEVEL: i32 = 3;

/// Returns the largest object for a segment of that size: incompressible data grows a little, also with each key that
/// it is encrypted to.
pub(crate) const fn largest(segment_bytes: u64) -> u64 {
    segment_bytes + (segment_bytes >> 6) + (64 << 10)
}

/// The header of a packed file.
struct Header {
    content: Content,
    form: Form,
    /// `None` in the first format.
    stored: Option<Content>,
    signature: Option<Signature>,
}

/// Packs a file into a new one, as the settings of the archive require.
pub(crate) fn pack(
    archive: &Archive,
    file: &Path,
    packed: &Path,
    subject: &Subject,
) -> Result<Content, Error> {
    let content = content(file).map_err(Error::io("read", file))?;
    let compressed = beside(packed, ".compressed");
    let copied = compress(file, &compressed).map_err(Error::io("compress into", &compressed))?;
    if copied != content.size {
        let problem = "it has changed while it was read".to_owned();
        return Err(Error::Archive { place: file.display().to_string(), problem });
    }
    let (form, body) = if archive.encryption().is_on() {
        let encrypted = beside(packed, ".encrypted");
        archive.encryption().encrypt(&compressed, &encrypted)?;
        (Form::Age, encrypted)
    } else {
        (Form::Zstd, compressed.clone())
    };
    let stored = self::content(&body).map_err(Error::io("read", &body))?;
    let signature = archive.trust().sign(&Statement { subject, content, form, stored })?;
    let header = Header { content, form, stored: Some(stored), signature };
    let write = || -> io::Result<()> {
        let mut out = File::create_new(packed)?;
        out.write_all(&header.bytes(stored))?;
        io::copy(&mut File::open(&body)?, &mut out).map(drop)
    };
    write().map_err(Error::io("write", packed))?;
    for part in [compressed, body] {
        let _ = std::fs::remove_file(part);
    }
    Ok(content)
}

/// Returns the path of a step's file, beside that of the next step.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn compress(file: &Path, compressed: &Path) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::new(File::create_new(compressed)?, LEVEL)?;
    encoder.include_checksum(true)?;
    let copied = io::copy(&mut data_folder::open(file)?, &mut encoder)?;
    encoder.finish()?;
    Ok(copied)
}

/// Unpacks a file into a new one, which is synced. The stored hash and the signature are checked before any byte is
/// decrypted or decompressed. A mismatch leaves no file.
pub(crate) fn unpack(
    archive: &Archive,
    packed: &Path,
    file: &Path,
    subject: &Subject,
) -> Result<(Content, Standing), Error> {
    let (header, standing, input) = open(archive, packed, subject)?;
    let decrypted = beside(file, ".decrypted");
    let input = if header.form == Form::Age {
        let _ = std::fs::remove_file(&decrypted);
        archive.encryption().decrypt(input.into_inner(), packed, &decrypted)?;
        let opened = File::open(&decrypted).map_err(Error::io("read", &decrypted));
        let _ = std::fs::remove_file(&decrypted);
        BufReader::with_capacity(1 << 17, opened?)
    } else {
        input
    };
    let unpacked = (|| -> io::Result<Result<(), String>> {
        let mut decoder = zstd::Decoder::with_buffer(input)?;
        let mut out = File::create_new(file)?;
        let mut limited = (&mut decoder).take(header.content.size + 1);
        let (mut hasher, mut buffer, mut size) = (blake3::Hasher::new(), vec![0; 1 << 17], 0);
        loop {
            let count = match limited.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Ok(Err(error.to_string())),
            };
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count])?;
            size += count as u64;
        }
        if (Content { size, hash: Hash(hasher.finalize().into()) }) != header.content {
            return Ok(Err("its content does not match its hash".to_owned()));
        }
        out.sync_all()?;
        Ok(Ok(()))
    })();
    let error = match unpacked {
        Ok(Ok(())) => return Ok((header.content, standing)),
        Ok(Err(problem)) => damaged(packed, &problem),
        Err(error) => Error::io("unpack into", file)(error),
    };
    let _ = std::fs::remove_file(file);
    Err(error)
}

/// Returns the content of a packed file if its signature counts and covers the stored bytes; decrypts nothing.
pub(crate) fn inspect(
    archive: &Archive,
    packed: &Path,
    subject: &Subject,
) -> Result<(Content, Standing), Error> {
    open(archive, packed, subject).map(|(header, standing, _)| (header.content, standing))
}

/// Returns true if reading it needs an identity.
pub(crate) fn is_encrypted(packed: &Path) -> Result<bool, Error> {
    sound(packed).map(|(header, _)| header.form == Form::Age)
}

/// Returns the content that an undamaged packed file states, without checking who made it.
pub(crate) fn content_of(packed: &Path) -> Result<Content, Error> {
    let (header, mut input) = sound(packed)?;
    if header.stored.is_none() {
        let mut out = Hashing::new(io::sink());
        let decoded = zstd::Decoder::new(&mut input)
            .and_then(|decoder| io::copy(&mut decoder.take(header.content.size + 1), &mut out));
        if decoded.is_err() || out.finish().1 != header.content {
            return Err(damaged(packed, "its content does not match its hash"));
        }
    }
    Ok(header.content)
}

/// Opens a packed file that is not damaged, and whose signature counts.
fn open(
    archive: &Archive,
    packed: &Path,
    subject: &Subject,
) -> Result<(Header, Standing, BufReader<File>), Error> {
    let (header, input) = sound(packed)?;
    // A file of the first format, which was never signed, states only its content.
    let stored = header.stored.unwrap_or(header.content);
    let statement = Statement { subject, content: header.content, form: header.form, stored };
    let standing = archive.trust().verify(&statement, header.signature.as_ref())?;
    Ok((header, standing.map_err(|why| archive.problem(why))?, input))
}

/// Reads the header, and compares the bytes after it with the stated hash.
fn sound(packed: &Path) -> Result<(Header, BufReader<File>), Error> {
    let unread = || Error::io("read", packed);
    let mut input = BufReader::with_capacity(1 << 17, File::open(packed).map_err(unread())?);
    let header = Header::read(&mut input).ok_or_else(|| damaged(packed, "not a packed file"))?;
    let begin = input.stream_position().map_err(unread())?;
    if let Some(expected) = header.stored {
        let mut out = Hashing::new(io::sink());
        io::copy(&mut input, &mut out).map_err(unread())?;
        if out.finish().1 != expected {
            return Err(damaged(packed, "the stored bytes do not match their hash"));
        }
        input.seek(SeekFrom::Start(begin)).map_err(unread())?;
    }
    Ok((header, input))
}

fn damaged(packed: &Path, problem: &str) -> Error {
    Error::Archive { place: packed.display().to_string(), problem: format!("is damaged: {problem}") }
}

impl Header {
    fn bytes(&self, stored: Content) -> Vec<u8> {
        let frame = |magic: [u8; 8], content: Vec<u8>| {
            let length = u32::try_from(8 + content.len()).unwrap_or(u32::MAX);
            [&FRAME.to_le_bytes()[..], &length.to_le_bytes(), &magic, &content].concat()
        };
        let both = [self.content, stored]
            .map(|content| [&content.size.to_le_bytes()[..], content.hash.as_bytes()].concat());
        let magic = if self.form == Form::Age { ENCRYPTED } else { PLAIN };
        let mut bytes = frame(magic, both.concat());
        if let Some(signature) = &self.signature {
            bytes.extend(frame(SIGNATURE, [&signature.key[..], &signature.bytes].concat()));
        }
        bytes
    }

    fn read(input: &mut BufReader<File>) -> Option<Header> {
        let (magic, bytes) = read_frame(input)?;
        let content = |bytes: &[u8]| {
            let (size, hash) = bytes.split_at_checked(8)?;
            Some(Content {
                size: u64::from_le_bytes(size.try_into().ok()?),
                hash: Hash(hash.try_into().ok()?),
            })
        };
        let (first, second) = bytes.split_at_checked(40)?;
        let (form, stored) = match magic {
            FIRST if second.is_empty() => (Form::Zstd, None),
            PLAIN => (Form::Zstd, Some(content(second)?)),
            ENCRYPTED => (Form::Age, Some(content(second)?)),
            _ => return None,
        };
        let header = Header { content: content(first)?, form, stored, signature: None };
        let is_bounded = header.content.size <= LARGEST
            && header.stored.is_none_or(|stored| stored.size <= largest(LARGEST));
        if !is_bounded {
            return None;
        }
        let begin = input.stream_position().ok()?;
        // In the first format the next frame is the zstd frame.
        let signature = header.stored.and_then(|_| read_frame(input)).and_then(|(magic, bytes)| {
            let (key, bytes) = bytes.split_at_checked(32)?;
            let signature = Signature { key: key.try_into().ok()?, bytes: bytes.try_into().ok()? };
            (magic == SIGNATURE).then_some(signature)
        });
        if signature.is_none() {
            input.seek(SeekFrom::Start(begin)).ok()?;
        }
        Some(Header { signature, ..header })
    }
}

/// Reads a skippable frame: its kind and its content.
fn read_frame(input: &mut impl Read) -> Option<([u8; 8], Vec<u8>)> {
    let mut head = [0; 16];
    input.read_exact(&mut head).ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let length = word(4)?.checked_sub(8)?;
    if word(0)? != FRAME || length > 1024 {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    input.read_exact(&mut bytes).ok()?;
    Some((head[8..].try_into().ok()?, bytes))
}

/// Counts and hashes the written bytes.
struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(out: W) -> Hashing<W> {
        Hashing { out, hasher: blake3::Hasher::new(), size: 0 }
    }

    fn finish(self) -> (W, Content) {
        let hash = Hash(self.hasher.finalize().into());
        (self.out, Content { size: self.size, hash })
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn content(file: &Path) -> io::Result<Content> {
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut data_folder::open(file)?, &mut hashing)?;
    Ok(hashing.finish().1)
}

#[cfg(test)]
mod tests {
    use crate::settings::OpsSettings;

    use super::*;
    use crate::signature::Kind;

    fn archive(folder: &Path, settings: OpsSettings) -> Archive {
        Archive::of_folder(folder, &settings).unwrap()
    }

    fn signed(folder: &Path) -> OpsSettings {
        let key = folder.join("ops.seed");
        let _ = edgesentry_formats::create_seed_file(&key, &[7; 32]);
        OpsSettings { signing_key: Some(key), ..OpsSettings::default() }
    }

    fn subject(name: &str) -> Subject {
        Subject { kind: Kind::Wal, name: name.to_owned(), system_identifier: 77 }
    }

    /// The length of the frame with the header, and of the one with the signature.
    const HEADER_BYTES: usize = 8 + 8 + 2 * 40;
    const SIGNATURE_BYTES: usize = 8 + 8 + 96;
    const NAME: &str = "000000010000000000000003";

    #[test]
    fn unpacking_returns_the_packed_bytes_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        std::fs::write(path("a"), &bytes).unwrap();
        for (at, settings) in [OpsSettings::default(), signed(folder.path())].into_iter().enumerate() {
            let is_signed = settings.signing_key.is_some();
            let (archive, subject) = (archive(folder.path(), settings), subject(NAME));
            let (out, back) = (path(&format!("a{at}.zst")), path(&format!("b{at}")));
            let content = pack(&archive, &path("a"), &out, &subject).unwrap();
            let (unpacked, standing) = unpack(&archive, &out, &back, &subject).unwrap();
            assert_eq!(unpacked, content);
            assert_eq!(matches!(standing, Standing::Signed(_)), is_signed);
            assert_eq!(std::fs::read(&back).unwrap(), bytes);

            let packed = std::fs::read(&out).unwrap();
            assert!(packed.len() < bytes.len());
            assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), bytes);
            let damaged_at = [0, 9, 17, 30, 60, 80, 100, packed.len() / 2, packed.len() - 1];
            for at in damaged_at {
                let mut damaged = packed.clone();
                damaged[at] ^= 0x40;
                std::fs::write(path("d.zst"), damaged).unwrap();
                assert!(unpack(&archive, &path("d.zst"), &path("d"), &subject).is_err(), "{at}");
                assert!(!path("d").exists());
            }
            for length in [0, 20, 56, 100, packed.len() - 1] {
                std::fs::write(path("d.zst"), &packed[..length]).unwrap();
                assert!(unpack(&archive, &path("d.zst"), &path("d"), &subject).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_signed_file_is_read_under_its_own_name_only_and_an_unsigned_one_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), b"log").unwrap();
        let (signing, plain) =
            (archive(folder.path(), signed(folder.path())), archive(folder.path(), OpsSettings::default()));
        pack(&signing, &path("a"), &path("signed"), &subject(NAME)).unwrap();
        pack(&plain, &path("a"), &path("plain"), &subject(NAME)).unwrap();
        let read = |archive: &Archive, packed: &str, subject: &Subject| {
            let _ = std::fs::remove_file(path("out"));
            let found =
                unpack(archive, &path(packed), &path("out"), subject).map_err(|error| error.to_string());
            assert_eq!(found.is_ok(), path("out").exists());
            assert_eq!(inspect(archive, &path(packed), subject).is_ok(), found.is_ok());
            found
        };
        assert!(read(&signing, "signed", &subject(NAME)).is_ok());
        for other in [
            subject("000000010000000000000004"),
            subject("000000020000000000000003"),
            subject("000000010000000000000003.partial"),
            Subject { system_identifier: 78, ..subject(NAME) },
            Subject { kind: Kind::Receiving, ..subject(NAME) },
        ] {
            assert!(read(&signing, "signed", &other).unwrap_err().contains("is not for this content"));
        }
        assert!(read(&signing, "plain", &subject(NAME)).unwrap_err().contains("it is not signed"));
        assert_eq!(read(&plain, "plain", &subject(NAME)).unwrap().1, Standing::Unsigned);

        // Without its signature frame it is an intact file, but unsigned.
        let bytes = std::fs::read(path("signed")).unwrap();
        let (header, signature) = (HEADER_BYTES, SIGNATURE_BYTES);
        std::fs::write(path("stripped"), [&bytes[..header], &bytes[header + signature..]].concat()).unwrap();
        assert!(read(&plain, "stripped", &subject(NAME)).is_ok());
        assert!(read(&signing, "stripped", &subject(NAME)).unwrap_err().contains("it is not signed"));
    }

    #[test]
    fn a_file_of_before_there_were_signatures_is_read_when_that_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let content = Content::of(b"log");
        let head = [&FRAME.to_le_bytes()[..], &48_u32.to_le_bytes(), &FIRST, &3_u64.to_le_bytes()].concat();
        let body = zstd::encode_all(&b"log"[..], LEVEL).unwrap();
        std::fs::write(path("old"), [&head[..], content.hash.as_bytes(), &body].concat()).unwrap();
        let strict = archive(folder.path(), signed(folder.path()));
        let told = OpsSettings { allow_unsigned: true, ..signed(folder.path()) };
        let told = archive(folder.path(), told);
        let error = unpack(&strict, &path("old"), &path("out"), &subject(NAME)).unwrap_err().to_string();
        assert!(error.contains("--allow-unsigned"), "{error}");
        assert_eq!(
            unpack(&told, &path("old"), &path("out"), &subject(NAME)).unwrap(),
            (content, Standing::Unsigned)
        );
        assert_eq!(std::fs::read(path("out")).unwrap(), b"log");
    }
}
