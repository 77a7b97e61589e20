//! Inputs compressed as a whole: gzip and Zstandard are decompressed while they are read.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use flate2::bufread::GzDecoder;

use crate::error::{Error, Undecodable};
use crate::format::Compression;
use crate::read::peek;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of compressed data per read.
const READ_BYTES: usize = 256 << 10;
/// The largest window in memory, as a power of two: 128 MiB, the limit of `zstd -d`.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Decompresses gzip or zstd.
pub(crate) fn peel(
    name: &Arc<str>,
    reader: Box<dyn Read + Send>,
) -> Result<(Compression, Box<dyn Read + Send>), Error> {
    let (head, reader) = peek(name, reader, 4)?;
    let failed = Arc::new(AtomicBool::new(false));
    let packed =
        |reader| BufReader::with_capacity(READ_BYTES, Packed { reader, failed: Arc::clone(&failed) });
    if head.starts_with(GZIP) {
        let reader = GzipMembers { state: State::Between(packed(reader)), members: 0 };
        return Ok((Compression::Gzip, Box::new(Unpacked { problem: gzip_problem, reader, failed })));
    }
    if head.starts_with(ZSTD) || is_skippable(&head) {
        let reader = zstd_decoder(packed(reader)).map_err(|source| Error::Io {
            name: Arc::clone(name),
            action: "read",
            source,
        })?;
        return Ok((Compression::Zstd, Box::new(Unpacked { problem: zstd_problem, reader, failed })));
    }
    Ok((Compression::None, reader))
}

fn zstd_decoder<R: BufRead>(reader: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Returns true if a skippable Zstandard frame starts here, such as the one that pzstd writes before its data.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// The members of a gzip file, in order. Zero bytes after a member are padding, as on a tape or disk.
struct GzipMembers<R> {
    state: State<R>,
    members: u64,
}

enum State<R> {
    /// Before a member or at the end.
    Between(R),
    Within(Box<GzDecoder<R>>),
    /// During the transition.
    Moving,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Between(reader) => {
                    if !begins_member(reader, self.members > 0)? {
                        return Ok(0);
                    }
                }
                State::Within(decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => self.members += 1,
                    read => return Ok(read),
                },
                State::Moving => {}
            }
            self.state = match std::mem::replace(&mut self.state, State::Moving) {
                State::Between(reader) => State::Within(Box::new(GzDecoder::new(reader))),
                State::Within(decoder) => State::Between(decoder.into_inner()),
                State::Moving => return Ok(0),
            };
        }
    }
}

/// Returns true if a member follows, false at the end, and an error if other data follows.
fn begins_member<R: BufRead>(reader: &mut R, padded: bool) -> io::Result<bool> {
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let zeros = if padded { bytes.iter().take_while(|byte| **byte == 0).count() } else { 0 };
        match bytes.get(zeros) {
            Some(byte) if *byte == GZIP[0] || !padded => {
                reader.consume(zeros);
                return Ok(true);
            }
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, TRAILING)),
            None if zeros == 0 => return Ok(false),
            None => reader.consume(zeros),
        }
    }
}

const TRAILING: &str = "bytes that are not gzip follow it";

fn gzip_problem(error: &io::Error) -> String {
    if error.get_ref().is_some_and(|error| error.to_string() == TRAILING) {
        return format!("{TRAILING}; remove them, or pass joined files one by one");
    }
    damaged("gzip", error)
}

/// Returns our message for an error of Zstandard; only one of these errors means damaged data.
fn zstd_problem(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("requires too much memory") {
        let window = 1u64 << (ZSTD_WINDOW_LOG - 20);
        return format!(
            "its zstd window is larger than the {window} MiB that are held in memory; compress it again without \
             --long: zstd -d --long=31 -c FILE | zstd -o NEW"
        );
    }
    if text.contains("Dictionary mismatch") {
        return "it is zstd with a dictionary; decompress it first: zstd -d -D DICTIONARY FILE".to_owned();
    }
    if text.contains("Unsupported frame") || text.contains("Version not supported") {
        return format!("it is zstd in an unsupported form ({text}); decompress it first: zstd -d FILE");
    }
    if text.contains("Unknown frame descriptor") {
        return "bytes that are not zstd follow it; remove them, or pass joined files one by one".to_owned();
    }
    damaged("zstd", error)
}

fn damaged(format: &str, error: &io::Error) -> String {
    format!("the {format} data is damaged or truncated ({error}); get an intact copy")
}

/// The reader below a decompressor; records whether it has failed.
struct Packed {
    reader: Box<dyn Read + Send>,
    failed: Arc<AtomicBool>,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer);
        self.failed.store(read.is_err(), Relaxed);
        read
    }
}

/// A decompressor. If it fails, the input is damaged, unless a read has failed.
struct Unpacked<R> {
    problem: fn(&io::Error) -> String,
    reader: R,
    failed: Arc<AtomicBool>,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| match self.failed.load(Relaxed) {
            true => error,
            false => {
                io::Error::new(io::ErrorKind::InvalidData, Undecodable { problem: (self.problem)(&error) })
            }
        })
    }
}
