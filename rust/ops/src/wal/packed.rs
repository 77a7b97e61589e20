//! Files of the write-ahead log as they are archived: compressed, with the hash of what they hold.
//!
//! A skippable zstd frame with size and BLAKE3, then a zstd frame with a checksum: `zstd -d` reads it too.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use edgesentry_chain::Hash;

use crate::error::Error;

/// The magic number of a skippable frame, and the length of what follows.
const FRAME: [u8; 8] = [0x5E, 0x2A, 0x4D, 0x18, 48, 0, 0, 0];
/// What is in it, before size (u64, little endian) and hash.
const MAGIC: [u8; 8] = *b"EDSWAL1\0";
/// The largest segment.
const LARGEST: u64 = 1 << 30;
/// The compression level: fast, and segments of audit records shrink to a quarter.
const LEVEL: i32 = 3;

/// Size and hash of what is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    /// Bytes.
    pub(crate) size: u64,
    /// BLAKE3 of them.
    pub(crate) hash: Hash,
}

/// Packs a file into a new one.
pub(crate) fn pack(file: &Path, packed: &Path) -> Result<Content, Error> {
    let content = content(file).map_err(Error::io("read", file))?;
    let write = || -> io::Result<u64> {
        let mut out = File::create_new(packed)?;
        out.write_all(&FRAME)?;
        out.write_all(&MAGIC)?;
        out.write_all(&content.size.to_le_bytes())?;
        out.write_all(content.hash.as_bytes())?;
        let mut encoder = zstd::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        let copied = io::copy(&mut File::open(file)?, &mut encoder)?;
        encoder.finish()?;
        Ok(copied)
    };
    let copied = write().map_err(Error::io("compress into", packed))?;
    if copied != content.size {
        let problem = "it has changed while it was read".to_owned();
        return Err(Error::Archive { place: file.display().to_string(), problem });
    }
    Ok(content)
}

/// Unpacks a file into a new one, which is synced. What does not match its hash leaves no file.
pub(crate) fn unpack(packed: &Path, file: &Path) -> Result<Content, Error> {
    let damaged = |problem: String| Error::Archive { place: packed.display().to_string(), problem };
    let unpacked = (|| -> io::Result<Result<Content, String>> {
        let mut input = BufReader::new(File::open(packed)?);
        let Some(said) = header(&mut input) else { return Ok(Err("no packed file".to_owned())) };
        let mut decoder = zstd::Decoder::with_buffer(input)?;
        let mut out = File::create_new(file)?;
        let mut limited = (&mut decoder).take(said.size + 1);
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
        if (Content { size, hash: Hash(hasher.finalize().into()) }) != said {
            return Ok(Err("its content does not match its hash".to_owned()));
        }
        out.sync_all()?;
        Ok(Ok(said))
    })();
    let content = match unpacked {
        Ok(Ok(content)) => return Ok(content),
        Ok(Err(problem)) => damaged(format!("is damaged: {problem}")),
        Err(error) => Error::io("unpack into", file)(error),
    };
    let _ = std::fs::remove_file(file);
    Err(content)
}

fn header(input: &mut impl Read) -> Option<Content> {
    let mut header = [0; 56];
    input.read_exact(&mut header).ok()?;
    let (frame, rest) = header.split_at(8);
    let (magic, rest) = rest.split_at(8);
    let (size, hash) = rest.split_at(8);
    let size = u64::from_le_bytes(size.try_into().ok()?);
    let is_ours = frame == FRAME && magic == MAGIC && size <= LARGEST;
    is_ours.then_some(Content { size, hash: Hash(hash.try_into().ok()?) })
}

fn content(file: &Path) -> io::Result<Content> {
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(&mut File::open(file)?, &mut hasher)?;
    Ok(Content { size, hash: Hash(hasher.finalize().into()) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_what_was_packed_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        std::fs::write(path("a"), &bytes).unwrap();
        let content = pack(&path("a"), &path("a.zst")).unwrap();
        assert_eq!(unpack(&path("a.zst"), &path("b")).unwrap(), content);
        assert_eq!(std::fs::read(path("b")).unwrap(), bytes);

        let packed = std::fs::read(path("a.zst")).unwrap();
        assert!(packed.len() < bytes.len());
        assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), bytes);
        for at in [0, 9, 17, 30, 60, packed.len() / 2, packed.len() - 1] {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x40;
            std::fs::write(path("d.zst"), damaged).unwrap();
            assert!(unpack(&path("d.zst"), &path("d")).is_err(), "{at}");
            assert!(!path("d").exists());
        }
        for length in [0, 20, 56, packed.len() - 1] {
            std::fs::write(path("d.zst"), &packed[..length]).unwrap();
            assert!(unpack(&path("d.zst"), &path("d")).is_err(), "{length}");
        }
    }
}
