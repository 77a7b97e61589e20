//! Functions that the fuzz targets compare with each other. Not part of the interface.

use std::io::Cursor;
use std::sync::Arc;

use edgesentry_chain::AuditRecord;

use crate::error::Error;
use crate::format::Format;
use crate::json;
use crate::part::{self, Part};
use crate::read::{Malformed, entries_of};

/// Decodes the first `length` bytes of `text` with the fast decoder. Returns `None` if it does not support the form.
pub fn decode_fast(text: &[u8], length: usize) -> Option<AuditRecord> {
    json::decode_fast(text, length)
}

/// Decodes in the same way byte by byte, by the model of vector instructions, and by all instructions that the CPU has.
pub fn decode_fast_all(text: &[u8], length: usize) -> Vec<Option<AuditRecord>> {
    json::decode_fast_all(text, length)
}

/// Returns the index after the brace that closes the object at the start of `text`, found in each of these ways.
pub fn object_ends(text: &[u8]) -> Vec<Option<usize>> {
    json::object_ends(text)
}

/// Decodes an entry with the strict decoder, which is authoritative.
pub fn decode_strict(entry: &[u8]) -> Option<AuditRecord> {
    json::decode_strict(entry)
}

/// Restores a part of rows without their versions and checksums, each with its device.
pub fn part_of<'b>(rows: impl IntoIterator<Item = (Option<&'b str>, &'b [u8])>) -> Option<Part> {
    let state = |bytes| part::decode_state(bytes);
    let rows = rows.into_iter().map(|(device_id, bytes)| Some((device_id.map(Arc::from), state(bytes)?)));
    Part::from_rows(rows.collect::<Option<Vec<_>>>()?).ok()
}

/// Returns the rows of a part in the same form.
pub fn rows_of(part: &Part) -> Vec<(Option<Arc<str>>, Vec<u8>)> {
    let rows = part.rows().into_iter();
    rows.filter_map(|row| Some((row.device_id.clone(), part::encode_state(&row)?))).collect()
}

/// Returns the entries of a text, read in chunks of about `chunk_bytes`.
pub fn read_text(
    format: Format,
    text: &[u8],
    chunk_bytes: usize,
) -> Result<Vec<Result<AuditRecord, Malformed>>, Error> {
    let chunks = json::TextChunks::new("text".into(), format, Box::new(Cursor::new(text.to_vec())));
    entries_of(Box::new(chunks.with_chunk_bytes(chunk_bytes)), Arc::default()).collect()
}
