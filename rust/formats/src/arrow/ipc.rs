//! Arrow IPC: the file format with its footer, and the stream format.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary, read_footer_length};
use arrow_ipc::{Block, CompressionType, Message, MessageHeader, root_as_footer, root_as_message};
use arrow_schema::{Schema, SchemaRef};
use lz4_flex::frame::FrameDecoder;

use super::guard::{Problem, caught};
use super::{BATCH_BYTES, Consumed, LZ4_RATIO, Selection, Slices, UNSEEN_BYTES, ZSTD_RATIO};
use crate::Error;
use crate::columns::ColumnNames;
use crate::progress::Progress;
use crate::read::{Chunk, ChunkReader};

/// Maximum size of the metadata of a message and of the footer of a file, in bytes.
const METADATA_BYTES: u64 = 64 << 20;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Chunks of an Arrow IPC file or stream.
///
/// One record batch is in memory at a time, so memory is limited by the largest one, and by 2 GiB.
pub(crate) struct ArrowChunks {
    name: Arc<str>,
    messages: Messages,
    tables: Tables,
    selection: Selection,
    slices: Slices,
    done: bool,
}

impl ArrowChunks {
    /// Opens the file format. Bytes read are counted.
    pub(crate) fn file(name: Arc<str>, file: File, names: &ColumnNames) -> Result<ArrowChunks, Error> {
        let (messages, tables) = caught(&name, "Arrow", || FileMessages::open(file))?;
        ArrowChunks::new(name, Messages::File(messages), tables, names)
    }

    /// Opens the stream format. The caller's reader counts the bytes.
    pub(crate) fn stream(
        name: Arc<str>,
        reader: Box<dyn Read + Send>,
        names: &ColumnNames,
    ) -> Result<ArrowChunks, Error> {
        let mut stream = StreamMessages { reader };
        let tables = caught(&name, "Arrow", || stream.schema())?;
        ArrowChunks::new(name, Messages::Stream(stream), tables, names)
    }

    fn new(
        name: Arc<str>,
        messages: Messages,
        tables: Tables,
        names: &ColumnNames,
    ) -> Result<ArrowChunks, Error> {
        let selection = Selection::of(&name, &tables.schema, names)?;
        Ok(ArrowChunks { name, messages, tables, selection, slices: Slices::default(), done: false })
    }

    /// Turns counting off, for a file whose bytes have already been counted.
    pub(crate) fn uncounted(mut self) -> ArrowChunks {
        if let Messages::File(messages) = &mut self.messages {
            messages.consumed.left = 0;
        }
        self
    }
}

impl ChunkReader for ArrowChunks {
    fn next_chunk(&mut self, progress: &Progress) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.slices.next_chunk() {
                return Ok(Some(chunk));
            }
            if self.done {
                return Ok(None);
            }
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let ArrowChunks { name, messages, tables, selection, .. } = self;
            let step = caught(name, "Arrow", || match messages.next(progress)? {
                Some((metadata, body)) => {
                    let batch = tables.take(&metadata, body)?;
                    batch.map(|batch| selection.apply(&batch)).transpose().map(Some)
                }
                None => Ok(None),
            });
            match step {
                Ok(Some(Some(batch))) => self.slices.put(batch),
                Ok(Some(None)) => {}
                end => {
                    self.done = true;
                    end?;
                }
            }
        }
    }
}

/// The schema, and the dictionaries so far.
struct Tables {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Tables {
    fn new(schema: arrow_ipc::Schema<'_>) -> Result<Tables, Problem> {
        if !schema.endianness().equals_to_target_endianness() {
            return Err(Problem::said("its numbers are big-endian; write it on a little-endian machine"));
        }
        let schema: Schema = fb_to_schema(schema);
        Ok(Tables { schema: Arc::new(schema), dictionaries: HashMap::new() })
    }

    /// Decodes a message. Returns its record batch, if it has one.
    fn take(&mut self, metadata: &[u8], body: Buffer) -> Result<Option<RecordBatch>, Problem> {
        let message = message(metadata)?;
        let version = message.version();
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(empty_message)?;
                check_buffers(batch, &body)?;
                let schema = Arc::clone(&self.schema);
                let batch = RecordBatchDecoder::try_new(&body, batch, schema, &self.dictionaries, &version)
                    .and_then(RecordBatchDecoder::read_record_batch);
                batch.map(Some).map_err(Problem::decoder)
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch().ok_or_else(empty_message)?;
                check_buffers(dictionary.data().ok_or_else(empty_message)?, &body)?;
                read_dictionary(&body, dictionary, &self.schema, &mut self.dictionaries, &version)
                    .map_err(Problem::decoder)?;
                Ok(None)
            }
            MessageHeader::NONE => Ok(None),
            other => Err(Problem::decoder(format!("an unexpected message of type {other:?}"))),
        }
    }
}

fn message(metadata: &[u8]) -> Result<Message<'_>, Problem> {
    root_as_message(metadata).map_err(Problem::decoder)
}

fn empty_message() -> Problem {
    Problem::decoder("a message without content")
}

/// Checks that the buffers of a batch lie in its body and, decompressed, within [`BATCH_BYTES`]. The decoder allocates
/// their declared sizes, or for LZ4 the actual size.
fn check_buffers(batch: arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), Problem> {
    let mut total = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let bytes = start
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| Problem::decoder("a buffer lies outside of its message"))?;
        // A size of -1 marks a buffer that is not compressed.
        if let (Some(compression), Some((size, compressed))) =
            (batch.compression(), bytes.split_first_chunk())
            && let Ok(declared) = u64::try_from(i64::from_le_bytes(*size))
            && declared > 0
        {
            total = total.saturating_add(declared);
            check_batch_bytes(total)?;
            check_compressed(compression.codec(), compressed, declared)?;
        }
    }
    Ok(())
}

fn check_compressed(codec: CompressionType, compressed: &[u8], declared: u64) -> Result<(), Problem> {
    let is_lz4 = codec == CompressionType::LZ4_FRAME;
    let ratio = if is_lz4 { LZ4_RATIO } else { ZSTD_RATIO };
    let most = (compressed.len() as u64).saturating_mul(ratio);
    if declared > most {
        let size = compressed.len();
        return Err(Problem::decoder(format!("a buffer of {size} bytes declares {declared} bytes")));
    }
    // Zstandard stops at the declared size, LZ4 does not.
    if is_lz4 && most > UNSEEN_BYTES {
        let frame = FrameDecoder::new(compressed);
        if io::copy(&mut frame.take(declared + 1), &mut io::sink()).unwrap_or(0) > declared {
            return Err(Problem::decoder("a buffer is larger than it declares"));
        }
    }
    Ok(())
}

fn check_batch_bytes(size: u64) -> Result<(), Problem> {
    if size <= BATCH_BYTES {
        return Ok(());
    }
    Err(Problem::said(format!(
        "it declares a record batch of {size} bytes, more than the {BATCH_BYTES} that are held in memory; write it \
         in smaller batches or, if it has no such batch, get an intact copy"
    )))
}

enum Messages {
    File(FileMessages),
    Stream(StreamMessages),
}

impl Messages {
    /// Reads the metadata and the body of the next message.
    fn next(&mut self, progress: &Progress) -> Result<Option<(Vec<u8>, Buffer)>, Problem> {
        match self {
            Messages::File(file) => file.next(progress),
            Messages::Stream(stream) => stream.next(),
        }
    }
}

/// The messages in the footer of a file: dictionaries, then record batches.
struct FileMessages {
    file: File,
    blocks: VecDeque<Block>,
    consumed: Consumed,
}

impl FileMessages {
    fn open(mut file: File) -> Result<(FileMessages, Tables), Problem> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut tail = [0u8; 10];
        file.seek(SeekFrom::Start(size.saturating_sub(10)))?;
        file.read_exact(&mut tail)?;
        if !tail.ends_with(MAGIC) {
            return Err(Problem::decoder("the footer at its end is missing"));
        }
        let footer_size = read_footer_length(tail).map_err(Problem::decoder)? as u64;
        let start = size.checked_sub(10 + footer_size).filter(|_| footer_size <= METADATA_BYTES);
        let start = start.ok_or_else(|| Problem::decoder("the footer is longer than the file"))?;
        let footer = read_range(&mut file, start, footer_size)?;
        let footer = root_as_footer(&footer).map_err(Problem::decoder)?;

        let dictionaries = footer.dictionaries().into_iter().flatten();
        let blocks: VecDeque<Block> =
            dictionaries.chain(footer.recordBatches().into_iter().flatten()).copied().collect();
        for block in &blocks {
            let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
            let end =
                parts.into_iter().try_fold(0u64, |sum, part| sum.checked_add(u64::try_from(part).ok()?));
            if end.is_none_or(|end| end > start) {
                return Err(Problem::decoder("the footer names a batch outside of the file"));
            }
        }
        let schema = footer.schema().ok_or_else(|| Problem::decoder("the footer has no schema"))?;
        let tables = Tables::new(schema)?;
        Ok((FileMessages { file, blocks, consumed: Consumed { left: size } }, tables))
    }

    fn next(&mut self, progress: &Progress) -> Result<Option<(Vec<u8>, Buffer)>, Problem> {
        let Some(block) = self.blocks.pop_front() else {
            self.consumed.finish(progress);
            return Ok(None);
        };
        // All three are known to be positive and within the file.
        let (start, prefix, body) =
            (block.offset() as u64, block.metaDataLength() as u64, block.bodyLength() as u64);
        check_batch_bytes(body)?;
        let mut metadata = read_range(&mut self.file, start, prefix.min(METADATA_BYTES))?;
        // The length of the metadata precedes it, with a continuation marker since Arrow 0.15.
        let mark = if metadata.starts_with(&CONTINUATION) { 8 } else { 4 };
        metadata.drain(..mark.min(metadata.len()));
        let body = read_range(&mut self.file, start + prefix, body)?;
        self.consumed.add(prefix + body.len() as u64, progress);
        Ok(Some((metadata, Buffer::from_vec(body))))
    }
}

fn read_range(file: &mut File, start: u64, size: u64) -> Result<Vec<u8>, Problem> {
    file.seek(SeekFrom::Start(start))?;
    read_exactly(file, size)
}

/// Reads `size` bytes. Memory grows with the data present, not with the declared size.
fn read_exactly(reader: &mut dyn Read, size: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(size.min(1 << 20) as usize);
    if reader.take(size).read_to_end(&mut bytes)? as u64 == size {
        return Ok(bytes);
    }
    Err(Problem::decoder("it ends within a message"))
}

/// The messages of a stream, in order.
struct StreamMessages {
    reader: Box<dyn Read + Send>,
}

impl StreamMessages {
    /// Reads the schema, which must come first.
    fn schema(&mut self) -> Result<Tables, Problem> {
        let (metadata, _) = self.next()?.ok_or_else(|| Problem::decoder("it has no schema"))?;
        let message = message(&metadata)?;
        let schema = message.header_as_schema();
        Tables::new(schema.ok_or_else(|| Problem::decoder("it does not begin with a schema"))?)
    }

    fn next(&mut self) -> Result<Option<(Vec<u8>, Buffer)>, Problem> {
        let mut mark = read_at_most(&mut self.reader)?;
        // Without its end marker, a stream truncated between two messages would pass as complete.
        if mark.is_empty() {
            return Err(Problem::said(
                "the Arrow stream ends without its end-of-stream mark, so it may have been cut off; get the whole \
                 stream, or close its writer when you write it",
            ));
        }
        if mark == CONTINUATION {
            mark = read_at_most(&mut self.reader)?;
        }
        let Ok(mark) = <[u8; 4]>::try_from(mark) else {
            return Err(Problem::decoder("it ends within a message"));
        };
        let size = u32::from_le_bytes(mark);
        if size == 0 {
            return match read_at_most(&mut self.reader)?.is_empty() {
                true => Ok(None),
                false => Err(Problem::said(
                    "bytes follow the end of the Arrow stream; pass joined streams one by one",
                )),
            };
        }
        if u64::from(size) > METADATA_BYTES {
            return Err(Problem::decoder(format!("a message of {size} bytes of metadata")));
        }
        let metadata = read_exactly(&mut self.reader, size.into())?;
        let body_size = message(&metadata)?.bodyLength();
        let body_size =
            u64::try_from(body_size).map_err(|_| Problem::decoder("a body of negative length"))?;
        check_batch_bytes(body_size)?;
        let body = read_exactly(&mut self.reader, body_size)?;
        Ok(Some((metadata, Buffer::from_vec(body))))
    }
}

/// Reads the next four bytes, or fewer at the end.
fn read_at_most(reader: &mut dyn Read) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(4);
    reader.take(4).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::FrameEncoder;

    use super::*;

    #[test]
    fn a_buffer_becomes_what_it_declares_and_can() {
        let mut frame = FrameEncoder::new(Vec::new());
        frame.write_all(&vec![0; 80 << 20]).unwrap();
        let frame = frame.finish().unwrap();
        let lz4 = |declared| check_compressed(CompressionType::LZ4_FRAME, &frame, declared).is_ok();
        assert!(lz4(80 << 20));
        assert!(!lz4(1000), "it goes on beyond what it declares");
        assert!(!lz4(256 * frame.len() as u64), "no LZ4 is so dense");

        let zeros = zstd::encode_all(vec![0; 80 << 20].as_slice(), 19).unwrap();
        assert!(check_compressed(CompressionType::ZSTD, &zeros, 80 << 20).is_ok());
        assert!(check_compressed(CompressionType::ZSTD, &zeros[..20], 1 << 30).is_err());
    }
}
