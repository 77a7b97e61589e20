//! JSON arrays and NDJSON: one thread splits text into entries, many threads decode them.
//!
//! Splitting ([`split`] for arrays, [`objects`] for objects outside an array) looks only at lines, braces and strings.
//! A fast path ([`fast`]) decodes entries in the usual form of a record. All others go to the strict decoder
//! ([`strict`]), which alone decides whether an entry is malformed.

mod fast;
mod objects;
mod split;
mod strict;

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use edgesentry_chain::AuditRecord;
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
/// Minimum bytes of text per entry of a chunk, which limits the number of entries. A record takes more, so this delays
/// only other entries, whose positions and findings would take far more memory than the text.
const MIN_ENTRY_BYTES: usize = 128;
/// Zero bytes after the text, so that the fast path may load whole words.
const PADDING: usize = 8;
/// Bytes of text between two positions with a precomputed line number.
const LINES_BYTES: usize = 64 << 10;

/// A piece of text and the positions of its entries.
#[derive(Debug)]
pub struct TextChunk {
    text: Vec<u8>,
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
        self.text.len()
    }

    /// Creates a chunk of `text`. Returns it with the number of the line after it.
    fn new(
        mut text: Vec<u8>,
        entries: Vec<(u32, u32)>,
        first_byte: u64,
        first_line: u64,
    ) -> (TextChunk, u64) {
        let mut line = first_line;
        let count = |block: &[u8]| {
            let first = line;
            line += newlines(block);
            first
        };
        let lines = text.chunks(LINES_BYTES).map(count).collect();
        text.resize(text.len() + PADDING, 0);
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
            // The fast path knows only the names of the fields.
            let fast = match self.names.as_ref().is_some_and(|names| names.is_renamed()) {
                true => None,
                false => fast::record(&self.text[start..], end - start),
            };
            match fast {
                Some(record) => decoded.records.push(record),
                None => match self.strict(&self.text[start..end]) {
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
}

impl TextChunk {
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
    fast::record(&[text, &[0; PADDING]].concat(), length)
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
    text: Vec<u8>,
    cut_bytes: usize,
    /// The position of the first byte not yet returned.
    first_byte: u64,
    first_line: u64,
    chunk_bytes: usize,
    at_end: bool,
    names: Option<Arc<ColumnNames>>,
}

impl TextChunks {
    pub(crate) fn new(name: Arc<str>, format: Format, reader: Box<dyn Read + Send>) -> TextChunks {
        TextChunks {
            name,
            reader,
            splitter: Splitter::new(format),
            text: Vec::new(),
            cut_bytes: 0,
            first_byte: 0,
            first_line: 1,
            chunk_bytes: (CHUNK_BYTES_PER_THREAD * rayon::current_num_threads()).clamp(4 << 20, 64 << 20),
            at_end: false,
            names: None,
        }
    }

    pub(crate) fn with_names(mut self, names: &Arc<ColumnNames>) -> TextChunks {
        self.names = (!names.is_plain()).then(|| Arc::clone(names));
        self
    }

    pub(crate) fn with_chunk_bytes(mut self, bytes: usize) -> TextChunks {
        self.chunk_bytes = bytes;
        self
    }

    /// Reads until `target` bytes are available, or the input ends.
    fn fill(&mut self, target: usize) -> Result<(), Error> {
        self.text.drain(..self.cut_bytes);
        self.cut_bytes = 0;
        let missing = target.saturating_sub(self.text.len()) as u64;
        self.text.reserve_exact(missing as usize + PADDING);
        let io_error = |source| Error::reading(&self.name, source);
        let read = self.reader.by_ref().take(missing).read_to_end(&mut self.text).map_err(io_error)?;
        self.at_end = (read as u64) < missing;
        Ok(())
    }

    /// Skips `bytes` of the available text.
    fn skip(&mut self, bytes: usize) {
        let skipped = &self.text[self.cut_bytes..self.cut_bytes + bytes];
        self.first_line += newlines(skipped);
        self.first_byte += bytes as u64;
        self.cut_bytes += bytes;
    }

    /// Returns `bytes` of the text with their entries. The longer part stays in place and is not copied.
    fn give_out(&mut self, bytes: usize, entries: Vec<(u32, u32)>, fault: Option<Fault>) -> TextChunk {
        let end = self.cut_bytes + bytes;
        let text = if bytes < (self.text.len() - end) || self.cut_bytes > 0 {
            let mut text = Vec::with_capacity(bytes + PADDING);
            text.extend_from_slice(&self.text[self.cut_bytes..end]);
            self.cut_bytes = end;
            text
        } else {
            let rest = self.text[end..].to_vec();
            let mut text = std::mem::replace(&mut self.text, rest);
            text.truncate(end);
            text
        };
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
        let text = &self.text[self.cut_bytes..];
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
        let mut is_short = self.text.len() - self.cut_bytes <= self.chunk_bytes / 2;
        loop {
            if is_short && !self.at_end {
                self.fill(target)?;
            }
            let text = &self.text[self.cut_bytes..];
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
                return Ok(Some(Chunk::Text(self.give_out(consumed, entries, fault))));
            }
            if self.at_end {
                return Ok(None);
            }
            // White space before an entry is dropped.
            self.skip(consumed);
            let left = self.text.len() - self.cut_bytes;
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
