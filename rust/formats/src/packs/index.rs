//! Where the payloads of a pack are: in memory while the pack grows, in a file beside it afterwards.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use edgesentry_chain::Hash;

use super::file::PackFile;
use super::frame::{Frame, PACK_HEADER_BYTES, PackKey};

const INDEX_MAGIC: &[u8; 8] = b"edsindx\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;
const CHECK_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;
const ENTRIES_OF_A_PAGE: usize = (PAGE_BYTES - CHECK_BYTES) / ENTRY_BYTES;

/// An index with more entries is damaged: two for each frame of a pack, at most.
const MAX_ENTRIES: u64 = 2 * super::MAX_FRAMES_IN_MEMORY;

/// The key of an entry: the first half of the hash of a name, or of a payload hash.
pub(super) type EntryKey = [u8; 16];

/// Returns the key of a name.
pub fn key_of_name(name: &str) -> [u8; 16] {
    key_of(b"name ", name.as_bytes())
}

/// Returns the key of a payload hash.
pub fn key_of_hash(hash: &Hash) -> [u8; 16] {
    key_of(b"hash ", hash.as_bytes())
}

fn key_of(kind: &[u8], bytes: &[u8]) -> EntryKey {
    let hash = *blake3::Hasher::new().update(kind).update(bytes).finalize().as_bytes();
    let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
    key
}

/// The frames of a pack by their keys, in memory.
#[derive(Clone, Debug)]
pub struct Offsets {
    first: HashMap<EntryKey, u64>,
    /// Further frames with the same key.
    more: HashMap<EntryKey, Vec<u64>>,
    /// The number of frames.
    pub frames: u64,
    /// The end of the last frame.
    pub end: u64,
    last: Last,
}

/// The last frame that was added.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Last {
    offset: u64,
    name: EntryKey,
    stored_at_ms: u64,
}

impl Last {
    fn of(frame: &Frame) -> Last {
        Last { offset: frame.offset, name: key_of_name(&frame.name), stored_at_ms: frame.stored_at_ms }
    }
}

impl Default for Offsets {
    fn default() -> Offsets {
        Offsets {
            first: HashMap::new(),
            more: HashMap::new(),
            frames: 0,
            end: PACK_HEADER_BYTES as u64,
            last: Last::default(),
        }
    }
}

impl Offsets {
    /// Adds a frame behind the others; one that was added before is ignored.
    pub fn add(&mut self, frame: &Frame) {
        if frame.offset < self.end {
            return;
        }
        (self.end, self.last, self.frames) = (frame.end(), Last::of(frame), self.frames + 1);
        if frame.is_erased {
            return;
        }
        // Each copy of a payload has its places: another one may be erased.
        let hash = frame.payload_hash().map(|hash| key_of_hash(&hash));
        for key in std::iter::once(self.last.name).chain(hash) {
            match self.first.entry(key) {
                Entry::Vacant(place) => _ = place.insert(frame.offset),
                Entry::Occupied(_) => self.more.entry(key).or_default().push(frame.offset),
            }
        }
    }

    /// Returns true if the last frame is still in the pack. A writer that takes frames back stores others with a later
    /// time.
    pub(super) fn is_in(&self, file: &PackFile, key: &PackKey) -> io::Result<bool> {
        if self.frames == 0 {
            return Ok(true);
        }
        let frame = Frame::read(file, key, self.last.offset)?;
        Ok(frame.is_some_and(|frame| frame.end() == self.end && Last::of(&frame) == self.last))
    }

    pub(super) fn get(&self, key: &EntryKey) -> Vec<u64> {
        let more = self.more.get(key).into_iter().flatten();
        self.first.get(key).into_iter().chain(more).copied().collect()
    }

    /// Returns the bytes of an index.
    pub fn encode(&self, key: &PackKey) -> Vec<u8> {
        let more =
            self.more.iter().flat_map(|(key, offsets)| offsets.iter().map(move |offset| (key, offset)));
        let mut entries: Vec<(&EntryKey, &u64)> = self.first.iter().chain(more).collect();
        entries.sort_unstable();
        let header = IndexHeader { covered: self.end, entries: entries.len() as u64 };
        let mut index = header.encode(key).to_vec();
        for (number, entries) in entries.chunks(ENTRIES_OF_A_PAGE).enumerate() {
            let mut page = [0xff; PAGE_BYTES];
            for (place, (key, offset)) in page[CHECK_BYTES..].chunks_exact_mut(ENTRY_BYTES).zip(entries) {
                place[..16].copy_from_slice(*key);
                place[16..].copy_from_slice(&offset.to_le_bytes());
            }
            let check = header.check_of_page(key, number as u64, &page[CHECK_BYTES..]);
            page[..CHECK_BYTES].copy_from_slice(&check);
            index.extend_from_slice(&page);
        }
        index
    }
}

/// The header of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexHeader {
    /// The length of the pack that the index covers.
    pub(super) covered: u64,
    entries: u64,
}

/// An index that does not have its checks, or not its length.
#[derive(Debug)]
pub(super) struct Damaged;

impl IndexHeader {
    fn encode(&self, key: &PackKey) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(INDEX_MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&self.covered.to_le_bytes());
        header[24..32].copy_from_slice(&self.entries.to_le_bytes());
        let check = key.check(&[&header[..48]]);
        header[48..].copy_from_slice(&check);
        header
    }

    /// Returns the check of a page, which is valid with this header only.
    fn check_of_page(&self, key: &PackKey, number: u64, entries: &[u8]) -> [u8; CHECK_BYTES] {
        let of_header = [self.covered.to_le_bytes(), self.entries.to_le_bytes()];
        key.check(&[of_header.as_flattened(), &number.to_le_bytes(), entries])
    }

    fn pages(&self) -> u64 {
        self.entries.div_ceil(ENTRIES_OF_A_PAGE as u64)
    }

    /// Reads the header of an index.
    pub(super) fn read(file: &PackFile, key: &PackKey) -> io::Result<Result<IndexHeader, Damaged>> {
        let mut header = [0; HEADER_BYTES];
        if file.read_at(&mut header, 0)? < header.len() {
            return Ok(Err(Damaged));
        }
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let index = IndexHeader { covered: number(16), entries: number(24) };
        let length = index.pages().checked_mul(PAGE_BYTES as u64).and_then(|pages| pages.checked_add(64));
        let is_whole =
            index.encode(key) == header && index.entries <= MAX_ENTRIES && length == Some(file.length()?);
        Ok(if is_whole { Ok(index) } else { Err(Damaged) })
    }

    /// Returns the places of the frames with a key.
    pub(super) fn find(
        &self,
        file: &PackFile,
        pack: &PackKey,
        key: &EntryKey,
    ) -> io::Result<Result<Vec<u64>, Damaged>> {
        let mut page = Page { number: u64::MAX, bytes: [0; PAGE_BYTES], entries: 0 };
        // The first page that does not end before the key is one from `low` to `high`.
        let (mut low, mut high) = (0, self.pages());
        // Keys are hashes, so the place of a key is nearly proportional to it.
        let mut next = u64::try_from((u128::from(high) * u128::from(first_half(key))) >> 64).unwrap_or(low);
        let mut probes = 0;
        while low < high {
            let number = next.clamp(low, high - 1);
            if page.read(self, (file, pack), number)?.is_err() {
                return Ok(Err(Damaged));
            }
            if page.last().is_none_or(|last| last < *key) {
                low = number + 1;
                next = low + (1 << probes) - 1;
            } else {
                high = number;
                next = number.saturating_sub(1 << probes);
                if page.first().is_some_and(|first| first < *key) {
                    low = number;
                }
            }
            probes += 1;
            if probes > 3 {
                next = low + (high - low) / 2;
                probes = probes.min(4);
            }
        }
        let mut offsets = Vec::new();
        for number in low..self.pages() {
            if page.number != number && page.read(self, (file, pack), number)?.is_err() {
                return Ok(Err(Damaged));
            }
            offsets.extend(page.entries().filter(|(at, _)| at == key).map(|(_, offset)| offset));
            if page.last().is_none_or(|last| last > *key) {
                break;
            }
        }
        Ok(Ok(offsets))
    }
}

/// A page of an index.
struct Page {
    number: u64,
    bytes: [u8; PAGE_BYTES],
    entries: usize,
}

impl Page {
    fn read(
        &mut self,
        index: &IndexHeader,
        (file, key): (&PackFile, &PackKey),
        number: u64,
    ) -> io::Result<Result<(), Damaged>> {
        let read = file.read_at(&mut self.bytes, (HEADER_BYTES as u64) + number * PAGE_BYTES as u64)?;
        let (check, entries) = self.bytes.split_at(CHECK_BYTES);
        if read < PAGE_BYTES || index.check_of_page(key, number, entries) != *check {
            return Ok(Err(Damaged));
        }
        let left = index.entries.saturating_sub(number.saturating_mul(ENTRIES_OF_A_PAGE as u64));
        self.number = number;
        self.entries = usize::try_from(left).unwrap_or(usize::MAX).min(ENTRIES_OF_A_PAGE);
        Ok(Ok(()))
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (EntryKey, u64)> + '_ {
        let places = self.bytes[CHECK_BYTES..].chunks_exact(ENTRY_BYTES).take(self.entries);
        places.map(|place| {
            let (key, offset) = place.split_at(16);
            (key.try_into().unwrap_or_default(), u64::from_le_bytes(offset.try_into().unwrap_or_default()))
        })
    }

    fn first(&self) -> Option<EntryKey> {
        self.entries().next().map(|(key, _)| key)
    }

    fn last(&self) -> Option<EntryKey> {
        self.entries().next_back().map(|(key, _)| key)
    }
}

fn first_half(key: &EntryKey) -> u64 {
    let [half @ .., _, _, _, _, _, _, _, _] = *key;
    u64::from_be_bytes(half)
}
