//! The bytes of a pack: its header, and frames of one payload each. docs/reference/packs.md has the layout.

use std::io;

use edgesentry_chain::Hash;

use super::file::{PackFile, invalid};

/// The size of the header of a pack.
pub const PACK_HEADER_BYTES: usize = 64;
/// The size of the header of a frame, without the name.
pub const FRAME_HEADER_BYTES: usize = 40;
/// The longest name of a frame.
pub const MAX_NAME_BYTES: usize = 512;

const PACK_MAGIC: &[u8; 8] = b"edspack\n";
const VERSION: u32 = 1;
/// In each header of a frame, behind its state. A scan finds the next frame by it.
const FRAME_MAGIC: &[u8; 4] = b"EdsF";
const LIVE: &[u8; 4] = b"live";
const GONE: &[u8; 4] = b"gone";
const HASH_DIGITS: usize = 64;
/// Bytes that a scan reads at once.
const WINDOW_BYTES: usize = 64 << 10;

/// The secret of a pack, with which the checks of its frames and of its index are made: bytes in a payload never pass
/// for a frame, because a device does not know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackKey([u8; 32]);

impl PackKey {
    /// Makes the key of a new pack from random bytes.
    pub fn new(random: [u8; 32]) -> PackKey {
        PackKey(random)
    }

    /// Returns the header of a pack.
    pub fn encode(&self) -> [u8; PACK_HEADER_BYTES] {
        let mut header = [0; PACK_HEADER_BYTES];
        header[..8].copy_from_slice(PACK_MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..48].copy_from_slice(&self.0);
        let check = self.check(&[&header[..48]]);
        header[48..].copy_from_slice(&check);
        header
    }

    /// Reads the header of a pack; `None` if the file is too short to have one, because its writer was interrupted.
    ///
    /// # Errors
    /// The file cannot be read, or is not a pack.
    pub fn read(file: &PackFile) -> io::Result<Option<PackKey>> {
        let mut header = [0; PACK_HEADER_BYTES];
        if file.read_at(&mut header, 0)? < header.len() {
            return Ok(None);
        }
        let key = PackKey(header[16..48].try_into().unwrap_or_default());
        if header[..8] != *PACK_MAGIC || header[8..12] != VERSION.to_le_bytes() || key.encode() != header {
            return Err(invalid(
                file,
                "is not a pack of payloads, is damaged, or is of a later release; restore it from a backup or move \
                 it away",
            ));
        }
        Ok(Some(key))
    }

    pub(super) fn check(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        let mut check = [0; 16];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        check
    }
}

/// The header of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The place of the frame in its pack.
    pub offset: u64,
    /// The name of the payload, see [`crate::content_path`].
    pub name: String,
    /// The size of the payload.
    pub payload_bytes: u32,
    /// When the payload was stored, Unix milliseconds.
    pub stored_at_ms: u64,
    /// True once the payload is erased.
    pub is_erased: bool,
}

impl Frame {
    /// Appends the frame of a payload, for a place in a pack.
    ///
    /// # Errors
    /// The name or the payload is too long.
    pub fn encode(
        key: &PackKey,
        (offset, stored_at_ms): (u64, u64),
        (name, payload): (&str, &[u8]),
        to: &mut Vec<u8>,
    ) -> io::Result<Frame> {
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let payload_bytes = u32::try_from(payload.len()).map_err(too_long)?;
        let name_bytes = u16::try_from(name.len()).map_err(too_long)?;
        if name.len() > MAX_NAME_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut checked = [0; 20];
        checked[..4].copy_from_slice(FRAME_MAGIC);
        checked[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        checked[8..10].copy_from_slice(&name_bytes.to_le_bytes());
        checked[12..20].copy_from_slice(&stored_at_ms.to_le_bytes());
        to.extend_from_slice(LIVE);
        to.extend_from_slice(&checked);
        to.extend_from_slice(&key.check(&[&checked, &offset.to_le_bytes(), name.as_bytes()]));
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(payload);
        Ok(Frame { offset, name: name.to_owned(), payload_bytes, stored_at_ms, is_erased: false })
    }

    /// Returns the frame at a place in a pack; `None` if there is none, or only a part of it.
    pub(super) fn read(file: &PackFile, key: &PackKey, offset: u64) -> io::Result<Option<Frame>> {
        let length = file.length()?;
        // Systems refuse to read at places that no file has.
        if offset >= length {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEADER_BYTES + MAX_NAME_BYTES];
        let read = file.read_at(&mut bytes, offset)?;
        Ok(Frame::parse(key, offset, &bytes[..read]).filter(|frame| frame.end() <= length))
    }

    /// Parses the header of a frame from the bytes at its place.
    pub(super) fn parse(key: &PackKey, offset: u64, bytes: &[u8]) -> Option<Frame> {
        let (state, rest) = bytes.split_first_chunk::<4>()?;
        let (checked, rest) = rest.split_first_chunk::<20>()?;
        let (check, rest) = rest.split_first_chunk::<16>()?;
        let [m0, m1, m2, m3, p0, p1, p2, p3, n0, n1, _, _, time @ ..] = *checked;
        let name = rest.get(..usize::from(u16::from_le_bytes([n0, n1])))?;
        if [m0, m1, m2, m3] != *FRAME_MAGIC
            || name.len() > MAX_NAME_BYTES
            || key.check(&[checked, &offset.to_le_bytes(), name]) != *check
        {
            return None;
        }
        Some(Frame {
            offset,
            name: str::from_utf8(name).ok()?.to_owned(),
            payload_bytes: u32::from_le_bytes([p0, p1, p2, p3]),
            stored_at_ms: u64::from_le_bytes(time),
            is_erased: state == GONE,
        })
    }

    /// Returns the place of the payload.
    pub fn payload_at(&self) -> u64 {
        self.offset.saturating_add((FRAME_HEADER_BYTES + self.name.len()) as u64)
    }

    /// Returns the place behind the frame.
    pub fn end(&self) -> u64 {
        self.payload_at().saturating_add(self.payload_bytes.into())
    }

    /// Returns the payload hash, which is a part of the name.
    pub fn payload_hash(&self) -> Option<Hash> {
        let digits = self.name.get(self.name.len().checked_sub(HASH_DIGITS)?..)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).ok().map(|()| Hash(hash))
    }

    /// Marks the frame as erased; its payload must be overwritten.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn mark_erased(&self, file: &PackFile) -> io::Result<()> {
        file.write_all_at(GONE, self.offset)
    }
}

/// What a scan found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// The end of the last frame.
    pub end: u64,
    /// True if bytes before the last frame are not of any frame.
    pub has_gaps: bool,
    /// True if bytes behind the last frame are not those of an interrupted write: they may be a damaged frame.
    pub has_damaged_end: bool,
    /// The length of the file when the scan began.
    pub length: u64,
}

/// Finds the frames of a pack from a place on. Behind bytes that are not a frame it looks for the next one.
///
/// # Errors
/// The file cannot be read.
pub(super) fn scan(
    file: &PackFile,
    key: &PackKey,
    from: u64,
    mut add: impl FnMut(&Frame) -> io::Result<()>,
) -> io::Result<Scan> {
    let length = file.length()?;
    let mut window = Window { file, start: 0, bytes: Vec::new() };
    let mut scan = Scan { end: from, has_gaps: false, has_damaged_end: false, length };
    let mut at = from;
    while at < length {
        let bytes = window.at(at, FRAME_HEADER_BYTES + MAX_NAME_BYTES)?;
        match Frame::parse(key, at, bytes).filter(|frame| frame.end() <= length) {
            Some(frame) => {
                scan.has_gaps |= at > scan.end;
                add(&frame)?;
                at = frame.end();
                scan.end = at;
            }
            None => {
                let rest = window.rest(at + 1)?;
                if rest.len() < FRAME_HEADER_BYTES {
                    break;
                }
                // The magic is behind the state, and the end of the window may cut it.
                let skipped = memchr::memmem::find(&rest[4..], FRAME_MAGIC);
                at += 1 + skipped.unwrap_or(rest.len() - 7) as u64;
            }
        }
    }
    scan.has_damaged_end = scan.end < length && !is_interrupted(file, key, scan.end, length)?;
    Ok(scan)
}

/// Returns true if the bytes from a place to the end are those of an interrupted write: a whole header whose payload is
/// cut, or a part of a header and the zeros of a machine that failed.
fn is_interrupted(file: &PackFile, key: &PackKey, from: u64, length: u64) -> io::Result<bool> {
    let mut bytes = [0; FRAME_HEADER_BYTES + MAX_NAME_BYTES];
    let read = file.read_at(&mut bytes, from)?;
    let bytes = &bytes[..read.min(usize::try_from(length - from).unwrap_or(usize::MAX))];
    if Frame::parse(key, from, bytes).is_some() {
        return Ok(true);
    }
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(is_part_of_header(&bytes[..written]) && is_zero(file, from + written as u64, length)?)
}

/// Returns true if a header can begin with these bytes and has more.
fn is_part_of_header(bytes: &[u8]) -> bool {
    let begin = [*LIVE, *FRAME_MAGIC];
    let begin = begin.as_flattened();
    let compared = bytes.len().min(begin.len());
    let name_bytes = bytes.get(12..14).map_or(0, |bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8);
    bytes[..compared] == begin[..compared]
        && name_bytes <= MAX_NAME_BYTES
        && bytes.len() < FRAME_HEADER_BYTES + name_bytes
}

fn is_zero(file: &PackFile, mut from: u64, to: u64) -> io::Result<bool> {
    let mut bytes = vec![0; WINDOW_BYTES];
    while from < to {
        let most = usize::try_from(to - from).unwrap_or(usize::MAX).min(bytes.len());
        let read = file.read_at(&mut bytes[..most], from)?;
        if bytes[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read == 0 {
            break;
        }
        from += read as u64;
    }
    Ok(true)
}

/// A part of a file in memory.
struct Window<'a> {
    file: &'a PackFile,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Returns `most` bytes from a place on; fewer at the end of the file.
    fn at(&mut self, offset: u64, most: usize) -> io::Result<&[u8]> {
        let rest = self.rest(offset)?;
        Ok(&rest[..rest.len().min(most)])
    }

    /// Returns the bytes from a place on that are in memory, at least those of a header of a frame, or all up to the end
    /// of the file.
    fn rest(&mut self, offset: u64) -> io::Result<&[u8]> {
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let is_held = |skip: &usize| skip + FRAME_HEADER_BYTES + MAX_NAME_BYTES <= self.bytes.len();
        let skip = match skip.filter(is_held) {
            Some(skip) => skip,
            None => {
                self.bytes.resize(WINDOW_BYTES, 0);
                let read = self.file.read_at(&mut self.bytes, offset)?;
                self.bytes.truncate(read);
                self.start = offset;
                0
            }
        };
        Ok(&self.bytes[skip..])
    }
}
