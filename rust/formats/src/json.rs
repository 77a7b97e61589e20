//! JSON arrays and NDJSON: cut into entries by one thread, decoded by many.
//!
//! The cutting ([`split`]) looks only at braces and strings. Each entry is decoded by a fast path ([`fast`])
//! that knows the usual way of writing a record, and where that does not apply by the strict one ([`strict`]),
//! which alone decides what is malformed.

mod fast;
mod split;
mod strict;

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use edgesentry_chain::AuditRecord;
use split::{Cut, Splitter};

use crate::error::Error;
use crate::format::Format;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader, Decoded, Malformed};

/// No entry may be longer: this is what bounds the memory for hostile input.
pub(crate) const MAX_ENTRY_BYTES: usize = 16 << 20;
/// Text read ahead for each thread.
const CHUNK_BYTES_PER_THREAD: usize = 4 << 20;
/// Zero bytes behind the text, so that the fast path may load whole words.
const PADDING: usize = 8;

/// Some text and where its entries are.
#[derive(Debug)]
pub struct TextChunk {
    text: Vec<u8>,
    entries: Vec<(u32, u32)>,
    fault: Option<(u64, String)>,
    first_byte: u64,
    first_line: u64,
}

impl TextChunk {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.fault.is_some())
    }

    pub(crate) fn decode(&self, range: Range<usize>) -> Decoded {
        let mut decoded = Decoded::with_capacity(range.len());
        for (position, at) in range.enumerate() {
            let Some((start, end)) =
                self.entries.get(at).map(|(start, end)| (*start as usize, *end as usize))
            else {
                decoded.malformed.extend(self.fault.as_ref().map(|(_, fault)| {
                    (position, Malformed { expected: strict::EXPECTED.into(), actual: fault.clone() })
                }));
                continue;
            };
            match fast::record(&self.text[start..], end - start) {
                Some(record) => decoded.records.push(record),
                None => match strict::record(&self.text[start..end]) {
                    Ok(record) => decoded.records.push(record),
                    Err(fault) => {
                        let actual = self.place(start + fault.offset, &fault.problem);
                        decoded
                            .malformed
                            .push((position, Malformed { expected: strict::EXPECTED.into(), actual }));
                    }
                },
            }
        }
        decoded
    }

    fn place(&self, at: usize, problem: &str) -> String {
        let line = self.first_line + newlines(&self.text[..at.min(self.text.len())]);
        format!("line {line}, byte {}: {problem}", self.first_byte + at as u64)
    }
}

/// The first `length` bytes of `text` by the fast decoder alone; `None` where it stands aside.
pub(crate) fn decode_fast(text: &[u8], length: usize) -> Option<AuditRecord> {
    fast::record(&[text, &[0; PADDING]].concat(), length)
}

/// One record: a JSON object with exactly the seven fields, byte fields as arrays of integers or as hex digits.
///
/// ```
/// let malformed = edgesentry_formats::record_from_json(b"{}").unwrap_err();
/// assert!(malformed.actual.contains("missing field"));
/// ```
pub fn record_from_json(entry: &[u8]) -> Result<AuditRecord, Malformed> {
    decode_fast(entry, entry.len()).map_or_else(|| strict::record(entry), Ok).map_err(|fault| Malformed {
        expected: strict::EXPECTED.into(),
        actual: format!("byte {}: {}", fault.offset, fault.problem),
    })
}

/// An entry by the strict decoder alone.
pub(crate) fn decode_strict(entry: &[u8]) -> Option<AuditRecord> {
    strict::record(entry).ok()
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// Reads text chunk by chunk.
pub(crate) struct TextChunks {
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
    splitter: Splitter,
    rest: Vec<u8>,
    first_byte: u64,
    first_line: u64,
    chunk_bytes: usize,
    at_end: bool,
}

impl TextChunks {
    pub(crate) fn new(name: Arc<str>, format: Format, reader: Box<dyn Read + Send>) -> TextChunks {
        TextChunks {
            name,
            reader,
            splitter: Splitter::new(format),
            rest: Vec::new(),
            first_byte: 0,
            first_line: 1,
            chunk_bytes: (CHUNK_BYTES_PER_THREAD * rayon::current_num_threads()).clamp(4 << 20, 64 << 20),
            at_end: false,
        }
    }

    pub(crate) fn with_chunk_bytes(mut self, bytes: usize) -> TextChunks {
        self.chunk_bytes = bytes;
        self
    }

    /// Reads until `text` is `target` bytes long or the input ends.
    fn fill(&mut self, text: &mut Vec<u8>, target: usize) -> Result<(), Error> {
        let missing = target.saturating_sub(text.len()) as u64;
        text.reserve_exact(missing as usize + PADDING);
        let io_error = |source| Error::reading(&self.name, source);
        let read = self.reader.by_ref().take(missing).read_to_end(text).map_err(io_error)?;
        self.at_end = (read as u64) < missing;
        Ok(())
    }
}

impl ChunkReader for TextChunks {
    fn next_chunk(&mut self, _: &Progress) -> Result<Option<Chunk>, Error> {
        let mut text = std::mem::take(&mut self.rest);
        let mut target = self.chunk_bytes.max(text.len());
        loop {
            if !self.at_end {
                self.fill(&mut text, target)?;
            }
            let Cut { entries, consumed, fault, splitter } = self.splitter.cut(&text, self.at_end);
            if entries.is_empty() && fault.is_none() {
                if self.at_end {
                    return Ok(None);
                }
                if text.len() - consumed > MAX_ENTRY_BYTES {
                    let line = self.first_line + newlines(&text[..consumed]);
                    let byte = self.first_byte + consumed as u64;
                    return Err(Error::Unreadable {
                        name: Arc::clone(&self.name),
                        problem: format!(
                            "the entry at line {line}, byte {byte} is longer than {} MiB, so this is no export of \
                             audit records",
                            MAX_ENTRY_BYTES >> 20
                        ),
                    });
                }
                // Doubling keeps the cutting linear, however long the entry.
                target = text.len() + self.chunk_bytes.max(text.len());
                // White space ahead of an entry is not kept.
                self.first_line += newlines(&text[..consumed]);
                self.first_byte += consumed as u64;
                text.drain(..consumed);
                target -= consumed;
                self.splitter = splitter;
                continue;
            }
            self.splitter = splitter;
            self.rest = text[consumed..].to_vec();
            text.truncate(consumed);
            let lines = newlines(&text);
            text.resize(consumed + PADDING, 0);
            let mut chunk = TextChunk {
                text,
                entries,
                fault: None,
                first_byte: self.first_byte,
                first_line: self.first_line,
            };
            chunk.fault = fault
                .map(|fault| (chunk.first_byte + fault.at as u64, chunk.place(fault.at, &fault.problem)));
            self.first_byte += consumed as u64;
            self.first_line += lines;
            return Ok(Some(Chunk::Text(chunk)));
        }
    }
}

#[cfg(test)]
mod tests;
