//! JSON arrays and NDJSON: one thread splits text into entries, many threads decode them.
//!
//! Splitting ([`split`] for arrays, [`objects`] for objects outside an array) looks only at lines, braces and strings.
//! A fast path ([`fast`]) decodes entries in the usual form of a record. All others go to the strict decoder
//! ([`strict`]), which alone decides whether an entry is malformed.

mod block;
mod fast;
mod objects;
mod split;
mod strict;

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::{AuditRecord, RecordRef};
use split::{Cut, Fault, Splitter};

use crate::columns::ColumnNames;
use crate::error::Error;
use crate::format::Format;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader, Decoded, Malformed};
use crate::recognise::not_records;

/// Maximum size of an entry, in bytes. This limits memory for hostile input.
pub(crate) const MAX_ENTRY_BYTES: usize = 16 << 20;
/// Bytes of text read ahead per thread.
const CHUNK_BYTES_PER_THREAD: usize = 4 << 20;
/// Bytes of text of the first chunk, before which nothing can be verified. Each next chunk has twice as many.
const FIRST_CHUNK_BYTES: usize = 1 << 20;
/// Minimum bytes of text per entry of a chunk, which limits the number of entries. A record takes more, so this delays
/// only other entries, whose positions and findings would take far more memory than the text.
const MIN_ENTRY_BYTES: usize = 128;
/// Zero bytes after the text, so that the fast path may load whole blocks.
const PADDING: usize = block::BLOCK;
/// Bytes of text for which the first buffer has space.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of text between two positions with a precomputed line number.
const LINES_BYTES: usize = 64 << 10;

/// Buffers of texts that are no longer used. The next texts take them, so that memory is not allocated and cleared for
/// each.
type Buffers = Arc<Mutex<Vec<Vec<u8>>>>;

/// A text at the front of a buffer, which has at least [`PADDING`] bytes behind it.
#[derive(Debug)]
struct Text {
    buffer: Vec<u8>,
    length: usize,
    unused: Buffers,
}

impl Text {
    /// Creates a text of these bytes.
    fn new(bytes: &[u8], unused: &Buffers) -> Text {
        let size = bytes.len() + PADDING;
        let buffer = unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = buffer.filter(|buffer| buffer.len() >= size).unwrap_or_else(|| vec![0; size]);
        buffer[..bytes.len()].copy_from_slice(bytes);
        Text { buffer, length: bytes.len(), unused: Arc::clone(unused) }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Returns the text from `start` on, and zero bytes after it.
    fn padded(&self, start: usize) -> &[u8] {
        &self.buffer[start..self.length + PADDING]
    }

    /// Cuts the text off, and clears the bytes after it.
    fn truncate(&mut self, length: usize) {
        self.length = length;
        self.buffer[length..length + PADDING].fill(0);
    }

    /// Removes bytes from the front.
    fn drain(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.length, 0);
        self.length -= bytes;
    }

    /// Reads until the text has `target` bytes or the input ends. Returns true at the end.
    fn read_to(&mut self, target: usize, reader: &mut dyn Read) -> std::io::Result<bool> {
        while self.length < target {
            let size = self.buffer.len() - PADDING;
            if self.length == size {
                // A small file takes a small buffer.
                self.buffer.resize((2 * size).max(FIRST_BYTES).min(target) + PADDING, 0);
                continue;
            }
            match reader.read(&mut self.buffer[self.length..size.min(target)]) {
                Ok(0) => return Ok(true),
                Ok(read) => self.length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.unused.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// A piece of text and the positions of its entries.
#[derive(Debug)]
pub struct TextChunk {
    text: Text,
    entries: Vec<(u32, u32)>,
    fault: Option<(u64, String)>,
    first_byte: u64,
    first_line: u64,
    /// The line number at every multiple of [`LINES_BYTES`].
    lines: Vec<u64>,
    names: Option<Arc<ColumnNames>>,
}

impl TextChunk {
    /// Returns the size of the text.
    pub(crate) fn bytes(&self) -> usize {
        self.text.length
    }

    /// Creates a chunk of `text`. Returns it with the number of the line after it.
    fn new(text: Text, entries: Vec<(u32, u32)>, first_byte: u64, first_line: u64) -> (TextChunk, u64) {
        let mut line = first_line;
        let count = |block: &[u8]| {
            let first = line;
            line += newlines(block);
            first
        };
        let lines = text.bytes().chunks(LINES_BYTES).map(count).collect();
        (TextChunk { text, entries, fault: None, first_byte, first_line, lines, names: None }, line)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.fault.is_some())
    }

    pub(crate) fn decode(&self, range: Range<usize>) -> Decoded {
        let mut decoded = Decoded::with_capacity(range.len());
        let mut places = Places::of(self);
        for (position, at) in range.enumerate() {
            let Some((start, end)) =
                self.entries.get(at).map(|(start, end)| (*start as usize, *end as usize))
            else {
                decoded.malformed.extend(self.fault.as_ref().map(|(_, fault)| {
                    (position, Malformed { expected: strict::EXPECTED.into(), actual: fault.clone() })
                }));
                continue;
            };
            match self.fast(start, end) {
                Some(record) => decoded.records.push(record.to_record()),
                None => match self.strict(&self.text.bytes()[start..end]) {
                    Ok(record) => decoded.records.push(record),
                    Err(fault) => {
                        let actual = places.place(start + fault.offset, &fault.problem);
                        decoded
                            .malformed
                            .push((position, Malformed { expected: strict::EXPECTED.into(), actual }));
                    }
                },
            }
        }
        decoded
    }

    /// Decodes a range of the entries into records whose text is that of the chunk. Returns `None` if one of them is not
    /// a record of the usual form.
    pub(crate) fn lent(&self, range: Range<usize>) -> Option<Vec<RecordRef<'_>>> {
        let mut records = Vec::with_capacity(range.len());
        for (start, end) in self.entries.get(range)? {
            records.push(self.fast(*start as usize, *end as usize)?);
        }
        Some(records)
    }

    /// Decodes an entry by the fast path, which knows only the names of the fields.
    fn fast(&self, start: usize, end: usize) -> Option<RecordRef<'_>> {
        match self.names.as_ref().is_some_and(|names| names.is_renamed()) {
            true => None,
            false => fast::record(self.text.padded(start), end - start),
        }
    }

    fn strict(&self, entry: &[u8]) -> Result<AuditRecord, strict::Fault> {
        match &self.names {
            None => strict::record(entry),
            Some(names) => strict::named_record(entry, names),
        }
    }
}

/// Finds the line numbers of positions in ascending order. Each byte is counted once, except for a block before the
/// first position.
struct Places<'a> {
    chunk: &'a TextChunk,
    /// A position and its line number.
    known: (usize, u64),
}

impl Places<'_> {
    fn of(chunk: &TextChunk) -> Places<'_> {
        Places { chunk, known: (0, chunk.first_line) }
    }

    fn place(&mut self, at: usize, problem: &str) -> String {
        let TextChunk { text, lines, first_byte, .. } = self.chunk;
        let text = text.bytes();
        let counted = at.min(text.len());
        let block = (counted / LINES_BYTES).min(lines.len().saturating_sub(1));
        if let Some(line) = lines.get(block)
            && !(block * LINES_BYTES..=counted).contains(&self.known.0)
        {
            self.known = (block * LINES_BYTES, *line);
        }
        let line = self.known.1 + newlines(&text[self.known.0..counted]);
        self.known = (counted, line);
        format!("line {line}, byte {}: {problem}", first_byte + at as u64)
    }
}

/// Decodes the first `length` bytes of `text` with the fast decoder alone. Returns `None` if it does not support the
/// form.
pub(crate) fn decode_fast(text: &[u8], length: usize) -> Option<AuditRecord> {
    fast::record(&[text, &[0; PADDING]].concat(), length).map(|record| record.to_record())
}

/// Like [`decode_fast`], byte by byte, by the model of blocks and by all instructions that the CPU has.
pub(crate) fn decode_fast_all(text: &[u8], length: usize) -> Vec<Option<AuditRecord>> {
    let text = [text, &[0; PADDING]].concat();
    let records = block::run_all(fast::Record { text: &text, length }).into_iter();
    records.map(|record| record.map(|record| record.to_record())).collect()
}

/// Returns the index after the brace that closes the object at the start of `text`, found in each of these ways.
pub(crate) fn object_ends(text: &[u8]) -> Vec<Option<usize>> {
    block::run_all(split::ObjectEnd(text))
}

/// Parses one record: a JSON object with exactly the seven fields, byte fields as arrays of integers or as hex digits.
///
/// ```
/// let malformed = edgesentry_formats::record_from_json(b"{}").unwrap_err();
/// assert!(malformed.actual.contains("missing field"));
/// ```
///
/// # Errors
/// The text is not a record; the error has the expected and the actual form.
pub fn record_from_json(entry: &[u8]) -> Result<AuditRecord, Malformed> {
    decode_fast(entry, entry.len()).map_or_else(|| strict::record(entry), Ok).map_err(|fault| Malformed {
        expected: strict::EXPECTED.into(),
        actual: format!("byte {}: {}", fault.offset, fault.problem),
    })
}

/// Decodes an entry with the strict decoder alone.
pub(crate) fn decode_strict(entry: &[u8]) -> Option<AuditRecord> {
    strict::record(entry).ok()
}

// Bytes examined on this thread, except by decoding.
#[cfg(test)]
std::thread_local! {
    static WORK: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts examined bytes, for the tests.
fn look(_bytes: usize) {
    #[cfg(test)]
    WORK.set(WORK.get() + _bytes as u64);
}

fn newlines(text: &[u8]) -> u64 {
    look(text.len());
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// Reads text chunk by chunk.
pub(crate) struct TextChunks {
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
    splitter: Splitter,
    /// The text read; its first `cut_bytes` have been returned.
    text: Text,
    cut_bytes: usize,
    /// The position of the first byte not yet returned.
    first_byte: u64,
    first_line: u64,
    /// The size of the next chunk, and of the largest.
    chunk_bytes: usize,
    max_chunk_bytes: usize,
    at_end: bool,
    names: Option<Arc<ColumnNames>>,
}

impl TextChunks {
    pub(crate) fn new(name: Arc<str>, format: Format, reader: Box<dyn Read + Send>) -> TextChunks {
        TextChunks {
            name,
            reader,
            splitter: Splitter::new(format),
            text: Text::new(&[], &Buffers::default()),
            cut_bytes: 0,
            first_byte: 0,
            first_line: 1,
            chunk_bytes: FIRST_CHUNK_BYTES,
            max_chunk_bytes: (CHUNK_BYTES_PER_THREAD * rayon::current_num_threads()).clamp(4 << 20, 64 << 20),
            at_end: false,
            names: None,
        }
    }

    pub(crate) fn with_names(mut self, names: &Arc<ColumnNames>) -> TextChunks {
        self.names = (!names.is_plain()).then(|| Arc::clone(names));
        self
    }

    pub(crate) fn with_chunk_bytes(mut self, bytes: usize) -> TextChunks {
        (self.chunk_bytes, self.max_chunk_bytes) = (bytes, bytes);
        self
    }

    /// Reads until `target` bytes are available, or the input ends.
    fn fill(&mut self, target: usize) -> Result<(), Error> {
        self.text.drain(self.cut_bytes);
        self.cut_bytes = 0;
        let end = self.text.read_to(target, &mut self.reader);
        self.at_end = end.map_err(|source| Error::reading(&self.name, source))?;
        Ok(())
    }

    /// Skips `bytes` of the available text.
    fn skip(&mut self, bytes: usize) {
        let skipped = &self.text.bytes()[self.cut_bytes..self.cut_bytes + bytes];
        self.first_line += newlines(skipped);
        self.first_byte += bytes as u64;
        self.cut_bytes += bytes;
    }

    /// Returns `bytes` of the text with their entries. The longer part stays in place and is not copied.
    fn give_out(&mut self, bytes: usize, entries: Vec<(u32, u32)>, fault: Option<Fault>) -> TextChunk {
        let end = self.cut_bytes + bytes;
        let mut text = if bytes < (self.text.length - end) || self.cut_bytes > 0 {
            let text = Text::new(&self.text.bytes()[self.cut_bytes..end], &self.text.unused);
            self.cut_bytes = end;
            text
        } else {
            let rest = Text::new(&self.text.bytes()[end..], &self.text.unused);
            std::mem::replace(&mut self.text, rest)
        };
        text.truncate(bytes);
        let (mut chunk, next_line) = TextChunk::new(text, entries, self.first_byte, self.first_line);
        let place = |fault: Fault| {
            (chunk.first_byte + fault.at as u64, Places::of(&chunk).place(fault.at, &fault.problem))
        };
        chunk.fault = fault.map(place);
        chunk.names = self.names.clone();
        self.first_byte += bytes as u64;
        self.first_line = next_line;
        chunk
    }

    /// Returns the message for an input whose only entry, at these positions of the available text, is another kind of
    /// file than records.
    fn other_file(&self, start: usize, end: usize) -> Option<String> {
        let text = &self.text.bytes()[self.cut_bytes..];
        let is_all = self.first_byte == 0
            && text[..start].trim_ascii().is_empty()
            && text[end..].trim_ascii().is_empty();
        is_all.then(|| not_records(&text[start..end]))?
    }

    fn too_long(&self) -> Error {
        let (line, byte) = (self.first_line, self.first_byte);
        let problem = format!(
            "the entry at line {line}, byte {byte} is longer than {} MiB, so this is not an export of audit records",
            MAX_ENTRY_BYTES >> 20
        );
        Error::Unreadable { name: Arc::clone(&self.name), problem }
    }
}

impl ChunkReader for TextChunks {
    fn next_chunk(&mut self, _: &Progress) -> Result<Option<Chunk>, Error> {
        let mut target = self.chunk_bytes;
        let mut is_short = self.text.length - self.cut_bytes <= self.chunk_bytes / 2;
        loop {
            if is_short && !self.at_end {
                self.fill(target)?;
            }
            let text = &self.text.bytes()[self.cut_bytes..];
            let max_entries = (self.chunk_bytes / MIN_ENTRY_BYTES).max(1);
            let Cut { entries, consumed, fault, splitter } =
                self.splitter.cut(text, self.at_end, max_entries);
            self.splitter = splitter;
            if let ([(start, end)], None, true) = (&entries[..], &fault, self.at_end)
                && let Some(problem) = self.other_file(*start as usize, *end as usize)
            {
                return Err(Error::Unreadable { name: Arc::clone(&self.name), problem });
            }
            if !entries.is_empty() || fault.is_some() {
                self.chunk_bytes = (2 * self.chunk_bytes).min(self.max_chunk_bytes);
                return Ok(Some(Chunk::Text(self.give_out(consumed, entries, fault))));
            }
            if self.at_end {
                return Ok(None);
            }
            // White space before an entry is dropped.
            self.skip(consumed);
            let left = self.text.length - self.cut_bytes;
            if left > MAX_ENTRY_BYTES {
                return Err(self.too_long());
            }
            // Doubling keeps the cost of splitting linear for entries of any length.
            target = left + self.chunk_bytes.max(left);
            is_short = true;
        }
    }
}

#[cfg(test)]
mod tests;
